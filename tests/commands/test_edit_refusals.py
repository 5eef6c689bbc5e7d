"""Wrong usage and failures of edit."""

from __future__ import annotations

import subprocess
import sys

import h5py
import numpy as np
import pytest

from styleatlas import load_generator

from .edit_calls import PAIR, SEVEN


def test_a_prompt_without_its_other_is_wrong_usage(usage_error):
    for alone in (PAIR[:2], PAIR[2:]):
        assert usage_error(*alone) == "--neutral and --target belong together; give both\n"
        assert "belong together" in usage_error(*alone, "--edit", SEVEN)


def test_probability_beside_alpha_is_wrong_usage(usage_error):
    error = usage_error(*PAIR, "--alpha", "3", "--probability", "0.9")
    assert error.startswith("--probability is what alphas are found by, and --alpha gives them")


@pytest.mark.parametrize("probability", ["0", "0.4", "1", "nan"])
def test_probability_out_of_its_range_is_refused(refused, tmp_path, probability):
    options = ("--probability", probability, "-o", tmp_path / "o.png")
    message = refused("edit", "avatars", "--edit", "a face -> a sad face", *options)
    assert message.startswith(f"probability {probability}: must be at least 0.5 and below 1")


def test_nothing_to_do_is_wrong_usage(usage_error):
    assert usage_error() == "give --neutral and --target, --edit, or --from-picture\n"


def test_generator_of_another_atlas_is_refused_with_both_fingerprints(
    refused_edit, tiny_atlas, make_network, write_checkpoint, tmp_path
):
    other = write_checkpoint(tmp_path / "other.safetensors", make_network(seed=1))
    found = refused_edit("--generator", other)
    identities = tiny_atlas.fingerprint.generator, load_generator(other, "cpu").identity
    for identity in identities:
        assert f'"{identity.name}" ({identity.sha256[:12]})' in found


def test_generator_that_is_not_known_by_name_is_to_be_named(refused, tiny_path, tmp_path):
    found = refused("edit", tiny_path, *PAIR, "-o", tmp_path / "o.png")
    assert found == 'generator: this atlas was drawn with "tiny"; name its file by --generator'


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target", ""), "prompt: is empty; write what the picture should show"),
        (("--neutral", " "), "prompt: is empty"),
        (("--target", "A picture "), 'target: "A picture" is the neutral prompt itself'),
        (("--target", "x" * 1025), "longer than 1024 bytes; shorten it"),
        (("--target", "a\x07b"), "holds control characters; remove them"),
        (("--target", "words of another bank"), "name its file by --clip"),
        (("--keep", "words of another bank"), "name its file by --clip"),
        (("--keep", "a picture channel7"), "keep: says what the edit is about"),
        (("--edit", "a picture"), "write it as NEUTRAL -> TARGET : WEIGHT"),
        (("--edit", f"{SEVEN} : x"), "'x' is no weight"),
        (("--edit", f"{SEVEN} : 21"), "weight 21: must lie between -20 and 20 and not be 0"),
        (("--beta", "0.99"), 'no channel passes beta 0.99 for "a picture" -> "a picture channel7"'),
        (("--beta", "0"), "beta 0: must lie between 0 and 1"),
        (("--beta", "nan"), "beta nan: must lie between 0 and 1"),
        (("--channels", "3"), "beta and channels: exclude each other; give one of them"),
        (("--seed", "4294967296"), "seed 4294967296: must lie between 0 and 4294967295"),
        (("--alpha", "101"), "alpha 101: must lie between -100 and 100"),
        (("--alpha", "1,nan"), "alpha nan: must lie between"),
        (("--truncation", "2.5"), "truncation 2.5: must lie between -2 and 2"),
        (("--class", "1"), "class 1: this generator is not conditional"),
        (("--device", "warp"), "device 'warp': cannot be used"),
        (("--generator", "none.safetensors"), "none.safetensors: no such file"),
        (("--latent", "none.npz"), "none.npz: no such file"),
        (("-o", "out.jpg"), "out.jpg: pictures are written as PNG; end the name in .png"),
        (("-o", "none/out.png"), "none does not exist; create it first"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, tuple) else "",
)
def test_bad_input_is_explained_in_one_line(refused_edit, monkeypatch, tmp_path, options, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused_edit(*options)


def test_fewer_than_one_channel_is_refused(refused, tiny_path, checkpoint, tmp_path):
    arguments = (*PAIR, "--generator", checkpoint, "--channels", 0, "-o", tmp_path / "o.png")
    assert refused("edit", tiny_path, *arguments) == "channels 0: must be at least 1"


@pytest.mark.ordinary_user
def test_directory_without_permission_is_named(refused_edit, tmp_path):
    tmp_path.chmod(0o500)
    assert "is not writable; choose another" in refused_edit()
    assert "is not writable); choose another" in refused_edit("-o", tmp_path / "folder")


def test_unsound_atlas_is_refused(refused_edit, tiny_path, tmp_path):
    path = tmp_path / "bad.h5"
    assert refused_edit(atlas=path).startswith(f"{path}: no such file")
    path.write_bytes(b"not an atlas")
    assert refused_edit(atlas=path).startswith(f"{path}: is not an HDF5 file")
    path.write_bytes(tiny_path.read_bytes()[:-2000])
    assert refused_edit(atlas=path).startswith(f"{path}: ")
    path.write_bytes(tiny_path.read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs.modify("format_version", np.int32(2))
    assert "is 2, this StyleAtlas reads up to 1; upgrade styleatlas" in refused_edit(atlas=path)


def test_failed_edit_leaves_what_was_there_and_makes_nothing(refused_edit, tmp_path):
    for name in ("out.png", "out.gif", "out.npz"):
        (tmp_path / name).write_bytes(b"old")
    styles = ("--styles", tmp_path / "out.npz")
    for name in ("out.png", "out.gif", "folder"):
        assert "no channel passes" in refused_edit("--beta", "0.99", *styles, "-o", tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.gif", "out.npz", "out.png"]
    assert all(path.read_bytes() == b"old" for path in tmp_path.iterdir())


def test_failure_in_a_shell_is_one_line_without_a_traceback(tiny_path, checkpoint, tmp_path):
    options = ("--method", "direction", "--beta", "0.99", "-o", "o.png")
    arguments = (tiny_path, *PAIR, "--generator", checkpoint, *options)
    done = subprocess.run(
        [sys.executable, "-m", "styleatlas.cli", "edit", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("styleatlas edit: no channel passes beta 0.99")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
