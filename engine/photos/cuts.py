"""What of photos is edited: where it lies in each, cut out as the generator draws it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...store.atlas import Atlas
from ...store.errors import InputError, OptionError
from ...store.registry import bundle_of
from ..models.landmarks import FaceFinder
from .align import Alignment, align_box, align_faces, align_whole, crop
from .photo import Photo, Pixels

Align = Literal["face", "none"] | tuple[float, float, float]
"""By the faces of a photo, as the whole picture, or as the part whose top left corner is (x, y) and
that is so many pixels wide: (x, y, size)."""
Faces = int | Sequence[int] | Literal["all"]
"""Of a photo: the numbers of some, counted from 1, the largest, or all of them."""


@dataclass(frozen=True, eq=False)
class Cut:
    """A part of a photo that is edited.

    Args:
        photo: that it is of.
        alignment: where it lies there.
        pixels: uint8 (H, W, 3) of the generator's size, sRGB; see `crop`.
        name: what people call it.
    """

    photo: Photo
    alignment: Alignment
    pixels: Pixels
    name: str

    @property
    def side(self) -> float:
        """How many pixels of the photo lie along its upper edge."""
        quad = self.alignment.quad
        return float(np.hypot(*(quad[3] - quad[0])))

    def __repr__(self) -> str:
        return f"Cut({self.photo.path!r}, {self.alignment.place})"


def usual_align(atlas: Atlas) -> Literal["face", "none"]:
    """How photos are aligned for a generator where nobody says: by faces where it is known to draw
    them aligned, or samples of its atlas were found to have them; else as whole pictures."""
    if bundle := bundle_of(atlas.fingerprint.generator):
        return "none" if bundle.alignment is None else "face"
    known = () if atlas.samples is None else atlas.samples.features
    return "face" if "landmarks" in known else "none"


def require_align(align: Any) -> Align:
    """Raise OptionError unless it says how photos are aligned."""
    if isinstance(align, str) and align in ("face", "none"):
        return align  # type: ignore[return-value] # it is one of the words
    if isinstance(align, list | tuple) and len(align) == 3:
        x, y, size = align
        return (x, y, size)  # numbers: `align_box` asks that
    raise OptionError(f"align: is {align!r}; give face, none, or the part (x, y, size) in pixels")


def cuts_of(
    photo: Photo, size: tuple[int, int], align: Align, face: Faces, finder: Callable[[], FaceFinder]
) -> list[Cut]:
    """The parts of a photo that are edited by a generator of pictures of size (height, width).

    Args:
        face: which, where it is aligned by faces.
        finder: loads what finds them.

    Raises:
        InputError: no such face or part of the photo, or a whole picture of another shape.
        OptionError: faces where none are looked for.
        CheckpointError: faces are to be found, and what finds them was not fetched.
    """
    if align == "face":
        found = align_faces(photo, finder(), face)
    elif face != 1:
        raise OptionError("face: is named, and photos are not aligned by faces; leave it out")
    elif align == "none":
        found = [align_whole(photo, size)]
    else:
        try:
            found = [align_box(photo, *align, size)]
        except OptionError as error:  # of this photo; another one may have such a part
            raise InputError(str(error)) from error
    stem = Path(photo.path).stem or photo.path
    names = [stem if len(found) == 1 else f"{stem}, {one.place}" for one in found]
    return [
        Cut(photo, one, crop(photo, one.quad, size), name)
        for one, name in zip(found, names, strict=True)
    ]
