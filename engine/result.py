"""What an edit made, and what CLIP sees of it."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..store.errors import wrong_type
from ..store.records import counted
from .photos.photographs import EditedCut, put_back
from .photos.write import write_photo
from .pictures.films import tiled
from .pictures.sheet import save_png
from .steering.direction import Direction
from .steering.edits import Edit
from .steering.request import Way
from .steering.status import Status


@dataclass(frozen=True, eq=False)
class EditResult:
    """What an edit made.

    Args:
        images: (n, channels, H, W), nominally in [-1, 1]. They go beyond, and the usual
            `((x + 1) * 127.5).astype(uint8)` wraps that into coloured specks: `pil` clips.
        styles: the edited styles (n, C).
        before: the styles (n, C) it started from.
        edits: the E edits that were combined, each of a positive weight.
        directions: their steps in the table, each at alpha 1; none where the table has none, or was
            not asked.
        alphas: how many of each direction were taken, its weight included, float32 (n, E); 0 for an
            image that went another way.
        counter: the K steps that hold still what the edit was to keep, where it was measured.
        counter_alphas: how many of each were taken, of either sign, float32 (n, K).
        keep: the prompts that images were not to move towards or away from.
        ways: how each image was edited, (n,).
        tried: for each image, the probability of the target that CLIP saw by each way tried, in
            that order; empty where none had to be measured.
        why: how the way was chosen, in words.
        status: what became of each image, see `status.WORDS`, (n,); None where that takes CLIP,
            which was not asked.
        photos: what was cut out of photos, (n,), where the images are of some, to be put back.
    """

    images: Tensor
    styles: Tensor
    before: Tensor
    edits: tuple[Edit, ...]
    directions: tuple[Direction, ...]
    alphas: NDArray[np.float32]
    counter: tuple[Direction, ...]
    counter_alphas: NDArray[np.float32]
    keep: tuple[str, ...]
    ways: tuple[Way, ...]
    tried: tuple[Mapping[Way, float], ...]
    why: str
    status: tuple[Status | None, ...]
    photos: tuple[EditedCut, ...] = ()

    def pil(self) -> Image.Image:
        """The edited images as one picture, several of them tiled."""
        return tiled(self.images)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `pil()` as a PNG file, or, where the images are of one photo, that photo with the
        edits in it, in the format that the name says; whole or not at all.

        Raises:
            OptionError: no file name, or images of several photos, each of which has `photos` to
                go back by (see `put_back`).
            OutputError: another file name extension, or the file cannot be written.
        """
        if not isinstance(path, str | os.PathLike):
            raise wrong_type("path", path, "a file name that ends in .png")
        if self.photos:
            pixels, _ = put_back(self.photos)
            write_photo(self.photos[0].cut.photo, pixels, path)
        else:
            save_png(self.pil(), path)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.pil().save(file, format="PNG")
        return file.getvalue()

    def __repr__(self) -> str:
        ways = [f"{count} by {way}" for way, count in Counter(self.ways).items()]
        known = Counter(status for status in self.status if status)
        ways += [f"{count} {status}" for status, count in known.items()]
        edits = ", ".join(f"{edit.neutral!r} -> {edit.target!r}" for edit in self.edits)
        return f"<EditResult of {counted(len(self.ways), 'image')}: {edits} ({', '.join(ways)})>"


@dataclass(frozen=True, eq=False)
class ClipShift:
    """What CLIP sees of one of the edits of a result, a number an image (n,).

    Args:
        along: how far the image embedding moved along the text direction, -2 to 2.
        similarity: cosine of its movement with the text direction, -1 to 1 (the directional
            similarity of StyleGAN-NADA, Gal et al. 2021).
        probability: of the target against the neutral prompt after the edit, 0 to 1; see
            `target_probability`.
        before: the same before the edit.
        kept: for each prompt to keep, how far the embedding moved along the direction to it.
    """

    along: NDArray[np.float32]
    similarity: NDArray[np.float32]
    probability: NDArray[np.float32]
    before: NDArray[np.float32]
    kept: dict[str, NDArray[np.float32]]
