"""edit, with a real if tiny StyleGAN2, and where CLIP has to see with the embedded models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from styleatlas import load_generator
from styleatlas.engine.editor import Editor
from styleatlas.engine.fallbacks.mapper import Mapper, MapperRecord, write_mapper
from styleatlas.engine.fallbacks.optimise import OptimiseSettings
from styleatlas.engine.jobs import edit as jobs
from styleatlas.engine.jobs import methods
from styleatlas.engine.models.latents import write_styles
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.engine.networks.mapper import LatentMapper, MapperConfig, split_groups
from styleatlas.engine.pictures.recipe import Recipe, read_recipe
from styleatlas.engine.pictures.sheet import save_png, sheet
from styleatlas.engine.steering.direction import Choice
from styleatlas.store.atlas import Atlas
from styleatlas.store.registry import EMBEDDED

PAIR = ("--neutral", "a picture", "--target", "a picture channel7")
SEVEN = "a picture -> a picture channel7"
TWELVE = "a picture -> a picture channel12"
EASY = ("--beta", "0.05")
ALPHA = ("--alpha", "4")
SMILE = ("--neutral", "a face", "--target", "a smiling face")
GLASSES = ("--neutral", "a face", "--target", "a face with glasses")


@pytest.fixture
def draw_to(run, tiny_path, checkpoint):
    """Edit into a path, with no prompts of its own; returns stdout."""

    def draw_to(path: Path, *options: object) -> str:
        result = run("edit", tiny_path, "--generator", checkpoint, *options, "-o", path)
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        return result.stdout

    return draw_to


@pytest.fixture
def edit(draw_to, tmp_path):
    """Edit and return the picture's pixels."""

    def edit(*options: object) -> np.ndarray:
        path = tmp_path / "out.png"
        draw_to(path, *PAIR, *EASY, *ALPHA, *options)
        return pixels(path)

    return edit


@pytest.fixture
def refused_edit(refused, tiny_path, checkpoint, tmp_path):
    """Edit in vain and return the message; a later option replaces an earlier one."""

    def refused_edit(*options: object, atlas=tiny_path) -> str:
        fixed = (*PAIR, "--generator", checkpoint, *EASY, *ALPHA, "-o", tmp_path / "out.png")
        return refused("edit", atlas, *fixed, *options)

    return refused_edit


@pytest.fixture
def usage_error(run, tiny_path, checkpoint, tmp_path):
    """Call edit in a wrong way and return what it says."""

    def usage_error(*options: object) -> str:
        path = tmp_path / "out.png"
        result = run("edit", tiny_path, "--generator", checkpoint, *options, "-o", path)
        assert result.exit_code == 2, result.output
        assert not path.exists() and result.stdout == ""
        return result.stderr.partition("Error: ")[2]

    return usage_error


@pytest.fixture(scope="module")
def tiny_editor(tiny_atlas, checkpoint, make_encoder) -> Editor:
    return Editor(tiny_atlas, load_generator(checkpoint, "cpu"), make_encoder(23))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def render(editor: Editor, seed: int, target: str = PAIR[3], alpha: float = 4.0) -> object:
    """What `edit` shows of a seed by the options `EASY`, (3, 8, 8)."""
    direction = editor.direction(PAIR[1], target, Choice(beta=0.05))
    styles = styles_from_seeds(editor.generator, [seed], 0.7)
    return editor.apply(styles, direction, alpha).images[0]


# sheets


def test_single_image_without_labels_is_the_render_itself(edit, tiny_editor):
    found = edit("--seed", "3")
    assert found.shape == (8, 8, 3)
    assert np.array_equal(found, np.asarray(sheet([[render(tiny_editor, 3)]])))
    assert not np.array_equal(found, edit("--seed", "3", "--alpha", "0")), "the edit must show"


def test_strip_has_a_row_a_seed_and_a_column_an_alpha_with_labels(edit, tiny_editor):
    rows = [[render(tiny_editor, seed, alpha=a) for a in (-2, 0, 2.5)] for seed in (1, 2, 3)]
    labels = ("seed 1", "seed 2", "seed 3"), ("alpha -2", "alpha 0", "alpha 2.5")
    found = edit("--seed", "1-3", "--alpha", "-2,0,2.5")
    assert np.array_equal(found, np.asarray(sheet(rows, *labels)))


def test_one_row_or_one_column_needs_labels_on_the_other_side_alone(edit, tiny_editor):
    row = [[render(tiny_editor, 5, alpha=a) for a in (0, 4)]]
    found = edit("--seed", "5", "--alpha", "0,4")
    assert np.array_equal(found, np.asarray(sheet(row, (), ("alpha 0", "alpha 4"))))
    column = [[render(tiny_editor, seed)] for seed in (5, 6)]
    found = edit("--seed", "5,6")
    assert np.array_equal(found, np.asarray(sheet(column, ("seed 5", "seed 6"))))


def test_before_is_a_first_column_of_the_images_as_they_were(edit, tiny_editor):
    row = [[render(tiny_editor, 5, alpha=0), render(tiny_editor, 5)]]
    found = edit("--seed", "5", "--before")
    assert np.array_equal(found, np.asarray(sheet(row, (), ("before", "alpha 4"))))


