"""precompute, with a tiny StyleGAN2 and a tiny CLIP, both of random weights."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from styleatlas import Atlas
from styleatlas.precompute import build

QUICK = ("--images", 2, "--samples", 50)


@pytest.fixture
def refused_precompute(refused, checkpoint, clip_folder, tmp_path):
    """Precompute in vain and return the message; a later option replaces an earlier one."""

    def refused_precompute(*options: object, generator=checkpoint) -> str:
        arguments = ("--clip", clip_folder, *QUICK, "-o", tmp_path / "a.h5", *options)
        return refused("precompute", generator, *arguments)

    return refused_precompute


def test_precompute_writes_an_atlas_of_every_channel(run, checkpoint, clip_folder, tmp_path):
    path = tmp_path / "a.h5"
    options = ("--strength", 3, "--truncation", 0.5, "--seed", 4)
    result = run("precompute", checkpoint, "--clip", clip_folder, "-o", path, *QUICK, *options)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{path}: 23 channels over 2 images, 0 prompts\n"
    assert result.stderr == "", "progress is for terminals"
    assert list(tmp_path.iterdir()) == [path]
    atlas = Atlas.open(path)
    settings = dict(atlas.fingerprint.settings)
    assert settings.pop("templates")[0] == "{}"
    assert settings == {
        "method": "sweep",
        "images": 2,
        "strength": 3,
        "truncation": 0.5,
        "samples": 50,
        "seed": 4,
        "label": None,
    }
    assert atlas.fingerprint.generator.name == "tiny"
    assert atlas.strength.min() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--images", 0), "images 0: must lie between 1 and 100000"),
        (("--strength", 0), "strength 0: must lie above 0 and up to 50 sigma"),
        (("--truncation", -1), "truncation -1: must lie between 0 and 2"),
        (("--samples", 1), "samples 1: must be at least 2"),
        (("--seed", -1), "seed -1: must lie between 0 and 4294967295"),
        (("--device", "warp"), "device 'warp': cannot be used"),
        (("--clip", "none"), "CLIP 'none': is no file or folder, and open_clip knows no model"),
        (("-o", "none/a.h5"), "none does not exist; create it first"),
        (("-o", "."), ".: is a directory; name a file to write"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_bad_input_is_explained_in_one_line(
    refused_precompute, monkeypatch, tmp_path, options, message
):
    monkeypatch.chdir(tmp_path)
    assert message in refused_precompute(*options)


def test_generator_that_cannot_be_read_is_named(refused_precompute, checkpoint, tmp_path):
    path = tmp_path / "cut.safetensors"
    assert refused_precompute(generator=path).startswith(f"{path}: no such file; check the path")
    path.write_bytes(checkpoint.read_bytes()[:-10])
    assert refused_precompute(generator=path).startswith(f"{path}: is not a readable safetensors")


def test_precompute_interrupted_before_its_first_block_leaves_the_old_atlas_and_nothing_else(
    run, checkpoint, clip_folder, tmp_path, monkeypatch
):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    path = tmp_path / "a.h5"
    path.write_bytes(b"old")
    monkeypatch.setattr("styleatlas.precompute.build.sweep_block", interrupted)
    result = run("precompute", checkpoint, "--clip", clip_folder, "-o", path, *QUICK)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def interrupted(run, checkpoint, clip_folder, tmp_path, monkeypatch):
    """The arguments of a precompute over an old atlas that Ctrl-C ended after two blocks, and
    what it wrote to stderr."""
    sweep, swept = build.sweep_block, []

    def interrupting(*arguments):
        if len(swept) == 2:
            raise KeyboardInterrupt
        swept.append(1)
        return sweep(*arguments)

    path = tmp_path / "a.h5"
    path.write_bytes(b"old")
    arguments = ("precompute", checkpoint, "--clip", clip_folder, "-o", path, *QUICK)
    with monkeypatch.context() as patch:
        patch.setattr(build, "sweep_block", interrupting)
        result = run(*arguments)
    assert result.exit_code == 1 and result.stdout == ""
    assert path.read_bytes() == b"old"
    return arguments, result.stderr


def test_same_command_resumes_an_interrupted_precompute(interrupted, run, tmp_path):
    arguments, said = interrupted
    folder = tmp_path / "a.h5.work"
    kept = f"interrupted: 2 of 5 blocks are kept in {folder}: the same command resumes"
    assert kept in said.splitlines()
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr == "resuming: 2 of 5 blocks are done\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.h5"]
    resumed = Atlas.open(tmp_path / "a.h5")
    assert run(*arguments).stderr == ""
    assert np.array_equal(Atlas.open(tmp_path / "a.h5").rows, resumed.rows)


def test_damaged_block_is_named_and_drawn_again(interrupted, run, tmp_path):
    arguments, _ = interrupted
    block = min((tmp_path / "a.h5.work").glob("block-*"))
    block.write_bytes(block.read_bytes()[:-1])
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    first, second = result.stderr.splitlines()
    assert first.startswith(f"{block.name}: was damaged (has less than ")
    assert first.endswith("and removed; block 0 is drawn again")
    assert second == "resuming: 1 of 5 blocks are done"


def test_other_settings_are_refused_while_blocks_are_kept(interrupted, refused, tmp_path):
    arguments, _ = interrupted
    message = refused(*arguments, "--images", 3)
    assert "settings.images is 2 there and 3 here" in message
    assert f"start afresh: delete the folder {tmp_path / 'a.h5.work'}, or choose" in message


def test_full_disk_is_explained_and_the_same_command_resumes(
    run, checkpoint, clip_folder, tmp_path, monkeypatch
):
    fsync, calls = os.fsync, []

    def filling(descriptor: int) -> None:
        calls.append(1)
        if len(calls) > 8:  # the plan and two blocks
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    path = tmp_path / "a.h5"
    arguments = ("precompute", checkpoint, "--clip", clip_folder, "-o", path, *QUICK)
    with monkeypatch.context() as patch:
        patch.setattr("styleatlas.store.output.os.fsync", filling)
        result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "cannot be written (No space left on device)" in result.stderr
    assert "blocks are kept in" in result.stderr and "the same command resumes" in result.stderr
    assert run(*arguments).stderr.startswith("resuming: ")
    assert list(tmp_path.iterdir()) == [path]
