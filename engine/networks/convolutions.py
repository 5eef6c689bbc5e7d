"""Convolutions of StyleGAN2 in plain PyTorch operators: modulated, and doubling the size (Karras et
al. 2020, "Analyzing and Improving the Image Quality of StyleGAN")."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .style import scaled


def modulated_conv(
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    scale: Tensor,
    bias: Tensor,
    up_filter: Tensor | None = None,
) -> Tensor:
    """Convolution with `weight` scaled by a style and its result by `scale`, both per sample, plus
    a bias (equations 1 to 3 of the paper).

    x (n, in, h, w); weight (out, in, k, k) with odd k; style (n, in); scale (n, out); bias (out,);
    returns (n, out, h, w). With a low-pass `up_filter` (t, t) the result is twice as large: a
    transposed convolution of stride 2, then the filter with gain 4.
    """
    outputs, size = len(weight), weight.shape[-1]
    weight, style, scale, bias = (t.to(x.dtype) for t in (weight, style, scale, bias))
    up_filter = up_filter if up_filter is None else up_filter.to(x.dtype)
    if len(x) == 1 and outputs * size**2 <= x.shape[2] * x.shape[3] and not style.requires_grad:
        # One sample of many pixels: its weights are smaller than its features. (A gradient would
        # need that of the weights, a second convolution.)
        weight, kernel_scale = weight * style[0][:, None, None], scale[0][:, None, None, None]
        if up_filter is None:
            return F.conv2d(x, weight * kernel_scale, bias, padding=size // 2)
        return transposed_conv(x, weight, up_filter * kernel_scale, bias)
    y = convolved(x * style[:, :, None, None], weight, up_filter)
    return scaled(y, scale, bias)


def convolved(x: Tensor, weight: Tensor, up_filter: Tensor | None) -> Tensor:
    """x (n, in, h, w) convolved with `weight` (out, in, k, k), and doubled by an `up_filter`."""
    if up_filter is None:
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    return transposed_conv(x, weight, up_filter.expand(len(weight), 1, -1, -1), None)


def transposed_conv(x: Tensor, weight: Tensor, up_filter: Tensor, bias: Tensor | None) -> Tensor:
    """Doubles x by a transposed convolution with `weight` (out, in, 3, 3), then filters each
    channel by its own `up_filter` (out, 1, t, t) with gain 4."""
    y = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # (n, out, 2h + 1, 2w + 1)
    kernel, taps = (up_filter * 4).flip(2, 3), up_filter.shape[-1]
    y = F.conv2d(y, kernel, bias, padding=(taps - 1) // 2, groups=len(weight))
    return _cropped(y, x)


def upsample(x: Tensor, up_filter: Tensor) -> Tensor:
    """Doubles x (n, c, h, w): zeros between the samples, low-pass (t, t), gain 4."""
    channels, taps = x.shape[1], len(up_filter)
    kernel = (up_filter * 4).to(x.dtype).expand(channels, 1, -1, -1)
    y = F.conv_transpose2d(x, kernel, stride=2, padding=(taps - 2) // 2, groups=channels)
    return _cropped(y, x)


def _cropped(y: Tensor, x: Tensor) -> Tensor:
    """y at twice the size of x: a filter of odd length leaves one row and column too many."""
    height, width = 2 * x.shape[2], 2 * x.shape[3]
    return y if y.shape[2:] == (height, width) else y[:, :, :height, :width]
