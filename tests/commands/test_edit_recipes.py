"""Pictures that edit makes again from the recipe they keep, and recipes from anybody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleatlas.engine.pictures.recipe import Recipe, read_recipe
from styleatlas.engine.pictures.sheet import save_png
from styleatlas.store.atlas import Atlas
from styleatlas.store.registry import EMBEDDED

from ..near import assert_pixels_near
from .edit_calls import ALPHA, EASY, GLASSES, PAIR, SEVEN, TWELVE, pixels


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
        again(path)
        assert_pixels_near(pixels(tmp_path / "again.png"), pixels(path))


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
    again(picture, "--latent", file)
    assert_pixels_near(pixels(tmp_path / "again.png"), pixels(picture))
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
    assert "none.png: no such file" in refused_edit("--from-picture", tmp_path / "none.png")
    (tmp_path / "text.png").write_bytes(b"no picture")
    assert "text.png: is no sound PNG" in refused_edit("--from-picture", tmp_path / "text.png")


LONG = "9" * 900_000
HOSTILE = {
    "method": ["x", "", 5, {}, [], True, ["auto", "auto"], "mapper", LONG],
    "seeds": ["x", "", [], [{}], {}, True, [-1], 2**70, 1e300, LONG, "0-9999," * 90_000 + "1"],
    "alphas": ["x", [], [{}], {}, True, [[1]], [1e9], LONG, "nan", "1," * 400_000 + "1"],
    "truncation": ["x", [], {}, True, -3, 1e300, LONG, "nan"],
    "label": ["x", [], {}, True, 1.5, 10**300, 3],
    "probability": ["x", {}, 0, 1, "nan", -1e300],
    "beta": ["x", {}, 0, "inf"],
    "betas": ["x", [], {}, True, [0], [[0.1]], LONG],
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
        seeds = {"seeds": options.pop("seeds")} if "seeds" in options else {}
        if options or seeds:
            found = {"alphas": None} if "probability" in options else {}  # beside which none counts
            parts["options"] = {**recipe.options, **found, **options}
            parts["inputs"] = {**recipe.inputs, **seeds}
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
    assert_pixels_near(pixels(tmp_path / "again.png"), edit("--seed", "2"))


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


def test_recipe_names_the_models_and_the_atlas(run, tmp_path):
    told = run("edit", "avatars", *GLASSES, *ALPHA, "-o", tmp_path / "o.png")
    assert told.exit_code == 0, told.output
    recipe, origin = read_recipe(tmp_path / "o.png"), Atlas.open(EMBEDDED.atlas).fingerprint
    assert (recipe.generator, recipe.clip) == (origin.generator, origin.clip)
    assert recipe.edits == (("a face", "a face with glasses", 1.0),)
    assert recipe.inputs == {"seeds": [1]} and "seeds" not in recipe.options


def test_prompts_of_a_recipe_are_printed_on_one_line_without_control(draw_to, answer, tmp_path):
    path, hostile = tmp_path / "o.png", tmp_path / "hostile.png"
    draw_to(path, *PAIR, *EASY, *ALPHA)
    edits = (("a picture", "a\npicture\tchannel7", 1.0),)
    with Image.open(path) as picture:
        save_png(picture, hostile, replace(read_recipe(path), edits=edits))
    text = draw_to(tmp_path / "again.png", "--from-picture", hostile)
    assert '"a picture channel7": ' in text
    with Image.open(path) as picture:
        save_png(picture, hostile, replace(read_recipe(path), edits=(("a", "b\x1b[2J", 1.0),)))
    assert "\x1b" not in answer("info", hostile)


def test_alpha_by_hand_replaces_the_probability_of_a_recipe_and_the_other_way(run, tmp_path):
    found, given = tmp_path / "found.png", tmp_path / "given.png"
    for path, options in (
        (found, (*GLASSES, "--probability", "0.9")),
        (given, ("--from-picture", found, "--alpha", "1")),
    ):
        assert run("edit", "avatars", *options, "-o", path).exit_code == 0
    assert read_recipe(given).options["alphas"] == [1]
    assert read_recipe(given).options["probability"] is None
    last = tmp_path / "last.png"
    options = ("--from-picture", given, "--probability", "0.9")
    assert run("edit", "avatars", *options, "-o", last).exit_code == 0
    assert last.read_bytes() == found.read_bytes()
