"""CLIP's image preprocessing as tensor operations: on the device, differentiable, no 8-bit step;
and what stands before it for pictures that are not square, grey or have a transparency."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ...store.errors import OptionError

Interpolation = Literal["bicubic", "bilinear"]
ResizeMode = Literal["shortest", "squash"]
CHANNELS = (1, 3, 4)
"""That a picture has: grey, RGB, RGBA."""


@dataclass(frozen=True)
class Preprocessing:
    """How one CLIP takes its images; the values are those of open_clip's `preprocess_cfg`.

    Args:
        size: side of the square image the model sees, in pixels.
        mean, std: of red, green and blue values in [0, 1].
        resize_mode: `shortest` brings the shorter side to `size` and crops the centre; `squash`
            brings each side to `size`.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "bicubic"
    resize_mode: ResizeMode = "shortest"


def preprocess(images: Tensor, settings: Preprocessing) -> Tensor:
    """What a CLIP's PIL pipeline does: resize with antialiasing, crop, take off mean and std.

    images (n, 1, 3 or 4, H, W) in [-1, 1], clipped to that range as an 8-bit picture would be; see
    `as_rgb` for other channels than RGB. Returns (n, 3, size, size), float32, or float64 for
    float64 images.

    Before mean and std the result is within 1.25/255 of Pillow 13's, whatever the aspect: Pillow
    rounds to 8 bits after each of its two passes. Pillow 12 and older resize pictures more than
    twice as high as wide in the other order and differ there, by up to 30/255 on noise.

    Raises:
        OptionError: images of another shape or type, or without pixels.
    """
    images = as_rgb(images)
    if images.dtype != torch.float64:
        images = images.float()
    x = (images.clamp(-1, 1) + 1) / 2
    size, (height, width) = settings.size, x.shape[2:]
    short = min(height, width)
    if settings.resize_mode == "squash":
        x = _resize(x, size, size, settings.interpolation)
    elif short != size:
        x = _resize(x, size * height // short, size * width // short, settings.interpolation)
    top, left = (round((side - size) / 2) for side in x.shape[2:])
    x = x[:, :, top : top + size, left : left + size]
    mean, std = (_colours(values, x.dtype, x.device) for values in (settings.mean, settings.std))
    return (x - mean) / std


def as_rgb(images: Tensor) -> Tensor:
    """Images (n, 1, 3 or 4, H, W) in [-1, 1] as RGB, (n, 3, H, W): grey three times, RGBA laid over
    white as a page shows it; its alpha, -1 for nothing to 1, is not multiplied in. Differentiable.

    Raises:
        OptionError: images of another shape or type, or without pixels.
    """
    if images.ndim != 4 or images.shape[1] not in CHANNELS or 0 in images.shape[2:]:
        raise OptionError(
            f"images: have shape {tuple(images.shape)}; pictures have (n, 1, 3 or 4, height, width)"
        )
    if not images.is_floating_point():
        raise OptionError(f"images: have type {images.dtype}; pictures have floats in [-1, 1]")
    if images.shape[1] == 1:
        return images.expand(-1, 3, -1, -1)
    if images.shape[1] == 3:
        return images
    colours, alpha = images.clamp(-1, 1).split([3, 1], 1)
    laid_over: Tensor = 1 + (colours - 1) * (alpha + 1) / 2
    return laid_over


def padded(images: Tensor, settings: Preprocessing) -> Tensor:
    """Images (n, 3, H, W) in [-1, 1] in the middle of a square of the colour that CLIP's mean takes
    to 0, so that it sees a picture whole that its own crop would cut, at either end of the longer
    side; square ones as they are. Differentiable."""
    height, width = images.shape[2:]
    if height == width:
        return images
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    mean = 2 * _colours(settings.mean, images.dtype, images.device) - 1
    square: Tensor = mean.expand(len(images), 3, side, side).clone()
    square[:, :, top : top + height, left : left + width] = images
    return square


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # so that gradients can be taken through what is kept
def _colours(
    values: tuple[float, float, float], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Values of red, green and blue, (3, 1, 1). Kept: to bring them to a GPU is to wait for it."""
    return torch.tensor(values, dtype=dtype, device=device)[:, None, None]


def _resize(x: Tensor, height: int, width: int, interpolation: Interpolation) -> Tensor:
    """x (n, c, H, W) in [0, 1] -> (n, c, height, width), in Pillow's two passes.

    Each pass of Pillow clips bicubic's overshoot, so their order shows: columns first, but rows
    first where more than twice as many rows as columns go (measured on Pillow 13.0, in 4,000
    shapes without exception). Pillow 12 and older: columns first, below aspects of 100.
    """
    fewer_rows, fewer_columns = x.shape[2] - height, x.shape[3] - width
    rows_first = fewer_rows > max(2 * fewer_columns, 0)
    first = (height, x.shape[3]) if rows_first else (x.shape[2], width)
    for shape in (first, (height, width)):
        x = F.interpolate(x, shape, mode=interpolation, antialias=True, align_corners=False)
        x = x.clamp(0, 1)
    return x


def to_bytes(images: Tensor) -> Tensor:
    """Images (n, c, H, W) in [-1, 1] -> uint8 (n, H, W, c), rounded and clipped."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)


def from_bytes(pixels: Tensor) -> Tensor:
    """uint8 (n, H, W, c) -> images (n, c, H, W) in [-1, 1]."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
