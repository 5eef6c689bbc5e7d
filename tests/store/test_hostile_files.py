"""Files made to mislead or to harm the reader; docs/atlas-format.md lists what becomes of each."""

from __future__ import annotations

import hashlib
import os
import tracemalloc

import h5py
import numpy as np
import pytest

from styleatlas.store.atlas import Atlas
from styleatlas.store.errors import AtlasCorruptError, AtlasError, AtlasFormatError
from styleatlas.store.file import verify


def refused(path, message, error=AtlasFormatError):
    """Opening names the file, the place and the mend in one line; verify fails and never raises."""
    with pytest.raises(error, match=message) as caught:
        Atlas.open(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert not all(check.ok for check in verify(path))


def replace(file, path, values, **storage):
    """Put a dataset with a correct checksum in place of another."""
    del file[path]
    dataset = file.create_dataset(path, data=values, **storage)
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest().encode()
    dataset.attrs.create("sha256", digest, dtype=h5py.string_dtype("utf-8", 64))


def declare(file, path, shape):
    """Claim a shape without holding the data."""
    del file[path]
    file.create_dataset(path, shape=shape, dtype="f4")


def text_attribute(file, name, text):
    file.attrs.create(name, text.encode(), dtype=h5py.string_dtype("utf-8", len(text.encode())))


def test_missing_file(tmp_path):
    refused(tmp_path / "none.h5", "no such file; check the path, or draw it")


def test_directory(tmp_path):
    refused(tmp_path, "is a directory; name the file in it")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "is no regular file")


@pytest.mark.parametrize("content", [b"", b"not hdf5", b"\x89HDF\r\n\x1a\n", b"\x89HDF" * 999])
def test_file_that_is_not_hdf5(tmp_path, content):
    path = tmp_path / "atlas.h5"
    path.write_bytes(content)
    refused(path, "is not an HDF5 file|cannot be read")


def test_truncated_anywhere(atlas_path):
    whole = atlas_path.read_bytes()
    for length in range(1, len(whole), 97):
        atlas_path.write_bytes(whole[:length])
        refused(atlas_path, "HDF5|cannot be read|truncated")


