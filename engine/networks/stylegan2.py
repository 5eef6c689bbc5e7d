"""StyleGAN2's generator in plain PyTorch operators (Karras et al. 2020, "Analyzing and Improving
the Image Quality of StyleGAN"), skip architecture, with the state names of the NVIDIA checkpoints.

A style here is the raw output of a layer's affine map, as in StyleCLIP. Weights are never
modulated per sample: inputs are scaled by the style and outputs by the demodulation factor, which
computes the same with one ordinary convolution for the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NoiseMode = Literal["const", "random", "none"]


class FullyConnected(nn.Module):
    """y = x (W lr / sqrt(in))^T + b lr, then optionally leaky ReLU(0.2) with gain sqrt(2)."""

    def __init__(
        self, inputs: int, outputs: int, *, lr: float = 1.0, bias: float = 0.0, lrelu: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr)
        self.bias = nn.Parameter(torch.full((outputs,), bias / lr))
        self.lr, self.lrelu = lr, lrelu

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * (self.lr / math.sqrt(self.weight.shape[1]))
        y = F.linear(x, weight, self.bias * self.lr)
        return F.leaky_relu(y, 0.2) * math.sqrt(2) if self.lrelu else y


class Mapping(nn.Module):
    """z (n, z_dim) -> w (n, w_dim): unit second moment, then layers at learning rate 0.01."""

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, layers: int) -> None:
        super().__init__()
        self.z_dim, self.w_dim, self.layers = z_dim, w_dim, layers
        for i in range(layers):
            layer = FullyConnected(z_dim if i == 0 else w_dim, w_dim, lr=0.01, lrelu=True)
            setattr(self, f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor) -> Tensor:
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for i in range(self.layers):
            x = getattr(self, f"fc{i}")(x)
        return x


def scaled_conv(x: Tensor, weight: Tensor, style: Tensor) -> Tensor:
    """3x3 or 1x1 convolution whose weight is scaled by `style` (n, in) per sample (equation 1 of
    the paper). x (n, in, h, w); weight (out, in, k, k); returns (n, out, h, w)."""
    return F.conv2d(x * style[:, :, None, None], weight, padding=weight.shape[-1] // 2)


def scaled_up_conv(x: Tensor, weight: Tensor, style: Tensor, filter_2d: Tensor) -> Tensor:
    """The same as a transposed 3x3 convolution of stride 2 followed by the low-pass `filter_2d`
    (4 taps a side, gain 4): (n, in, h, w) -> (n, out, 2h, 2w)."""
    y = F.conv_transpose2d(x * style[:, :, None, None], weight.transpose(0, 1), stride=2)
    return depthwise(y, filter_2d * 4, padding=1)


def depthwise(x: Tensor, kernel: Tensor, padding: int) -> Tensor:
    """The same symmetric 2-d filter on every channel."""
    channels = x.shape[1]
    return F.conv2d(x, kernel.expand(channels, 1, -1, -1), padding=padding, groups=channels)


def demodulation(weight: Tensor, style: Tensor) -> Tensor:
    """1 / ||weight * style|| per sample and output channel: (n, out)."""
    energy = weight.square().sum((2, 3))  # (out, in)
    return torch.rsqrt(style.square() @ energy.t() + 1e-8)


def upsample(image: Tensor, filter_2d: Tensor) -> Tensor:
    """Doubles an image with the low-pass filter (zero insertion, 4 taps, gain 4)."""
    channels = image.shape[1]
    kernel = (filter_2d * 4)[None, None].expand(channels, 1, -1, -1)
    return F.conv_transpose2d(image, kernel, stride=2, padding=1, groups=channels)


class SynthesisLayer(nn.Module):
    """Affine, modulated 3x3 convolution (optionally x2), noise, bias, leaky ReLU x sqrt 2."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(self, inputs: int, outputs: int, w_dim: int, resolution: int, *, up: bool) -> None:
        super().__init__()
        self.resolution, self.up = resolution, up
        self.affine = FullyConnected(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("resample_filter", low_pass_filter())

    def forward(self, x: Tensor, style: Tensor, noise: NoiseMode) -> Tensor:
        if self.up:
            y = scaled_up_conv(x, self.weight, style, self.resample_filter)
        else:
            y = scaled_conv(x, self.weight, style)
        shift = self.bias[:, None, None]
        if noise == "const":
            shift = shift + self.noise_const * self.noise_strength
        elif noise == "random":
            shape = (len(x), 1, self.resolution, self.resolution)
            shift = shift + torch.randn(shape, dtype=x.dtype, device=x.device) * self.noise_strength
        # The gain of the activation passes through it, since leaky ReLU is homogeneous.
        gain = math.sqrt(2)
        scale = demodulation(self.weight, style)[:, :, None, None] * gain
        return F.leaky_relu(torch.addcmul(shift * gain, y, scale), 0.2)


class ToRGB(nn.Module):
    """Affine and a modulated 1x1 convolution to the image's channels, without demodulation."""

    def __init__(self, inputs: int, image_channels: int, w_dim: int) -> None:
        super().__init__()
        self.affine = FullyConnected(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(image_channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(image_channels))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        gain = 1 / math.sqrt(self.weight.shape[1])
        return scaled_conv(x, self.weight, style * gain) + self.bias[:, None, None]


class SynthesisBlock(nn.Module):
    """One resolution: [conv0 (x2)], conv1, torgb. The 4x4 block starts from a learned constant."""

    resample_filter: Tensor

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, resolution: int, image_channels: int
    ) -> None:
        super().__init__()
        if inputs == 0:
            self.const = nn.Parameter(torch.randn(outputs, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(inputs, outputs, w_dim, resolution, up=True)
        self.conv1 = SynthesisLayer(outputs, outputs, w_dim, resolution, up=False)
        self.torgb = ToRGB(outputs, image_channels, w_dim)
        self.register_buffer("resample_filter", low_pass_filter())


def low_pass_filter() -> Tensor:
    """outer([1, 3, 3, 1]) normalised to sum 1: (4, 4)."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(taps, taps) / 64


class Synthesis(nn.Module):
    """styles (one tensor a layer, in execution order) -> images (n, image_channels, H, H)."""

    def __init__(self, w_dim: int, channels: dict[int, int], image_channels: int) -> None:
        super().__init__()
        self.resolutions = tuple(sorted(channels))
        inputs = 0
        for resolution in self.resolutions:
            block = SynthesisBlock(inputs, channels[resolution], w_dim, resolution, image_channels)
            setattr(self, f"b{resolution}", block)
            inputs = channels[resolution]

    def block(self, resolution: int) -> SynthesisBlock:
        block: SynthesisBlock = getattr(self, f"b{resolution}")
        return block

    def styled_layers(self) -> list[StyledLayer]:
        """Every layer with a style, in execution order. A block's torgb takes the row of w after
        its conv1, and the next block's conv0 takes that same row."""
        layers: list[StyledLayer] = []
        row = 0
        for resolution in self.resolutions:
            block = self.block(resolution)
            convs = ["conv1"] if resolution == self.resolutions[0] else ["conv0", "conv1"]
            for name in convs:
                layer: SynthesisLayer = getattr(block, name)
                layers.append(StyledLayer(f"b{resolution}.{name}", "conv", resolution, row, layer))
                row += 1
            layers.append(StyledLayer(f"b{resolution}.torgb", "rgb", resolution, row, block.torgb))
        return layers

    def forward(self, styles: Sequence[Tensor], noise: NoiseMode = "const") -> Tensor:
        return self.pyramid(styles, noise, self.resolutions[-1])[-1]

    def pyramid(self, styles: Sequence[Tensor], noise: NoiseMode, resolution: int) -> list[Tensor]:
        """The partial images of the skip connection, from 4x4 up to `resolution`."""
        queue = iter(styles)
        images: list[Tensor] = []
        first = self.block(self.resolutions[0])
        x = first.const.expand(len(styles[0]), -1, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        for size in self.resolutions[: self.resolutions.index(resolution) + 1]:
            block = self.block(size)
            if images:
                x = block.conv0(x, next(queue), noise)
            x = block.conv1(x, next(queue), noise)
            rgb = block.torgb(x, next(queue))
            images.append(upsample(images[-1], block.resample_filter) + rgb if images else rgb)
        return images


class StyledLayer(NamedTuple):
    """A layer of the synthesis network and the row of w (n, num_ws, w_dim) that feeds it."""

    name: str
    kind: Literal["conv", "rgb"]
    resolution: int
    row: int
    module: SynthesisLayer | ToRGB


@dataclass(frozen=True)
class StyleGAN2Config:
    """The numbers a StyleGAN2 generator is built from; `channels` maps resolution to width."""

    z_dim: int
    w_dim: int
    mapping_layers: int
    channels: dict[int, int]
    image_channels: int = 3


class StyleGAN2(nn.Module):
    """Mapping and synthesis; `num_ws` rows of w feed the layers."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.mapping = Mapping(config.z_dim, config.w_dim, config.mapping_layers)
        self.synthesis = Synthesis(config.w_dim, config.channels, config.image_channels)
        self.num_ws = 2 * len(config.channels)
