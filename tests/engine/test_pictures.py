from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from styleatlas.engine.pictures import save_png, sheet
from styleatlas.store.errors import OptionError, OutputError

HEIGHT, WIDTH = 3, 5


def cell(number: int, channels: int = 3) -> torch.Tensor:
    """An image of noise that no other number gives, and its bytes are exact."""
    random = torch.Generator().manual_seed(number)
    pixels = torch.randint(0, 256, (channels, HEIGHT, WIDTH), generator=random)
    return pixels / 127.5 - 1


def as_bytes(image: torch.Tensor) -> np.ndarray:
    return ((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


@pytest.mark.parametrize("scale", [1, 3])
def test_every_image_lies_at_its_row_and_column_pixel_by_pixel(scale):
    rows = [[cell(3 * i + j) for j in range(3)] for i in range(2)]
    picture = np.asarray(sheet(rows, scale=scale))
    assert picture.shape == (2 * HEIGHT * scale, 3 * WIDTH * scale, 3)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            top, left = i * HEIGHT * scale, j * WIDTH * scale
            part = picture[top : top + HEIGHT * scale, left : left + WIDTH * scale]
            assert np.array_equal(part, as_bytes(image).repeat(scale, 0).repeat(scale, 1))


def test_grey_images_are_shown_in_grey():
    picture = np.asarray(sheet([[cell(0, channels=1)]]))
    assert np.array_equal(picture, as_bytes(cell(0, channels=1)).repeat(3, 2))


def test_labels_add_a_margin_and_leave_the_images_as_they_are():
    rows = [[cell(0), cell(1)]]
    plain = np.asarray(sheet(rows, scale=10))
    labelled = np.asarray(sheet(rows, ["row"], ["one", "two"], scale=10))
    top, left = np.subtract(labelled.shape, plain.shape)[:2]
    assert np.array_equal(labelled[top:, left:], plain)
    for margin in (labelled[:top], labelled[top:, :left]):
        assert margin.size and (margin == 0).any(), "the label is drawn"
        assert (margin[..., :1] == margin).all() and (margin[0, 0] == 255).all()
    assert np.asarray(sheet(rows, ["row"], scale=10)).shape[0] == plain.shape[0]
    assert np.asarray(sheet(rows, (), ["a", "b"], scale=10)).shape[1] == plain.shape[1]


def test_sheet_too_large_for_a_picture_is_refused_before_it_is_made():
    with pytest.raises(
        OptionError, match="sheet of 1 x 2 images of 50000 x 30000: is too large for one"
    ):
        sheet([[cell(0), cell(1)]], scale=10_000)


def test_png_is_written_whole_and_lossless(tmp_path):
    save_png(sheet([[cell(0)]]), tmp_path / "one.PNG")
    assert list(tmp_path.iterdir()) == [tmp_path / "one.PNG"]
    with Image.open(tmp_path / "one.PNG") as picture:
        assert picture.format == "PNG"
        assert np.array_equal(np.asarray(picture), as_bytes(cell(0)))


class Interrupted(Image.Image):
    """A picture during whose writing somebody presses Ctrl-C."""

    def save(self, file, format):
        file.write(b"\x89PNG half")
        raise KeyboardInterrupt


def test_interrupted_writing_keeps_the_old_picture(tmp_path):
    path = tmp_path / "one.png"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        save_png(Interrupted(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["one.jpg", "one", "png", "one.png.bak"])
def test_other_extensions_are_refused(tmp_path, name):
    with pytest.raises(OutputError, match=r"pictures are written as PNG; end the name in \.png"):
        save_png(sheet([[cell(0)]]), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_missing_directory_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"the directory .*none does not exist; create it first"):
        save_png(sheet([[cell(0)]]), tmp_path / "none" / "one.png")
