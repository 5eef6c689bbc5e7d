"""What the sweep renders, cut into blocks. This is the one place that decides it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..store.errors import OptionError
from ..store.layout import LayerKind, StyleLayout

BLOCK_PAIRS = 512
"""Pairs of renders in a block: a few seconds of work on a CPU."""


@dataclass(frozen=True, eq=False)
class WorkBlock:
    """Some channels of one layer, each to be swept over some of the images.

    Args:
        channels: flat indices (k,).
        first, last: the images, a half-open range.
    """

    channels: NDArray[np.int64]
    first: int
    last: int

    @property
    def pairs(self) -> int:
        """Pairs of renders: channels x images."""
        return len(self.channels) * (self.last - self.first)


def plan_blocks(
    layout: StyleLayout, images: int, kinds: Sequence[LayerKind] = ("conv", "rgb")
) -> list[WorkBlock]:
    """Every channel of these kinds over `images` images, in blocks of one layer each.

    Raises:
        OptionError: fewer than one image, or no channel of these kinds.
    """
    if images < 1:
        raise OptionError(f"images {images}: must be at least 1")
    blocks: list[WorkBlock] = []
    span = min(images, BLOCK_PAIRS)
    count = max(1, BLOCK_PAIRS // span)
    for layer in layout:
        if layer.kind not in kinds:
            continue
        for start in range(layer.start, layer.slice.stop, count):
            channels = np.arange(start, min(start + count, layer.slice.stop), dtype=np.int64)
            for first in range(0, images, span):
                blocks.append(WorkBlock(channels, first, min(first + span, images)))
    if not blocks:
        raise OptionError(f"this generator has no style channels of kind {' or '.join(kinds)}")
    return blocks
