"""The picture of a card: unedited samples, or a user's PNG without what it tells beside pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ...store.errors import InputError
from ..models.protocols import Generator
from .sample_sheet import draw_seeds

MAX_PIXELS = 100_000_000
_PSI = 0.7


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


def samples_picture(generator: Generator, seeds: Sequence[int], path: Path) -> bytes:
    """Unedited images of seeds as a PNG, drawn to a path on the way."""
    draw_seeds(generator, seeds, _PSI, None, path)
    return plain_picture(path)


def _written(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    Image.frombytes(picture.mode, picture.size, picture.tobytes()).save(
        stream, "PNG", optimize=True
    )
    return stream.getvalue()
