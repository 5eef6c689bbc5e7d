"""Images to PNG files: single pictures and labelled sheets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..store.errors import OptionError, OutputError
from ..store.output import replacing, require_writable
from .preprocess import to_bytes

MAX_SHEET_PIXELS = 100_000_000
_MARGIN = 6


def sheet(
    rows: Sequence[Sequence[Tensor]],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    scale: int = 1,
) -> Image.Image:
    """A picture of `rows` of images, each (1 or 3, H, W) in [-1, 1] with the same H and W, every
    pixel drawn `scale` x `scale`, with labels to the left and above where given.

    Raises:
        OptionError: the sheet would have more than 100 million pixels.
    """
    cells = np.stack([_rgb(row) for row in rows])  # (rows, n, H, W, 3)
    count, columns, height, width = cells.shape[:4]
    require_sheet_size(count, columns, height * scale, width * scale)
    grid = cells.transpose(0, 2, 1, 3, 4).reshape(count * height, columns * width, 3)
    picture = Image.fromarray(np.ascontiguousarray(grid.repeat(scale, 0).repeat(scale, 1)))
    if not row_labels and not column_labels:
        return picture
    return _label(picture, row_labels, column_labels, height * scale, width * scale)


def require_sheet_size(rows: int, columns: int, height: int, width: int) -> None:
    """Raise OptionError if a sheet of images of this size would have more than 100 million
    pixels; called before they are rendered."""
    if rows * columns * height * width > MAX_SHEET_PIXELS:
        raise OptionError(
            f"sheet of {rows} x {columns} images of {width} x {height}: is too large for one "
            "picture; ask for fewer seeds or alphas"
        )


def save_png(picture: Image.Image, path: str | os.PathLike[str]) -> None:
    """Writes a PNG file whole or not at all.

    Raises:
        OutputError: another file name extension, or the file cannot be written.
    """
    require_png(path)
    with replacing(path) as file:
        picture.save(file, format="PNG")


def require_png(path: str | os.PathLike[str]) -> None:
    """Raise OutputError unless `path` names a PNG file that can be written; called before the
    work, so that none is lost."""
    if Path(path).suffix.lower() != ".png":
        raise OutputError(f"{path}: pictures are written as PNG; end the name in .png")
    require_writable(path)


def _rgb(row: Sequence[Tensor]) -> NDArray[np.uint8]:
    images = torch.stack(list(row))
    if images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    pixels: NDArray[np.uint8] = to_bytes(images).cpu().numpy()
    return pixels


def _label(
    picture: Image.Image,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    height: int,
    width: int,
) -> Image.Image:
    font = ImageFont.load_default(size=max(12, min(height, width) // 7))
    left = max((int(font.getlength(text)) for text in row_labels), default=0)
    left += 2 * _MARGIN if row_labels else 0
    line = sum(font.getmetrics()) if isinstance(font, ImageFont.FreeTypeFont) else 12
    top = line + 2 * _MARGIN if column_labels else 0
    canvas = Image.new("RGB", (left + picture.width, top + picture.height), "white")
    canvas.paste(picture, (left, top))
    draw = ImageDraw.Draw(canvas)
    for i, text in enumerate(column_labels):
        draw.text((left + i * width + width // 2, top // 2), text, "black", font, anchor="mm")
    for i, text in enumerate(row_labels):
        at = (left - _MARGIN, top + i * height + height // 2)
        draw.text(at, text, "black", font, anchor="rm")
    return canvas
