"""Where in a photo the generator's picture lies, that picture cut out, and laid back.

A generator of faces knows them in one place: eyes and mouth where its training set had them, which
is FFHQ's (Karras et al. 2019, arXiv 1812.04948, appendix A).

A quadrilateral (4, 2) is the crop's corners in the photo's pixels, x and y: top left, bottom left,
bottom right, top right; see `resample` for where (0, 0) is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ...store.errors import InputError, OptionError, require_number
from .colour import to_srgb
from .photo import Photo, Pixels
from .resample import Affine, inverse, resampled

if TYPE_CHECKING:
    from ..models.landmarks import Face, FaceFinder

Quadrilateral = NDArray[np.float64]

_EYES, _MOUTH, _UP = 2.0, 1.8, 0.1
"""Half of a crop's side in distances between the eyes, or from them to the mouth, whichever is
longer; and how far its middle lies from the eyes to the mouth."""
SHAPE = 0.02
"""By how much of itself a picture's shape may differ from the generator's."""
_WIDEST = 2.0
"""The largest square, in longer sides of the photo."""
_BLUR, _BLURRED = 0.02, 0.06
"""Of what lies outside of the photo: the blur's standard deviation, and the distance from the photo
at which it is full, in sides of the crop."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where a crop lies in its photo.

    Args:
        quad: its corners (4, 2).
        place: what it shows, in words: `face 2`, `whole picture`, `box 10,20,300`.
        face: the face it was aligned by; None where there was none.
    """

    quad: Quadrilateral
    place: str
    face: Face | None = None


def face_quad(points: NDArray[np.float64]) -> Quadrilateral:
    """FFHQ's crop of a face, a square: upright along the eyes and across the line from them to the
    mouth.

    Args:
        points: as `Face.points` has them (5, 2): left and right eye, nose, the mouth's corners.

    Raises:
        OptionError: eyes and mouth lie in one place.
    """
    left, right = points[0], points[1]
    eyes, mouth = (left + right) / 2, (points[3] + points[4]) / 2
    down = mouth - eyes
    across = (right - left) - _turned(down)
    length = np.linalg.norm(across)
    half = max(_EYES * np.linalg.norm(right - left), _MOUTH * np.linalg.norm(down))
    if not length > 1e-6 * half:  # of NaN, too
        raise OptionError("points: of a face whose eyes and mouth lie in one place; give others")
    x = across / length * half
    y = _turned(x)
    middle = eyes + _UP * down
    return np.stack([middle - x - y, middle - x + y, middle + x + y, middle + x - y])


def align_faces(
    photo: Photo, finder: FaceFinder, face: int | Sequence[int] | Literal["all"] = 1
) -> list[Alignment]:
    """Where a photo's faces lie: some of them, counted from 1, the largest, or all, the largest
    first.

    Raises:
        InputError: no face was found, or not so many.
        OptionError: no number of a face, or one twice.
    """
    wanted = _numbers(face)
    (found,) = finder.find([photo.seen()])
    if not found:
        raise InputError(
            f"{photo.path}: no face was found in it; if it is aligned, or shows something else, "
            "say --align none, or name the square to be edited by --align box X,Y,SIZE"
        )
    if wanted and max(wanted) > len(found):
        count = f"{len(found)} faces were" if len(found) > 1 else "one face was"
        raise InputError(
            f"{photo.path}: {count} found in it, and face {max(wanted)} asked for; faces are "
            "counted from 1, the largest"
        )
    return [
        Alignment(face_quad(found[n - 1].points), f"face {n}", found[n - 1])
        for n in wanted or range(1, len(found) + 1)
    ]


def _numbers(face: object) -> tuple[int, ...]:
    """Those asked for; none stands for all."""
    if face == "all":
        return ()
    numbers = (face,) if not isinstance(face, list | tuple) else tuple(face)
    if not numbers or not all(type(n) is int and n >= 1 for n in numbers):
        raise OptionError(
            f"face: is {face!r}; give its number from 1, the largest, on, several, or all"
        )
    if len(set(numbers)) < len(numbers):
        raise OptionError("face: names one twice; name each once")
    return numbers


def align_whole(photo: Photo, size: tuple[int, int]) -> Alignment:
    """The whole picture, for a generator of pictures of size (height, width).

    Raises:
        InputError: it is of another shape, by more than 2 %: nothing is cut off or stretched
            unasked.
    """
    (height, width), (wanted_height, wanted_width) = photo.shape, size
    shape = (width / height) / (wanted_width / wanted_height)
    if abs(np.log(shape)) > np.log1p(SHAPE):
        fits = min(width, height * wanted_width / wanted_height)  # the largest in the middle
        left, top = (width - fits) / 2, (height - fits * wanted_height / wanted_width) / 2
        raise InputError(
            f"{photo.path}: is {width} x {height}, and the generator's pictures are "
            f"{wanted_width} x {wanted_height}; cut it to that shape, or name a part of it, such "
            f"as --align box {left:.0f},{top:.0f},{fits:.0f}"
        )
    corners = [[0, 0], [0, height], [width, height], [width, 0]]
    return Alignment(np.array(corners, np.float64), "whole picture")


def align_box(photo: Photo, x: float, y: float, side: float, size: tuple[int, int]) -> Alignment:
    """The part of a photo whose top left corner is (x, y), `side` pixels wide and as high as the
    generator's pictures of size (height, width) want. It may reach beyond the photo.

    Raises:
        OptionError: no such part: its middle lies outside, or it is more than twice as wide as the
            photo's longer side, or less than one pixel.
    """
    for name, value in (("x", x), ("y", y), ("size", side)):
        require_number(f"align box, {name}", value)
    height, width = photo.shape
    down = side * size[0] / size[1]
    where = f"align box {x:g},{y:g},{side:g}"
    if not 1 <= side <= _WIDEST * max(height, width):
        raise OptionError(
            f"{where}: is of no size that fits {photo.path}, which is {width} x {height}; give X,Y "
            "of the top left corner and SIZE, in pixels"
        )
    if not (0 < x + side / 2 < width and 0 < y + down / 2 < height):
        raise OptionError(
            f"{where}: its middle lies outside of {photo.path}, which is {width} x {height}; give "
            "X,Y of the top left corner and SIZE, in pixels"
        )
    corners = [[x, y], [x, y + down], [x + side, y + down], [x + side, y]]
    return Alignment(np.array(corners, np.float64), where.removeprefix("align "))


def crop_to_photo(quad: Quadrilateral, size: tuple[int, int]) -> Affine:
    """The map (2, 3) from places of the crop of size (height, width) to the photo's; its `inverse`
    leads back."""
    height, width = size
    return np.column_stack([(quad[3] - quad[0]) / width, (quad[1] - quad[0]) / height, quad[0]])


def crop(photo: Photo, quad: Quadrilateral, size: tuple[int, int]) -> Pixels:
    """What the networks are shown: the part of a photo in a quadrilateral, brought to size (height,
    width) and to sRGB, over white where the photo is not opaque. Beyond the photo's edge it is
    mirrored, and ever more blurred."""
    to_photo = crop_to_photo(quad, size)
    cut = to_srgb(resampled(photo.seen(), to_photo, size), photo.profile)
    outside = _outside(to_photo, size, photo.shape) / np.linalg.norm(quad[3] - quad[0])
    if not outside.any():
        return cut
    blur = ImageFilter.GaussianBlur(_BLUR * size[1])
    blurred = np.asarray(Image.fromarray(cut).filter(blur))
    weight = np.minimum(outside / _BLURRED, 1)[:, :, None]
    mixed: Pixels = np.rint(cut + weight * (blurred.astype(np.float32) - cut)).astype(np.uint8)
    return mixed


@dataclass(frozen=True, eq=False)
class Laid:
    """A crop as it lies in its photo.

    Args:
        rows, columns: the part of the photo that it reaches.
        pixels: uint8 (h, w, 3), of that part.
        inside: bool (h, w), which of them have their middle in the crop; the others repeat it,
            mirrored.
    """

    rows: slice
    columns: slice
    pixels: Pixels
    inside: NDArray[np.bool_]


def laid_back(cut: Pixels, quad: Quadrilateral, shape: tuple[int, int]) -> Laid:
    """A crop (h, w, 3) in the pixels of its photo of shape (height, width): what `crop` does, the
    other way, but for colours, which stay as they are.

    Raises:
        OptionError: the crop lies outside of the photo.
    """
    low = np.maximum(np.floor(quad.min(0)), 0).astype(int)
    high = np.minimum(np.ceil(quad.max(0)), shape[::-1]).astype(int)
    if (low >= high).any():
        raise OptionError("quad: lies outside of the photo; give one that was aligned with it")
    size = (cut.shape[0], cut.shape[1])
    to_crop = inverse(crop_to_photo(quad, size))
    to_crop[:, 2] += to_crop[:, :2] @ low  # from the part's own corner
    part = (int(high[1] - low[1]), int(high[0] - low[0]))
    return Laid(
        slice(int(low[1]), int(high[1])),
        slice(int(low[0]), int(high[0])),
        resampled(cut, to_crop, part),
        _outside(to_crop, part, size) == 0,
    )


def _outside(
    to_source: Affine, size: tuple[int, int], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """How far the middle of each pixel of a picture of a size (height, width) lies outside of its
    source of a shape (H, W), in the source's pixels, (height, width); 0 inside."""
    columns = np.arange(size[1], dtype=np.float32) + 0.5
    rows = np.arange(size[0], dtype=np.float32)[:, None] + 0.5
    matrix = to_source.astype(np.float32)
    beyond = []
    for (a, b, c), length in zip(matrix, shape[::-1], strict=True):
        place = a * columns + b * rows + c  # (height, width)
        beyond.append(np.maximum(np.maximum(-place, place - length), 0))
    distance: NDArray[np.float32] = np.hypot(*beyond)
    return distance


def _turned(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """By a quarter, from right to down."""
    return np.array([-vector[1], vector[0]])
