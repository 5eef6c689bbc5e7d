"""edit where CLIP has to see, by a tiny CLIP and on the embedded avatars."""

from __future__ import annotations

import json

import numpy as np
import pytest

from styleatlas import load_generator

from .edit_calls import ALPHA, EASY, GLASSES, PAIR, SMILE


@pytest.fixture(scope="module")
def letters_path(draw, checkpoint, clip_folder, tmp_path_factory):
    """An atlas of the tiny generator drawn with a real CLIP of random weights."""
    from styleatlas import load_encoder

    encoder = load_encoder(clip_folder, "cpu")
    path = tmp_path_factory.mktemp("letters_atlas") / "letters.h5"
    atlas = draw(load_generator(checkpoint, "cpu"), encoder, ("a b", "a c"), images=2)
    atlas.write(path)
    return path


@pytest.fixture
def letters(run, letters_path, clip_folder, checkpoint, tmp_path):
    """Edit by a real CLIP and return the record."""

    def letters(*options: object) -> dict:
        models = ("--generator", checkpoint, "--clip", clip_folder, "--json")
        pair = ("--neutral", "a b", "--target", "a new c")
        result = run("edit", letters_path, *pair, *models, *options, "-o", tmp_path / "o.png")
        assert result.exit_code == 0, result.output
        assert (tmp_path / "o.png").exists()
        return json.loads(result.stdout)

    return letters


def test_json_tells_channels_scores_and_what_clip_saw(letters, tmp_path):
    record = letters("--channels", 2, "--seed", "3,4", "--alpha", "0,2")
    assert list(record) == ["output", "why", "read", "edits", "conflicts", "images"]
    assert record["output"] == str(tmp_path / "o.png") and len(record["why"]) == 1
    (edit,) = record["edits"]
    assert (edit["neutral"], edit["target"], edit["keep"]) == ("a b", "a new c", [])
    assert len(edit["channels"]) == 2 and list(edit["channels"][0]) == ["channel", "score", "step"]
    assert edit["beta"] == abs(edit["channels"][1]["score"])
    assert record["conflicts"] == []
    assert [(line["image"], line["column"], line["alpha"]) for line in record["images"]] == [
        *(("seed 3", "alpha 0", 0), ("seed 4", "alpha 0", 0)),
        *(("seed 3", "alpha 2", 2), ("seed 4", "alpha 2", 2)),
    ]
    shifts = [line["clip_shift"] for line in record["images"]]
    assert shifts[:2] == [0, 0] and all(shifts[2:])
    for line in record["images"][:2]:
        assert line["before"] == line["probability"]
    assert all((line["way"], line["tried"]) == ("direction", {}) for line in record["images"])


def test_alpha_is_found_for_each_image_with_a_clip_of_ones_own(letters):
    record = letters("--seed", "1-3")
    assert {line["column"] for line in record["images"]} == {"after"}
    assert all(line["probability"] >= line["before"] for line in record["images"])
    assert any(line["alpha"] > 0 for line in record["images"])


def test_automatic_alphas_reach_the_probability_asked_for(avatars):
    some, _ = avatars(*SMILE, "--seed", "1-4", "--probability", "0.97")
    most = [line["alpha"] for line in some["images"]]
    assert all(line["probability"] >= 0.97 for line in some["images"]) and len(set(most)) > 1
    less, _ = avatars(*SMILE, "--seed", "1-4", "--probability", "0.6")
    assert sum(line["alpha"] for line in less["images"]) < sum(most)
    assert all(line["probability"] >= 0.6 for line in less["images"])


def test_what_is_kept_is_told_as_text_and_in_json(run, avatars, tmp_path):
    keep = ("--keep", "a face with a beard", "--keep", "a face with a hat")
    record, _ = avatars(*GLASSES, *keep, "--seed", "3,4")
    assert record["edits"][0]["keep"] == ["a face with a beard", "a face with a hat"]
    free, _ = avatars(*GLASSES, "--seed", "3,4")
    assert record["edits"][0]["channels"] != free["edits"][0]["channels"]
    kept = [line["kept"] for line in record["images"]]
    assert [list(moved) for moved in kept] == [["a face with a beard", "a face with a hat"]] * 2
    text = run("edit", "avatars", *GLASSES, *keep, "--seed", "3,4", "-o", tmp_path / "o.png").stdout
    first, second, fates, *_, third, fourth = text.splitlines()
    assert first == f"{tmp_path / 'o.png'}: 2 images"
    assert second.startswith('"a face with glasses": ') and "probability to CLIP" in second
    assert fates.startswith("2 images: ")
    mean = np.mean([abs(moved["a face with a beard"]) for moved in kept])
    assert third == f'"a face with a beard": kept, but for {mean:.3f} of movement to CLIP (mean)'
    assert fourth.startswith('"a face with a hat": kept')


def test_edits_that_undo_each_other_are_noted(run, avatars, tmp_path):
    both = (*GLASSES, "--edit", "a face -> a face with no glasses", "--alpha", "2")
    record, notes = avatars(*both)
    assert notes == ""
    pairs = {(conflict["edit"], conflict["other"]) for conflict in record["conflicts"]}
    assert pairs == {
        ("a face with glasses", "a face"),
        ("a face", "a face with glasses"),
    }
    assert all(conflict["share"] < -0.2 for conflict in record["conflicts"])
    told = run("edit", "avatars", *both, "-o", tmp_path / "o.png")
    assert told.exit_code == 0 and "undoes" not in told.stdout
    lines = told.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith('note: "a face with glasses" undoes ')


def test_edits_of_a_grid_are_each_by_itself_and_do_not_conflict(avatars):
    both = (*GLASSES, "--edit", "a face -> a face with no glasses", "--alpha", "2", "--grid")
    record, _ = avatars(*both)
    assert record["conflicts"] == [] and len(record["edits"]) == 2


def test_edit_by_prompts_of_the_bank_imports_torch_but_no_clip(
    process, tiny_path, checkpoint, tmp_path
):
    path = tmp_path / "o.png"
    options = (*PAIR, "--generator", checkpoint, *EASY, *ALPHA)
    done = process("edit", tiny_path, *options, "-o", path)
    assert done.returncode == 0, done.stderr
    assert path.exists()
    assert done.stderr == "imported: PIL torch\n"
    assert done.stdout.startswith(f"{path}: 1 image\n")


@pytest.mark.parametrize("option", ["--json", "--probability=0.9"])
def test_without_the_clip_that_measures_no_picture_is_left(
    refused, tiny_path, checkpoint, tmp_path, option
):
    options = (*PAIR, "--generator", checkpoint, option, "-o", tmp_path / "o.png")
    assert refused("edit", tiny_path, *options) == (
        'CLIP: this atlas was drawn with "countable clip 0"; name its file by --clip'
    )
