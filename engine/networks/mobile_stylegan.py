"""MobileStyleGAN's generator (Belousov 2021, "MobileStyleGAN: A Lightweight Convolutional Neural
Network for High-Fidelity Image Synthesis", arXiv 2104.04767) in plain PyTorch operators.

Features double in size by an inverse Haar wavelet, which takes the channels of the block before as
one low and three high bands; convolutions but the first are separable: 3x3 a channel, then 1x1.
Demodulation does not depend on the style, so the weights here hold it already. The image is made in
bands, too, of half its size.

A style is the output of a layer's affine map as it is: published weights were exported without any
function after it, so styles are affine in w. Beside the convolutions' and toRGB's there are those
of the doubling, `up`, which scale the bands.

Bands lie one after the other here, the low ones first, so that each is a run of channels.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .mapping import Mapping, MappingConfig
from .rows import Pass, Rows, convolved, doubled, in_strips, pictured, through
from .style import NoiseMode, StyledLayer, renders_one_by_one

START = 4  # height and width of the constant
SMALL = 64  # the highest block whose features are few enough for threads to share an operator
REDUCED_BLOCKS = 4  # the highest blocks, which compute in reduced precision where it is asked for


@dataclass(frozen=True, kw_only=True)
class MobileStyleGANConfig(MappingConfig):
    """The numbers a MobileStyleGAN generator is built from.

    `channels` maps each block, which is called by the side of its features, to its width; the
    image is twice as large as the last one.
    """

    channels: dict[int, int]
    image_channels: int = 3

    @property
    def last(self) -> int:
        """The block that the image comes from."""
        return max(self.channels)

    @property
    def resolution(self) -> int:
        """Height and width of the image in pixels."""
        return 2 * self.last

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return self.resolution, self.resolution

    @property
    def num_ws(self) -> int:
        """Rows of w: one for each layer."""
        return 3 * len(self.channels) - 1

    def styled_layers(self) -> tuple[StyledLayer, ...]:
        """Every layer with a style, in execution order, each with a row of w of its own."""
        first, *blocks = sorted(self.channels)
        width = self.channels[first]
        sizes = [(f"b{first}.conv1", first, width)]
        for block in blocks:
            sizes.append((f"b{block}.up", block, width))
            sizes.append((f"b{block}.conv1", block, width // 4))
            width = self.channels[block]
            sizes.append((f"b{block}.conv2", block, width))
        layers = [
            StyledLayer(name, "conv", resolution, size, row)
            for row, (name, resolution, size) in enumerate(sizes)
        ]
        torgb = f"b{self.last}.torgb"
        return (*layers, StyledLayer(torgb, "rgb", self.resolution, width, len(layers)))


def inverse_haar(bands: Tensor) -> Tensor:
    """Bands (n, 4c, h, w) -> (n, c, 2h, 2w), by the orthonormal Haar wavelet: c that are low, c
    that change downwards, c to the right, c along both."""
    low, down, right, both = (bands * 0.5).chunk(4, 1)  # (n, c, h, w) each
    above, below = low + down, low - down
    change_above, change_below = right + both, right - both
    corners = torch.stack(
        [above + change_above, above - change_above, below + change_below, below - change_below], 2
    )
    return F.pixel_shuffle(corners.flatten(1, 2), 2)


class StyledModule(nn.Module, ABC):
    """A layer whose output follows from what is linear in its style."""

    def __init__(self, config: MobileStyleGANConfig, size: int) -> None:
        super().__init__()
        self.affine = nn.Linear(config.w_dim, size)

    @abstractmethod
    def linear(self, x: Tensor, style: Tensor) -> Tensor:
        """x (n, in, h, w) under a style (n, in): what is linear in the style."""

    @abstractmethod
    def response(self, x: Tensor, channel: int) -> Tensor:
        """What `linear` gains for each unit that one channel of the style gains."""

    @abstractmethod
    def finish(self, y: Tensor, noise: NoiseMode) -> Tensor:
        """The layer's output from what `linear` gives."""

    def forward(self, x: Tensor, style: Tensor, noise: NoiseMode) -> Tensor:
        return self.finish(self.linear(x, style), noise)


class RowsModule(StyledModule):
    """A layer, any but the first, which one image may also pass a few rows at a time; `reach` is
    how many rows above and below a row it looks at."""

    reach = 0

    @abstractmethod
    def rows(self, rows: Rows, style: Tensor, noise: Tensor | None, dtype: torch.dtype) -> Rows:
        """Its output from its input, in a type, under a style (in,), with the part of `noise_map`
        that belongs to the rows."""

    def noise_map(self, noise: NoiseMode) -> Tensor | None:
        """The noise of one image, (height, width); None without."""
        return None


