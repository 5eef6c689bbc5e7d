"""Tables and statistics of other programs, from files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from styleatlas.engine.checkpoints.table_file import read_statistics, read_table
from styleatlas.store.errors import CheckpointError, InputError

ROWS = np.array([[0.6, 0.8, 0.0], [0.0, 0.0, -1.0]])
MEAN = [np.array([1.0, 2.0], np.float32), np.array([3.0], np.float32)]
STD = [np.array([0.1, 0.2], np.float32), np.array([0.3], np.float32)]


def saved(path, array):
    with path.open("wb") as file:
        np.save(file, array)
    return path


def pickled(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", ">f4"])
def test_table_is_read_with_unit_rows(dtype, tmp_path):
    rows = read_table(saved(tmp_path / "fs3.npy", ROWS.astype(dtype)))
    assert rows.dtype == np.float64
    np.testing.assert_allclose(rows, ROWS, atol=1e-3 if dtype == "f2" else 1e-7)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-15)


def test_table_may_be_a_tensor(tmp_path):
    torch.save(torch.from_numpy(ROWS), tmp_path / "fs3.pt")
    np.testing.assert_array_equal(read_table(tmp_path / "fs3.pt"), ROWS)


def test_rows_of_nan_are_channels_that_move_nothing(tmp_path):
    rows = read_table(saved(tmp_path / "fs3.npy", np.array([[np.nan] * 3, ROWS[1]])))
    np.testing.assert_array_equal(rows, [[0, 0, 0], ROWS[1]])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((2, 3, 4, 5)), r"has shape \(2, 3, 4, 5\); a table has \(channels"),
        (np.ones(3), r"has shape \(3,\)"),
        (np.ones((0, 3)), r"has shape \(0, 3\)"),
        (np.array([[1, 0, 0]]), "has type int64; only arrays of floats"),
        (np.array([[{}]], object), "has type object; only arrays of floats"),
        (np.array([[0.6, np.nan, 0.8]]), "holds NaN or infinity within a row"),
        (np.array([[np.inf, 0, 0]]), "holds NaN or infinity within a row"),
        (2 * ROWS, r"2 of 2 rows are not of length 1, the first of them row 0 of 2;"),
        (0 * ROWS, "holds zeros or NaN alone"),
    ],
)
def test_arrays_that_are_no_table_are_refused(array, message, tmp_path):
    path = tmp_path / "fs3.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(InputError, match=f"^{path}: .*{message}"):
        read_table(path)


def test_header_of_more_than_the_file_holds_is_refused_before_it_is_made(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 512), }"
    path = tmp_path / "fs3.npy"
    data = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n"
    path.write_bytes(data + bytes(16))
    with pytest.raises(InputError, match="has 16 bytes for an array of shape"):
        read_table(path)


def test_truncated_table_is_refused(tmp_path):
    path = saved(tmp_path / "fs3.npy", ROWS)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"has 47 bytes for an array of shape \(2, 3\)"):
        read_table(path)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("container", [list, tuple])
def test_pair_of_lists_is_means_and_deviations(container, protocol, tmp_path):
    path = pickled(tmp_path / "S_mean_std", container([container(MEAN), container(STD)]), protocol)
    found = read_statistics([path])
    assert [name for name, _ in found.mean] == [None, None]
    for read, wanted in ((found.mean, MEAN), (found.std, STD)):
        for (_, values), layer in zip(read, wanted, strict=True):
            np.testing.assert_array_equal(values, layer)


def test_pose_before_dicts_by_layer_is_passed_over(tmp_path):
    pose = {"theta": np.float32(0.1), "x": np.float64(0), "y": np.float32(0)}
    mean, std = ({"input": part[0], "L0": part[1]} for part in (MEAN, STD))
    found = read_statistics([pickled(tmp_path / "s_stats", [pose, mean, std])])
    assert [name for name, _ in found.std] == ["input", "L0"]
    np.testing.assert_array_equal(found.std[0][1], STD[0])


def test_tensors_and_arrays_with_axes_of_one_are_flat(tmp_path):
    mean = [torch.from_numpy(part)[None] for part in MEAN]
    std = [part[:, None, None] for part in STD]
    torch.save([mean, [torch.from_numpy(part) for part in std]], tmp_path / "a.pt")
    for path in (tmp_path / "a.pt", pickled(tmp_path / "b", [mean, std])):
        assert [values.shape for _, values in read_statistics([path]).mean] == [(2,), (1,)]


def test_two_files_are_means_then_deviations(tmp_path):
    mean, std = np.concatenate(MEAN), np.concatenate(STD)
    paths = [saved(tmp_path / "S_mean.npy", mean), saved(tmp_path / "S_std.npy", std)]
    found = read_statistics(paths)
    np.testing.assert_array_equal(found.mean[0][1], mean)
    np.testing.assert_array_equal(found.std[0][1], std)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (MEAN[0], "holds a ndarray; statistics are a pair of lists"),
        ([MEAN, STD, STD], "holds a list; statistics are a pair"),
        ([MEAN, STD[:1]], "deviations: has other layers than"),
        (
            [MEAN, [STD[0], -STD[1]]],
            "deviations: holds a deviation below 0; give the file of means",
        ),
        ([MEAN, [STD[0], STD[1] * np.nan]], "deviations: holds NaN, infinity or what no"),
        ([[], []], "means: holds no layers"),
        ([[np.ones((2, 2), "f4")], [np.ones((2, 2), "f4")]], "means: holds a ndarray where"),
        ([[1.0], [1.0]], r"means: holds 1\.0 where the numbers of a layer's"),
        ([[np.array([1, 2])], [np.array([1, 2])]], "means: has type int64 where floats are"),
    ],
)
def test_other_content_is_no_statistics(content, message, tmp_path):
    path = pickled(tmp_path / "S_mean_std", content)
    with pytest.raises(InputError, match=f"^{path}.*{message}"):
        read_statistics([path])


def test_other_files_are_named_as_what_they_are_not(tmp_path):
    path = tmp_path / "fs3.npy"
    path.write_text("<html>")
    for read in (read_table, lambda path: read_statistics([path])):
        with pytest.raises(InputError, match="is no array of NumPy's, pickle or file of PyTorch's"):
            read(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="is empty"):
        read_table(path)
