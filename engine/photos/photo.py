"""A picture of the user's own, as it was read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""(H, W, 3), RGB."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture as it was read: what is edited, and all that is put back beside it.

    Args:
        path: where it lies, as it was named.
        pixels: uint8 (H, W, 3), read-only: its own numbers in its own `profile`, upright. This is
            the array that edits are pasted into, so that all beside them stays bit for bit; what
            networks are shown is made of a part of it, in sRGB, by `engine.photos.align.crop`.
        alpha: uint8 (H, W), 255 where it is opaque; None where it is so everywhere.
        profile: ICC profile of `pixels`, which colours can be brought into and out of; None stands
            for sRGB.
        exif: what is kept of its EXIF, see `engine.photos.metadata`; None is none.
        format: JPEG, PNG, WebP, TIFF, BMP, GIF or HEIC.
        tables: the quantisation tables of a JPEG, each of 64 numbers; None for others.
        subsampling: of a JPEG's colours, as Pillow counts: 0 is 4:4:4, 1 is 4:2:2, 2 is 4:2:0; None
            for others, and where it is another.
        dpi: pixels an inch, across and down; None where the file does not say.
        notes: what was not kept as it was, each a line to follow the name.
    """

    path: str
    pixels: Pixels
    alpha: NDArray[np.uint8] | None
    profile: bytes | None
    exif: bytes | None
    format: str
    tables: tuple[tuple[int, ...], ...] | None
    subsampling: int | None
    dpi: tuple[float, float] | None
    notes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def seen(self) -> Pixels:
        """The pixels (H, W, 3) over white, where it is not opaque; else `pixels` themselves."""
        if self.alpha is None:
            return self.pixels
        return over_white(self.pixels, self.alpha)

    def __repr__(self) -> str:
        height, width = self.shape
        return f"Photo({self.path!r}, {self.format}, {width} x {height})"


def over_white(pixels: Pixels, alpha: NDArray[np.uint8]) -> Pixels:
    """Pixels (H, W, 3) of opacity alpha (H, W) of 255, laid over white and rounded."""
    seen = np.empty_like(pixels)
    for row in range(0, len(pixels), 256):  # a few rows at a time: the sums take more memory
        part = slice(row, row + 256)
        opaque = alpha[part, :, None].astype(np.uint16)
        seen[part] = (pixels[part] * opaque + 255 * (255 - opaque) + 127) // 255
    return seen