class Up(RowsModule):
    """Bands scaled by a style, then the inverse wavelet: twice the size, a quarter of the
    channels."""

    def linear(self, x: Tensor, style: Tensor) -> Tensor:
        return inverse_haar(x * style[:, :, None, None].to(x.dtype))

    def response(self, x: Tensor, channel: int) -> Tensor:
        only = torch.zeros_like(x)
        only[:, channel] = x[:, channel]
        return inverse_haar(only)

    def finish(self, y: Tensor, noise: NoiseMode) -> Tensor:
        return y

    def rows(self, rows: Rows, style: Tensor, noise: Tensor | None, dtype: torch.dtype) -> Rows:
        return doubled(_in_type(rows, dtype), style.to(dtype))


class Convolution(StyledModule):
    """Input scaled by a style, 3x3 convolution, noise, bias, leaky ReLU without a gain."""

    noise_const: Tensor

    def __init__(self, config: MobileStyleGANConfig, inputs: int, outputs: int, block: int) -> None:
        super().__init__(config, inputs)
        self.gain = 1 / math.sqrt(9 * inputs)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(block, block))

    @abstractmethod
    def convolved(self, x: Tensor, channels: slice) -> Tensor:
        """Some channels of the input (n, k, h, w) through their weights: (n, out, h, w)."""

    def linear(self, x: Tensor, style: Tensor) -> Tensor:
        scale = (style * self.gain)[:, :, None, None].to(x.dtype)
        return self.convolved(x * scale, slice(None))

    def response(self, x: Tensor, channel: int) -> Tensor:
        only = slice(channel, channel + 1)
        return self.convolved(x[:, only] * self.gain, only)

    def finish(self, y: Tensor, noise: NoiseMode) -> Tensor:
        y = y + self.bias[:, None, None].to(y.dtype)
        if noise != "none":
            y = y + self._noise(noise, len(y)).to(y.dtype)
        return F.leaky_relu(y, 0.2)

    def _noise(self, noise: NoiseMode, n: int) -> Tensor:
        """The stored map (h, w), or a new one for each of n samples (n, 1, h, w)."""
        if noise == "const":
            return self.noise_const * self.noise_strength
        shape, device = self.noise_const.shape, self.noise_const.device
        return torch.randn((n, 1, *shape), device=device) * self.noise_strength


class FullConvolution(Convolution):
    """With weights between all channels."""

    def __init__(self, config: MobileStyleGANConfig, inputs: int, outputs: int, block: int) -> None:
        super().__init__(config, inputs, outputs, block)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))

    def convolved(self, x: Tensor, channels: slice) -> Tensor:
        return F.conv2d(x, self.weight[:, channels].to(x.dtype), padding=1)


class SeparableConvolution(Convolution, RowsModule):
    """3x3 in every channel, then 1x1 between them."""

    reach = 1

    def __init__(self, config: MobileStyleGANConfig, inputs: int, outputs: int, block: int) -> None:
        super().__init__(config, inputs, outputs, block)
        self.depthwise = nn.Parameter(torch.randn(inputs, 1, 3, 3))
        self.pointwise = nn.Parameter(torch.randn(outputs, inputs, 1, 1))

    def convolved(self, x: Tensor, channels: slice) -> Tensor:
        depthwise = self.depthwise[channels].to(x.dtype)
        x = F.conv2d(x, depthwise, padding=1, groups=len(depthwise))
        return F.conv2d(x, self.pointwise[:, channels].to(x.dtype))

    def noise_map(self, noise: NoiseMode) -> Tensor | None:
        return None if noise == "none" else self._noise(noise, 1).view_as(self.noise_const)

    def rows(self, rows: Rows, style: Tensor, noise: Tensor | None, dtype: torch.dtype) -> Rows:
        depthwise = (self.depthwise * (style * self.gain)[:, None, None, None]).to(dtype)
        pointwise, bias = self.pointwise[:, :, 0, 0].to(dtype), self.bias.to(dtype)
        return convolved(_in_type(rows, dtype), depthwise, pointwise, bias, noise)


class ToRGB(RowsModule):
    """Input scaled by a style, a 1x1 convolution to bands of the image's channels, the inverse
    wavelet: the image."""

    def __init__(self, config: MobileStyleGANConfig, inputs: int) -> None:
        super().__init__(config, inputs)
        self.gain = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.randn(4 * config.image_channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(4 * config.image_channels))

    def linear(self, x: Tensor, style: Tensor) -> Tensor:
        scale = (style * self.gain)[:, :, None, None].to(x.dtype)
        return F.conv2d(x * scale, self.weight.to(x.dtype)).to(self.weight.dtype)

    def response(self, x: Tensor, channel: int) -> Tensor:
        only = slice(channel, channel + 1)
        return F.conv2d(x[:, only].to(self.weight.dtype) * self.gain, self.weight[:, only])

    def finish(self, y: Tensor, noise: NoiseMode) -> Tensor:
        return inverse_haar(y + self.bias[:, None, None])

    def rows(self, rows: Rows, style: Tensor, noise: Tensor | None, dtype: torch.dtype) -> Rows:
        # The wavelet is linear: it goes into the weights.
        weight = self.weight[:, :, 0, 0] * (style * self.gain)
        corners = inverse_haar(torch.cat([weight, self.bias[:, None]], 1).t()[:, :, None, None])
        corners = corners.flatten(1).t()  # (4 channels, in + 1)
        return pictured(_in_type(rows, corners.dtype), corners[:, :-1], corners[:, -1])


