"""Samples, unedited images as CLIP and readers of features see them, in blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..engine.models.sampling import w_shape
from ..store.errors import OptionError
from ..store.layout import StyleLayout
from ..store.shards import Shapes
from .blocks import Arrays, Models, Setup, WorkBlock
from .features import feature_shapes, read_features

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
class RenderedBlock(WorkBlock):
    """Renders some samples.

    Args:
        first, last: their numbers, a half-open range.
        w: their latents, each of all rows of w, float32 (n, w_dim).
        features: what is read of the images beside their embeddings: by name, how many numbers.
    """

    counted: ClassVar[Literal["images", "composites", "samples"]] = "samples"

    first: int
    last: int
    w: NDArray[np.float32]
    features: Mapping[str, int] = field(default_factory=dict)

    @property
    def renders(self) -> int:
        return self.count

    def cost(self, layout: StyleLayout) -> float:
        return self.renders

    def over(self, models: Models, see: Callable[[Tensor], Arrays]) -> Arrays:
        """What `see` makes of all images, given them in batches that fit into memory."""
        generator = models.generator
        rows, _ = w_shape(generator)
        w = models.tensor(self.w)

        def part(first: int, last: int) -> Arrays:
            styles = generator.styles(w[first:last, None].expand(-1, rows, -1))
            return see(generator.render(styles))

        parts = list(models.renders.over(self.count, part))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True, eq=False)
class SamplesBlock(RenderedBlock):
    """Embeds the samples and reads their features: its arrays are `embedding` (n, D) and those of
    `read_features`."""

    kind: ClassVar[str] = "samples"

    def shapes(self, width: int) -> Shapes:
        return {"embedding": (self.count, width), **feature_shapes(self.count, self.features)}

    @torch.inference_mode()
    def run(self, models: Models, setup: Setup) -> Arrays:
        def see(images: Tensor) -> Arrays:
            embedding = models.encoder.images(images).double().cpu().numpy()
            return {"embedding": embedding, **read_features(models, self.features, images)}

        return self.over(models, see)


@dataclass(frozen=True, eq=False)
class PulledBlock(SamplesBlock):
    """The same of latents that are pulled towards the average w."""

    kind: ClassVar[str] = "pulled"


@dataclass(frozen=True, eq=False)
class FeaturesBlock(RenderedBlock):
    """Reads the features of samples that are embedded already."""

    kind: ClassVar[str] = "features"

    def shapes(self, width: int) -> Shapes:
        return feature_shapes(self.count, self.features)

    @torch.inference_mode()
    def run(self, models: Models, setup: Setup) -> Arrays:
        return self.over(models, lambda images: read_features(models, self.features, images))
