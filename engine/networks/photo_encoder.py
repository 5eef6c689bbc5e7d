"""Encoders of photos on IR-SE50 with a small network for every row of w: pSp's
(Richardson et al. 2021, "Encoding in Style"), e4e's (Tov et al. 2021, "Designing an Encoder for
StyleGAN Image Manipulation") and ReStyle's (Alaluf et al. 2021), for inference, with the state
names of their files."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .irse import UNITS, WIDTHS, trunk, trunk_shapes

SIDE = 256
"""Of the square that they see."""
COARSE, MEDIUM = 3, 7
"""Rows of w up to which a pyramid reads 16 x 16, and 32 x 32 features; the others read 64 x 64."""
_ENDS = tuple(sum(UNITS[:stage]) - 1 for stage in (2, 3, 4))  # units whose features are read
_SLOPE = 0.01


@dataclass(frozen=True)
class PhotoEncoderConfig:
    """The numbers of an encoder.

    Args:
        rows: of w, num_ws.
        w_dim: their width.
        channels: of its input: 3, a picture; or 6, a picture and what the generator last made of
            it.
        pyramid: whether later rows read features of higher resolutions, as in pSp and e4e, or all
            of them the last ones, as in ReStyle.
        deltas: whether later rows are told as differences from the first, as in e4e.
        widths: of the stages of its trunk.
    """

    rows: int
    w_dim: int
    channels: int
    pyramid: bool
    deltas: bool
    widths: tuple[int, int, int, int] = WIDTHS

    def depth(self, row: int) -> int:
        """How many convolutions lead from the features that a row reads to one pixel."""
        if not self.pyramid or row < COARSE:
            return 4
        return 5 if row < MEDIUM else 6

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight of the network, by arithmetic."""
        shapes = trunk_shapes(self.channels, self.widths)
        _, middle, upper, top = self.widths
        for row in range(self.rows):
            inputs = top
            for number in range(self.depth(row)):
                layer = f"styles.{row}.convs.{2 * number}"
                shapes[f"{layer}.weight"] = (self.w_dim, inputs, 3, 3)
                shapes[f"{layer}.bias"] = (self.w_dim,)
                inputs = self.w_dim
            shapes[f"styles.{row}.linear.weight"] = (self.w_dim, self.w_dim)
            shapes[f"styles.{row}.linear.bias"] = (self.w_dim,)
        if self.pyramid:
            for number, width in ((1, upper), (2, middle)):
                shapes[f"latlayer{number}.weight"] = (top, width, 1, 1)
                shapes[f"latlayer{number}.bias"] = (top,)
        return shapes


class PhotoEncoderNetwork(nn.Module):
    """Pictures (n, channels, 256, 256) in [-1, 1] -> (n, rows, w_dim), which counts from wherever
    it was trained to count from. Rows may be fewer than 256: pictures of cars are 192 high."""

    def __init__(self, config: PhotoEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.input_layer, self.body = trunk(config.channels, config.widths)
        _, middle, upper, top = config.widths
        self.styles = nn.ModuleList(
            RowNetwork(top, config.w_dim, config.depth(row)) for row in range(config.rows)
        )
        if config.pyramid:
            self.latlayer1 = nn.Conv2d(upper, top, 1)
            self.latlayer2 = nn.Conv2d(middle, top, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        x = self.input_layer(pictures)
        read = []
        for number, unit in enumerate(self.body):
            x = unit(x)
            if number in _ENDS:
                read.append(x)
        fine, medium, coarse = read  # of 64 x 64, 32 x 32 and 16 x 16
        if self.config.pyramid:
            medium = _resized(coarse, medium) + self.latlayer1(medium)
            fine = _resized(medium, fine) + self.latlayer2(fine)
        else:
            medium = fine = coarse
        rows = torch.stack(
            [
                network(coarse if row < COARSE else medium if row < MEDIUM else fine)
                for row, network in enumerate(self.styles)
            ],
            1,
        )
        if self.config.deltas:
            rows = torch.cat([rows[:, :1], rows[:, :1] + rows[:, 1:]], 1)
        return rows


class RowNetwork(nn.Module):
    """Features (n, inputs, 2^depth, 2^depth) -> (n, width)."""

    def __init__(self, inputs: int, width: int, depth: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(depth):
            layers.append(nn.Conv2d(width if number else inputs, width, 3, 2, 1))
            layers.append(nn.LeakyReLU(_SLOPE))
        self.convs = nn.Sequential(*layers)
        self.linear = Equalised(width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(self.convs(x).mean((2, 3)))
        return y


class Equalised(nn.Module):
    """A fully connected layer with an equalised learning rate: its weights are stored as many
    times larger as the root of its width (Karras et al. 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width).normal_())
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight / math.sqrt(x.shape[1]), self.bias)


def _resized(x: Tensor, like: Tensor) -> Tensor:
    """Features at the size of others."""
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=True)
