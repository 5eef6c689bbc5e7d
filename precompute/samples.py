"""Samples, unedited images as CLIP sees them, in blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..engine.models.sampling import w_shape
from ..store.errors import OptionError
from ..store.layout import StyleLayout
from ..store.shards import Shapes
from .blocks import Arrays, Models, Setup, WorkBlock

MAX_SAMPLES = 100_000
MAX_PULLED = 1_000
SAMPLE_PSI, PULLED_PSI = 1.0, 0.7

UNKNOWN: NDArray[np.float32] = np.zeros((0, 0), np.float32)
"""The latents of a block whose samples are not drawn yet."""


def require_samples(samples: int) -> None:
    """Raise OptionError unless 0 <= samples <= 100,000."""
    if not 0 <= samples <= MAX_SAMPLES:
        raise OptionError(f"samples {samples}: must lie between 0 and {MAX_SAMPLES}")


def pulled_count(samples: int) -> int:
    """How many of so many samples are rendered at the smaller psi, too."""
    return min(samples, MAX_PULLED)


@dataclass(frozen=True, eq=False)
class SamplesBlock(WorkBlock):
    """Renders and embeds some samples: its array is `embedding` (n, D).

    Args:
        first, last: their numbers, a half-open range.
        w: their latents, each of all rows of w, float32 (n, w_dim).
    """

    kind: ClassVar[str] = "samples"
    counted: ClassVar[Literal["images", "composites", "samples"]] = "samples"

    first: int
    last: int
    w: NDArray[np.float32]

    @property
    def renders(self) -> int:
        return self.count

    def cost(self, layout: StyleLayout) -> float:
        return self.renders

    def shapes(self, width: int) -> Shapes:
        return {"embedding": (self.count, width)}

    @torch.inference_mode()
    def run(self, models: Models, setup: Setup) -> Arrays:
        generator, encoder = models.generator, models.encoder
        rows, _ = w_shape(generator)
        w = models.tensor(self.w)

        def part(first: int, last: int) -> NDArray[np.float64]:
            styles = generator.styles(w[first:last, None].expand(-1, rows, -1))
            embedded: NDArray[np.float64] = (
                encoder.images(generator.render(styles)).double().cpu().numpy()
            )
            return embedded

        return {"embedding": np.concatenate(list(models.renders.over(self.count, part)))}


@dataclass(frozen=True, eq=False)
class PulledBlock(SamplesBlock):
    """The same of latents that are pulled towards the average w."""

    kind: ClassVar[str] = "pulled"
