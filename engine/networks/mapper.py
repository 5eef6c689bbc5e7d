"""The network of a latent mapper: from latents to what an edit adds to them (Patashnik et al. 2021,
"StyleCLIP", section 5).

The latents' rows, or in style space their channels, fall into groups, each with a small network of
its own: a norm, then fully connected layers, every one of them with a leaky ReLU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ...store.errors import OptionError
from ...store.layout import StyleLayout
from .mapping import FullyConnected, normalise_second_moment
from .style import Space

Norm = Literal["features", "rows", "none"]

LARGEST_LENGTH = 1_000_000
MOST_GROUPS = 256
MOST_LAYERS = 32
SMALLEST_FACTOR, LARGEST_FACTOR = 1e-6, 1e6


@dataclass(frozen=True)
class MapperGroup:
    """Rows of w+, or channels of the flat style, from `start` up to `stop`.

    `name` is coarse, medium, fine or all; in style space that of the layer.
    """

    name: str
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class MapperConfig:
    """The numbers a mapper's network is built from.

    Args:
        shape: of one latent: rows of w and its width in w+, the number of channels in style space.
        groups: rising and apart; what lies in none of them gets a residual of 0.
        norm: what the squares of a group's values are averaged over to scale them to 1: `features`,
            each row (in style space the group) for itself; `rows`, each feature over the rows of
            the group, as StyleCLIP's own mappers in w+ do; or `none`.
        depth: layers of each group's network.
        hidden: width between the layers; without it that of the group.
        scale: what the network's output is multiplied by to be a residual.
        lr: learning-rate multiplier that the stored weights are to be scaled by.

    Raises:
        OptionError: a value out of its range, or groups that overlap or reach beyond the latent.
    """

    shape: tuple[int, ...]
    groups: tuple[MapperGroup, ...]
    norm: Norm = "features"
    depth: int = 4
    hidden: int | None = None
    scale: float = 0.1
    lr: float = 0.01

    def __post_init__(self) -> None:
        if len(self.shape) not in (1, 2) or not all(_is_whole(n) for n in self.shape):
            raise _wrong("shape", "(rows, width) in w+ or (channels,) in style space")
        if self.norm not in get_args(Norm) or (self.norm == "rows" and self.space == "s"):
            raise _wrong("norm", "features or none, or in w+ rows")
        if not _is_whole(self.depth, MOST_LAYERS):
            raise _wrong("depth", f"1 to {MOST_LAYERS}")
        if self.hidden is not None and not _is_whole(self.hidden):
            raise _wrong("hidden", f"1 to {LARGEST_LENGTH}, or none")
        for name in ("scale", "lr"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not SMALLEST_FACTOR <= value <= LARGEST_FACTOR:
                raise _wrong(name, f"a number from {SMALLEST_FACTOR:g} to {LARGEST_FACTOR:g}")
            object.__setattr__(self, name, float(value))
        self._check_groups()

    @property
    def space(self) -> Space:
        """What kind of latents the mapper takes."""
        return "w+" if len(self.shape) == 2 else "s"

    def width(self, group: MapperGroup) -> int:
        """Values that a group's network takes at once, and returns."""
        return self.shape[1] if self.space == "w+" else group.stop - group.start

    def layers(self, group: MapperGroup) -> list[tuple[int, int]]:
        """Inputs and outputs of each layer of a group's network."""
        width = self.width(group)
        widths = [width, *[self.hidden or width] * (self.depth - 1), width]
        return list(pairwise(widths))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the network, without building it."""
        shapes: dict[str, tuple[int, ...]] = {}
        for i, group in enumerate(self.groups):
            for j, (inputs, outputs) in enumerate(self.layers(group)):
                shapes[f"groups.{i}.{j}.weight"] = (outputs, inputs)
                shapes[f"groups.{i}.{j}.bias"] = (outputs,)
        return shapes

    def _check_groups(self) -> None:
        if not 1 <= len(self.groups) <= MOST_GROUPS:
            raise _wrong("groups", f"1 to {MOST_GROUPS} of them")
        before = 0
        for group in self.groups:
            if not isinstance(group.name, str) or not 0 < len(group.name) <= 100:
                raise _wrong("a group's name", "a text of 1 to 100 letters")
            sound = type(group.start) is int and type(group.stop) is int
            if not sound or not before <= group.start < group.stop <= self.shape[0]:
                raise _wrong("groups", f"apart, rising and within 0 to {self.shape[0]}")
            before = group.stop
        if len({group.name for group in self.groups}) < len(self.groups):
            raise _wrong("groups", "of different names")


class LatentMapper(nn.Module):
    """Latents (n, *shape) -> residuals of the same shape, the scale included.

    Weights begin normal, as equalised layers need, but for each last layer's: those begin at 0,
    so that an untrained mapper changes nothing.
    """

    def __init__(self, config: MapperConfig) -> None:
        super().__init__()
        self.config = config
        self.groups = nn.ModuleList()
        for group in config.groups:
            layers = [
                FullyConnected(*ends, lr=config.lr, lrelu=True) for ends in config.layers(group)
            ]
            nn.init.zeros_(layers[-1].weight)
            self.groups.append(nn.Sequential(*layers))

    def forward(self, latents: Tensor) -> Tensor:
        """
        Raises:
            OptionError: latents of another shape.
        """
        config = self.config
        if latents.shape[1:] != config.shape:
            wanted = ", ".join(map(str, config.shape))
            raise OptionError(
                f"latents: have shape {tuple(latents.shape)}; this mapper takes (n, {wanted})"
            )
        residual = torch.zeros_like(latents)
        for group, network in zip(config.groups, self.groups, strict=True):
            x = latents[:, group.start : group.stop]  # (n, rows, width), in style space (n, width)
            if config.norm != "none":
                x = normalise_second_moment(x, 1 if config.norm == "rows" else -1)
            residual[:, group.start : group.stop] = config.scale * network(x)
        return residual


def split_groups(layout: StyleLayout, rows: Sequence[int]) -> tuple[MapperGroup, ...]:
    """Coarse, medium and fine rows of w+ by the resolution that each row feeds first: coarse up to
    twice that of the first layer, medium up to eight times, fine beyond; none that is empty.

    At 1024 pixels these are the groups of StyleCLIP (rows 0 to 3, 4 to 7, 8 to 17) and those in
    use for StyleGAN3 (0 to 4, 5 to 7, 8 to 15).

    Args:
        rows: the row that each layer of `layout` takes, rising.
    """
    first = layout.layers[0].resolution
    fed: dict[int, int] = {}
    for layer, row in zip(layout, rows, strict=True):
        fed.setdefault(row, layer.resolution)
    bounds = {
        "coarse": (0, 2 * first),
        "medium": (2 * first, 8 * first),
        "fine": (8 * first, math.inf),
    }
    groups = []
    for name, (low, high) in bounds.items():
        if members := [row for row, resolution in fed.items() if low < resolution <= high]:
            groups.append(MapperGroup(name, min(members), max(members) + 1))
    return tuple(groups)


def _is_whole(value: object, high: int = LARGEST_LENGTH) -> bool:
    return type(value) is int and 1 <= value <= high


def _wrong(name: str, wanted: str) -> OptionError:
    return OptionError(f"mapper: {name} must be {wanted}")
