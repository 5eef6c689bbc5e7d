"""Edits of a generator that was tuned from the atlas's own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from styleatlas import load_generator
from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.engine.pictures.recipe import read_recipe
from styleatlas.store.registry import EMBEDDED

from ..checkpoint_files import modules_of, nvidia_pickle
from .edit_calls import ALPHA, GLASSES, pixels

SMALL = (*GLASSES, *ALPHA, "--beta", "0.2", "--seed", "1-2")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory) -> Path:
    """The avatars' generator with a hundredth of noise on its weights, as NVIDIA's pickle."""
    checkpoint = read_checkpoint(EMBEDDED.generator)
    drawn = torch.Generator().manual_seed(1)
    tensors = {}
    for name, tensor in checkpoint.tensors.items():
        tensors[name] = tensor
        if name.startswith("synthesis.") and name.endswith(".weight"):
            noise = torch.randn(tensor.shape, generator=drawn)
            tensors[name] = tensor + 0.01 * tensor.std() * noise
    folder = tmp_path_factory.mktemp("tuned")
    return nvidia_pickle(folder / "photo.pkl", tensors, modules_of(checkpoint.config))


@pytest.fixture
def draw(run, tmp_path):
    """Edit the avatars into a picture; returns its path, stdout and stderr."""

    def draw(name: str, *options: object) -> tuple[Path, str, str]:
        path = tmp_path / name
        told = run("edit", "avatars", *options, "--device", "cpu", "-o", path)
        assert told.exit_code == 0, told.output
        return path, told.stdout, told.stderr

    return draw


def test_refusal_names_the_option(refused, tuned, tmp_path):
    options = (*SMALL, "--generator", tuned, "-o", tmp_path / "o.png")
    message = refused("edit", "avatars", *options)
    assert message.endswith("if this one was tuned from it, as to a photo, take it by --tuned "
                            "(in Python tuned=True)")  # fmt: skip


def test_edit_tells_how_far_the_styles_moved(draw, tuned):
    path, told, note = draw("o.png", *SMALL, "--generator", tuned, "--tuned", "--json")
    assert re.fullmatch(
        r"photo: its styles moved by 0\.0\d+ sigma \(by the atlas's samples\)\n", note
    )
    record = json.loads(told)["tuned"]
    assert record["by"] == "samples" and 0.02 < record["moved_sigma"] < 0.04
    recipe = read_recipe(path)
    assert recipe.generator.sha256 == load_generator(tuned, "cpu").identity.sha256
    assert recipe.generator.tuned_from == load_generator("avatars", "cpu").identity.sha256


def test_edit_is_that_of_the_tuned_generator(draw, tuned):
    own, _, _ = draw("own.png", *SMALL)
    path, _, _ = draw("tuned.png", *SMALL, "--generator", tuned, "--tuned")
    apart = np.abs(pixels(path).astype(int) - pixels(own)).mean()
    assert 0 < apart < 10  # of 255: nearly the same picture


def test_atlass_own_generator_needs_no_option_and_keeps_its_recipe(draw):
    own, _, quiet = draw("own.png", *SMALL)
    path, _, note = draw("same.png", *SMALL, "--tuned")
    assert quiet == note == ""
    assert path.read_bytes() == own.read_bytes()


def test_picture_is_made_again_by_the_tuned_generator_alone(draw, refused, tuned, tmp_path):
    path, _, _ = draw("first.png", *SMALL, "--generator", tuned, "--tuned")
    again, _, note = draw("again.png", "--from-picture", path, "--generator", tuned)
    assert again.read_bytes() == path.read_bytes()
    assert "its styles moved by" in note
    message = refused("edit", "avatars", "--from-picture", path, "-o", tmp_path / "o.png")
    assert re.search(r'generator: is "avatars" .* was made with "photo" .*, tuned from', message)
    draw("o.png", "--from-picture", path, "--tuned")  # or by any, when told


def test_info_tells_what_a_pictures_generator_was_tuned_from(draw, run, tuned):
    path, _, _ = draw("o.png", *SMALL, "--generator", tuned, "--tuned")
    record = json.loads(run("info", path, "--json").stdout)
    assert record["generator"]["tuned_from"] == load_generator("avatars", "cpu").identity.sha256


def test_styles_of_either_are_taken_by_the_tuned_generator(draw, tuned, tmp_path):
    draw("o.png", *SMALL, "--styles", tmp_path / "parent.npz")
    more = ("--generator", tuned, "--tuned")
    draw("t.png", *SMALL, *more, "--styles", tmp_path / "tuned.npz")
    for name in ("parent.npz", "tuned.npz"):
        draw("again.png", *GLASSES, *ALPHA, *more, "--latent", tmp_path / name)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("query samples", ("avatars", *GLASSES)),
        ("sheet", ("avatars", "b16.conv1:20", "--seed", "1")),
    ],
)
def test_other_commands_take_it_too(command, options, run, refused, tuned, tmp_path):
    fixed = (*options, "--generator", tuned, "-o", tmp_path / "o.png")
    assert "--tuned" in refused(command, *fixed)
    told = run(*command.split(), *fixed, "--tuned")
    assert told.exit_code == 0, told.output
    assert "its styles moved by" in told.stderr


def test_optimisation_begins_at_the_direction_of_the_parents_atlas(run, refused, tuned, tmp_path):
    fixed = (tuned, "--clip", "avatars", "--atlas", "avatars", *GLASSES, "--steps", "1", "--seed",
             "1", "-o", tmp_path / "o.png")  # fmt: skip
    assert "--tuned" in refused("optimize", *fixed)
    told = run("optimize", *fixed, "--tuned")
    assert told.exit_code == 0, told.output
    assert "from the direction's result" in told.stdout


def test_tuned_without_an_atlas_is_wrong_usage_of_optimize(run, tuned, tmp_path):
    fixed = (tuned, "--clip", "avatars", *GLASSES, "-o", tmp_path / "o.png")
    told = run("optimize", *fixed, "--tuned")
    assert told.exit_code == 2
    assert "--tuned is said of the atlas's generator; give --atlas" in told.stderr
