"""Images to PNG files: single pictures and labelled sheets."""

from __future__ import annotations

import math
import os
import textwrap
import unicodedata
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ...store.errors import OptionError
from ...store.output import PICTURE, replacing
from ..models.preprocess import as_rgb, to_bytes
from .recipe import Recipe, png_text

MAX_SHEET_PIXELS = 100_000_000
LABELLED_SIDE = 96
"""The least height and width in pixels of an image with labels."""
_MOST_PIXELS = 16_000_000
_LEAST_SIDE, _USUAL_SIDE = 64, 192
_MARGIN = 6
_COLUMN_LINES = 3
_LONGEST_LINE = 120
_NO_LETTER = chr(0x10FFFF)


def sheet(
    rows: Sequence[Sequence[Tensor]],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    scale: int | None = None,
) -> Image.Image:
    """A picture of `rows` of images, each (1, 3 or 4, H, W) in [-1, 1] with the same H and W, every
    pixel drawn `scale` x `scale`, with labels to the left and above where given. It is grey, RGB or
    RGBA as they are.

    If no scale is given, it is 1 without labels; with labels it brings an image to at least 96
    pixels, where the sheet does not become too large. A label is wrapped to the width of an image,
    and ends in an ellipsis if it is longer than its place.

    Raises:
        OptionError: the sheet would have more than 100 million pixels.
    """
    cells = np.stack([_pixels(row) for row in rows])  # (rows, n, H, W, channels)
    count, columns, height, width, channels = cells.shape
    labelled = bool(row_labels or column_labels)
    if scale is None:
        scale = _readable_scale(count * columns, height, width) if labelled else 1
    height, width = height * scale, width * scale
    require_sheet_size(count, columns, height, width)
    cells = cells.repeat(scale, 2).repeat(scale, 3) if scale > 1 else cells
    grid = cells.transpose(0, 2, 1, 3, 4).reshape(count * height, columns * width, channels)
    picture = Image.fromarray(np.ascontiguousarray(grid[..., 0] if channels == 1 else grid))
    return _label(picture, row_labels, column_labels, height, width) if labelled else picture


def require_sheet_size(rows: int, columns: int, height: int, width: int) -> None:
    """Raise OptionError if a sheet of images of this size would have more than 100 million
    pixels; called before they are rendered."""
    if rows * columns * height * width > MAX_SHEET_PIXELS:
        raise OptionError(
            f"sheet of {rows} x {columns} images of {width} x {height}: is too large for one "
            "picture; ask for fewer seeds or alphas"
        )


