"""StyleGAN2's generator in plain PyTorch operators (Karras et al. 2020, "Analyzing and Improving
the Image Quality of StyleGAN"; "Training Generative Adversarial Networks with Limited Data" for
clamping and reduced precision), with the state names of the NVIDIA checkpoints.

A style here is the raw output of a layer's affine map, as in StyleCLIP. Batches do not modulate
weights per sample: inputs are scaled by the style and outputs by the demodulation factor, which
computes the same with one ordinary convolution for the whole batch. A single sample of many pixels
scales its weights, which are smaller than its features.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolutions import convolved, modulated_conv, upsample
from .mapping import FullyConnected, Mapping, MappingConfig
from .style import NoiseMode, StyledLayer, clamped, energy, renders_one_by_one, scaled

Architecture = Literal["skip", "resnet", "orig"]
SQUARE = (4, 4)  # the constant of all generators but those of forks


@dataclass(frozen=True, kw_only=True)
class StyleGAN2Config(MappingConfig):
    """The numbers a StyleGAN2 generator is built from.

    `channels` maps each block, which is called by 4 and its doubles, to its width; `constant` is
    the height and width that the first block starts from, doubled by every later one. Where that is
    4 x 4, a block is called by the side of its features. `conv_clamp` bounds the activations of
    every layer; `filter_taps` is the side of the low-pass filter of up-sampling; the
    `num_fp16_res` highest resolutions were trained in reduced precision.
    """

    channels: dict[int, int]
    constant: tuple[int, int] = SQUARE
    image_channels: int = 3
    architecture: Architecture = "skip"
    use_noise: bool = True
    conv_clamp: float | None = None
    filter_taps: int = 4
    num_fp16_res: int = 0

    def size(self, block: int) -> tuple[int, int]:
        """Height and width of the features of a block, in pixels."""
        height, width = self.constant
        return height * block // 4, width * block // 4

    @property
    def last(self) -> int:
        """The block that the image comes from."""
        return max(self.channels)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return self.size(self.last)

    @property
    def resolution(self) -> int:
        """The longer side of the image in pixels."""
        return max(self.image_size)

    @property
    def num_ws(self) -> int:
        """Rows of w, the same for every architecture."""
        return 2 * len(self.channels)

    def styled_layers(self) -> tuple[StyledLayer, ...]:
        """Every layer with a style, in execution order. A block's torgb takes the row of w after
        its conv1, and the next block's conv0 takes that same row."""
        layers: list[StyledLayer] = []
        row, inputs = 0, 0
        for number, width in sorted(self.channels.items()):
            block, resolution = f"b{number}", max(self.size(number))
            if inputs:
                layers.append(StyledLayer(f"{block}.conv0", "conv", resolution, inputs, row))
                row += 1
            layers.append(StyledLayer(f"{block}.conv1", "conv", resolution, width, row))
            row += 1
            if self.architecture == "skip" or number == self.last:
                layers.append(StyledLayer(f"{block}.torgb", "rgb", resolution, width, row))
            inputs = width
        return tuple(layers)

    def reduced(self, block: int) -> bool:
        """Whether this block is one of those of reduced precision."""
        return block >= 8 and block * 2**self.num_fp16_res > self.last


