"""Design of StyleGAN3's low-pass filters, and up- and down-sampling with them.

Source: Karras et al. 2021, "Alias-Free Generative Adversarial Networks", appendix C: windowed sinc
filters with Kaiser's window, and for rotation equivariance their radial counterpart.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def kaiser_beta(taps: int, width: float, rate: float) -> float:
    """The shape of the Kaiser window of so many taps whose transition band is `width` wide at
    `rate` samples a unit: Kaiser's formulas for the attenuation and for beta."""
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return 0.5842 * math.pow(attenuation - 21, 0.4) + 0.07886 * (attenuation - 21)
    return 0.0


def low_pass(taps: int, cutoff: float, width: float, rate: float) -> Tensor:
    """A windowed sinc (taps,) of sum 1: half its gain at `cutoff`, transition band `width`."""
    offsets = _offsets(taps)
    kernel = torch.sinc(2 * cutoff / rate * offsets) * _window(taps, width, rate)
    return (kernel / kernel.sum()).float()


def radial_low_pass(taps: int, cutoff: float, width: float, rate: float) -> Tensor:
    """The circular counterpart (taps, taps) of sum 1: a jinc, windowed along both axes."""
    offsets = _offsets(taps) / rate
    radius = torch.hypot(offsets[:, None], offsets)
    window = _window(taps, width, rate)
    kernel: Tensor = torch.special.bessel_j1(2 * math.pi * cutoff * radius) / (math.pi * radius)
    if taps % 2:  # the limit at the centre
        kernel[taps // 2, taps // 2] = cutoff
    kernel = kernel * window[:, None] * window
    return (kernel / kernel.sum()).float()


def _offsets(taps: int) -> Tensor:
    return torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2


def _window(taps: int, width: float, rate: float) -> Tensor:
    beta = kaiser_beta(taps, width, rate)
    return torch.kaiser_window(taps, periodic=False, beta=beta, dtype=torch.float64)


def upsample(x: Tensor, kernel: Tensor, factor: int, axis: int, start: int, length: int) -> Tensor:
    """`length` samples from `start` of x (n, c, h, w) up-sampled along an axis (2 or 3).

    factor - 1 zeros follow every sample, and sample i of the result is the sum of `kernel` (taps,)
    times factor over the taps samples that end with the i-th; there are zeros before and after x.
    """
    channels, taps, size = x.shape[1], len(kernel), x.shape[axis]
    # Only the samples that the result depends on; `before` and `after` samples too many come out.
    first = min(max(-(-(start - taps + 1) // factor), 0), size - 1)
    last = min(max((start + length - 1) // factor, first), size - 1)
    before = start - first * factor
    after = (last - first) * factor + taps - before - length
    if before < after and first > 0:
        first, before = first - 1, before + factor
    x = x.narrow(axis, first, last - first + 1)
    weight = _along(kernel * factor, axis).to(x.dtype).expand(channels, 1, -1, -1)
    at_axis = [axis == 2, axis == 3]
    stride = [factor if here else 1 for here in at_axis]
    if 0 <= before - after < factor and after >= 0:
        # The convolution can leave out what is too much, which spares a copy.
        crop, more = [before * here for here in at_axis], [(before - after) * h for h in at_axis]
        return F.conv_transpose2d(x, weight, None, stride, crop, more, groups=channels)
    y = F.conv_transpose2d(x, weight, None, stride, groups=channels)
    return F.pad(y, [0, 0, -before, -after] if axis == 2 else [-before, -after])


def downsample(x: Tensor, kernel: Tensor, factor: int) -> Tensor:
    """x (n, c, h, w) filtered by `kernel`, (taps,) along both axes or (taps, taps), wherever it
    lies inside, and every factor-th sample kept: (n, c, h', w') with
    h' = (h - taps) // factor + 1."""
    channels = x.shape[1]
    if kernel.ndim == 2:
        weight = kernel.flip(0, 1).to(x.dtype).expand(channels, 1, -1, -1)
        return F.conv2d(x, weight, stride=factor, groups=channels)
    for axis in (3, 2):
        weight = _along(kernel.flip(0), axis).to(x.dtype).expand(channels, 1, -1, -1)
        stride = [factor if axis == side else 1 for side in (2, 3)]
        x = F.conv2d(x, weight, stride=stride, groups=channels)
    return x


def _along(kernel: Tensor, axis: int) -> Tensor:
    """(taps,) as (taps, 1) or (1, taps)."""
    return kernel[:, None] if axis == 2 else kernel[None, :]