def cell_size(size: tuple[int, int], rows: int, columns: int) -> tuple[int, int]:
    """How large images of a size (height, width) are drawn on a sheet of so many, with at most 16
    million pixels in all: small ones are enlarged and large ones reduced by halves.

    Returns:
        Pixels on the longer side of an image, for `scaled_down`, and how often each is repeated to
        either side, the `scale` of `sheet`.

    Raises:
        OptionError: so many images that none of them could be seen.
    """
    side = max(size)
    scale = max(1, _USUAL_SIDE // side)
    while rows * columns * math.prod(_within(*size, side)) * scale**2 > _MOST_PIXELS:
        if scale > 1:
            scale -= 1
        else:
            side //= 2
        if side * scale < _LEAST_SIDE:
            raise OptionError(
                f"sheet of {rows} x {columns} images: is too large for one picture; "
                "ask for fewer channels or seeds"
            )
    return side, scale


def scaled_down(images: Tensor, side: int) -> Tensor:
    """Images (n, 1, 3 or 4, H, W) in [-1, 1] as RGB, (n, 3, h, w), with no more than `side` pixels
    on their longer side, of the same aspect."""
    images = as_rgb(images.float())
    size = _within(images.shape[2], images.shape[3], side)
    if size == images.shape[2:]:
        return images
    return F.interpolate(images.clamp(-1, 1), size, mode="bilinear", antialias=True)


def save_png(
    picture: Image.Image, path: str | os.PathLike[str], recipe: Recipe | None = None
) -> None:
    """Writes a PNG file whole or not at all, with what it was made from inside.

    Raises:
        OutputError: another file name extension, or the file cannot be written.
    """
    require_png(path)
    with replacing(path) as file:
        picture.save(file, format="PNG", pnginfo=None if recipe is None else png_text(recipe))


def require_png(path: str | os.PathLike[str]) -> None:
    """Raise OutputError unless `path` names a PNG file that can be written; called before the
    work, so that none is lost."""
    PICTURE.require(path)


def _within(height: int, width: int, side: int) -> tuple[int, int]:
    """A size with no more than `side` pixels on its longer side, of the same aspect."""
    longer = max(height, width)
    if longer <= side:
        return height, width
    return max(1, height * side // longer), max(1, width * side // longer)


def _pixels(row: Sequence[Tensor]) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = to_bytes(torch.stack(list(row))).cpu().numpy()
    return pixels


def _readable_scale(images: int, height: int, width: int) -> int:
    """The factor that brings an image to the least size for labels, if the sheet can bear it."""
    wanted = math.ceil(LABELLED_SIDE / min(height, width))
    return max(1, min(wanted, math.isqrt(MAX_SHEET_PIXELS // (images * height * width))))


def _label(
    picture: Image.Image,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    height: int,
    width: int,
) -> Image.Image:
    # Larger in large images, which are looked at from further away, but not in proportion.
    font = ImageFont.load_default(size=9 + max(min(height, width), LABELLED_SIDE) // 24)
    line = _size("Agj\nAgj", font)[1] - _size("Agj", font)[1]
    lines = max(1, (height - _MARGIN) // line)
    row_labels = [_wrapped(text, font, width - _MARGIN, lines) for text in row_labels]
    lines = _COLUMN_LINES
    column_labels = [_wrapped(text, font, width - _MARGIN, lines) for text in column_labels]
    left = max((_size(text, font)[0] + 2 * _MARGIN for text in row_labels), default=0)
    top = max((_size(text, font)[1] + 2 * _MARGIN for text in column_labels), default=0)
    canvas = Image.new(picture.mode, (left + picture.width, top + picture.height), "white")
    canvas.paste(picture, (left, top))
    draw = ImageDraw.Draw(canvas)
    for i, text in enumerate(column_labels):
        at = (left + i * width + width // 2, top // 2)
        draw.text(at, text, "black", font, anchor="mm", align="center")
    for i, text in enumerate(row_labels):
        at = (left - _MARGIN, top + i * height + height // 2)
        draw.text(at, text, "black", font, anchor="rm", align="right")
    return canvas


_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _wrapped(text: str, font: _Font, width: int, lines: int) -> str:
    """A text in at most so many lines of at most `width` pixels; if it is longer, it ends in an
    ellipsis."""
    text = "".join(_drawable(letter, font) for letter in text)
    for letters in range(min(len(text), _LONGEST_LINE), 0, -1):
        wrapped = textwrap.wrap(
            text, letters, max_lines=lines, placeholder="…", break_on_hyphens=False
        )
        if all(font.getlength(part) <= width for part in wrapped):
            return "\n".join(wrapped)
    return ""


def _drawable(letter: str, font: _Font) -> str:
    """A letter, without its accent where the font has it only so; a box where it has neither."""
    if not letter.isprintable():  # half a surrogate pair is not either
        return " "
    if letter.isascii() or bytes(font.getmask(letter)) != bytes(font.getmask(_NO_LETTER)):
        return letter
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return plain or letter


def _size(text: str, font: _Font) -> tuple[int, int]:
    """Width and height in pixels, from the top of the tallest letter there may be."""
    draw = ImageDraw.Draw(Image.new("L", (1, 1)))
    _, _, right, bottom = draw.textbbox((0, 0), text, font)
    return math.ceil(right), math.ceil(bottom)