def test_foreign_hdf5(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = np.arange(3)
    refused(tmp_path / "other.h5", "attribute format: is missing")


def test_foreign_format(damage):
    refused(damage(lambda f: text_attribute(f, "format", "other")), "so this is no atlas")


def test_newer_version_says_upgrade(damage):
    path = damage(lambda f: f.attrs.create("format_version", 2))
    refused(path, "is 2, this StyleAtlas reads up to 1; upgrade styleatlas")


@pytest.mark.parametrize("version", [0, -1, [1], 1.0, "1"])
def test_impossible_version(damage, version):
    refused(damage(lambda f: f.attrs.create("format_version", version)), "format_version")


@pytest.mark.parametrize("name", ["format", "format_version", "created", "settings", "clip"])
def test_missing_attribute(damage, name):
    refused(damage(lambda f: f.attrs.pop(name)), f"attribute {name}: is missing")


def test_missing_checksum(damage):
    path = damage(lambda f: f["style/std"].attrs.pop("sha256"))
    refused(path, "/style/std, attribute sha256: is missing")


@pytest.mark.parametrize("value", ["variable length", 7, [b"a", b"b"], h5py.Empty("S5")])
def test_attribute_of_another_type(damage, value):
    refused(damage(lambda f: f.attrs.create("library", value)), "library: must be one fixed-length")


def test_oversized_attribute(damage):
    refused(damage(lambda f: text_attribute(f, "settings", "x" * 2**20 + "x")), "at most 1048576")


@pytest.mark.parametrize("text", ["{", "[]", '{"seed": NaN}', "[" * 100_000])
def test_settings_that_are_not_a_json_object(damage, text):
    refused(damage(lambda f: text_attribute(f, "settings", text)), "attribute settings: ")


def test_text_that_is_not_utf8(damage):
    bad = np.array([b"\xff\xfe"] * 3, dtype=h5py.string_dtype("utf-8", 2))
    refused(damage(lambda f: replace(f, "prompts/text", bad)), "/prompts/text: is not UTF-8")


@pytest.mark.parametrize("path", ["style/mean", "relevance/rows", "prompts", "layout/kind"])
def test_missing_dataset(damage, path):
    refused(damage(lambda f: f.pop(path)), f"/{path}.*: is missing")


def test_group_in_place_of_a_dataset(damage):
    def change(file):
        del file["style/mean"]
        file.create_group("style/mean")

    refused(damage(change), "/style/mean: is not a dataset")


def test_dataset_in_place_of_a_group(damage):
    def change(file):
        del file["style"]
        file["style"] = np.zeros(3)

    refused(damage(change), "/style/mean: is missing")


@pytest.mark.parametrize("link", [h5py.SoftLink("/style/std"), h5py.ExternalLink("o.h5", "/x")])
@pytest.mark.parametrize("path", ["style/mean", "style"])
def test_links_are_not_followed(damage, link, path):
    def change(file):
        del file[path]
        file[path] = link

    refused(damage(change), "/style/mean: is a link; an atlas must hold its data itself")


def test_external_storage_is_not_read(damage, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(14 * 4))

    def change(file):
        del file["style/mean"]
        file.create_dataset("style/mean", (14,), "f4", external=str(tmp_path / "secret"))

    refused(damage(change), "/style/mean: must be stored contiguously in this file")


def test_virtual_dataset_is_not_read(damage, tmp_path):
    def change(file):
        del file["style/mean"]
        layout = h5py.VirtualLayout((14,), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", (14,))
        file.create_virtual_dataset("style/mean", layout)

    refused(damage(change), "/style/mean: must be stored contiguously")


@pytest.mark.parametrize("storage", [{"chunks": True}, {"compression": "gzip"}])
def test_compressed_and_chunked_datasets_are_refused(damage, storage):
    path = damage(lambda f: replace(f, "style/mean", np.zeros(14, "f4"), **storage))
    refused(path, "/style/mean: must be stored contiguously.*write it with Atlas.write")


@pytest.mark.parametrize("shape", [(7, 2**40), (10**15, 8)])
def test_huge_declared_shape_is_refused_without_allocating(damage, shape):
    path = damage(lambda f: declare(f, "relevance/rows", shape))
    tracemalloc.start()
    refused(path, "/relevance/rows: declares .* but the file does not hold them")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20


def test_datasets_that_share_bytes_cannot_multiply_the_file(make_atlas, tmp_path):
    make_atlas(rows=14, prompts=14, width=4000).write(tmp_path / "sound.h5")
    path = tmp_path / "shared.h5"
    with h5py.File(tmp_path / "sound.h5") as sound, h5py.File(path, "w", libver="earliest") as file:
        for name, value in sound.attrs.items():
            file.attrs.create(name, value, dtype=sound.attrs.get_id(name).dtype)
        for name in ("layout", "style", "relevance", "prompts/text"):
            sound.copy(name, file, name)
        file.create_dataset("prompts/embedding", shape=(14, 4000), dtype="f4")
        rows = file["relevance/rows"].id.get_offset().to_bytes(8, "little")
    # Old object headers have no checksum: point the missing data at the rows.
    size = (14 * 4000 * 4).to_bytes(8, "little")
    assert path.read_bytes().count(b"\xff" * 8 + size) == 1
    path.write_bytes(path.read_bytes().replace(b"\xff" * 8 + size, rows + size))
    refused(path, "together declare more bytes than the file holds")


def test_more_layers_than_the_format_allows(damage):
    def change(file):
        names = np.array([str(i).encode() for i in range(10_001)])
        replace(file, "layout/name", names.astype(h5py.string_dtype("utf-8", 5)))

    refused(damage(change), "/layout/name: declares 10001 layers, more than format 1's 10000")


def test_axes_that_disagree(damage):
    path = damage(lambda f: replace(f, "style/std", np.zeros(13, "f4")))
    refused(path, "/style/std: has 13 channels, but /style/mean has 14")


def test_layout_that_does_not_add_up(damage):
    path = damage(lambda f: replace(f, "layout/size", np.array([6, 3, 6], "i4")))
    refused(path, r"/style/mean: has shape \(14,\), must have \(15\)")


@pytest.mark.parametrize("size", [0, -5])
def test_layout_with_impossible_sizes(damage, size):
    path = damage(lambda f: replace(f, "layout/size", np.array([6, 3, size], "i4")))
    refused(path, "layer b8.conv0: size .* must be positive")


@pytest.mark.parametrize("dtype", ["f8", "f2", "i4", ">f4", "c8"])
def test_wrong_type(damage, dtype):
    path = damage(lambda f: replace(f, "style/mean", np.zeros(14, dtype)))
    refused(path, "/style/mean: is .*, must be float32")


def test_variable_length_texts_are_refused(damage):
    def change(file):
        del file["prompts/text"]
        file["prompts/text"] = ["a", "b", "c"]

    refused(damage(change), "/prompts/text: must be fixed-length UTF-8")


def test_object_references_are_refused(damage):
    def change(file):
        del file["style/mean"]
        file.create_dataset("style/mean", data=[file.ref] * 14, dtype=h5py.ref_dtype)

    refused(damage(change), "/style/mean: is object")


def test_nan_rows_with_a_correct_checksum(damage):
    path = damage(lambda f: replace(f, "relevance/rows", np.full((7, 8), np.nan, "f4")))
    refused(path, "/relevance/rows: holds NaN or infinity", AtlasCorruptError)


def test_rows_that_are_not_unit_vectors(damage):
    path = damage(lambda f: replace(f, "prompts/embedding", np.ones((3, 8), "f4")))
    refused(path, "/prompts/embedding: row 0 has length 2.828", AtlasCorruptError)


def test_duplicate_channels(damage):
    path = damage(lambda f: replace(f, "relevance/channel", np.zeros(7, "i8")))
    refused(path, "/relevance/channel: must ascend without repeats")


def test_duplicate_prompts(damage):
    texts = np.array([b"a", b"A", b"b"], dtype=h5py.string_dtype("utf-8", 1))
    refused(damage(lambda f: replace(f, "prompts/text", texts)), "prompt 'a': occurs twice")


def test_wrong_checksum(damage):
    def change(file):
        file["style/mean"][0] += 1

    path = damage(change)
    refused(path, "/style/mean: does not match its sha256; copy the file again", AtlasCorruptError)


def test_every_refusal_is_an_atlas_error():
    assert issubclass(AtlasFormatError, AtlasError) and issubclass(AtlasCorruptError, AtlasError)
