"""Sheets of unedited images of seeds. Those of an atlas's samples: `test_questions.py`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from styleatlas.engine.jobs.sample_sheet import draw_seeds
from styleatlas.engine.models import sampling
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.engine.pictures import sheet as sheets
from styleatlas.store.errors import OptionError, OutputError


@pytest.fixture
def png(tmp_path):
    return tmp_path / "seeds.png"


def cells(path, rows: int, columns: int, side: int) -> np.ndarray:
    """The images of a sheet, (rows, columns, side, side, 3), without its labels."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    grid = pixels[: rows * side, -columns * side :]
    return grid.reshape(rows, side, columns, side, 3).swapaxes(1, 2)


def test_seeds_stand_row_by_row_each_as_it_is_drawn(generator, png):
    seeds = (4, 7, 1, 2, 9)
    done: list[int] = []
    draw_seeds(generator, seeds, 0.6, None, png, done.append)
    found = cells(png, 2, 3, 24 * 8)  # 8 px, each 24 times, are about 192
    images = to_bytes(generator.render(styles_from_seeds(generator, seeds, 0.6))).numpy()
    shown = found[:, :, 12::24, 12::24].reshape(6, 8, 8, 3)
    assert (shown[:5] == images).all() and (shown[5] == 255).all()
    assert (found == found[:, :, 12::24, 12::24].repeat(24, 2).repeat(24, 3)).all()
    assert sum(done) == 5


def test_one_seed_is_a_sheet(generator, png):
    draw_seeds(generator, (3,), 1.0, None, png)
    image = to_bytes(generator.render(styles_from_seeds(generator, [3], 1.0))).numpy()[0]
    assert (cells(png, 1, 1, 192)[0, 0, 12::24, 12::24] == image).all()


def test_large_images_are_scaled_down_and_no_more_than_a_batch_is_held(generator, png, monkeypatch):
    """As for images of 1024 px: a batch is an image, and a cell a quarter of it."""
    monkeypatch.setattr(sampling, "_BATCH_PIXELS", 64)
    monkeypatch.setattr(sheets, "_USUAL_SIDE", 2)
    monkeypatch.setattr(sheets, "_LEAST_SIDE", 2)
    monkeypatch.setattr(sheets, "_MOST_PIXELS", 9 * 4)
    rendered = []
    render = generator.render

    def watched(styles, noise="const"):
        rendered.append(len(styles))
        return render(styles, noise)

    monkeypatch.setattr(generator, "render", watched)
    draw_seeds(generator, range(9), 0.6, None, png)
    assert rendered == [1] * 9
    images = render(styles_from_seeds(generator, range(9), 0.6)).clamp(-1, 1)
    size = (2, 2)
    small = torch.nn.functional.interpolate(images, size, mode="bilinear", antialias=True)
    found = cells(png, 3, 3, 2).reshape(9, 2, 2, 3)
    assert np.abs(found.astype(int) - to_bytes(small).numpy()).max() <= 1


def test_more_than_can_be_seen_is_refused_before_anything_is_drawn(generator, png):
    with pytest.raises(OptionError, match="is too large for one picture; ask for fewer"):
        draw_seeds(generator, range(5000), 0.7, None, png)
    with pytest.raises(OutputError, match=r"end the name in \.png"):
        draw_seeds(generator, [1], 0.7, None, png.with_suffix(".jpg"))
    assert generator.images_rendered == 0 and not png.exists()


def test_rows_are_labelled_by_their_seeds(generator, png, monkeypatch):
    labels = []
    drawn = sheets._label
    monkeypatch.setattr(
        sheets,
        "_label",
        lambda picture, rows, *rest: labels.extend(rows) or drawn(picture, rows, *rest),
    )
    draw_seeds(generator, (1, 2, 3, 7, 5, 9, 4), 0.7, None, png)
    assert labels == ["seeds 1 to 3", "seeds 7, 5, 9", "seed 4"]
