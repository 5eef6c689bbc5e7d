"""Recipes, held against what the commands themselves read."""

from __future__ import annotations

import shlex

import click
import pytest

from styleatlas.cli import main
from styleatlas.engine.steering.edits import Edit
from styleatlas.server.api.recipes import recipe_of
from styleatlas.server.bodies import BODIES, EditBody

NAMES = {"atlas": "avatars"}
PAIR = {"neutral": "a face", "target": "a sad face"}


def parsed(command: str) -> tuple[str, dict]:
    """The command that a line names, and the values of its parameters, as click reads them."""
    program, *words = shlex.split(command)
    assert program == "styleatlas"
    group: click.Command | None = main
    names = []
    ctx = click.Context(main)
    while isinstance(group, click.Group):
        name, *words = words
        group = group.get_command(ctx, name)
        names.append(name)
    assert group is not None
    return " ".join(names), group.make_context("x", words).params


def recipe(kind: str, names=NAMES, **body):
    return recipe_of(kind, BODIES[kind].model_validate(body).plain(), names)


def test_command_of_an_edit_says_what_its_body_says():
    asked = {
        "seeds": [3, 5],
        "edits": [PAIR, {"neutral": "it's a 'face'", "target": "ratio 16:9", "weight": -1.5}],
        "keep": ["a face with a beard; rm -rf /"],
        "method": "direction",
        "alpha": -2.5,
        "channels": 40,
        "source": "table",
        "layers": ["b32.*", "conv"],
        "exclude": ["b16.conv1:20"],
        "truncation": -0.5,
        "label": 1,
        "before": True,
    }
    name, read = parsed(recipe("edit", **asked).command)
    body = EditBody.model_validate(asked)
    assert name == "edit" and read["atlas"] == "avatars" and read["seeds"] == (3, 5)
    assert tuple(map(Edit.parse, read["edits"])) == body.request().edits
    assert read["keep"] == tuple(body.keep)
    options = ("method", "channels", "source", "truncation", "label", "before", "rule")
    assert {key: read[key] for key in options} == {key: getattr(body, key) for key in options}
    assert read["alphas"] == (body.alpha,)
    assert (read["layers"], read["exclude"]) == (tuple(body.layers), tuple(body.exclude))


def test_what_nobody_said_is_not_in_the_command():
    told = recipe("edit", seeds=[1], edits=[PAIR])
    assert told.command == (
        "styleatlas edit avatars --edit 'a face -> a sad face : 1.0' --seed 1 -o edited"
    )
    assert told.python == (
        "import styleatlas\n"
        "editor = styleatlas.load(atlas='avatars')\n"
        "result = editor.edit(seeds=[1], edits=['a face -> a sad face : 1.0'])\n"
        "result.save('edited.png')"
    )


def test_models_that_the_atlas_does_not_tell_are_named():
    names = {"atlas": "f.h5", "generator": "f.pkl", "clip": "ViT-B-32.pt"}
    told = recipe("edit", names, seeds=[1], edits=[PAIR])
    _, read = parsed(told.command)
    assert (read["generator"], read["clip"]) == ("f.pkl", "ViT-B-32.pt")
    assert "load(atlas='f.h5', generator='f.pkl', clip='ViT-B-32.pt')" in told.python


def test_edit_of_a_photo_names_a_photo():
    told = recipe("edit", photo="abc", edits=[PAIR], align=[1.0, 2.5, 64.0], face="all")
    _, read = parsed(told.command)
    (path,) = read["photo"]
    assert str(path) == "photo.jpg" and read["align"] == (1.0, 2.5, 64.0) and read["face"] == ()
    assert "photo='photo.jpg'" in told.python
    assert "align=(1.0, 2.5, 64.0)" in told.python and "face='all'" in told.python


def test_command_of_a_film():
    name, read = parsed(
        recipe("film", latents="x", edits=[PAIR], seconds=2.5, fps=10.0, format="gif").command
    )
    assert (name, read["seconds"], read["fps"]) == ("edit", 2.5, 10.0)
    assert (str(read["latent"]), str(read["output"])) == ("latents.npz", "edit.gif")


def test_command_of_an_inversion():
    name, read = parsed(recipe("inversion", photo="x", align="none", steps=0, space="w").command)
    assert (name, read["align"], read["steps"], read["space"]) == ("invert", "none", 0, "w")


def test_command_of_an_optimisation():
    told = recipe("optimise", seeds=[7], **PAIR, space="w+", steps=12, l2=0.5, freeze=["rgb"])
    name, read = parsed(told.command)
    assert name == "optimize" and read["targets"] == ("a sad face",) and read["seeds"] == (7,)
    assert (read["space"], read["steps"], read["l2"], read["freeze"]) == ("w+", 12, 0.5, ("rgb",))
    assert (read["generator"], read["clip"], read["atlas"]) == ("avatars",) * 3


def test_command_of_a_mapper():
    name, read = parsed(recipe("mapper", mapper="wink", seeds=[1], strength=-0.5).command)
    assert (name, read["mapper"], read["strengths"]) == ("mapper apply", "wink", (-0.5,))


def test_commands_of_sheets():
    name, read = parsed(
        recipe("channels", channels=["b16.conv1:20"], seeds=[1, 2], steps=[-4.0, 0.0]).command
    )
    assert (name, read["channels"], read["steps"]) == ("sheet", ("b16.conv1:20",), (-4.0, 0.0))
    name, read = parsed(recipe("samples", **PAIR).command)
    assert (name, read["target"]) == ("query samples", "a sad face")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("crops", {"photo": "x"}),
        ("texts", {"prompts": ["a"]}),
        ("mapper", {"mapper": "m", "photo": "x"}),
    ],
)
def test_what_has_no_command_has_no_recipe(kind, body):
    assert recipe(kind, **body) is None