def test_grid_has_a_column_an_edit_and_alpha(draw_to, tiny_editor, tmp_path):
    targets, alphas = ("a picture channel7", "a picture channel12"), (2, 4)
    options = ("--edit", SEVEN, "--edit", TWELVE, "--grid", *EASY)
    text = draw_to(tmp_path / "o.png", *options, "--alpha", "2,4")
    row = [[render(tiny_editor, 1, target, alpha) for target in targets for alpha in alphas]]
    labels = [f"{target}, alpha {alpha}" for target in targets for alpha in alphas]
    assert np.array_equal(pixels(tmp_path / "o.png"), np.asarray(sheet(row, (), labels)))
    assert text.startswith(f"{tmp_path / 'o.png'}: 1 x 4 images\n")
    draw_to(tmp_path / "one.png", *options, *ALPHA)
    row = [[render(tiny_editor, 1, target) for target in targets]]
    assert np.array_equal(pixels(tmp_path / "one.png"), np.asarray(sheet(row, (), targets)))


def test_edits_are_combined_by_their_weights(draw_to, tiny_editor, tmp_path):
    styles = styles_from_seeds(tiny_editor.generator, [1], 0.7)
    choice = Choice(beta=0.05)
    steps = [tiny_editor.direction(PAIR[1], target, choice) for target in (PAIR[3], TWELVE[13:])]
    known = tiny_editor.apply(styles, steps, 3.0, [1.0, 0.5]).images[0]
    pair = (*PAIR, "--edit", f"{TWELVE} : 0.5")
    for name, edits in (("a", pair), ("b", ("--edit", SEVEN, "--edit", f"{TWELVE}:.5"))):
        text = draw_to(tmp_path / f"{name}.png", *edits, *EASY, "--alpha", 3)
        assert np.array_equal(pixels(tmp_path / f"{name}.png"), np.asarray(sheet([[known]])))
    assert '"a picture channel7": ' in text and text.endswith(" channels, alpha 1.5\n")


def test_negative_weight_is_the_way_back(edit, draw_to, tmp_path):
    back = "a picture channel7 -> a picture : -1"
    draw_to(tmp_path / "back.png", "--edit", back, *EASY, *ALPHA)
    assert np.array_equal(pixels(tmp_path / "back.png"), edit())


def test_options_change_what_is_drawn(edit):
    plain = edit("--seed", "5")
    for options in (
        *(["--alpha", "-4"], ["--truncation", "1"], ["--layers", "rgb"], ["--seed", "6"]),
        *(["--rule", "paper"], ["--beta", "0.2"]),
    ):
        assert not np.array_equal(plain, edit("--seed", "5", *options)), options


# which channels


def channels(run, tiny_path, checkpoint, tmp_path, *options: object) -> list[str]:
    """Which channels an edit moves, by the styles it saves."""
    path = tmp_path / "o.npz"
    fixed = ("--generator", checkpoint, *PAIR, "--alpha", 1, "--styles", path)
    result = run("edit", tiny_path, *fixed, *options, "-o", tmp_path / "o.png")
    assert result.exit_code == 0, result.output
    generator = load_generator(checkpoint, "cpu")
    before = styles_from_seeds(generator, [1], 0.7).numpy()
    moved = np.flatnonzero((np.load(path)["styles"] != before).any(0))
    return [generator.layout.label(int(channel)) for channel in moved]


@pytest.fixture
def moved(run, tiny_path, checkpoint, tmp_path):
    return lambda *options: channels(run, tiny_path, checkpoint, tmp_path, *options)


def test_channels_takes_that_many(moved):
    assert len(moved("--channels", 3)) == 3


def test_layers_are_kinds_patterns_and_names(moved, refused_edit):
    assert {label.split(":")[0] for label in moved(*EASY, "--layers", "rgb")} == {
        "b4.torgb",
        "b8.torgb",
    }
    assert {label.split(":")[0] for label in moved(*EASY, "--layers", "b8.*")} <= {
        *("b8.conv0", "b8.conv1", "b8.torgb"),
    }
    some = moved(*EASY, "--layers", "b4.torgb, b8.conv1")
    assert {label.split(":")[0] for label in some} == {"b4.torgb", "b8.conv1"}
    assert "layer 'b16.conv9': this generator has none" in refused_edit("--layers", "b16.conv9")


def test_excluded_channels_stay(moved, refused_edit):
    every = moved(*EASY)
    rest = moved(*EASY, "--exclude-channels", f"{every[0]},{every[2]}")
    assert rest == [label for label in every if label not in (every[0], every[2])]
    assert "b8.conv9" in refused_edit("--exclude-channels", "b8.conv9:1")


def test_rule_decides_which_channels_move(moved):
    assert moved("--channels", 5, "--rule", "paper") != moved("--channels", 5)


def test_best_score_of_a_failed_edit_belongs_to_the_layers_asked_for(refused_edit):
    found = refused_edit("--beta", "0.99", "--layers", "rgb")
    assert ".torgb:" in found.partition("the best score is")[2]


# where CLIP has to see


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


@pytest.fixture
def avatars(run, tmp_path):
    """Edit the embedded avatars and return the record and the notes."""

    def avatars(*options: object) -> tuple[dict, str]:
        path = tmp_path / "avatars.png"
        told = run("edit", "avatars", *options, "--json", "-o", path)
        assert told.exit_code == 0, told.output
        return json.loads(told.stdout), told.stderr

    return avatars


