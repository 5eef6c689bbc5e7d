"""Grids of alphas and betas: a row of an image for each beta."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ..near import assert_pixels_near
from .edit_calls import ALPHA, EASY, GLASSES, PAIR, SEVEN, TWELVE, pixels

GRID = ("--alpha", "2,4", "--beta", "0.05,0.1,0.15")


def cells(picture: np.ndarray, rows: int, columns: int, side: int = 96) -> np.ndarray:
    """(rows, columns, side, side, 3) of a sheet with labels to the left and above."""
    inner = picture[-rows * side :, -columns * side :]
    return inner.reshape(rows, side, columns, side, 3).swapaxes(1, 2)


def test_every_cell_is_the_edit_of_its_alpha_and_beta(draw_to, edit, tmp_path):
    path = tmp_path / "grid.png"
    text = draw_to(path, *PAIR, *GRID, "--seed", "1,2")
    assert text.startswith(f"{path}: 6 x 2 images\n")
    assert [line.partition(":")[0] for line in text.splitlines()[1:4]] == [
        f'"a picture channel7", beta {beta}' for beta in ("0.05", "0.1", "0.15")
    ]
    found = cells(pixels(path), 6, 2)
    rows = [(seed, beta) for seed in (1, 2) for beta in (0.05, 0.1, 0.15)]
    for row, (seed, beta) in enumerate(rows):
        for column, alpha in enumerate((2, 4)):
            alone = edit("--seed", seed, "--beta", beta, "--alpha", alpha)
            enlarged = alone.repeat(96 // len(alone), 0).repeat(96 // len(alone), 1)
            assert_pixels_near(found[row, column], enlarged)
    assert (found[0, 0] != found[2, 0]).any()  # fewer channels pass


def test_json_tells_every_cell(run, tmp_path):
    betas = (0.1, 0.2, 0.3)
    options = ("--alpha", "2,4", "--beta", "0.1,0.2,0.3", "--seed", "1-2")
    told = run("edit", "avatars", *GLASSES, *options, "--json", "-o", tmp_path / "grid.png")
    record = json.loads(told.stdout)
    assert [edit["beta"] for edit in record["edits"]] == list(betas)
    moved = [edit["channels_moved"] for edit in record["edits"]]
    assert moved == sorted(moved, reverse=True) and moved[0] > moved[2]
    found = [(line["beta"], line["alpha"], line["image"]) for line in record["images"]]
    assert found == [
        (beta, alpha, f"seed {seed}") for beta in betas for alpha in (2, 4) for seed in (1, 2)
    ]


def test_styles_of_a_grid_are_those_of_its_cells(draw_to, tmp_path):
    draw_to(tmp_path / "grid.png", *PAIR, *GRID, "--seed", "1,2", "--styles", tmp_path / "g.npz")
    found = np.load(tmp_path / "g.npz")["styles"].reshape(3, 2, 2, -1)  # beta, alpha, image
    for row, beta in enumerate((0.05, 0.1, 0.15)):
        for column, alpha in enumerate((2, 4)):
            more = ("--beta", beta, "--alpha", alpha, "--styles", tmp_path / "o.npz")
            draw_to(tmp_path / "o.png", *PAIR, *more, "--seed", "1,2")
            alone = np.load(tmp_path / "o.npz")["styles"]
            np.testing.assert_allclose(found[row, column], alone, rtol=1e-6)


def test_folder_has_a_grid_an_image(draw_to, tmp_path):
    draw_to(tmp_path / "sheet.png", *PAIR, *GRID, "--before", "--seed", "2,3")
    draw_to(tmp_path / "folder", *PAIR, *GRID, "--before", "--seed", "2,3")
    whole = cells(pixels(tmp_path / "sheet.png"), 6, 3)
    for i, seed in enumerate((2, 3)):
        found = cells(pixels(tmp_path / "folder" / f"seed {seed}.png"), 3, 3)
        assert_pixels_near(found, whole[3 * i : 3 * i + 3])
        assert (found[:, 0] == found[0, 0]).all()  # before


@pytest.mark.parametrize(
    "options", [(*PAIR, *GRID), ("--edit", SEVEN, "--edit", TWELVE, "--grid", *GRID)]
)
def test_grid_is_made_again_to_the_byte(options, draw_to, tmp_path):
    path, again = tmp_path / "first.png", tmp_path / "again.png"
    draw_to(path, *options, "--seed", "1-3")
    draw_to(again, "--from-picture", path)
    assert again.read_bytes() == path.read_bytes()


def test_a_beta_replaces_those_of_a_picture_and_they_it(draw_to, tmp_path):
    grid, alone = tmp_path / "grid.png", tmp_path / "alone.png"
    draw_to(grid, *PAIR, *GRID)
    draw_to(alone, *PAIR, *EASY, *ALPHA)
    for first, options, told in ((grid, EASY, "1 x 2 images"), (alone, GRID, "3 x 2 images")):
        assert f": {told}\n" in draw_to(tmp_path / "o.png", "--from-picture", first, *options)


def test_a_beta_that_nothing_passes_is_refused_before_any_picture(refused_edit, monkeypatch):
    def render(*arguments: object) -> None:
        raise AssertionError("a picture was made")

    monkeypatch.setattr("styleatlas.engine.table.Batch", render)
    found = refused_edit("--beta", "0.05,0.99")
    assert found.startswith("no channel passes beta 0.99 for")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--beta", "0.1,0"), "beta 0: must lie between 0 and 1"),
        (("--beta", "0.1,0.2", "--channels", "3"), "beta and channels: exclude each other"),
        (("--beta", "0.1,0.2", "--source", "samples"), "source samples: rule and beta are the"),
    ],
)
def test_betas_that_cannot_be_are_refused(options, message, refused_edit):
    assert message in refused_edit(*options)


def test_film_of_several_betas_is_refused(refused_edit, tmp_path):
    assert "one beta or none" in refused_edit("--beta", "0.1,0.2", "-o", tmp_path / "a.gif")
