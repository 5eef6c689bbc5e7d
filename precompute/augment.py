"""Images as bad photographs show them: other light, soft, compressed, grainy, a little off."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..engine.models.preprocess import from_bytes, to_bytes

UNTOUCHED = 0.25
"""The share of images that stay as they are."""

_EACH = 0.5  # of those that do not, how often each thing happens to one
_LIGHT, _CONTRAST, _TINT, _COLOUR = 0.45, 0.25, 0.2, 0.4  # at most, either way
_SOFT = 0.02  # of the side: the standard deviation of the blur, at most
_GRAIN = 0.2  # of the range from -1 to 1
_QUALITY = (25, 95)  # of a JPEG
_SHIFT, _TURN, _GROW = 0.06, math.radians(4), 0.05


def like_photographs(images: Tensor, random: np.random.Generator) -> Tensor:
    """RGB images (n, 3, H, W) in [-1, 1], each spoilt in its own way -> the same shape, type and
    range. Drawn on the CPU, so that it does not depend on the device."""
    n = len(images)
    spoilt = random.random(n) >= UNTOUCHED
    happens = (random.random((6, n)) < _EACH) & spoilt
    x = _moved(images, random, happens[0])
    x = _lit(x, random, happens[1], happens[2])
    x = _soft(x, random, happens[3])
    grain = random.uniform(0, _GRAIN, n) * happens[4]
    noise = random.standard_normal(images.shape).astype(np.float32)
    x = x + _over(grain, x) * torch.from_numpy(noise).to(x)
    x = _compressed(x, random.integers(*_QUALITY, n), happens[5])
    return torch.where(torch.from_numpy(spoilt).to(x.device)[:, None, None, None], x, images)


def _moved(x: Tensor, random: np.random.Generator, happens: NDArray[np.bool_]) -> Tensor:
    """Shifted, turned and grown a little, mirrored at the edges."""
    n = len(x)
    turn = random.uniform(-_TURN, _TURN, n) * happens
    grow = 1 + random.uniform(-_GROW, _GROW, n) * happens
    shift = 2 * random.uniform(-_SHIFT, _SHIFT, (n, 2)) * happens[:, None]
    theta = np.zeros((n, 2, 3), np.float32)
    theta[:, 0, 0] = theta[:, 1, 1] = grow * np.cos(turn)
    theta[:, 1, 0] = grow * np.sin(turn)
    theta[:, 0, 1] = -theta[:, 1, 0]
    theta[:, :, 2] = shift
    grid = F.affine_grid(torch.from_numpy(theta).to(x), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def _lit(
    x: Tensor, random: np.random.Generator, light: NDArray[np.bool_], colour: NDArray[np.bool_]
) -> Tensor:
    """Brighter or darker, harder or softer, tinted, more or less colourful."""
    n = len(x)
    gamma = 2.0 ** (random.uniform(-2 * _LIGHT, 2 * _LIGHT, n) * light)
    gain = 1 + random.uniform(-_LIGHT, _LIGHT, n) * light
    contrast = 1 + random.uniform(-_CONTRAST, _CONTRAST, n) * light
    tint = 1 + random.uniform(-_TINT, _TINT, (n, 3)) * colour[:, None]
    saturation = 1 + random.uniform(-_COLOUR, _COLOUR, n) * colour
    y = (x.clamp(-1, 1) + 1) / 2
    y = y ** _over(gamma, x) * _over(gain, x) * torch.from_numpy(tint).to(x)[:, :, None, None]
    middle = y.mean((1, 2, 3), keepdim=True)
    y = middle + (y - middle) * _over(contrast, x)
    grey = y.mean(1, keepdim=True)
    y = grey + (y - grey) * _over(saturation, x)
    return (2 * y - 1).clamp(-1, 1)


def _soft(x: Tensor, random: np.random.Generator, happens: NDArray[np.bool_]) -> Tensor:
    """Blurred by a Gaussian of its own each."""
    n, channels, height, width = x.shape
    sigma = random.uniform(0.1, 1, n) * _SOFT * max(height, width)
    reach = max(1, math.ceil(2.5 * _SOFT * max(height, width)))
    reach = min(reach, height - 1, width - 1)
    taps = torch.arange(-reach, reach + 1, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (taps / torch.from_numpy(sigma)[:, None].to(taps)) ** 2)
    kernel = torch.where(torch.from_numpy(happens)[:, None], kernel, (taps == 0).to(taps))
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(x)
    padded = F.pad(x, (reach, reach, reach, reach), mode="reflect")
    y = padded.reshape(1, n * channels, *padded.shape[2:])
    rows = kernel.repeat_interleave(channels, 0)  # (n * channels, taps)
    y = F.conv2d(y, rows[:, None, :, None], groups=n * channels)
    y = F.conv2d(y, rows[:, None, None, :], groups=n * channels)
    return y.reshape(x.shape)


def _compressed(x: Tensor, quality: NDArray[np.int64], happens: NDArray[np.bool_]) -> Tensor:
    """Written as JPEG and read again."""
    found = x.clone()
    for row in np.flatnonzero(happens).tolist():
        file = io.BytesIO()
        pixels = to_bytes(x[row : row + 1].float())[0].cpu().numpy()
        Image.fromarray(pixels).save(file, "JPEG", quality=int(quality[row]))
        with Image.open(file) as read:
            again = torch.from_numpy(np.array(read))
        found[row] = from_bytes(again[None])[0].to(x)
    return found


def _over(values: NDArray[np.floating], x: Tensor) -> Tensor:
    """A number an image (n,) beside images (n, 3, H, W)."""
    return torch.from_numpy(values).to(x)[:, None, None, None]
