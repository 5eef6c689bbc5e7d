"""The network of a generator's own photo encoder: from a crop and how the generator draws it now to
the step in w that brings the two together (Alaluf, Patashnik and Cohen-Or 2021, "ReStyle").

It sees both averaged to a small square, six channels, and the w that it is at: how a step shows
depends on where it begins. Its body halves the square down to 4 x 4 by the residual blocks of
StyleGAN2's discriminator (Karras et al. 2020, figure 7): two convolutions beside a linear skip,
and no normalisation, so that an image never depends on those beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...store.errors import OptionError

SMALLEST_SIDE, LARGEST_SIDE = 8, 256
LARGEST_WIDTH, LARGEST_W = 1024, 8192
_LAST = 4  # pixels of the side that positions are told apart by in the end
_SLOPE = 0.2
_WIDTHS = (24, 48, 72, 96, 96)
_HIDDEN = 256
_MOST_SEEN = 128


@dataclass(frozen=True, kw_only=True)
class OwnEncoderConfig:
    """The numbers that the network is built from.

    Args:
        side: of the square that it sees, a power of two, 8 to 256 pixels.
        w_dim: of the generator.
        widths: channels at the whole side, then after each halving down to 4 pixels.
        hidden: width of the layer between what is seen and the step.

    Raises:
        OptionError: a value out of its range.
    """

    side: int
    w_dim: int
    widths: tuple[int, ...]
    hidden: int

    def __post_init__(self) -> None:
        sides = [2**k for k in range(3, 9)]
        if type(self.side) is not int or self.side not in sides:
            raise _wrong("side", f"a power of two, {SMALLEST_SIDE} to {LARGEST_SIDE}")
        halvings = int(math.log2(self.side // _LAST))
        if len(self.widths) != halvings + 1 or not all(map(_is_width, self.widths)):
            raise _wrong("widths", f"{halvings + 1} whole numbers, 1 to {LARGEST_WIDTH}")
        if not _is_width(self.hidden):
            raise _wrong("hidden", f"1 to {LARGEST_WIDTH}")
        if not _is_width(self.w_dim, LARGEST_W):
            raise _wrong("w_dim", f"1 to {LARGEST_W}")

    @classmethod
    def of(cls, image_size: tuple[int, int], w_dim: int) -> OwnEncoderConfig:
        """For a generator of images (height, width): the largest power of two that its longer side
        has, 128 at most, which already shows what w can tell."""
        side = 2 ** int(math.log2(max(image_size)))
        side = min(_MOST_SEEN, max(SMALLEST_SIDE, side))
        stages = int(math.log2(side // _LAST)) + 1
        widths = (*_WIDTHS, *[_WIDTHS[-1]] * stages)[:stages]
        return cls(side=side, w_dim=w_dim, widths=widths, hidden=_HIDDEN)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the network, without memory for it."""
        with torch.device("meta"):
            network = OwnEncoderNetwork(self)
        return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


class OwnEncoderNetwork(nn.Module):
    """Crops and renders (n, 6, side, side) in [-1, 1], and w (n, w_dim) -> the step (n, w_dim).

    `centre` and `scale` are the mean and the standard deviation of the generator's w, over all its
    dimensions. The last layer begins at 0, so that an untrained network goes nowhere.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, config: OwnEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("centre", torch.zeros(config.w_dim))
        self.register_buffer("scale", torch.ones(()))
        self.stem = _conv(6, config.widths[0], 3)
        self.blocks = nn.Sequential(*[_Block(a, b) for a, b in pairwise(config.widths)])
        self.seen = nn.Linear(config.widths[-1] * _LAST**2, config.hidden)
        self.at = nn.Linear(config.w_dim, config.hidden)
        self.step = nn.Linear(config.hidden, config.w_dim)
        nn.init.zeros_(self.step.weight)
        nn.init.zeros_(self.step.bias)

    def forward(self, seen: Tensor, w: Tensor) -> Tensor:
        features = self.blocks(F.leaky_relu(self.stem(seen), _SLOPE)).flatten(1)
        at = (w - self.centre) / self.scale
        hidden = F.leaky_relu(self.seen(features) + self.at(at), _SLOPE)
        step: Tensor = self.scale * self.step(hidden)
        return step


def averaged(images: Tensor, side: int) -> Tensor:
    """RGB images (n, 3, H, W) as a network sees them, (n, 3, side, side); differentiable. What is
    not square is, as every crop of the generator's is, squeezed alike."""
    if images.shape[2:] == (side, side):
        return images
    return F.interpolate(images, (side, side), mode="area")


class _Block(nn.Module):
    """x (n, inputs, h, w) -> (n, outputs, h / 2, w / 2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = _conv(inputs, inputs, 3)
        self.conv1 = _conv(inputs, outputs, 3, stride=2)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.conv0(x), _SLOPE)
        y = F.leaky_relu(self.conv1(y), _SLOPE)
        summed: Tensor = (y + self.skip(F.avg_pool2d(x, 2))) / math.sqrt(2)
        return summed


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2)
    nn.init.kaiming_normal_(conv.weight, _SLOPE)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def _is_width(value: object, most: int = LARGEST_WIDTH) -> bool:
    return type(value) is int and 1 <= value <= most


def _wrong(name: str, wanted: str) -> OptionError:
    return OptionError(f"encoder: {name} must be {wanted}")
