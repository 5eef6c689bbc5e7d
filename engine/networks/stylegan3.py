"""StyleGAN3's generator in plain PyTorch operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import filters
from .mapping import FullyConnected, Mapping, MappingConfig
from .style import NoiseMode, StyledLayer, clamped, energy, renders_one_by_one, scaled

# Features (samples x channels x pixels) at the rate of the nonlinearity that a CPU holds at once.
BAND = 2**22


@dataclass(frozen=True, kw_only=True)
class FourierInput:
    """The input of Fourier features: `channels` waves of at most `bandwidth` cycles per image,
    sampled on `size` x `size` points at `sampling_rate` points per image."""

    channels: int
    size: int
    sampling_rate: float
    bandwidth: float


@dataclass(frozen=True, kw_only=True)
class FilteredLayer:
    """A modulated convolution and its filtered nonlinearity.

    Sizes are sides in samples, margins included; rates are samples per image; cutoffs and half
    widths are cycles per image. The nonlinearity runs at `in_rate` x `up_factor` samples per image,
    between a low-pass of `up_taps` and one of `down_taps` (1: none). `padding` is the number of
    samples added before and after each axis at that rate (negative: cropped).
    """

    name: str
    is_torgb: bool
    in_channels: int
    out_channels: int
    in_size: int
    out_size: int
    in_rate: float
    out_rate: float
    in_cutoff: float
    out_cutoff: float
    in_half_width: float
    out_half_width: float
    kernel: int
    up_factor: int
    up_taps: int
    down_factor: int
    down_taps: int
    down_radial: bool
    padding: tuple[int, int]
    clamp: float | None
    reduced: bool


@dataclass(frozen=True, kw_only=True)
class StyleGAN3Config(MappingConfig):
    """The numbers a StyleGAN3 generator is built from; `stylegan3_config` designs them."""

    resolution: int
    image_channels: int
    input: FourierInput
    layers: tuple[FilteredLayer, ...]
    output_scale: float = 0.25

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return self.resolution, self.resolution

    @property
    def num_ws(self) -> int:
        """Rows of w: one for the input and one for each layer."""
        return len(self.layers) + 1

    def styled_layers(self) -> tuple[StyledLayer, ...]:
        """Every layer with a style, in execution order."""
        side = round(self.input.sampling_rate)
        layers = [StyledLayer("input", "input", side, 4, 0)]
        for row, layer in enumerate(self.layers, 1):
            kind: Literal["conv", "rgb"] = "rgb" if layer.is_torgb else "conv"
            side = min(round(layer.out_rate), self.resolution)
            layers.append(StyledLayer(layer.name, kind, side, layer.in_channels, row))
        return tuple(layers)


def stylegan3_config(
    *,
    z_dim: int = 512,
    c_dim: int = 0,
    w_dim: int = 512,
    mapping_layers: int = 2,
    mapping_lr: float = 0.01,
    resolution: int,
    image_channels: int = 3,
    channel_base: int = 32768,
    channel_max: int = 512,
    num_layers: int = 14,
    num_critical: int = 2,
    first_cutoff: float = 2,
    first_stopband: float = 2**2.1,
    last_stopband_rel: float = 2**0.3,
    margin_size: int = 10,
    output_scale: float = 0.25,
    num_fp16_res: int = 4,
    conv_kernel: int = 3,
    filter_size: int = 6,
    lrelu_upsampling: int = 2,
    use_radial_filters: bool = False,
    conv_clamp: float | None = 256,
) -> StyleGAN3Config:
    """Design a StyleGAN3 from its hyperparameters, which carry the names and the defaults
    (configuration T) of the checkpoints; configuration R doubles `channel_base` and
    `channel_max`, takes `conv_kernel` 1 and `use_radial_filters`.

    Source: Karras et al. 2021, "Alias-Free Generative Adversarial Networks", section 3 and
    appendix C: geometric progressions of cutoffs and stopbands, two critically sampled layers.
    """
    last_cutoff = resolution / 2
    steps = [min(i / (num_layers - num_critical), 1) for i in range(num_layers + 1)]
    cutoffs = [first_cutoff * (last_cutoff / first_cutoff) ** e for e in steps]
    last_stopband = last_cutoff * last_stopband_rel
    stopbands = [first_stopband * (last_stopband / first_stopband) ** e for e in steps]
    rates = [2 ** math.ceil(math.log2(min(stop * 2, resolution))) for stop in stopbands]
    half_widths = [
        max(stop, rate / 2) - cutoff
        for stop, rate, cutoff in zip(stopbands, rates, cutoffs, strict=True)
    ]
    sizes = [rate + margin_size * 2 for rate in rates[:-2]] + [resolution] * 2
    channels = [round(min(channel_base / 2 / cutoff, channel_max)) for cutoff in cutoffs]
    channels[-1] = image_channels

    layers = []
    for i in range(num_layers + 1):
        before = max(i - 1, 0)
        torgb = i == num_layers
        kernel = 1 if torgb else conv_kernel
        rate = max(rates[before], rates[i]) * (1 if torgb else lrelu_upsampling)
        up, down = rate // rates[before], rate // rates[i]
        up_taps = filter_size * up if up > 1 and not torgb else 1
        down_taps = filter_size * down if down > 1 and not torgb else 1
        total = (sizes[i] - 1) * down + 1 - (sizes[before] + kernel - 1) * up
        total += up_taps + down_taps - 2
        low = (total + up) // 2
        layers.append(
            FilteredLayer(
                name=f"L{i}_{sizes[i]}_{channels[i]}",
                is_torgb=torgb,
                in_channels=channels[before],
                out_channels=channels[i],
                in_size=sizes[before],
                out_size=sizes[i],
                in_rate=rates[before],
                out_rate=rates[i],
                in_cutoff=cutoffs[before],
                out_cutoff=cutoffs[i],
                in_half_width=half_widths[before],
                out_half_width=half_widths[i],
                kernel=kernel,
                up_factor=up,
                up_taps=up_taps,
                down_factor=down,
                down_taps=down_taps,
                down_radial=use_radial_filters and i < num_layers - num_critical,
                padding=(low, total - low),
                clamp=conv_clamp,
                reduced=rates[i] * 2**num_fp16_res > resolution,
            )
        )
    return StyleGAN3Config(
        z_dim=z_dim,
        c_dim=c_dim,
        w_dim=w_dim,
        mapping_layers=mapping_layers,
        mapping_lr=mapping_lr,
        resolution=resolution,
        image_channels=image_channels,
        input=FourierInput(
            channels=channels[0],
            size=sizes[0],
            sampling_rate=rates[0],
            bandwidth=cutoffs[0],
        ),
        layers=tuple(layers),
        output_scale=output_scale,
    )


class SynthesisInput(nn.Module):
    """Fourier features, rotated and translated by w (n, w_dim): (n, channels, size, size)."""

    freqs: Tensor
    phases: Tensor
    transform: Tensor

    def __init__(self, config: FourierInput, w_dim: int) -> None:
        super().__init__()
        self.config = config
        # Waves of all directions, evenly spread over the disc of the bandwidth.
        angles = torch.rand(config.channels) * 2 * math.pi
        radii = torch.rand(config.channels).sqrt() * config.bandwidth
        freqs = torch.stack([angles.cos(), angles.sin()], 1) * radii[:, None]
        self.weight = nn.Parameter(torch.randn(config.channels, config.channels))
        self.affine = FullyConnected(w_dim, 4)
        self.affine.bias.data[0] = 1.0  # no rotation, no translation, around which w varies
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", freqs)
        self.register_buffer("phases", torch.rand(config.channels) - 0.5)

    def forward(self, style: Tensor) -> Tensor:
        """style (n, 4): cosine and sine of the rotation (any length) and the translation."""
        config = self.config
        style = style / style[:, :2].norm(dim=1, keepdim=True)
        cosine, sine, x, y = style.unbind(1)
        zero, one = torch.zeros_like(sine), torch.ones_like(sine)
        rotation = _matrices([[cosine, -sine, zero], [sine, cosine, zero], [zero, zero, one]])
        translation = _matrices([[one, zero, -x], [zero, one, -y], [zero, zero, one]])
        transform = rotation @ translation @ self.transform  # (n, 3, 3)

        phases = self.phases + (self.freqs @ transform[:, :2, 2:])[..., 0]  # (n, channels)
        freqs = self.freqs @ transform[:, :2, :2]  # (n, channels, 2)
        headroom = config.sampling_rate / 2 - config.bandwidth
        amplitudes = 1 - (freqs.norm(dim=2) - config.bandwidth) / headroom
        # Pixel centres, in units of the image: (size,).
        steps = torch.arange(config.size, dtype=freqs.dtype, device=freqs.device)
        steps = (steps + 0.5 - config.size / 2) / config.sampling_rate
        across = freqs[:, None, None, :, 0] * steps[:, None]  # (n, 1, size, channels)
        down = freqs[:, None, None, :, 1] * steps[:, None, None]  # (n, size, 1, channels)
        waves = torch.sin(2 * math.pi * (across + down + phases[:, None, None]))
        waves = waves * amplitudes.clamp(0, 1)[:, None, None]
        mixed: Tensor = waves @ (self.weight / math.sqrt(config.channels)).t()
        return mixed.permute(0, 3, 1, 2)  # channels last in memory


def _matrices(rows: list[list[Tensor]]) -> Tensor:
    """Entries (n,) -> matrices (n, rows, columns)."""
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


class SynthesisLayer(nn.Module):
    """Affine, modulated convolution, bias, filtered leaky ReLU."""

    magnitude_ema: Tensor
    up_filter: Tensor
    down_filter: Tensor

    def __init__(self, config: FilteredLayer, w_dim: int) -> None:
        super().__init__()
        self.config = config
        shape = (config.out_channels, config.in_channels, config.kernel, config.kernel)
        self.affine = FullyConnected(w_dim, config.in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.zeros(config.out_channels))
        self.register_buffer("magnitude_ema", torch.ones([]))
        rate = config.in_rate * config.up_factor
        if config.up_taps > 1:
            cutoff, width = config.in_cutoff, config.in_half_width * 2
            self.register_buffer("up_filter", filters.low_pass(config.up_taps, cutoff, width, rate))
        if config.down_taps > 1:
            design = filters.radial_low_pass if config.down_radial else filters.low_pass
            cutoff, width = config.out_cutoff, config.out_half_width * 2
            self.register_buffer("down_filter", design(config.down_taps, cutoff, width, rate))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return self.finish(self.linear(x, style), style, style)

    def linear(self, x: Tensor, style: Tensor) -> Tensor:
        """The convolution alone with all of its padding, linear in the style (n, in) but for the
        size of the whole: (n, in, h, w) -> (n, out, h + k - 1, w + k - 1)."""
        style = (style * self._gain(style)).to(x.dtype)
        return self._convolved(x * style[:, :, None, None], slice(None))

    def response(self, x: Tensor, style: Tensor, channel: int) -> Tensor:
        """What `linear` gains for each unit that one channel of `style` gains."""
        only = slice(channel, channel + 1)
        return self._convolved(x[:, only] * self._gain(style).to(x.dtype), only)

    def finish(self, y: Tensor, style: Tensor, base: Tensor) -> Tensor:
        """The layer's output from y, what `linear` would give for `style`, but at the size of the
        style `base`."""
        scale, bias = self._scale_and_bias(style * self._gain(base))
        y = scaled(y, scale, bias)
        config = self.config
        if config.is_torgb:  # without filters
            return clamped(y, config.clamp)
        rows = config.out_size
        if y.device.type == "cpu":
            # In bands that memory allocation and caches cope with; the filters meet at the seams.
            row = y.shape[0] * y.shape[1] * rows * config.down_factor**2
            rows = max(8, BAND // row)
        bands = [
            self._filtered(y, first, min(rows, config.out_size - first))
            for first in range(0, config.out_size, rows)
        ]
        # Channels last, as the bands are in memory: another way takes many times as long.
        last = [band.permute(0, 2, 3, 1) for band in bands]
        whole = last[0].contiguous() if len(last) == 1 else torch.cat(last, 1)
        return whole.permute(0, 3, 1, 2)

    def _filtered(self, x: Tensor, first: int, rows: int) -> Tensor:
        """The filtered nonlinearity of x (n, out, h, w), `rows` rows from row `first` on."""
        config = self.config
        up, down = config.up_factor, config.down_factor
        kernel = self.up_filter if config.up_taps > 1 else x.new_ones(1)
        # Sample i at the higher rate is the one whose filter ends at sample i + taps - 1, counted
        # from the first of the padding.
        start = config.up_taps - 1 - config.padding[0]
        high, wide = ((n - 1) * down + config.down_taps for n in (rows, config.out_size))
        x = filters.upsample(x, kernel, up, 2, start + first * down, high)
        x = filters.upsample(x, kernel, up, 3, start, wide)
        x = clamped(F.leaky_relu_(x, 0.2), config.clamp)
        return filters.downsample(x, self.down_filter, down) if config.down_taps > 1 else x

    def _convolved(self, x: Tensor, inputs: slice) -> Tensor:
        """With the weights of some of the input channels."""
        weight: Tensor = self.weight
        if not self.config.is_torgb:
            weight = weight * self._power().rsqrt()[:, None, None, None]
        return F.conv2d(x, weight[:, inputs].to(x.dtype), padding=self.config.kernel - 1)

    def _power(self) -> Tensor:
        """Mean square of the weights of each output channel, (out,)."""
        weight: Tensor = self.weight
        return weight.square().mean((1, 2, 3))

    def _gain(self, style: Tensor) -> Tensor:
        """What a style is multiplied with before it meets the weights."""
        if self.config.is_torgb:
            return self.magnitude_ema.rsqrt() / math.sqrt(self.weight[0].numel())
        return style.square().mean().rsqrt() * self.magnitude_ema.rsqrt()

    def _scale_and_bias(self, style: Tensor) -> tuple[Tensor, Tensor]:
        """Demodulation (n, out) of a style (n, in) and bias (out,). The gain of the activation,
        sqrt 2, is in both, since leaky ReLU and filters are homogeneous."""
        weight: Tensor = self.weight
        bias: Tensor = self.bias
        if self.config.is_torgb:
            return style.new_ones(1, len(weight)), bias
        style = style / self.magnitude_ema.rsqrt()
        squares = energy(weight) / self._power()[:, None]  # (out, in)
        return torch.rsqrt(style.square() @ squares.t() + 1e-8) * math.sqrt(2), bias * math.sqrt(2)


class Synthesis(nn.Module):
    """styles (one tensor a layer, in execution order) -> images (n, image_channels, H, H).

    `reduced_dtype` is the type the layers of reduced precision compute in; None: as all others.
    """

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__()
        self.reduced_dtype: torch.dtype | None = None
        self.output_scale = config.output_scale
        self.input = SynthesisInput(config.input, config.w_dim)
        self.names = [layer.name for layer in config.layers]
        self.features = max(layer.out_channels * layer.out_size**2 for layer in config.layers)
        for layer in config.layers:
            setattr(self, layer.name, SynthesisLayer(layer, config.w_dim))

    def freeze(self) -> None:
        """Prepare for rendering: lay out the weights as convolutions over channels-last features
        read them."""
        self.to(memory_format=torch.channels_last)

    def forward(self, styles: Sequence[Tensor], noise: NoiseMode = "const") -> Tensor:
        """StyleGAN3 has no noise: the mode is ignored."""
        if renders_one_by_one(self.features, styles):
            samples = zip(*(style.split(1) for style in styles), strict=True)
            return torch.cat([self(sample, noise) for sample in samples])
        return self.image(self.run(self.input(styles[0]), 0, styles[1:]))

    def before(self, layer: int, styles: Sequence[Tensor]) -> Tensor:
        """Features before the layer of that number among the styles; the input's is 0."""
        return self.run(self.input(styles[0]), 0, styles[1:layer])

    def onward(self, x: Tensor, first: int, styles: Sequence[Tensor]) -> Tensor:
        """Features x before layer `first` -> images, as `forward` gives them."""
        if renders_one_by_one(self.features, styles):
            samples = zip(x.split(1), *(style.split(1) for style in styles), strict=True)
            return torch.cat([self.onward(x, first, rest) for x, *rest in samples])
        return self.image(self.run(x, first, styles))

    def run(self, x: Tensor, first: int, styles: Sequence[Tensor]) -> Tensor:
        """Features x before layer `first` -> those after as many layers as there are styles."""
        for i, style in enumerate(styles, first):
            layer = self.layer(i)
            x = layer(self.in_precision(layer, x), style)
        return x

    def layer(self, number: int) -> SynthesisLayer:
        """A layer by its number, from 0; the input has none."""
        layer: SynthesisLayer = getattr(self, self.names[number])
        return layer

    def in_precision(self, layer: SynthesisLayer, x: Tensor) -> Tensor:
        """x in the type that a layer computes in."""
        reduces = layer.config.reduced and self.reduced_dtype is not None
        return x.to(self.reduced_dtype) if reduces else x

    def image(self, x: Tensor) -> Tensor:
        """The image that the last layer's output is, in the type of the weights."""
        return x.to(self.input.weight.dtype) * self.output_scale


class StyleGAN3(nn.Module):
    """Mapping and synthesis, as `config` describes them."""

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config)
        self.synthesis = Synthesis(config)
