"""Where a photo may change, as somebody painted it."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...store.errors import InputError
from .photo import Photo
from .read import read_photo


def read_mask(path: str | os.PathLike[str], photo: Photo) -> NDArray[np.uint8]:
    """A picture of a photo's size as a mask (H, W): 255 where it is white, 0 where it is black or
    nothing is seen of it.

    Raises:
        InputError: no such picture, or one of another size.
    """
    mask = read_photo(path)
    if mask.shape != photo.shape:
        (height, width), (wanted_height, wanted_width) = mask.shape, photo.shape
        raise InputError(
            f"{path}: is {width} x {height}, and {photo.path} {wanted_width} x {wanted_height} as "
            "it is seen upright; paint the mask over the photo, in its size"
        )
    white = np.asarray(Image.fromarray(mask.pixels).convert("L"))
    if mask.alpha is None:
        return white
    return ((white.astype(np.uint16) * mask.alpha + 127) // 255).astype(np.uint8)
