"""The picture of a card: unedited samples, or a user's PNG without what it tells beside pixels."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from PIL import Image

from ...store.errors import InputError
from ..models.protocols import Generator
from ..models.sampling import render_batches, styles_from_seeds
from ..pictures.sheet import cell_size, scaled_down, sheet

MAX_PIXELS = 100_000_000
_PSI = 0.7
_SIDE = 384


def plain_picture(path: Path) -> bytes:
    """A PNG with the same pixels and nothing else: no recipe, no profile, no names of files.

    Raises:
        InputError: it is no PNG, or has more than 100 million pixels.
    """
    try:
        with Image.open(path, formats=["PNG"]) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise ValueError(f"has more than {MAX_PIXELS:,} pixels")
            opened.load()
            mode = "RGBA" if "A" in opened.getbands() or "transparency" in opened.info else "RGB"
            return _written(opened.convert(mode))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path}: cannot be read as a PNG ({' '.join(str(error).split())[:100]}); name a "
            "picture that `styleatlas sheet` or `edit` wrote"
        ) from error


@torch.inference_mode()
def samples_picture(generator: Generator) -> bytes:
    """Unedited images of nine seeds as a PNG, three to a row, of 384 px at most each."""
    rows = [range(at, at + 3) for at in (1, 4, 7)]
    side, scale = cell_size(generator.image_size, 3, 3)
    pictures = []
    for seeds in rows:
        styles = styles_from_seeds(generator, seeds, _PSI)
        images = [scaled_down(x, min(side, _SIDE)).cpu() for x in render_batches(generator, styles)]
        pictures.append([*torch.cat(images)])
    return _written(sheet(pictures, [f"seeds {row[0]} to {row[-1]}" for row in rows], scale=scale))


def _written(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    Image.frombytes(picture.mode, picture.size, picture.tobytes()).save(
        stream, "PNG", optimize=True
    )
    return stream.getvalue()
