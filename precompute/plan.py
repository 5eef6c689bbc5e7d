"""What a table is made of, cut into blocks of work. This is the one place that decides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..store.layout import StyleLayout

BlockKind = Literal["sweep", "slopes", "reference", "composites"]

COMPOSITE_IMAGES = 4
"""That a composite direction is measured on."""

# A block is some seconds to minutes of work at any resolution: that much is lost with it.
_MAX_PAIRS = 512
_PAIR_PIXELS = 2**16
_SLOPE_PIXELS = 8 * 64**2
_MAX_SLOPE_IMAGES = 8


@dataclass(frozen=True, eq=False)
class WorkBlock:
    """Some channels over some of the images.

    Args:
        kind: `sweep`, every channel moved to both sides of its mean; `slopes`, the derivatives of
            all of them; `reference`, the sweep as StyleCLIP's public builders do it;
            `composites`, many channels moved together to both sides of each image.
        channels: flat indices, ascending (k,).
        first, last: the images, a half-open range; of composites, their numbers.
        renders: what it costs, in renders; a vector-Jacobian product costs about one.
        steps: of composites, how far each moves the channels, in units of the style, float32
            (last - first, k); None where they are not known yet.
    """

    kind: BlockKind
    channels: NDArray[np.int64]
    first: int
    last: int
    renders: int
    steps: NDArray[np.float32] | None = None

    @property
    def images(self) -> int:
        """How many images, or composites."""
        return self.last - self.first


def sweep_blocks(
    layout: StyleLayout, channels: NDArray[np.int64], images: int, kind: BlockKind = "sweep"
) -> list[WorkBlock]:
    """Every one of these channels over all images. A block takes few images and many channels, so
    that what its channels share is rendered rarely."""
    pairs = _pairs(layout)
    span = min(images, 2 ** ((pairs.bit_length() - 1) // 2))
    return [
        WorkBlock(kind, part, first, last, 2 * len(part) * (last - first))
        for part in _split(channels, pairs // span)
        for first, last in _ranges(images, span)
    ]


def slope_blocks(
    layout: StyleLayout, channels: NDArray[np.int64], images: int, products: int
) -> list[WorkBlock]:
    """Derivatives of all of these channels at all images, by so many products an image."""
    span = max(1, min(_MAX_SLOPE_IMAGES, _SLOPE_PIXELS // _resolution(layout) ** 2))
    return [
        WorkBlock("slopes", channels, first, last, products * (last - first))
        for first, last in _ranges(images, span)
    ]


def composite_blocks(
    layout: StyleLayout, channels: NDArray[np.int64], number: int
) -> list[WorkBlock]:
    """So many composites of these channels. Their steps are not known before the table is."""
    return [
        WorkBlock("composites", channels, first, last, 2 * COMPOSITE_IMAGES * (last - first))
        for first, last in _ranges(number, _pairs(layout) // COMPOSITE_IMAGES)
    ]


def reference_channels(layout: StyleLayout) -> NDArray[np.int64]:
    """The channels that StyleCLIP's public builders sweep: the convolutions among the first 17
    layers, 5,376 channels of FFHQ-1024."""
    among = list(layout)[:17]
    channels = layout.indices("conv")
    first: NDArray[np.int64] = channels[channels < among[-1].slice.stop]
    return first


def _pairs(layout: StyleLayout) -> int:
    """How many pairs of renders a block takes at most."""
    return max(16, min(_MAX_PAIRS, _PAIR_PIXELS // _resolution(layout)))


def _resolution(layout: StyleLayout) -> int:
    return max(layer.resolution for layer in layout)


def _split(channels: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [channels[start : start + size] for start in range(0, len(channels), size)]


def _ranges(count: int, size: int) -> list[tuple[int, int]]:
    return [(first, min(first + size, count)) for first in range(0, count, size)]
