"""What many channels do to the CLIP embedding when they move together, as in an edit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..store.errors import OptionError
from ..store.layout import StyleLayout
from ..store.shards import Shapes
from .blocks import Arrays, ChannelsBlock, Models, Setup

COMPOSITE_IMAGES = 4
"""That a composite direction is measured on."""
MAX_COMPOSITES = 20_000


def require_composites(number: int) -> None:
    """Raise OptionError unless 1 <= number <= 20,000."""
    if not 1 <= number <= MAX_COMPOSITES:
        raise OptionError(f"refit {number}: must lie between 1 and {MAX_COMPOSITES} composites")


@dataclass(frozen=True, eq=False)
class CompositesBlock(ChannelsBlock):
    """Some composites, each to both sides of images of its own out of the set-up's pool.

    Its array `moves` (n, D) is half the mean way of the embedding from one side of an image to the
    other, of every composite.

    Args:
        steps: how far each moves the channels, in units of the style, float32 (n, k).
    """

    kind: ClassVar[str] = "composites"
    counted: ClassVar[Literal["images", "composites", "samples"]] = "composites"

    steps: NDArray[np.float32]

    @property
    def renders(self) -> int:
        return 2 * COMPOSITE_IMAGES * self.count

    def cost(self, layout: StyleLayout) -> float:
        return self.renders

    def shapes(self, width: int) -> Shapes:
        return {"moves": (self.count, width)}

    @torch.inference_mode()
    def run(self, models: Models, setup: Setup) -> Arrays:
        generator, encoder = models.generator, models.encoder
        pool, steps = map(models.tensor, (setup.pool, self.steps))
        channels = models.tensor(self.channels)

        def part(first: int, last: int) -> Tensor:
            pairs = torch.arange(first, last, device=pool.device)
            styles = pool[(COMPOSITE_IMAGES * self.first + pairs) % len(pool)]
            delta = torch.zeros_like(styles)
            delta[:, channels] = steps[pairs // COMPOSITE_IMAGES]
            ends = generator.render(torch.cat([styles + delta, styles - delta]))
            up, down = encoder.images(ends).float().chunk(2)
            return (up - down).double().cpu()

        parts = list(models.renders.over(COMPOSITE_IMAGES * self.count, part))
        moves = torch.cat(parts).unflatten(0, (-1, COMPOSITE_IMAGES)).mean(1) / 2
        return {"moves": moves.numpy()}