def test_json_tells_channels_scores_and_what_clip_saw(letters, tmp_path):
    record = letters("--channels", 2, "--seed", "3,4", "--alpha", "0,2")
    assert list(record) == ["output", "why", "edits", "conflicts", "images"]
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
    some, _ = avatars(*SMILE, "--seed", "1-4")
    most = [line["alpha"] for line in some["images"]]
    assert all(line["probability"] > 0.99 for line in some["images"]) and len(set(most)) > 1
    less, _ = avatars(*SMILE, "--seed", "1-4", "--probability", "0.6")
    assert sum(line["alpha"] for line in less["images"]) < sum(most)
    assert all(line["probability"] >= 0.6 for line in less["images"])


def test_what_is_kept_is_told_as_text_and_in_json(run, avatars, tmp_path):
    keep = ("--keep", "a face with a beard", "--keep", "a face with a hat")
    record, _ = avatars(*GLASSES, *keep, "--seed", "1,2")
    assert record["edits"][0]["keep"] == ["a face with a beard", "a face with a hat"]
    free, _ = avatars(*GLASSES, "--seed", "1,2")
    assert record["edits"][0]["channels"] != free["edits"][0]["channels"]
    kept = [line["kept"] for line in record["images"]]
    assert [list(moved) for moved in kept] == [["a face with a beard", "a face with a hat"]] * 2
    text = run("edit", "avatars", *GLASSES, *keep, "--seed", "1,2", "-o", tmp_path / "o.png").stdout
    first, second, third, fourth = text.splitlines()
    assert first == f"{tmp_path / 'o.png'}: 2 x 1 images"
    assert second.startswith('"a face with glasses": ') and "probability to CLIP" in second
    mean = np.mean([abs(moved["a face with a beard"]) for moved in kept])
    assert third == f'"a face with a beard": kept, but for {mean:.3f} of movement to CLIP (mean)'
    assert fourth.startswith('"a face with a hat": kept')


