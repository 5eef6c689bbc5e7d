"""CLIP's image preprocessing as tensor operations: on the device, differentiable, no 8-bit step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..store.errors import OptionError


def preprocess(images: Tensor, size: int, mean: Tensor, std: Tensor) -> Tensor:
    """What CLIP's PIL pipeline does: shorter side to `size` by antialiased bicubic, centre crop,
    CLIP's mean and standard deviation.

    images (n, 1 or 3, H, W) in [-1, 1], clipped to that range as an 8-bit picture would be;
    mean and std (3,) of values in [0, 1]. Returns (n, 3, size, size).

    Raises:
        OptionError: images of another shape, or without pixels.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape[2:]:
        raise OptionError(
            f"images: have shape {tuple(images.shape)}; CLIP takes (n, 1 or 3, height, width)"
        )
    if images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    x = (images.clamp(-1, 1) + 1) / 2
    height, width = x.shape[2:]
    if min(height, width) != size:
        short = min(height, width)
        shape = [size * height // short, size * width // short]
        # PIL resizes rows, then columns; its 8-bit result of each clips bicubic's overshoot.
        for step in ([height, shape[1]], shape):
            x = F.interpolate(x, step, mode="bicubic", antialias=True, align_corners=False)
            x = x.clamp(0, 1)
    top, left = (round((side - size) / 2) for side in x.shape[2:])
    x = x[:, :, top : top + size, left : left + size]
    return (x - mean[:, None, None]) / std[:, None, None]


def to_bytes(images: Tensor) -> Tensor:
    """Images (n, c, H, W) in [-1, 1] -> uint8 (n, H, W, c), rounded and clipped."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
