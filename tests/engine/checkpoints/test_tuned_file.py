"""Files of tuned generators: differences from a parent that is found again."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch

from styleatlas import load_generator
from styleatlas.engine.checkpoints.describe import tuned_record
from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.engine.checkpoints.tuned_file import (
    Difference,
    TunedCheckpoint,
    read_tuning,
    write_tuned,
)
from styleatlas.engine.checkpoints.tuning import Pivot, Tuning, crop_sha256
from styleatlas.store.cache import remember_place
from styleatlas.store.errors import CheckpointError, OutputError
from styleatlas.store.fingerprint import weights_sha256

from ... import tuned_files as files

TINY = "synthesis.b8.conv1.weight"


@pytest.fixture
def tuned(tmp_path):
    path = tmp_path / "me.safetensors"
    path.write_bytes(files.content())
    return path


@pytest.fixture
def of_file(checkpoint, tmp_path):
    """Writes a file tuned from a checkpoint of some name."""
    whole = read_checkpoint(checkpoint)
    difference = Difference.of({TINY: torch.full_like(whole.tensors[TINY], 0.25)})
    sha256 = weights_sha256((n, x.numpy()) for n, x in difference.added_to(whole.tensors).items())
    shape = (whole.config.num_ws, whole.config.w_dim)

    def write(name: str = "tiny.safetensors", path=tmp_path / "me.safetensors"):
        pivot = Pivot("me", crop_sha256(np.zeros((8, 8, 3), np.uint8)), -1, np.zeros(shape, "f4"))
        identity = whole.identity("tiny")
        tuning = Tuning(identity, name, identity.sha256, sha256, (pivot,), {"steps": 1})
        write_tuned(path, tuning, difference)
        return path

    return write


def test_weights_are_the_parents_and_the_difference(tuned):
    found, parent = read_checkpoint(tuned), files.parent()
    assert isinstance(found, TunedCheckpoint)
    _, tensors = files.sound()
    levels, scale = tensors[f"difference/{files.WEIGHT}"], tensors[f"scale/{files.WEIGHT}"]
    wanted = parent.tensors[files.WEIGHT] + levels.float() * scale[:, None, None, None]
    assert torch.equal(found.tensors[files.WEIGHT], wanted)
    others = found.tensors.keys() - {files.WEIGHT}
    assert all(torch.equal(found.tensors[name], parent.tensors[name]) for name in others)
    assert found.identity("me").tuned_from == parent.sha256() != found.identity("me").sha256


def test_the_generator_says_what_it_was_tuned_from_and_to(tuned):
    generator = load_generator(tuned, "cpu")
    assert generator.identity.is_of(load_generator("avatars", "cpu").identity)
    assert [pivot.name for pivot in generator.tuning.pivots] == ["me"]
    assert load_generator("avatars", "cpu").tuning is None


def test_a_difference_is_kept_to_half_a_level_of_its_outputs_largest():
    drawn = torch.Generator().manual_seed(0)
    x = (
        torch.randn(5, 4, 3, 3, generator=drawn)
        * torch.tensor([1e-6, 1, 10, 0, 0.1])[:, None, None, None]
    )
    zero = torch.zeros_like(x)
    kept = Difference.of({"x": x}).added_to({"x": zero})["x"]
    largest = x.flatten(1).abs().amax(1)
    assert ((kept - x).flatten(1).abs().amax(1) <= 0.5001 / 127 * largest).all()
    torch.testing.assert_close(kept.flatten(1).abs().amax(1), largest)


def test_what_is_written_is_read(of_file, checkpoint, tmp_path):
    os.symlink(checkpoint, tmp_path / "tiny.safetensors")
    found = read_checkpoint(of_file())
    assert found.tuning.parent.name == "tiny" and found.tuning.told == {"steps": 1}
    moved = found.tensors[TINY] - read_checkpoint(checkpoint).tensors[TINY]
    torch.testing.assert_close(moved, torch.full_like(moved, 0.25))


def test_the_parent_is_found_beside_it_or_where_it_was_tuned(of_file, checkpoint, tmp_path):
    path = of_file("mine.pkl")
    with pytest.raises(CheckpointError, match=r'the generator "tiny" .* beside it as mine\.pkl$'):
        read_checkpoint(path)
    remember_place(read_checkpoint(checkpoint).sha256(), checkpoint)
    there = read_checkpoint(path)
    beside = tmp_path / "mine.pkl"
    beside.write_bytes(checkpoint.read_bytes())
    assert read_checkpoint(path).sha256() == there.sha256()
    beside.write_bytes(files.content())  # another one
    with pytest.raises(CheckpointError, match="is itself tuned from another"):
        read_checkpoint(path)
    beside.unlink()
    beside.mkdir()
    with pytest.raises(CheckpointError, match="is a directory"):
        read_checkpoint(path)


def test_another_parent_is_refused_by_name(of_file, make_network, write_checkpoint, tmp_path):
    path = of_file("mine.safetensors")
    write_checkpoint(tmp_path / "mine.safetensors", make_network(seed=1))
    with pytest.raises(CheckpointError, match=r'generator "tiny" .*mine\.safetensors is a'):
        read_checkpoint(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_the_parents_place_is_not_waited_for(of_file, tmp_path):
    path = of_file("mine.pkl")
    os.mkfifo(tmp_path / "mine.pkl")
    with pytest.raises(CheckpointError, match="is no regular file"):
        read_checkpoint(path)


def test_nothing_is_written_over(tuned):
    before = tuned.read_bytes()
    tuning, tensors = files.sound()
    with pytest.raises(OutputError, match="is there already; delete it, or name another --tune"):
        write_tuned(tuned, tuning, Difference({}, {}))
    assert tuned.read_bytes() == before and tensors


def test_a_record_is_told_with_and_without_the_parent(tuned, of_file):
    record = tuned_record(tuned)
    assert record["kind"] == "tuned generator" and record["tuned_from"]["name"] == "avatars"
    assert record["photos"] == ["me"] and record["tuning"]["steps"] == 3
    assert record["resolution"] == 64 and record["sha256"] == read_checkpoint(tuned).sha256()
    tuned.unlink()
    alone = tuned_record(of_file("nowhere.pkl"))
    assert alone["tuned_from"]["file"] == "nowhere.pkl" and "resolution" not in alone
    assert "beside it as nowhere.pkl" in alone["notes"][0]
    assert json.dumps([record, alone])


def test_other_files_are_none(checkpoint, tmp_path):
    (tmp_path / "x").write_bytes(b"no safetensors")
    assert read_tuning(checkpoint) is None and read_tuning(tmp_path / "x") is None
    assert tuned_record(checkpoint) == {} and tuned_record(tmp_path) == {}
