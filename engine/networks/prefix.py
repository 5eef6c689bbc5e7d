"""Renders that share everything up to one layer.

`resume` goes on from there with any styles. A `Prefix` is for renders that differ in one style
channel of the layer alone: a convolution is linear in each of its input channels, so the layer
itself is not computed again either, its convolution changes by the response of one channel. A
partial image of the skip connection reaches the final image by up-sampling alone, so a toRGB
channel costs just that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...store.errors import OptionError
from .mobile_stylegan import MobileStyleGAN
from .mobile_stylegan import Synthesis as MobileSynthesis
from .style import clamped
from .stylegan2 import Features, StyleGAN2
from .stylegan2 import Synthesis as Synthesis2
from .stylegan3 import StyleGAN3
from .stylegan3 import Synthesis as Synthesis3


class Prefix(ABC):
    """n images rendered up to a layer, with constant noise and without gradients.

    Args:
        styles: one (n, channels) a layer, in execution order.
        layer: the number of the layer among them.
        linear: what of the layer's output is linear in its style, (n, out, h, w).
    """

    def __init__(self, styles: Sequence[Tensor], layer: int, linear: Tensor) -> None:
        self._base, self._later = styles[layer], styles[layer + 1 :]
        self._linear = linear

    @torch.inference_mode()
    def render(self, channel: int, values: Tensor) -> Tensor:
        """The images with one channel of the layer at each of k values, all else as it was:
        values (k,) -> (k * n, image channels, H, W), the n images at the first value first."""
        k, n = len(values), len(self._base)
        change = values[:, None] - self._base[:, channel]  # (k, n)
        response = self._response(channel)
        y = torch.addcmul(self._linear, change[..., None, None, None].to(response.dtype), response)
        base = self._base.repeat(k, 1)
        style = base.clone()
        style[:, channel] = values.repeat_interleave(n)
        later = [style.repeat(k, 1) for style in self._later]
        return self._finish(y.flatten(0, 1), base, style, later)

    @abstractmethod
    def _response(self, channel: int) -> Tensor:
        """What `linear` gains for each unit of a channel: (n, out, h, w)."""

    @abstractmethod
    def _finish(self, y: Tensor, base: Tensor, style: Tensor, later: Sequence[Tensor]) -> Tensor:
        """The images from what stands for `linear` in a batch of k * n, the layer's style before
        and now, and those of the layers after it."""


class ConvolutionPrefix(Prefix):
    """Up to a convolution of a StyleGAN2."""

    def __init__(self, synthesis: Synthesis2, styles: Sequence[Tensor], layer: int) -> None:
        block, self._part = synthesis.part(layer)
        self._features = synthesis.in_precision(block, synthesis.before(layer, styles))
        self._synthesis, self._block, self._number = synthesis, block, layer
        self._layer = block.convolution(self._part)
        super().__init__(styles, layer, self._layer.linear(self._features.x, styles[layer]))

    def _response(self, channel: int) -> Tensor:
        return self._layer.response(self._features.x, self._base, channel)

    def _finish(self, y: Tensor, base: Tensor, style: Tensor, later: Sequence[Tensor]) -> Tensor:
        gain = self._block.gain(self._part)
        y = self._layer.finish(y, style, base, "const", gain)
        features = self._features
        if not self._block.is_resnet:  # only there the input of the convolution is met again
            features = features._replace(x=features.x[:, :0])
        features = _all_repeated(features, len(base) // len(self._base))
        features = self._block.joined(self._part, features, y)
        return self._synthesis.run(features, self._number + 1, later).images[-1]


class ToRGBPrefix(Prefix):
    """Up to a toRGB layer of a StyleGAN2. What comes after it is in `image` already."""

    def __init__(self, synthesis: Synthesis2, styles: Sequence[Tensor], layer: int) -> None:
        block, _ = synthesis.part(layer)
        before = synthesis.before(layer, styles)
        self._x = before.x
        self._image = synthesis.run(before, layer, styles[layer:]).images[-1]
        self._layer = block.torgb
        above = synthesis.blocks.index(block.torgb.block) + 1
        self._above = [synthesis.block(number) for number in synthesis.blocks[above:]]
        linear = self._layer.linear(self._x, styles[layer])
        self._rgb = clamped(linear.clone(), self._layer.clamp)
        super().__init__(styles, layer, linear)

    def _response(self, channel: int) -> Tensor:
        return self._layer.response(self._x, channel)

    def _finish(self, y: Tensor, base: Tensor, style: Tensor, later: Sequence[Tensor]) -> Tensor:
        times = len(base) // len(self._base)
        change = clamped(y, self._layer.clamp) - _repeated(self._rgb, times)
        for block in self._above:
            change = block.doubled(change)
        return _repeated(self._image, times) + change


class FilteredPrefix(Prefix):
    """Up to a layer of a StyleGAN3."""

    def __init__(self, synthesis: Synthesis3, styles: Sequence[Tensor], layer: int) -> None:
        self._synthesis, self._number = synthesis, layer
        self._layer = synthesis.layer(layer - 1)
        self._x = synthesis.in_precision(self._layer, synthesis.before(layer, styles))
        super().__init__(styles, layer, self._layer.linear(self._x, styles[layer]))

    def _response(self, channel: int) -> Tensor:
        return self._layer.response(self._x, self._base, channel)

    def _finish(self, y: Tensor, base: Tensor, style: Tensor, later: Sequence[Tensor]) -> Tensor:
        x = self._layer.finish(y, style, base)
        return self._synthesis.image(self._synthesis.run(x, self._number, later))


class StyledPrefix(Prefix):
    """Up to any layer of a MobileStyleGAN."""

    def __init__(self, synthesis: MobileSynthesis, styles: Sequence[Tensor], layer: int) -> None:
        self._synthesis, self._number = synthesis, layer
        self._layer = synthesis.layer(layer)
        self._x = synthesis.in_precision(layer, synthesis.before(layer, styles))
        super().__init__(styles, layer, self._layer.linear(self._x, styles[layer]))

    def _response(self, channel: int) -> Tensor:
        return self._layer.response(self._x, channel)

    def _finish(self, y: Tensor, base: Tensor, style: Tensor, later: Sequence[Tensor]) -> Tensor:
        return self._synthesis.run(self._layer.finish(y, "const"), self._number + 1, later)


@torch.inference_mode()
def prefix(
    network: StyleGAN2 | StyleGAN3 | MobileStyleGAN, styles: Sequence[Tensor], layer: int
) -> Prefix:
    """`styles`, one (n, channels) a layer, rendered up to the layer of that number.

    Raises:
        OptionError: the layer is StyleGAN3's input, which is not linear in its style.
    """
    synthesis = network.synthesis
    if isinstance(synthesis, Synthesis3):
        if layer == 0:
            raise OptionError("layer input: is not linear in its style; render it as a whole")
        return FilteredPrefix(synthesis, styles, layer)
    if isinstance(synthesis, MobileSynthesis):
        return StyledPrefix(synthesis, styles, layer)
    _, part = synthesis.part(layer)
    kind = ToRGBPrefix if part == "torgb" else ConvolutionPrefix
    return kind(synthesis, styles, layer)


@torch.inference_mode()
def resume(
    network: StyleGAN2 | StyleGAN3 | MobileStyleGAN, styles: Sequence[Tensor], layer: int
) -> Callable[[Sequence[Tensor]], Tensor]:
    """`styles`, one (n, channels) a layer, rendered up to the layer of that number: a function from
    the styles (k * n, channels) of that layer and all after it to images, with constant noise."""
    n, synthesis = len(styles[0]), network.synthesis
    if isinstance(synthesis, Synthesis2):
        features = synthesis.before(layer, styles)

        def finish(later: Sequence[Tensor]) -> Tensor:
            repeated = _all_repeated(features, len(later[0]) // n)
            return synthesis.run(repeated, layer, later).images[-1]

        return finish
    if isinstance(synthesis, MobileSynthesis):
        bands = synthesis.before(layer, styles)
        return lambda later: synthesis.run(_repeated(bands, len(later[0]) // n), layer, later)
    if layer == 0:
        return synthesis
    x = synthesis.before(layer, styles)
    return lambda later: synthesis.onward(_repeated(x, len(later[0]) // n), layer - 1, later)


def _all_repeated(features: Features, times: int) -> Features:
    """The whole batch so many times, of the partial images only the last, which goes on."""
    x, before, images = features
    return Features(
        _repeated(x, times),
        None if before is None else _repeated(before, times),
        tuple(_repeated(image, times) for image in images[-1:]),
    )


def _repeated(x: Tensor, times: int) -> Tensor:
    """The whole batch so many times, channels last: (n, c, h, w) -> (times * n, c, h, w)."""
    return x.repeat(times, 1, 1, 1).contiguous(memory_format=torch.channels_last)
