"""edit, with a real if tiny StyleGAN2."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from PIL import Image

from styleatlas import load_generator
from styleatlas.engine.editor import DEFAULT_ALPHA, DEFAULT_BETA, Editor
from styleatlas.engine.pictures import sheet
from styleatlas.engine.sampling import styles_from_seeds

PAIR = ("--neutral", "a picture", "--target", "a picture channel7")
EASY = ("--beta", "0.05")


@pytest.fixture
def edit(run, tiny_path, checkpoint, tmp_path):
    """Edit and return the picture's pixels."""

    def edit(*options: object) -> np.ndarray:
        path = tmp_path / "out.png"
        arguments = (tiny_path, *PAIR, "--generator", checkpoint, *EASY, *options, "-o", path)
        result = run("edit", *arguments)
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        with Image.open(path) as picture:
            return np.asarray(picture)

    return edit


@pytest.fixture
def refused_edit(refused, tiny_path, checkpoint, tmp_path):
    """Edit in vain and return the message; a later option replaces an earlier one."""

    def refused_edit(*options: object, atlas=tiny_path) -> str:
        arguments = (*PAIR, "--generator", checkpoint, *EASY, "-o", tmp_path / "out.png", *options)
        return refused("edit", atlas, *arguments)

    return refused_edit


def test_edit_writes_a_row_a_seed_and_a_column_an_alpha(edit, tiny_atlas, checkpoint, make_encoder):
    generator = load_generator(checkpoint, "cpu")
    editor = Editor(tiny_atlas, generator, make_encoder(23))
    direction = editor.direction(PAIR[1], PAIR[3], beta=0.05)
    styles = styles_from_seeds(generator, [1, 2, 3], 0.7)
    columns = [editor.apply(styles, direction, alpha).images for alpha in (-2, 0, 2.5)]
    known = sheet([[column[i] for column in columns] for i in range(3)])
    found = edit("--seed", "1-3", "--alpha", "-2,0,2.5")
    assert found.shape == (24, 24, 3)
    assert np.array_equal(found, np.asarray(known))
    assert not np.array_equal(found[:, :8], found[:, 16:]), "the edit must show"


def test_options_change_what_is_drawn(edit):
    plain = edit("--seed", "5")
    assert plain.shape == (8, 8, 3)
    assert np.array_equal(plain, edit("--seed", "5", "--alpha", str(DEFAULT_ALPHA)))
    for options in (["--alpha", "-4"], ["--truncation", "1"], ["--kinds", "rgb"], ["--seed", "6"]):
        assert not np.array_equal(plain, edit("--seed", "5", *options)), options


def test_channels_takes_the_place_of_beta(run, tiny_path, checkpoint, tmp_path):
    arguments = ("--generator", checkpoint, "--channels", 3, "-o", tmp_path / "o.png")
    result = run("edit", tiny_path, *PAIR, *arguments)
    assert result.stdout == f"{tmp_path / 'o.png'}: 1 x 1 images, 3 channels moved\n"


def test_beta_is_the_default_of_the_editor_where_none_is_given(
    run, tiny_path, checkpoint, tmp_path
):
    arguments = (*PAIR, "--generator", checkpoint, "-o", tmp_path / "o.png")
    plain = run("edit", tiny_path, *arguments)
    assert plain.exit_code == 0, plain.output
    assert plain.stdout == run("edit", tiny_path, *arguments, "--beta", DEFAULT_BETA).stdout
    assert plain.stdout != run("edit", tiny_path, *arguments, *EASY).stdout


def test_edit_by_prompts_of_the_bank_imports_torch_but_no_clip(
    process, tiny_path, checkpoint, tmp_path
):
    path = tmp_path / "o.png"
    done = process("edit", tiny_path, *PAIR, "--generator", checkpoint, *EASY, "-o", path)
    assert done.returncode == 0, done.stderr
    assert path.exists()
    assert done.stderr == "imported: PIL torch\n"
    assert done.stdout.startswith(f"{path}: 1 x 1 images, ")


