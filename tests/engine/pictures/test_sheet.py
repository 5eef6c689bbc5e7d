from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont

from styleatlas.engine.pictures.sheet import _wrapped, save_png, sheet
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


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_pictures_have_the_channels_of_their_images(channels, mode):
    image = cell(0, channels=channels)
    picture = sheet([[image]])
    assert picture.mode == mode
    assert np.array_equal(np.atleast_3d(picture), as_bytes(image))
    labelled = sheet([[image]], ["row"], ["column"], scale=20)
    assert labelled.mode == mode
    pixels = np.atleast_3d(labelled)
    whole = as_bytes(image).repeat(20, 0).repeat(20, 1)
    assert np.array_equal(pixels[-HEIGHT * 20 :, -WIDTH * 20 :], whole)
    assert (pixels[0, 0] == 255).all() and (pixels[:, 0] == 255).all(), "opaque white"


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


def drawn(margin: np.ndarray) -> np.ndarray:
    """The columns of a margin that hold ink."""
    return np.flatnonzero((margin < 128).any((0, 2)))


@pytest.mark.parametrize(("side", "scale"), [(64, 2), (32, 3), (96, 1), (1024, 1)])
def test_labelled_images_are_drawn_large_enough_to_read_by_whole_pixels(side, scale):
    image = torch.rand(3, side, side) * 2 - 1
    picture = np.asarray(sheet([[image]], column_labels=["before"]))
    assert picture.shape[1] == side * scale
    assert np.array_equal(
        picture[-side * scale :], as_bytes(image).repeat(scale, 0).repeat(scale, 1)
    )
    assert len(drawn(picture[: -side * scale])), "the label is drawn"
    assert sheet([[image]]).width == side, "without labels nothing is scaled"


def test_scale_for_labels_stays_within_the_largest_sheet(monkeypatch):
    monkeypatch.setattr("styleatlas.engine.pictures.sheet.MAX_SHEET_PIXELS", 2 * 64 * 64 * 3)
    assert sheet([[torch.zeros(3, 64, 64)] * 2], column_labels=["a", "b"]).width == 2 * 64


LONG = "a photograph of an elderly person with an extremely long beard and a hat in the rain " * 3


@pytest.mark.parametrize("side", [64, 1024])
def test_long_labels_stay_in_the_place_of_their_image(side):
    rows = [[torch.zeros(3, side, side)] * 2] * 2
    short = np.asarray(sheet(rows, column_labels=["a", "b"]))
    large = np.asarray(sheet(rows, column_labels=[LONG, ""]))
    width = large.shape[1] // 2
    margin = large[: large.shape[0] - 2 * width]
    assert drawn(margin).max() < width and drawn(margin).size > width / 3
    assert short.shape[0] < large.shape[0] < 2 * width + width * 0.8
    beside = np.asarray(sheet(rows, row_labels=[LONG, ""]))
    margin = beside[:, : beside.shape[1] - 2 * width]
    assert margin.shape[1] <= width + 12
    assert (margin[:width] < 128).any() and (margin[width:] == 255).all()


def test_label_that_is_too_long_ends_in_an_ellipsis_and_a_short_one_does_not():
    font = ImageFont.load_default(size=13)
    cut = _wrapped(LONG, font, 120, 3).splitlines()
    assert len(cut) == 3 and cut[-1].endswith("…")
    assert all(font.getlength(line) <= 120 for line in cut)
    assert " ".join(cut)[:-1] == LONG[: len(" ".join(cut)) - 1]
    assert _wrapped("a face with a hat", font, 120, 3) == "a face with a hat"
    assert _wrapped("a face with a hat", font, 4, 3) == ""


@pytest.mark.parametrize(
    "text",
    ["笑顔の女の人", "лицо", "وجه", "👩🏽‍🦰", "a\nb\0c\x1b", "half \ud800", "", " ", "x" * 5000],
)
def test_any_text_may_be_a_label(text):
    picture = sheet([[cell(0)]], [text], [text], scale=20)
    assert picture.width >= 20 * WIDTH


def test_letter_that_the_font_lacks_is_drawn_without_its_accent():
    rows = [[cell(0)]]
    with_accents, without = (sheet(rows, [text], scale=20) for text in ("Kapitän é", "Kapitan e"))
    assert np.array_equal(np.asarray(with_accents), np.asarray(without))


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

    def save(self, file, **options):
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
