"""edit by samples: where directions come from, and what is said of them and of every image."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from styleatlas.engine.pictures.recipe import read_recipe
from styleatlas.engine.pictures.sheet import save_png
from styleatlas.engine.steering.status import STATUSES, WORDS

from .edit_calls import ALPHA, EASY, GLASSES, PAIR, pixels

BALD = ("--neutral", "a face", "--target", "a bald face")
GIRAFFE = ("--neutral", "a face", "--target", "a giraffe")
ALIKE = ("--neutral", "a man", "--target", "a woman")
ONE = ("--method", "direction", "--seed", "1-4")


def test_source_is_where_directions_come_from(avatars):
    moved = {}
    for source in ("auto", "samples", "table"):
        record, notes = avatars(*BALD, *ONE, "--source", source)
        assert notes == ""
        (edit,) = record["edits"]
        moved[source] = edit["channels"]
        assert edit["source"] == ("table" if source == "table" else "samples")
        assert (edit["kind"] is None) == (source == "table")
    assert moved["auto"] == moved["samples"] != moved["table"]


def test_recipe_keeps_the_source(run, tmp_path):
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    run("edit", "avatars", *BALD, *ONE, "--source", "table", "-o", first)
    assert read_recipe(first).options["source"] == "table"
    assert run("edit", "avatars", "--from-picture", first, "-o", again).exit_code == 0
    assert first.read_bytes() == again.read_bytes()
    other = tmp_path / "other.png"
    result = run("edit", "avatars", "--from-picture", first, "--source", "samples", "-o", other)
    assert result.exit_code == 0, result.output
    assert not np.array_equal(pixels(first), pixels(other))


def test_source_that_cannot_be_is_refused(refused_edit, refused, usage_error, tmp_path):
    message = refused_edit("--source", "samples")
    assert message == "source samples: rule and beta are the table's; leave them out"
    out = ("-o", tmp_path / "o.png")
    message = refused("edit", "avatars", *BALD, "--method", "optimize", "--source", "table", *out)
    assert message.startswith("method optimize: chooses no channels") and "source" in message
    assert "'samples', 'table'" in usage_error(*PAIR, "--source", "nowhere")


def test_samples_that_an_atlas_lacks_are_told_how_to_be_had(
    refused, tiny_path, checkpoint, tmp_path
):
    options = ("--generator", checkpoint, *ALPHA, "--source", "samples", "-o", tmp_path / "o.png")
    message = refused("edit", tiny_path, *PAIR, *options)
    assert message.startswith("source samples: this atlas has none; draw some with `styleatlas pre")


def test_summary_tells_what_a_direction_rests_on_and_what_became_of_the_images(
    run, avatars, tmp_path
):
    record, _ = avatars(*GLASSES, "--method", "direction", "--seed", "1-8")
    statuses = [image["status"] for image in record["images"]]
    assert set(statuses) <= set(STATUSES) and "already_there" in statuses
    text = run("edit", "avatars", *GLASSES, "--method", "direction", "--seed", "1-8",
               "-o", tmp_path / "o.png").stdout  # fmt: skip
    _, first, second, *rest = text.splitlines()
    assert " channels by samples (two-state, " in first and " % have it), alpha " in first
    there = [f"seed {k + 1}" for k, status in enumerate(statuses) if status == "already_there"]
    assert second.startswith("8 images: ")
    assert f"{len(there)} already there ({', '.join(there)})" in second
    assert f"  already there: {WORDS['already_there']}" in rest


def test_phrases_that_come_with_an_edit_are_told(run, avatars, tmp_path):
    black = ("--neutral", "a face", "--target", "a face with black hair")
    (edit,) = avatars(*black, *ONE)[0]["edits"]
    assert any("hair" in phrase for phrase in edit["held"]) and edit["inseparable"] == []
    text = run("edit", "avatars", *black, *ONE, "-o", tmp_path / "o.png").stdout
    told = ", ".join(f'"{phrase}"' for phrase in edit["held"])
    assert f"  comes with it, and was held still: {told}\n" in text


def test_what_samples_do_not_know_is_said_to_be_a_guess(run, avatars, tmp_path):
    record, notes = avatars(*GIRAFFE, *ONE)
    (edit,) = record["edits"]
    assert (edit["source"], edit["kind"]) == ("samples", "unknown")
    assert (edit["share"], edit["separation"]) == (None, None)
    assert {image["status"] for image in record["images"]} == {"unsupported"}
    assert notes.startswith('"a giraffe": none of the 4,000 samples stands out')
    text = run("edit", "avatars", *GIRAFFE, *ONE, "-o", tmp_path / "o.png").stdout
    assert f"4 images: 4 unsupported\n  unsupported: {WORDS['unsupported']}\n" in text


def test_status_is_null_where_clip_did_not_look(run, tiny_path, checkpoint, tmp_path):
    path = tmp_path / "o.png"
    fixed = ("--generator", checkpoint, *EASY, *ALPHA, "-o", path)
    text = run("edit", tiny_path, *PAIR, *fixed).stdout
    assert "image: " not in text and len(text.splitlines()) == 2


@pytest.mark.parametrize("options", [(), ("--alpha", "1,2"), ("--method", "optimize")])
def test_near_equal_prompts_are_noted_once_and_before_any_picture(
    run, monkeypatch, tmp_path, options
):
    path = tmp_path / "o.png"
    drawn = []

    def told(text: str, **how: object) -> None:
        drawn.append((text, path.exists()))

    monkeypatch.setattr("styleatlas.commands.sink.note", told)
    monkeypatch.setattr("styleatlas.engine.fallbacks.ways.OptimiseWay.__call__",
                        lambda self, subject, styles, edit: styles)  # fmt: skip
    result = run("edit", "avatars", *ALIKE, *options, "-o", path)
    assert result.exit_code == 0, result.output
    alike = [(text, there) for text, there in drawn if "nearly the same to CLIP" in text]
    assert len(alike) == 1 and not alike[0][1]
    assert alike[0][0].startswith('"a man" and "a woman": are nearly the same to CLIP (cosine ')


@pytest.mark.parametrize("pair", [("grey hair", "white hair"), ("a face", "hair")])
def test_edits_between_near_things_are_not_noted(avatars, pair):
    _, notes = avatars("--neutral", pair[0], "--target", pair[1], "--seed", "1", "--alpha", "1")
    assert "nearly the same" not in notes


def test_record_is_json_of_plain_values(avatars):
    record, _ = avatars(*BALD, *ONE)
    assert json.loads(json.dumps(record)) == record


# prompts that say what is missing

OFF = ("--neutral", "a face", "--target", "a person without glasses")


def test_what_is_missing_is_led_away_from_and_told(run, avatars, tmp_path):
    record, _ = avatars(*OFF, *ONE)
    meant = {"neutral": "a face", "target": "a person without glasses"}
    assert record["read"] == [{**meant, "as": [["a person with glasses", "a person"]]}]
    (edit,) = record["edits"]
    assert (edit["neutral"], edit["target"]) == ("a person with glasses", "a person")
    assert {image["status"] for image in record["images"]} == {"reached", "already_there"}
    result = run("edit", "avatars", *OFF, *ONE, "-o", tmp_path / "off.png")
    told = 'a person without glasses": read as "a person with glasses" -> "a person"'
    assert told in result.output
    assert read_recipe(tmp_path / "off.png").options["read"] == [
        [["a person with glasses", "a person"]]
    ]


def test_quoted_prompt_is_taken_as_it_stands(avatars):
    record, _ = avatars("--neutral", "a face", "--target", '"a face without glasses"', *ONE)
    assert record["edits"][0]["target"] == "a face without glasses"
    assert record["read"] == [
        {
            "neutral": "a face",
            "target": '"a face without glasses"',
            "as": [["a face", "a face without glasses"]],
        }
    ]


def test_removal_is_one_edit_however_it_is_asked_for(avatars):
    """And with a given alpha, too, it leaves alone the images that have none."""
    pair = "a face with glasses", "a face"
    back, weight, alpha = (
        avatars(*edit, "--seed", "1-8", "--method", "direction")[0]
        for edit in (
            ("--edit", " -> ".join(pair), "--alpha", "2"),
            ("--edit", f"{pair[1]} -> {pair[0]} : -1", "--alpha", "2"),
            ("--edit", f"{pair[1]} -> {pair[0]}", "--alpha", "-2"),
        )
    )
    assert back["edits"] == weight["edits"] == alpha["edits"]
    alphas = [image["alpha"] for image in back["images"]]
    assert alphas == [image["alpha"] for image in weight["images"]]
    assert alphas == [image["alpha"] for image in alpha["images"]]
    spared = [image["status"] == "already_there" for image in back["images"]]
    assert any(spared) and not all(spared)
    assert alphas == [0.0 if left else 2.0 for left in spared]


def test_picture_made_before_prompts_were_read_is_made_again_as_it_was(run, tmp_path):
    first, old, again = (tmp_path / name for name in ("first.png", "old.png", "again.png"))
    literal = ("--neutral", "a face", "--target", '"a face without glasses"')
    run("edit", "avatars", *literal, *ONE, "-o", first)
    recipe = read_recipe(first)
    options = {name: value for name, value in recipe.options.items() if name != "read"}
    plain = ("a face", "a face without glasses", 1.0)
    with Image.open(first) as picture:
        save_png(picture, old, replace(recipe, options=options, edits=(plain,)))
    assert run("edit", "avatars", "--from-picture", old, "-o", again).exit_code == 0
    assert np.array_equal(pixels(first), pixels(again))