@pytest.fixture(scope="module")
def letters_path(draw, checkpoint, clip_folder, tmp_path_factory):
    """An atlas of the tiny generator drawn with a real CLIP of random weights."""
    from styleatlas import load_encoder

    encoder = load_encoder(clip_folder, "cpu")
    path = tmp_path_factory.mktemp("letters_atlas") / "letters.h5"
    atlas = draw(load_generator(checkpoint, "cpu"), encoder, ("a b", "a c"), images=2)
    atlas.write(path)
    return path


def test_json_tells_channels_scores_and_what_clip_saw(
    run, letters_path, clip_folder, checkpoint, tmp_path
):
    path = tmp_path / "o.png"
    options = ("--generator", checkpoint, "--clip", clip_folder, "--channels", 2, "--json")
    pair = ("--neutral", "a b", "--target", "a new c")
    sizes = ("--seed", "3,4", "--alpha", "0,2")
    result = run("edit", letters_path, *pair, *options, *sizes, "-o", path)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["output"] == str(path) and path.exists()
    assert [(line["seed"], line["alpha"]) for line in record["images"]] == [
        (3, 0),
        (4, 0),
        (3, 2),
        (4, 2),
    ]
    assert len(record["channels"]) == 2 and record["way"] == "direction"
    shifts = [line["clip_shift"] for line in record["images"]]
    assert shifts[:2] == [0, 0] and all(shifts[2:])


def test_json_without_the_clip_that_measures_leaves_no_picture(refused_edit):
    assert refused_edit("--json") == (
        'CLIP: this atlas was drawn with "countable clip 0"; name its file by --clip'
    )


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
        (("--target", "A picture "), 'target: "A picture " is the neutral prompt itself'),
        (("--target", "x" * 1025), "longer than 1024 bytes; shorten it"),
        (("--target", "a\x07b"), "holds control characters; remove them"),
        (("--target", "words of no bank"), "name its file by --clip"),
        (("--beta", "0.99"), 'no channel passes beta 0.99 for "a picture" -> "a picture channel7"'),
        (("--beta", "0"), "beta 0: must lie between 0 and 1"),
        (("--beta", "nan"), "beta nan: must lie between 0 and 1"),
        (("--seed", "4294967296"), "seed 4294967296: must lie between 0 and 4294967295"),
        (("--alpha", "101"), "alpha 101: must lie between -100 and 100"),
        (("--alpha", "1,nan"), "alpha nan: must lie between"),
        (("--truncation", "2.5"), "truncation 2.5: must lie between 0 and 2"),
        (("--device", "warp"), "device 'warp': cannot be used"),
        (("--generator", "none.safetensors"), "none.safetensors: no such file"),
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


def test_best_score_of_a_failed_edit_belongs_to_the_kinds_asked_for(refused_edit):
    found = refused_edit("--beta", "0.99", "--kinds", "rgb")
    assert ".torgb:" in found.partition("the best score is")[2]


def test_directory_in_place_of_the_picture_is_named(refused_edit, tmp_path):
    (tmp_path / "dir.png").mkdir()
    assert "dir.png: is a directory; name a file" in refused_edit("-o", tmp_path / "dir.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_directory_without_permission_is_named(refused_edit, tmp_path):
    tmp_path.chmod(0o500)
    assert "is not writable; choose another" in refused_edit()


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


def test_old_picture_survives_a_failed_edit(refused_edit, tmp_path):
    (tmp_path / "out.png").write_bytes(b"old")
    refused_edit("--beta", "0.99")
    assert (tmp_path / "out.png").read_bytes() == b"old"


def test_failure_in_a_shell_is_one_line_without_a_traceback(tiny_path, checkpoint, tmp_path):
    arguments = (tiny_path, *PAIR, "--generator", checkpoint, "--beta", "0.99", "-o", "o.png")
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