def test_edits_that_undo_each_other_are_noted(run, avatars, tmp_path):
    both = (*GLASSES, "--edit", "a face -> a face with no glasses", "--alpha", "2")
    record, notes = avatars(*both)
    assert notes == ""
    pairs = {(conflict["edit"], conflict["other"]) for conflict in record["conflicts"]}
    assert pairs == {
        ("a face with glasses", "a face with no glasses"),
        ("a face with no glasses", "a face with glasses"),
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
    assert done.stdout.startswith(f"{path}: 1 x 1 images\n")


@pytest.mark.parametrize("option", ["--json", "--probability=0.9"])
def test_without_the_clip_that_measures_no_picture_is_left(
    refused, tiny_path, checkpoint, tmp_path, option
):
    options = (*PAIR, "--generator", checkpoint, option, "-o", tmp_path / "o.png")
    assert refused("edit", tiny_path, *options) == (
        'CLIP: this atlas was drawn with "countable clip 0"; name its file by --clip'
    )


# ways


WINK = ("--neutral", "a face", "--target", "a winking face")
SOME = ("--seed", "3,2")  # of which the table makes the first wink, to CLIP


@pytest.fixture
def quick(monkeypatch):
    """Optimisations of a few steps, and the bar that these avatars are made for."""
    monkeypatch.setattr(methods, "ENOUGH", 0.9)
    few = partial(methods.Fallbacks, settings=OptimiseSettings(steps=8))
    monkeypatch.setattr(methods, "Fallbacks", few)


@pytest.fixture
def winks(tmp_path) -> Path:
    """A library with an untrained mapper for `WINK`, which leaves avatars as they are."""
    atlas, generator = Atlas.open(EMBEDDED.atlas), load_generator("avatars", "cpu")
    shape = tuple(generator.map(torch.zeros(1, generator.z_dim)).shape[1:])
    groups = split_groups(generator.layout, generator.rows)
    origin = atlas.fingerprint
    record = MapperRecord(
        library="test",
        neutral="a face",
        target="a winking face",
        generator=origin.generator,
        clip=origin.clip,
        created="2026-11-22T05:40:00+00:00",
    )
    network = LatentMapper(MapperConfig(shape=shape, groups=groups, hidden=3, depth=2))
    (tmp_path / "library").mkdir()
    path = tmp_path / "library" / "winks.safetensors"
    write_mapper(path, Mapper(network.requires_grad_(False), record))
    return path


def test_auto_tells_of_every_image_which_way_it_went_and_what_was_tried(quick, avatars):
    record, notes = avatars(*WINK, *SOME)
    assert notes == ""
    first, second = record["images"]
    assert (first["way"], list(first["tried"])) == ("direction", ["direction"])
    assert (second["way"], list(second["tried"])) == ("optimize", ["direction", "optimize"])
    assert second["tried"]["direction"] < 0.9 <= first["tried"]["direction"]
    assert first["alpha"] > 0 == second["alpha"]
    assert first["probability"] == pytest.approx(first["tried"]["direction"], abs=2e-3)
    assert second["probability"] == pytest.approx(second["tried"]["optimize"], abs=2e-3)
    (why,) = record["why"]
    assert why.endswith("1 of 2 images optimised in s")


def test_summary_counts_the_ways(quick, run, tmp_path):
    told = run("edit", "avatars", *WINK, *SOME, "-o", tmp_path / "o.png")
    assert told.exit_code == 0 and told.stderr == ""
    first, second, third = told.stdout.splitlines()
    assert first == f"{tmp_path / 'o.png'}: 2 x 1 images"
    assert second.startswith('"a winking face": ') and ", alpha " in second
    assert third.startswith("2 images: 1 by direction, 1 by optimize (channels of the atlas: ")


def test_each_method_takes_its_way(quick, avatars, winks, tmp_path):
    library = ("--mappers", winks.parent)
    made = {}
    for method in ("auto", "direction", "mapper", "optimize"):
        record, notes = avatars(*WINK, *SOME, *library, "--method", method)
        assert notes == ""
        made[method] = [(image["way"], list(image["tried"])) for image in record["images"]]
    assert made == {
        "auto": [
            ("direction", ["direction"]),
            ("optimize", ["direction", "mapper", "optimize"]),
        ],
        "direction": [("direction", [])] * 2,
        "mapper": [("mapper", ["mapper"])] * 2,
        "optimize": [("optimize", ["optimize"])] * 2,
    }


def test_mapper_is_looked_for_in_the_library_if_no_folder_is_named(
    avatars, refused, winks, monkeypatch, tmp_path
):
    monkeypatch.setenv("STYLEATLAS_MAPPERS", str(winks.parent))
    record, _ = avatars(*WINK, "--method", "mapper")
    assert record["why"] == ["1 of 1 images by the mapper winks.safetensors"]
    options = ("--method", "mapper", "--mappers", tmp_path / "none", "-o", tmp_path / "o.png")
    message = refused("edit", "avatars", *WINK, *options)
    assert message.startswith(f"mapper: none in {tmp_path / 'none'} is trained for")
    assert "`styleatlas mapper train`" in message


def test_direction_never_falls_back_however_poor(run, avatars, monkeypatch):
    monkeypatch.setattr(methods, "Optimisation", None)
    record, _ = avatars(*WINK, "--seed", "2", "--method", "direction")
    assert record["images"][0]["probability"] < 0.9


@pytest.mark.parametrize(
    "options",
    [
        *(("--alpha", "3"), ("--keep", "a face with a hat"), ("--layers", "conv")),
        ("--exclude-channels", "b16.conv1:0"),
        ("--edit", "a face -> a face with a hat"),
    ],
    ids=" ".join,
)
def test_auto_is_the_table_alone_where_only_the_table_can_do_as_told(avatars, monkeypatch, options):
    monkeypatch.setattr(methods, "Optimisation", None)
    record, _ = avatars(*WINK, "--seed", "2", *options)
    assert {image["way"] for image in record["images"]} == {"direction"}


@pytest.mark.parametrize("method", ["mapper", "optimize"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--alpha", "3"), "has no alpha; leave it out"),
        (("--keep", "a face with a hat"), "chooses no channels and keeps no prompt; leave out"),
        (("--beta", "0.1"), "chooses no channels"),
        (("--edit", "a face -> a face with a hat"), "makes one edit at a time; say it in one"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_option_that_a_method_cannot_follow_is_refused(refused, tmp_path, method, options, message):
    fixed = ("edit", "avatars", *WINK, "--method", method, "-o", tmp_path / "o.png")
    assert f"method {method}: {message}" in refused(*fixed, *options)


def test_method_is_one_of_four(usage_error):
    assert "'magic' is not one of 'auto', 'direction'" in usage_error(*PAIR, "--method", "magic")


def test_what_takes_long_is_announced_before_it_begins(quick, avatars, monkeypatch):
    monkeypatch.setattr(methods, "LONG", 0.0)
    _, notes = avatars(*WINK, *SOME)
    (line,) = notes.splitlines()
    assert line.startswith("optimising 1 of 2 images: about ")
    assert line.endswith("; --method direction does without")


def test_picture_of_several_ways_is_repeated_to_the_same_bytes(quick, run, tmp_path):
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    told = run("edit", "avatars", *WINK, *SOME, "-o", first)
    assert "1 by direction, 1 by optimize" in told.stdout
    assert read_recipe(first).options["method"] == "auto"
    assert run("edit", "avatars", "--from-picture", first, "-o", again).exit_code == 0
    assert again.read_bytes() == first.read_bytes()
    table = ("--method", "direction")
    run("edit", "avatars", "--from-picture", first, *table, "-o", tmp_path / "table.png")
    assert not np.array_equal(pixels(tmp_path / "table.png"), pixels(first))


def test_picture_by_optimisation_is_repeated_with_its_method(quick, run, tmp_path):
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    run("edit", "avatars", *WINK, "--seed", "2", "--method", "optimize", "-o", first)
    told = run("edit", "avatars", "--from-picture", first, "--json", "-o", again)
    assert json.loads(told.stdout)["images"][0]["way"] == "optimize"
    assert again.read_bytes() == first.read_bytes()


def test_styles_alone_are_optimised_too(quick, avatars, tmp_path):
    path = tmp_path / "styles.npz"
    known, _ = avatars(*WINK, "--seed", "2", "--method", "optimize", "--styles", tmp_path / "o.npz")
    generator = load_generator("avatars", "cpu")
    write_styles(path, styles_from_seeds(generator, [2], 0.7), generator)
    found, _ = avatars(*WINK, "--latent", path, "--method", "optimize")
    assert found["images"][0]["tried"] == known["images"][0]["tried"]


# folders and films


def test_folder_has_a_picture_an_image_by_its_name(draw_to, edit, tmp_path):
    text = draw_to(tmp_path / "a" / "b", *PAIR, *EASY, *ALPHA, "--seed", "2-4")
    assert text.startswith(f"{tmp_path / 'a' / 'b'}: 3 x 1 images\n")
    names = sorted(path.name for path in (tmp_path / "a" / "b").iterdir())
    assert names == ["seed 2.png", "seed 3.png", "seed 4.png"]
    for seed in (2, 3, 4):
        found = pixels(tmp_path / "a" / "b" / f"seed {seed}.png")
        assert np.array_equal(found, edit("--seed", seed))


def test_folder_is_made_a_batch_at_a_time(draw_to, edit, tmp_path, monkeypatch):
    sizes = []
    known = jobs.run

    def counted(editor, images, job, fallbacks):
        sizes.append(len(images.names))
        return known(editor, images, job, fallbacks)

    monkeypatch.setattr(jobs, "run", counted)
    monkeypatch.setattr(jobs, "batch_size", lambda generator: 2)
    folder = tmp_path / "folder"
    folder.mkdir()
    draw_to(folder, *PAIR, *EASY, "--alpha", "0,4", "--before", "--seed", "1-5")
    assert sizes == [2, 2, 1]
    assert len(list(folder.iterdir())) == 5
    strip = ("--alpha", "0,4", "--before")
    for seed in (1, 4, 5):
        assert np.array_equal(pixels(folder / f"seed {seed}.png"), edit("--seed", seed, *strip))


def test_json_of_a_folder_tells_every_image(run, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "batch_size", lambda generator: 2)
    told = run("edit", "avatars", *GLASSES, "--alpha", "1,3", "--seed", "1-3", "--json",
               "-o", tmp_path / "folder")  # fmt: skip
    lines = json.loads(told.stdout)["images"]
    assert sorted((line["image"], line["alpha"]) for line in lines) == [
        (f"seed {seed}", alpha) for seed in (1, 2, 3) for alpha in (1, 3)
    ]


def test_image_twice_in_a_folder_is_refused(refused_edit, tmp_path):
    found = refused_edit("--seed", "1-3,2", "-o", tmp_path / "folder")
    assert 'two pictures would be called "seed 2.png"' in found
    assert not (tmp_path / "folder").exists()


def test_folder_that_cannot_be_made_is_named(refused_edit, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "folder"):
        assert f"{path}: cannot be made ({tmp_path / 'file'} is not a folder)" in refused_edit(
            "-o", path
        )


def test_film_goes_there_and_back(draw_to, edit, tmp_path):
    path = tmp_path / "o.gif"
    text = draw_to(path, *PAIR, *EASY, *ALPHA, "--seconds", 0.5, "--seed", "1,2")
    assert text.startswith(f"{path}: 2 x 1 images\n")
    with Image.open(path) as film:
        assert film.n_frames == 10 and film.size == (16, 8)
        frames = []
        for i in range(film.n_frames):
            film.seek(i)
            frames.append(np.asarray(film.convert("RGB")).astype(int))
    ends = [np.hstack([edit("--seed", s, "--alpha", a) for s in (1, 2)]) for a in (0, 4)]
    for frame, end in zip((frames[0], frames[5]), ends, strict=True):
        assert np.abs(frame - end).mean() < 8  # of a palette's colours
    assert np.array_equal(frames[4], frames[6])


def test_film_of_an_automatic_alpha(run, tmp_path):
    path = tmp_path / "o.webp"
    told = run("edit", "avatars", *GLASSES, "--seconds", 0.2, "-o", path)
    assert told.exit_code == 0, told.output
    with Image.open(path) as film:
        assert film.n_frames == 4 and film.size == (64, 64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--alpha", "1,2"), "film: shows one edit, from before on; give one alpha or none"),
        (("--edit", TWELVE, "--grid"), "film: shows one edit"),
        (("--seconds", "0"), "seconds 0: must be above 0 and at most 60"),
        (("--seconds", "nan"), "seconds nan: must be above 0"),
        (("--seconds", "61"), "seconds 61: must be above 0 and at most 60"),
        (("--fps", "-1"), "frames a second -1: must be above 0"),
        (("--fps", "inf"), "frames a second inf: must be above 0"),
        (("--fps", "51"), "frames a second 51: .gif films have at most 50"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_film_that_cannot_be_is_refused(refused_edit, tmp_path, options, message):
    assert message in refused_edit("-o", tmp_path / "o.gif", *options)


@pytest.mark.parametrize("name", ["out.jpg", "out.tar.gz", "none/out.png", "none/out.gif"])
def test_place_is_checked_before_anything_is_rendered(refused_edit, tmp_path, monkeypatch, name):
    def rendered(*_):
        raise AssertionError("rendered")

    monkeypatch.setattr(jobs, "run", rendered)
    message = "create it first" if "/" in name else "end the name in .png"
    assert message in refused_edit("-o", tmp_path / name)


def test_sheet_too_large_is_refused_before_it_is_rendered(refused_edit):
    alphas = ",".join("1" * 1000)
    assert "is too large for one picture" in refused_edit("--seed", "1-1600", "--alpha", alphas)


# styles


def test_styles_that_were_saved_are_what_another_edit_starts_from(draw_to, edit, tmp_path):
    path = tmp_path / "styles.npz"
    edited = edit("--seed", "3", "--styles", path)
    with np.load(path) as saved:
        assert saved["styles"].shape == (1, len(saved["styles"][0]))
        assert saved["seeds"].tolist() == [3]
    again = edit("--latent", path, "--alpha", "0")
    assert np.array_equal(again, edited)
    twice = edit("--latent", path)
    assert np.array_equal(twice, edit("--seed", "3", "--alpha", "8"))


def test_styles_hold_column_after_column(edit, tmp_path):
    path = tmp_path / "styles.npz"
    edit("--seed", "3,4", "--alpha", "0,4", "--styles", path)
    with np.load(path) as saved:
        assert len(saved["styles"]) == 4 and "seeds" not in saved
    edit("--seed", "3,4", "--alpha", "0", "--styles", tmp_path / "before.npz")
    with np.load(path) as saved, np.load(tmp_path / "before.npz") as before:
        assert np.array_equal(saved["styles"][:2], before["styles"])
        assert not np.array_equal(saved["styles"][2:], before["styles"])


def test_styles_of_a_folder_are_in_the_order_of_those_of_a_sheet(
    draw_to, edit, tmp_path, monkeypatch
):
    options = ("--seed", "1-5", "--alpha", "0,4")
    edit(*options, "--styles", tmp_path / "sheet.npz")
    monkeypatch.setattr(jobs, "batch_size", lambda generator: 2)
    draw_to(tmp_path / "folder", *PAIR, *EASY, *options, "--styles", tmp_path / "folder.npz")
    with np.load(tmp_path / "sheet.npz") as one, np.load(tmp_path / "folder.npz") as other:
        assert one["styles"] == pytest.approx(other["styles"], abs=1e-6)


def test_files_of_latents_with_one_name_are_not_written_over_each_other(
    edit, refused_edit, tmp_path
):
    folder = tmp_path / "latents"
    folder.mkdir()
    edit("--seed", "3", "--styles", folder / "me.npz")
    with np.load(folder / "me.npz") as saved:
        np.save(folder / "me.npy", saved["styles"] + 1)
    found = refused_edit("--latent", folder, "-o", tmp_path / "out")
    assert 'two pictures would be called "me.png"; name images differently' in found


def test_bad_place_for_styles_is_refused_before_the_edit(refused_edit, tmp_path):
    assert "end the name in .npz" in refused_edit("--styles", tmp_path / "styles.npy")
    assert "create it first" in refused_edit("--styles", tmp_path / "none" / "styles.npz")


# recipes


@pytest.fixture
def again(draw_to, tmp_path):
    """Make a picture again from itself alone, and return the bytes."""

    def again(picture: Path, *options: object) -> bytes:
        draw_to(tmp_path / "again.png", "--from-picture", picture, *options)
        return (tmp_path / "again.png").read_bytes()

    return again


@pytest.mark.parametrize(
    "options",
    [
        (*PAIR, "--alpha", "0,0.1,4", "--seed", "1-3,7"),
        ("--edit", SEVEN, "--edit", f"{TWELVE} : -0.3", "--grid", "--before", *ALPHA),
        (*PAIR, *ALPHA, *EASY, "--rule", "paper", "--layers", "rgb,b8.*", "--truncation", "0.9"),
        (*PAIR, *ALPHA, "--channels", "4", "--keep", "a picture channel12"),
        (*PAIR, *ALPHA, *EASY, "--exclude-channels", "b8.conv0:0, b8.conv0:1"),
    ],
    ids=["strip", "grid", "rule", "keep", "exclude"],
)
def test_picture_is_made_again_to_the_byte(draw_to, again, tmp_path, options):
    path = tmp_path / "first.png"
    draw_to(path, *options)
    assert again(path) == path.read_bytes()


def test_picture_of_a_folder_is_made_again_alone(draw_to, again, tmp_path):
    draw_to(tmp_path / "folder", *PAIR, *EASY, "--alpha", "0,4", "--before", "--seed", "1-5")
    for seed in (1, 4):
        path = tmp_path / "folder" / f"seed {seed}.png"
        assert again(path) == path.read_bytes()


def test_sheet_of_automatic_alphas_is_made_again_to_the_byte(run, tmp_path):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    options = (*GLASSES, "--keep", "a face with a beard", "--probability", "0.9", "--seed", "1-3")
    for path, chosen in ((first, options), (second, ("--from-picture", first))):
        told = run("edit", "avatars", *chosen, "-o", path)
        assert told.exit_code == 0, told.output
    assert second.read_bytes() == first.read_bytes()
    assert read_recipe(first).options["probability"] == 0.9


def test_picture_of_latents_is_made_again_from_the_file_it_names(
    draw_to, again, refused_edit, tmp_path
):
    file, other = tmp_path / "z.npz", tmp_path / "other.npz"
    np.savez(file, z=np.random.default_rng(1).normal(size=(3, 6)).astype("f4"))
    np.savez(other, z=np.zeros((3, 6), "f4"))
    draw_to(tmp_path / "f", *PAIR, *EASY, *ALPHA, "--latent", file, "--truncation", "0.5")
    picture = tmp_path / "f" / "z 2.png"
    assert sorted(path.name for path in picture.parent.iterdir()) == [
        *("z 1.png", "z 2.png", "z 3.png"),
    ]
    assert again(picture, "--latent", file) == picture.read_bytes()
    assert refused_edit("--from-picture", picture) == (
        f"{picture}: was made of a file of latents; name it by --latent"
    )
    assert refused_edit("--from-picture", picture, "--latent", other) == (
        f"{other}: is not what the picture was made of; name that file"
    )


def test_edit_of_a_picture_of_seeds_is_made_of_latents_that_are_given(draw_to, again, tmp_path):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    draw_to(first, *PAIR, *EASY, *ALPHA)
    latents = ("--latent", tmp_path / "z.npz")
    np.savez(tmp_path / "z.npz", z=np.ones((1, 6), "f4"))
    draw_to(second, *PAIR, *EASY, *ALPHA, *latents)
    assert again(first, *latents) == second.read_bytes() != first.read_bytes()
    assert again(second, "--seed", "1") == first.read_bytes()


def test_seeds_and_latents_exclude_each_other(run, tiny_path):
    result = run("edit", tiny_path, *PAIR, "--seed", 1, "--latent", "z.npz", "-o", "o.png")
    assert result.exit_code == 2 and "--seed and --latent exclude each other" in result.stderr


def test_options_that_are_given_count_more_than_the_recipe(draw_to, again, tmp_path):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    draw_to(first, *PAIR, *EASY, *ALPHA, "--seed", "4", "--truncation", "0.9")
    draw_to(second, "--edit", TWELVE, *EASY, "--alpha", "-2", "--seed", "5", "--truncation", "0.9")
    given = ("--edit", TWELVE, "--alpha", "-2", "--seed", "5")
    assert again(first, *given) == second.read_bytes() != first.read_bytes()
    draw_to(second, *PAIR, *EASY, *ALPHA, "--seed", "4")  # by the usual psi
    assert again(first, "--truncation", "0.7") == second.read_bytes()


def test_output_is_never_that_of_a_recipe(draw_to, run, tiny_path, checkpoint, tmp_path):
    draw_to(tmp_path / "first.png", *PAIR, *EASY, *ALPHA)
    result = run("edit", tiny_path, "--from-picture", tmp_path / "first.png")
    assert result.exit_code == 2 and "Missing option '-o'" in result.stderr


def test_picture_of_another_atlas_is_refused(draw_to, refused_edit, tiny_atlas, tmp_path):
    draw_to(tmp_path / "first.png", *PAIR, *EASY, *ALPHA)
    other = tmp_path / "other.h5"
    replace(tiny_atlas, strength=tiny_atlas.strength * 1.01).write(other)
    found = refused_edit("--from-picture", tmp_path / "first.png", atlas=other)
    assert found.startswith("atlas: is of ") and found.endswith("name that one")


def test_picture_without_a_recipe_is_refused(refused_edit, tmp_path):
    save_png(Image.new("RGB", (4, 4)), tmp_path / "plain.png")
    assert "plain.png: holds no recipe" in refused_edit("--from-picture", tmp_path / "plain.png")
    assert "none.png: cannot be read" in refused_edit("--from-picture", tmp_path / "none.png")
    (tmp_path / "text.png").write_bytes(b"no picture")
    assert "text.png: is no sound PNG" in refused_edit("--from-picture", tmp_path / "text.png")


LONG = "9" * 900_000
HOSTILE = {
    "method": ["x", "", 5, {}, [], True, ["auto", "auto"], "mapper", LONG],
    "seeds": ["x", "", [], [{}], {}, True, [-1], 2**70, 1e300, LONG, "0-9999," * 90_000 + "1"],
    "alphas": ["x", [], [{}], {}, True, [[1]], [1e9], LONG, "nan", "1," * 400_000 + "1"],
    "truncation": ["x", [], {}, True, -1, 1e300, LONG, "nan"],
    "label": ["x", [], {}, True, 1.5, 10**300, 3],
    "probability": ["x", {}, 0, 1, "nan", -1e300],
    "beta": ["x", {}, 0, "inf"],
    "channels": ["x", {}, 0, 1.5, -(10**300)],
    "rule": ["evil", 5, {}, [], ["paper", "paper"], LONG],
    "layers": [5, ["x"], {"a": [1]}, "[", LONG],
    "exclude": [5, ["b4.conv1"], {}, [None], "b4.conv1:" + LONG],
    "keep": [5, {}, [None], [""], ["\ud800"], ["a\nb"], "x" * 500, [LONG]],
    "grid": ["x", {}, 5, [True, True]],
    "before": ["x", {}, 0.5],
}


@pytest.fixture
def spoiled(draw_to, tmp_path):
    """A picture whose recipe is changed."""
    draw_to(tmp_path / "first.png", *PAIR, *EASY, *ALPHA)
    recipe = read_recipe(tmp_path / "first.png")

    def spoiled(**changes: object) -> Path:
        parts = {name: value for name, value in changes.items() if name in Recipe.__annotations__}
        options = {name: value for name, value in changes.items() if name not in parts}
        if options:
            parts["options"] = {**recipe.options, **options}
            parts["inputs"] = {k: v for k, v in recipe.inputs.items() if k not in options}
        path = tmp_path / "spoiled.png"
        save_png(Image.new("RGB", (4, 4)), path, replace(recipe, **parts))
        return path

    return spoiled


@pytest.fixture
def told_briefly(run, tiny_path, checkpoint, tmp_path):
    """Edit by a picture that must be refused; returns the message."""

    def told_briefly(picture: Path, *options: object) -> str:
        path = tmp_path / "out.png"
        fixed = ("--generator", checkpoint, "--from-picture", picture, "-o", path)
        result = run("edit", tiny_path, *fixed, *options)
        assert result.exit_code == 1, result.output[:500]
        assert result.stdout == "" and not path.exists()
        assert result.stderr.count("\n") == 1 and len(result.stderr) < 600, result.stderr[:700]
        assert result.stderr.startswith("styleatlas edit: ")
        return result.stderr

    return told_briefly


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in HOSTILE.items() for value in values],
    ids=lambda value: repr(value)[:20],
)
def test_hostile_option_of_a_recipe_is_refused_in_one_line(spoiled, told_briefly, name, value):
    told_briefly(spoiled(**{name: value}))


@pytest.mark.parametrize(
    "edits",
    [
        (("a picture", "a picture channel7", 0.0),),
        (("a picture", "a picture channel7", 1e300),),
        (("", "", 1.0),),
        (("a picture", "\ud800", 1.0),),
        (("a picture", "a\nb", 1.0),),
        (("a picture", "x" * 500_000, 1.0),),
    ],
    ids=["0", "1e300", "empty", "surrogate", "lines", "long"],
)
def test_hostile_edits_of_a_recipe_are_refused_in_one_line(spoiled, told_briefly, edits):
    told_briefly(spoiled(edits=edits))


def test_recipe_without_edits_needs_some(spoiled, usage_error):
    found = usage_error("--from-picture", spoiled(edits=()))
    assert found == "give --neutral and --target, --edit, or --from-picture\n"


def test_recipe_without_an_option_has_the_usual_one(spoiled, again, edit, tmp_path):
    picture = spoiled(options={}, inputs={"seeds": [2]})
    again(picture, *ALPHA, *EASY)
    assert np.array_equal(pixels(tmp_path / "again.png"), edit("--seed", "2"))


@pytest.mark.parametrize(
    "places", [None, [], 0, "0", [-1], [3], [True], [0.0], [{}], [[0]], [None], {"0": 0}, [10**300]]
)
def test_hostile_places_of_a_recipe_are_refused(spoiled, told_briefly, draw_to, tmp_path, places):
    file = tmp_path / "z.npz"
    np.savez(file, z=np.zeros((3, 6), "f4"))
    draw_to(tmp_path / "o.png", *PAIR, *EASY, *ALPHA, "--latent", file)
    inputs = read_recipe(tmp_path / "o.png").inputs
    (tmp_path / "o.png").rename(tmp_path / "kept.png")
    found = told_briefly(spoiled(inputs={**inputs, "places": places}), "--latent", file)
    assert "places must be numbers of latents of the file" in found


# wrong usage and failures


def test_a_prompt_without_its_other_is_wrong_usage(usage_error):
    for alone in (PAIR[:2], PAIR[2:]):
        assert usage_error(*alone) == "--neutral and --target belong together; give both\n"
        assert "belong together" in usage_error(*alone, "--edit", SEVEN)


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
        (("--target", "A picture "), 'target: "A picture " is the neutral prompt itself'),
        (("--target", "x" * 1025), "longer than 1024 bytes; shorten it"),
        (("--target", "a\x07b"), "holds control characters; remove them"),
        (("--target", "words of no bank"), "name its file by --clip"),
        (("--keep", "words of no bank"), "name its file by --clip"),
        (("--keep", "a picture channel7"), "keep: says what the edit is about"),
        (("--edit", "a picture"), "write it as NEUTRAL -> TARGET : WEIGHT"),
        (("--edit", f"{SEVEN} : x"), "'x' is no weight"),
        (("--edit", f"{SEVEN} : 21"), "weight 21: must lie between -20 and 20 and not be 0"),
        (("--beta", "0.99"), 'no channel passes beta 0.99 for "a picture" -> "a picture channel7"'),
        (("--beta", "0"), "beta 0: must lie between 0 and 1"),
        (("--beta", "nan"), "beta nan: must lie between 0 and 1"),
        (("--channels", "3"), "beta and channels: exclude each other; give one of them"),
        (("--probability", "0"), "probability 0: must be at least 0.5 and below 1"),
        (("--probability", "0.4"), "probability 0.4: must be at least 0.5 and below 1"),
        (("--probability", "1"), "probability 1: must be at least 0.5 and below 1"),
        (("--probability", "nan"), "probability nan: must be at least 0.5"),
        (("--seed", "4294967296"), "seed 4294967296: must lie between 0 and 4294967295"),
        (("--alpha", "101"), "alpha 101: must lie between -100 and 100"),
        (("--alpha", "1,nan"), "alpha nan: must lie between"),
        (("--truncation", "2.5"), "truncation 2.5: must lie between 0 and 2"),
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


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
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


def test_recipe_names_the_models_and_the_atlas(run, tmp_path):
    told = run("edit", "avatars", *GLASSES, *ALPHA, "-o", tmp_path / "o.png")
    assert told.exit_code == 0, told.output
    recipe, origin = read_recipe(tmp_path / "o.png"), Atlas.open(EMBEDDED.atlas).fingerprint
    assert (recipe.generator, recipe.clip) == (origin.generator, origin.clip)
    assert recipe.edits == (("a face", "a face with glasses", 1.0),)
    assert recipe.inputs == {"seeds": [1]} and "seeds" not in recipe.options