class SynthesisLayer(nn.Module):
    """Affine, modulated 3x3 convolution (optionally x2), noise, bias, leaky ReLU x sqrt 2."""

    resample_filter: Tensor
    noise_const: Tensor
    weight_energy: Tensor | None

    def __init__(
        self, config: StyleGAN2Config, inputs: int, outputs: int, block: int, *, up: bool
    ) -> None:
        super().__init__()
        self.up, self.clamp = up, config.conv_clamp
        self.use_noise = config.use_noise
        self.affine = FullyConnected(config.w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("resample_filter", low_pass_filter(config.filter_taps))
        self.register_buffer("weight_energy", None, persistent=False)
        if config.use_noise:
            self.noise_strength = nn.Parameter(torch.zeros([]))
            self.register_buffer("noise_const", torch.randn(config.size(block)))

    def forward(self, x: Tensor, style: Tensor, noise: NoiseMode, gain: float = 1.0) -> Tensor:
        weight, style = self._within_range(x.dtype, style, style)
        scale, bias = self._scale_and_bias(x.dtype, style, gain)
        up_filter = self.resample_filter if self.up else None
        return self._activated(
            modulated_conv(x, weight, style, scale, bias, up_filter), noise, gain
        )

    def linear(self, x: Tensor, style: Tensor) -> Tensor:
        """The convolution alone of x (n, in, h, w) with a style (n, in), which is linear in it."""
        weight, style = self._within_range(x.dtype, style, style)
        return self._convolved(x * style[:, :, None, None].to(x.dtype), weight)

    def response(self, x: Tensor, style: Tensor, channel: int) -> Tensor:
        """What `linear` gains for each unit that one channel of `style` gains."""
        weight, unit = self._within_range(x.dtype, style, torch.ones_like(style[:, :1]))
        only = slice(channel, channel + 1)
        return self._convolved(x[:, only] * unit[:, :, None, None].to(x.dtype), weight[:, only])

    def finish(
        self, y: Tensor, style: Tensor, base: Tensor, noise: NoiseMode, gain: float
    ) -> Tensor:
        """The layer's output from y, what `linear` would give for `style`, but within the range of
        the style `base`."""
        _, style = self._within_range(y.dtype, base, style)
        scale, bias = self._scale_and_bias(y.dtype, style, gain)
        return self._activated(scaled(y, scale, bias), noise, gain)

    def _convolved(self, x: Tensor, weight: Tensor) -> Tensor:
        up_filter = self.resample_filter.to(x.dtype) if self.up else None
        return convolved(x, weight.to(x.dtype), up_filter)

    def _within_range(
        self, dtype: torch.dtype, base: Tensor, style: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Weights and `style`; for half precision scaled by what they and the style `base` reach,
        which is the same after demodulation, without the overflow."""
        weight: Tensor = self.weight
        if dtype != torch.float16:
            return weight, style
        style = style / base.abs().amax(1, keepdim=True).clamp_min(1e-8)
        return weight * self._half_factor()[:, None, None, None], style

    def _half_factor(self) -> Tensor:
        weight: Tensor = self.weight
        return 1 / (weight.abs().amax((1, 2, 3)) * fan_in_root(weight))  # (out,)

    def _scale_and_bias(
        self, dtype: torch.dtype, style: Tensor, gain: float
    ) -> tuple[Tensor, Tensor]:
        """Demodulation (n, out) and bias (out,), both with the gain of the activation: it passes
        through, since leaky ReLU is homogeneous."""
        squares = energy(self.weight) if self.weight_energy is None else self.weight_energy
        if dtype == torch.float16:
            squares = squares * self._half_factor().square()[:, None]
        demodulation = torch.rsqrt(style.square() @ squares.t() + 1e-8)
        amplitude = gain * math.sqrt(2)
        return demodulation * amplitude, self.bias * amplitude

    def _activated(self, y: Tensor, noise: NoiseMode, gain: float) -> Tensor:
        if self.use_noise and noise != "none":
            # In place, as what follows: at high resolution every pass over memory counts.
            y.add_((self._noise(noise, len(y)) * (gain * math.sqrt(2))).to(y.dtype))
        y = F.leaky_relu_(y, 0.2)
        return clamped(y, None if self.clamp is None else self.clamp * gain)

    def freeze(self) -> None:
        """See `Synthesis.freeze`."""
        self.weight_energy = energy(self.weight.detach())
        if self.up:  # a transposed convolution reads its weights by input channel
            by_input = self.weight.detach().transpose(0, 1)
            by_input = by_input.contiguous(memory_format=torch.channels_last)
            self.weight.data = by_input.transpose(0, 1)

    def _noise(self, noise: NoiseMode, n: int) -> Tensor:
        """The stored map (h, w), or a new one for each of n samples (n, 1, h, w)."""
        if noise == "const":
            return self.noise_const * self.noise_strength
        shape, device = self.noise_const.shape, self.noise_const.device
        return torch.randn((n, 1, *shape), device=device) * self.noise_strength


class Features(NamedTuple):
    """What a render of n images holds between two layers.

    `x` (n, channels, h, w); `before`, the input of a resnet block until its branches meet;
    `images`, the partial images of the skip connection so far.
    """

    x: Tensor
    before: Tensor | None
    images: tuple[Tensor, ...]

    def each(self) -> list[Features]:
        """A sample at a time."""
        return [
            Features(
                self.x[i : i + 1],
                None if self.before is None else self.before[i : i + 1],
                tuple(image[i : i + 1] for image in self.images),
            )
            for i in range(len(self.x))
        ]


class ToRGB(nn.Module):
    """Affine and a modulated 1x1 convolution to the image's channels, without demodulation."""

    def __init__(self, config: StyleGAN2Config, inputs: int, block: int) -> None:
        super().__init__()
        self.block, self.clamp = block, config.conv_clamp
        self.affine = FullyConnected(config.w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(config.image_channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(config.image_channels))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return clamped(self.linear(x, style), self.clamp)

    def linear(self, x: Tensor, style: Tensor) -> Tensor:
        """The image before it is clamped, which is affine in the style."""
        weight = self.weight[:, :, 0, 0] * (style / fan_in_root(self.weight))[:, None]  # (n, 3, in)
        # Channels last in memory, as x: a CPU up-samples such images 4 to 12 times as fast.
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # (n, h * w, in)
        y = torch.bmm(pixels, weight.to(x.dtype).transpose(1, 2)).to(self.bias.dtype) + self.bias
        image: Tensor = y.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
        return image

    def response(self, x: Tensor, channel: int) -> Tensor:
        """What `linear` gains for each unit that one channel of the style gains."""
        weight: Tensor = self.weight[:, channel] / fan_in_root(self.weight)  # (3, 1, 1)
        response: Tensor = weight * x[:, channel : channel + 1].to(weight.dtype)
        return response


def fan_in_root(weight: Tensor) -> float:
    """Square root of the number of inputs that an output of a convolution sums."""
    return math.sqrt(weight[0].numel())


class Skip(nn.Module):
    """The residual branch of a resnet block: a 1x1 convolution without bias, then x2."""

    resample_filter: Tensor

    def __init__(self, config: StyleGAN2Config, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.register_buffer("resample_filter", low_pass_filter(config.filter_taps))

    def forward(self, x: Tensor, gain: float) -> Tensor:
        weight = self.weight * (gain / fan_in_root(self.weight))
        return upsample(F.conv2d(x, weight.to(x.dtype)), self.resample_filter)


class SynthesisBlock(nn.Module):
    """One resolution: [conv0 (x2)], conv1, [torgb]. The first block starts from a learned constant.

    A resnet block adds its up-sampled input to its output; both sides have gain sqrt(1/2).
    """

    resample_filter: Tensor

    def __init__(self, config: StyleGAN2Config, inputs: int, block: int) -> None:
        super().__init__()
        outputs = config.channels[block]
        self.features = outputs * math.prod(config.size(block))
        self.is_resnet = config.architecture == "resnet" and inputs > 0
        self.reduced = config.reduced(block)
        if inputs == 0:
            self.const = nn.Parameter(torch.randn(outputs, *config.size(block)))
        else:
            self.conv0 = SynthesisLayer(config, inputs, outputs, block, up=True)
        self.conv1 = SynthesisLayer(config, outputs, outputs, block, up=False)
        if config.architecture == "skip" or block == config.last:
            self.torgb = ToRGB(config, outputs, block)
        if self.is_resnet:
            self.skip = Skip(config, inputs, outputs)
        self.register_buffer("resample_filter", low_pass_filter(config.filter_taps))

    def convolution(self, part: str) -> SynthesisLayer:
        """conv0 or conv1."""
        layer: SynthesisLayer = self.conv0 if part == "conv0" else self.conv1
        return layer

    def gain(self, part: str) -> float:
        """Of conv1 in a resnet block, where its output is added to that of the other branch."""
        return math.sqrt(0.5) if self.is_resnet and part == "conv1" else 1.0

    def forward(self, part: str, features: Features, style: Tensor, noise: NoiseMode) -> Features:
        """One of its layers: conv0, conv1 or torgb."""
        x, _, images = features
        if part == "torgb":
            rgb = self.torgb(x, style)
            return features._replace(
                images=(*images, self.doubled(images[-1]) + rgb if images else rgb)
            )
        return self.joined(part, features, self.convolution(part)(x, style, noise, self.gain(part)))

    def joined(self, part: str, features: Features, y: Tensor) -> Features:
        """`features` after the convolution `part`, whose output is y."""
        if part == "conv0":
            return Features(y, features.x if self.is_resnet else None, features.images)
        if features.before is not None:
            y = y + self.skip(features.before, self.gain(part))
        return Features(y, None, features.images)

    def doubled(self, image: Tensor) -> Tensor:
        """A partial image at the resolution of this block."""
        return upsample(image, self.resample_filter)


def low_pass_filter(taps: int) -> Tensor:
    """The binomial filter of so many taps, normalised to sum 1: (taps, taps). For 4 taps it is
    outer([1, 3, 3, 1]) / 64."""
    row = torch.tensor([float(math.comb(taps - 1, i)) for i in range(taps)])
    return torch.outer(row, row) / row.sum() ** 2


class Synthesis(nn.Module):
    """styles (one tensor a layer, in execution order) -> images (n, image_channels, H, W).

    `reduced_dtype` is the type the blocks of reduced precision compute in; None: as all others.
    For a generator trained without, they are the four highest, the default of those trained with.
    """

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        config = config if config.num_fp16_res else replace(config, num_fp16_res=4)
        self.blocks = tuple(sorted(config.channels))
        self.layers = tuple(layer.name for layer in config.styled_layers())
        self.reduced_dtype: torch.dtype | None = None
        inputs = 0
        for number in self.blocks:
            setattr(self, f"b{number}", SynthesisBlock(config, inputs, number))
            inputs = config.channels[number]

    def block(self, number: int) -> SynthesisBlock:
        block: SynthesisBlock = getattr(self, f"b{number}")
        return block

    def freeze(self) -> None:
        """Prepare for rendering with weights that no longer change: lay them out in memory as
        convolutions over channels-last features read them, and keep what depends on them alone."""
        self.to(memory_format=torch.channels_last)
        for layer in self.modules():
            if isinstance(layer, SynthesisLayer):
                layer.freeze()

    def forward(self, styles: Sequence[Tensor], noise: NoiseMode = "const") -> Tensor:
        return self.run(self.start(len(styles[0])), 0, styles, noise).images[-1]

    def pyramid(self, styles: Sequence[Tensor], noise: NoiseMode, block: int) -> list[Tensor]:
        """The partial images of the skip connection, from the first block up to `block`; the image
        alone where the architecture has none."""
        used = sum(int(name.split(".")[0][1:]) <= block for name in self.layers)
        return list(self.run(self.start(len(styles[0])), 0, styles[:used], noise).images)

    def before(self, layer: int, styles: Sequence[Tensor]) -> Features:
        """Before the layer of that number, with constant noise."""
        return self.run(self.start(len(styles[0])), 0, styles[:layer])

    def start(self, n: int) -> Features:
        """Before the first layer: the learned constant, n times."""
        const: Tensor = self.block(self.blocks[0]).const
        x = const.expand(n, -1, -1, -1).contiguous(memory_format=torch.channels_last)
        return Features(x, None, ())

    def run(
        self, features: Features, first: int, styles: Sequence[Tensor], noise: NoiseMode = "const"
    ) -> Features:
        """From before layer `first` on, through as many layers as there are styles."""
        for i, style in enumerate(styles):
            block, part = self.part(first + i)
            if renders_one_by_one(block.features, styles[i:]):
                samples = zip(*(style.split(1) for style in styles[i:]), strict=True)
                return _joined(
                    self.run(sample, first + i, rest, noise)
                    for sample, rest in zip(features.each(), samples, strict=True)
                )
            features = block(part, self.in_precision(block, features), style, noise)
        return features

    def part(self, layer: int) -> tuple[SynthesisBlock, str]:
        """The block of a layer, and its name in there: conv0, conv1 or torgb."""
        block, part = self.layers[layer].split(".")
        return self.block(int(block[1:])), part

    def in_precision(self, block: SynthesisBlock, features: Features) -> Features:
        """`features` in the type that a block computes in."""
        if not block.reduced or self.reduced_dtype is None:
            return features
        return features._replace(x=features.x.to(self.reduced_dtype))


def _joined(samples: Iterable[Features]) -> Features:
    """Samples as one batch."""
    x, before, images = zip(*samples, strict=True)
    return Features(
        torch.cat(x),
        None if before[0] is None else torch.cat(before),
        tuple(torch.cat(image) for image in zip(*images, strict=True)),
    )


class StyleGAN2(nn.Module):
    """Mapping and synthesis, as `config` describes them."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config)
        self.synthesis = Synthesis(config)
