"""StyleGAN's synthesis as the papers write it and most PyTorch ports compute it: weights modulated
and demodulated for every sample, one group of a convolution a sample, zeros inserted before every
filter. Tests compare the networks with it, and `generators.py` times them against it.

The functions take a network of `styleatlas.engine.networks` for its weights, compute in its type,
and know nothing of how it computes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def stylegan2(network, styles: Sequence[Tensor], noise: str = "const") -> Tensor:
    """styles (one (n, channels) a layer, in execution order) -> images of a StyleGAN2."""
    config, synthesis = network.config, network.synthesis
    queue = iter(styles)
    x = synthesis.b4.const.expand(len(styles[0]), -1, -1, -1)
    image = None
    for resolution in sorted(config.channels):
        block = getattr(synthesis, f"b{resolution}")
        before, gain = x, 1.0
        if resolution > 4:
            x = _stylegan2_layer(config, block.conv0, x, next(queue), noise, gain, up=True)
            gain = math.sqrt(0.5) if config.architecture == "resnet" else 1.0
        x = _stylegan2_layer(config, block.conv1, x, next(queue), noise, gain, up=False)
        if config.architecture == "resnet" and resolution > 4:
            weight = block.skip.weight / math.sqrt(before.shape[1])
            doubled = _doubled(F.conv2d(before, weight), block.skip.resample_filter)
            x = doubled * math.sqrt(0.5) + x
        if config.architecture == "skip" or resolution == config.last:
            weight, style = block.torgb.weight, next(queue) / math.sqrt(x.shape[1])
            rgb = modulated(x, weight, style, demodulate=False)
            rgb = _clamped(rgb + block.torgb.bias[:, None, None], config.conv_clamp)
            image = rgb if image is None else _doubled(image, block.resample_filter) + rgb
    return image


def stylegan3(network, styles: Sequence[Tensor]) -> Tensor:
    """styles (one (n, channels) a layer, in execution order) -> images of a StyleGAN3."""
    config, synthesis = network.config, network.synthesis
    x = synthesis.input(styles[0])
    for spec, style in zip(config.layers, styles[1:], strict=True):
        layer = getattr(synthesis, spec.name)
        weight = layer.weight
        if spec.is_torgb:
            style = style / math.sqrt(weight[0].numel())
        else:
            weight = weight / weight.square().mean((1, 2, 3), keepdim=True).sqrt()
            style = style / style.square().mean().sqrt()
        gain = layer.magnitude_ema.rsqrt()
        x = modulated(x, weight, style, not spec.is_torgb, padding=spec.kernel - 1, gain=gain)
        x = x + layer.bias[:, None, None]
        pads = (*spec.padding, *spec.padding)
        up = layer.up_filter if spec.up_taps > 1 else torch.ones(1, device=x.device, dtype=x.dtype)
        x = filtered(inserted(x, spec.up_factor), up * spec.up_factor, pads)
        x = x if spec.is_torgb else F.leaky_relu(x, 0.2) * math.sqrt(2)
        x = _clamped(x, spec.clamp)
        if spec.down_taps > 1:
            x = filtered(x, layer.down_filter)[:, :, :: spec.down_factor, :: spec.down_factor]
    return x * config.output_scale


def mobile_stylegan(network, styles: Sequence[Tensor], noise: str = "const") -> Tensor:
    """styles (one (n, channels) a layer, in execution order) -> images of a MobileStyleGAN."""
    synthesis = network.synthesis
    x = synthesis.b4.const.expand(len(styles[0]), -1, -1, -1)
    for spec, style in zip(network.config.styled_layers(), styles, strict=True):
        layer, (block, part) = synthesis.get_submodule(spec.name), spec.name.split(".")
        x = x * style[:, :, None, None]
        if part == "up":
            x = _from_bands(x)
            continue
        if part == "torgb":
            return _from_bands(F.conv2d(x / math.sqrt(x.shape[1]), layer.weight, layer.bias))
        x = x / math.sqrt(9 * x.shape[1])
        if block == "b4":
            x = F.conv2d(x, layer.weight, padding=1)
        else:
            x = F.conv2d(x, layer.depthwise, padding=1, groups=x.shape[1])
            x = F.conv2d(x, layer.pointwise)
        if noise == "const":
            x = x + layer.noise_const * layer.noise_strength
        x = F.leaky_relu(x + layer.bias[:, None, None], 0.2)
    raise ValueError("a MobileStyleGAN ends in torgb")


def _from_bands(x: Tensor) -> Tensor:
    """The inverse Haar wavelet of four bands, each by a transposed convolution with its filter."""
    bands = x.chunk(4, 1)
    image = torch.zeros([], device=x.device, dtype=x.dtype)
    for band, down, right in zip(bands, (1, -1, 1, -1), (1, 1, -1, -1), strict=True):
        rows, columns = x.new_tensor([1, down]), x.new_tensor([1, right])
        kernel = torch.outer(rows, columns).expand(band.shape[1], 1, 2, 2) / 2
        image = image + F.conv_transpose2d(band, kernel, stride=2, groups=band.shape[1])
    return image


def modulated(
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    demodulate: bool,
    padding: int | None = None,
    gain: Tensor | float = 1.0,
    up: bool = False,
) -> Tensor:
    """A convolution with weights of its own for every sample, as a grouped one."""
    n, inputs, height, width = x.shape
    outputs, _, size, _ = weight.shape
    own = weight * style[:, None, :, None, None]  # (n, out, in, k, k)
    if demodulate:
        own = own * torch.rsqrt(own.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    own, x = own * gain, x.reshape(1, n * inputs, height, width)
    if up:
        own = own.transpose(1, 2).reshape(n * inputs, outputs, size, size)
        y = F.conv_transpose2d(x, own, stride=2, groups=n)
    else:
        own = own.reshape(n * outputs, inputs, size, size)
        y = F.conv2d(x, own, padding=size // 2 if padding is None else padding, groups=n)
    return y.reshape(n, outputs, *y.shape[2:])


def inserted(x: Tensor, factor: int) -> Tensor:
    """factor - 1 zeros after every sample of both axes."""
    y = x.new_zeros(*x.shape[:2], x.shape[2] * factor, x.shape[3] * factor)
    y[:, :, ::factor, ::factor] = x
    return y


def filtered(x: Tensor, kernel: Tensor, pads: Sequence[int] = (0, 0, 0, 0)) -> Tensor:
    """Zeros around x (left, right, top, bottom; negative: cropped), then the kernel (taps, taps),
    or (taps,) along either axis, wherever it lies inside."""
    x, channels = F.pad(x, list(pads)), x.shape[1]
    if kernel.ndim == 1:
        kernels = [kernel.flip(0)[:, None], kernel.flip(0)[None, :]]
    else:
        kernels = [kernel.flip(0, 1)]
    for part in kernels:
        x = F.conv2d(x, part.expand(channels, 1, -1, -1), groups=channels)
    return x


def _stylegan2_layer(
    config, layer, x: Tensor, style: Tensor, noise: str, gain: float, up: bool
) -> Tensor:
    x = modulated(x, layer.weight, style, demodulate=True, up=up)
    taps = config.filter_taps
    if up:
        before, after = 1 + (taps + 1) // 2 - 2, 1 + (taps - 2) // 2 - 1
        x = filtered(x, layer.resample_filter * 4, (before, after, before, after))
    if config.use_noise and noise == "const":
        x = x + layer.noise_const * layer.noise_strength
    x = F.leaky_relu(x + layer.bias[:, None, None], 0.2) * (math.sqrt(2) * gain)
    return _clamped(x, config.conv_clamp and config.conv_clamp * gain)


def _doubled(x: Tensor, kernel: Tensor) -> Tensor:
    before, after = (len(kernel) + 1) // 2, (len(kernel) - 2) // 2
    return filtered(inserted(x, 2), kernel * 4, (before, after, before, after))


def _clamped(x: Tensor, limit: float | None) -> Tensor:
    return x if limit is None else x.clamp(-limit, limit)