class Synthesis(nn.Module):
    """styles (one tensor a layer, in execution order) -> images (n, image_channels, H, W).

    `reduced_dtype` is the type that the highest blocks compute in; None: as all others.
    """

    def __init__(self, config: MobileStyleGANConfig) -> None:
        super().__init__()
        self.layers = tuple(layer.name for layer in config.styled_layers())
        self.reduced_dtype: torch.dtype | None = None
        first, *blocks = sorted(config.channels)
        self.reduced = frozenset(blocks[-REDUCED_BLOCKS:])
        width = config.channels[first]
        block = nn.Module()
        block.const = nn.Parameter(torch.randn(width, START, START))
        block.conv1 = FullConvolution(config, width, width, first)
        self.add_module(f"b{first}", block)
        self.features = {first: width * first**2}
        for number in blocks:
            outputs, block = config.channels[number], nn.Module()
            block.up = Up(config, width)
            block.conv1 = SeparableConvolution(config, width // 4, outputs, number)
            block.conv2 = SeparableConvolution(config, outputs, outputs, number)
            self.add_module(f"b{number}", block)
            self.features[number] = outputs * number**2
            width = outputs
        block.torgb = ToRGB(config, width)

    def freeze(self) -> None:
        """Prepare for rendering with weights that no longer change: lay them out in memory as
        convolutions over channels-last features read them."""
        self.to(memory_format=torch.channels_last)

    def layer(self, number: int) -> StyledModule:
        """The layer of that number, in execution order."""
        layer = self.get_submodule(self.layers[number])
        assert isinstance(layer, StyledModule)
        return layer

    def forward(self, styles: Sequence[Tensor], noise: NoiseMode = "const") -> Tensor:
        return self.run(self.start(len(styles[0])), 0, styles, noise)

    def start(self, n: int) -> Tensor:
        """Before the first layer: the learned constant, n times."""
        const = self.get_parameter(f"{self.layers[0].split('.')[0]}.const")
        return const.expand(n, -1, -1, -1).contiguous(memory_format=torch.channels_last)

    def before(self, layer: int, styles: Sequence[Tensor]) -> Tensor:
        """Before the layer of that number, with constant noise."""
        return self.run(self.start(len(styles[0])), 0, styles[:layer])

    def run(
        self, x: Tensor, first: int, styles: Sequence[Tensor], noise: NoiseMode = "const"
    ) -> Tensor:
        """From before layer `first` on, through as many layers as there are styles."""
        for i, style in enumerate(styles):
            layer, here = self.layer(first + i), first + i
            if renders_one_by_one(self.features[self._block(here)], styles[i:]):
                samples = zip(*(style.split(1) for style in styles[i:]), strict=True)
                return torch.cat(
                    [
                        self.run(sample, here, rest, noise)
                        for sample, rest in zip(x.split(1), samples, strict=True)
                    ]
                )
            if here > 0 and len(x) == 1 and x.device.type == "cpu" and not torch.is_grad_enabled():
                return self._by_rows(x, here, styles[i:], noise)
            x = layer(x.to(self._dtype(here, x.dtype)), style, noise)
        return x

    def in_precision(self, layer: int, x: Tensor) -> Tensor:
        """x in the type that a layer computes in."""
        return x.to(self._dtype(layer, x.dtype))

    def _by_rows(self, x: Tensor, first: int, styles: Sequence[Tensor], noise: NoiseMode) -> Tensor:
        """`run` of one image: what is small at once, what is large in a strip for each thread."""
        features, dtype = x[0].permute(1, 2, 0).contiguous(), x.dtype  # (h, w, channels)
        small: list[Pass] = []
        large: list[Pass] = []
        for number, style in enumerate(styles, first):
            layer, dtype = self.layer(number), self._dtype(number, dtype)
            assert isinstance(layer, RowsModule)
            steps = large if self._block(number) > SMALL else small
            run = partial(layer.rows, style=style[0], dtype=dtype)
            steps.append(Pass(run, self._block(number), layer.reach, layer.noise_map(noise)))
        image = first + len(styles) == len(self.layers)
        along = 1 if image else 0  # the rows of an image are its second dimension
        if small:
            features = through(small, features, 0 if large else along)
        if large:
            features = in_strips(large, features, along)
        return features[None] if image else features[None].permute(0, 3, 1, 2)

    def _dtype(self, layer: int, before: torch.dtype) -> torch.dtype:
        """The type that a layer computes in, after one that computes in another."""
        return self.reduced_dtype or before if self._block(layer) in self.reduced else before

    def _block(self, layer: int) -> int:
        return int(self.layers[layer].split(".")[0].removeprefix("b"))


def _in_type(rows: Rows, dtype: torch.dtype) -> Rows:
    return (tile.to(dtype) for tile in rows)


class MobileStyleGAN(nn.Module):
    """Mapping and synthesis, as `config` describes them."""

    def __init__(self, config: MobileStyleGANConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config)
        self.synthesis = Synthesis(config)
