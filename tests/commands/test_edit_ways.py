"""edit by mappers and by optimisation, on the embedded avatars."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from styleatlas import load_generator
from styleatlas.commands import progress
from styleatlas.engine import table
from styleatlas.engine.fallbacks import ways
from styleatlas.engine.fallbacks.mapper import Mapper, MapperRecord, write_mapper
from styleatlas.engine.fallbacks.optimise_settings import OptimiseSettings
from styleatlas.engine.models.latents import write_styles
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.engine.networks.mapper import LatentMapper, MapperConfig, split_groups
from styleatlas.engine.pictures.recipe import read_recipe
from styleatlas.store.atlas import Atlas
from styleatlas.store.registry import EMBEDDED

from .edit_calls import PAIR, pixels

WINK = ("--neutral", "a face", "--target", "a winking face")
SOME = ("--seed", "3,2")  # of which the table makes the first wink, to CLIP


@pytest.fixture(autouse=True)
def _without_samples(monkeypatch):
    """The table alone: by samples all of these wink, and nothing is left to try."""
    monkeypatch.setattr(table.TableEditor, "samples", None)


@pytest.fixture
def quick(monkeypatch):
    """Optimisations of a few steps, and the bar that these avatars are made for."""
    monkeypatch.setattr(table, "ENOUGH", 0.9)
    few = partial(ways.Fallbacks, settings=OptimiseSettings(steps=8))
    monkeypatch.setattr(ways, "Fallbacks", few)


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
    first, second, *_, last = told.stdout.splitlines()
    assert first == f"{tmp_path / 'o.png'}: 2 images"
    assert second.startswith('"a winking face": ') and ", alpha " in second
    assert last.startswith("2 images: 1 by direction, 1 by optimize (")
    assert " channels of the table with a score of at least " in last


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
    (tmp_path / "none").mkdir()
    options = ("--method", "mapper", "--mappers", tmp_path / "none", "-o", tmp_path / "o.png")
    message = refused("edit", "avatars", *WINK, *options)
    assert message.startswith(f"mapper: none in {tmp_path / 'none'} is trained for")
    assert "`styleatlas mapper train`" in message


def test_direction_never_falls_back_however_poor(run, avatars, monkeypatch):
    monkeypatch.setattr(ways, "Optimisation", None)
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
    monkeypatch.setattr(ways, "Optimisation", None)
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
    monkeypatch.setattr(ways, "LONG", 0.0)
    _, notes = avatars(*WINK, *SOME)
    (line,) = notes.splitlines()
    assert line.startswith("optimising 1 image: about ")
    assert line.endswith("; --method direction does without")


def test_steps_of_what_takes_long_are_told(quick, avatars, monkeypatch):
    monkeypatch.setattr(progress, "LATER", 0.0)
    _, notes = avatars(*WINK, *SOME)
    first = json.loads(notes.splitlines()[0])
    assert (first["done"], first["of"]) == (1, 8) and "clip" in first


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
