"""The sweeps of StyleCLIP's two public table builders, for tables that compare with theirs.

Facts of `global_directions`, on TensorFlow, and `global_torch`, on PyTorch. Both sweep the
convolutions among the first 17 layers, leave a channel that was swept at its mean for all that
follow it, and take the images from the first latents behind the statistics. They differ in how an
image becomes 8 bits and in which rows of w psi pulls.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..engine.models.protocols import Generator
from ..store.layout import StyleLayout
from .blocks import Arrays, Models, Setup
from .statistics import BATCH, styled
from .streams import Stream
from .sweep import SweepBlock, delta_of


@dataclass(frozen=True, eq=False)
class ReferenceBlock(SweepBlock):
    """What both builders do: see above."""

    @staticmethod
    @abstractmethod
    def to_bytes(images: Tensor) -> Tensor:
        """Images (n, c, H, W), nominally in [-1, 1], as 8 bits of the same shape."""

    def cost(self, layout: StyleLayout) -> float:
        return self.renders

    @torch.inference_mode()
    def run(self, models: Models, setup: Setup) -> Arrays:
        generator, encoder = models.generator, models.encoder
        styles, centre, step = map(models.tensor, (setup.styles, setup.centre, setup.step))
        swept = torch.zeros_like(centre, dtype=torch.bool)
        swept[torch.from_numpy(reference_channels(generator.layout))] = True
        order = torch.arange(len(centre), device=centre.device)

        def deltas(first: int, last: int) -> Iterator[Tensor]:
            images = styles[self.first + first : self.first + last]
            for flat in self.channels.tolist():
                up = torch.where(swept & (order < flat), centre, images)
                down = up.clone()
                up[:, flat], down[:, flat] = centre[flat] + step[flat], centre[flat] - step[flat]
                pixels = self.to_bytes(generator.render(torch.cat([up, down])).float())
                yield delta_of(encoder, pixels.float() / 127.5 - 1)

        return self.sums(models, deltas)


@dataclass(frozen=True, eq=False)
class TensorFlowBlock(ReferenceBlock):
    """A block of `global_directions`, which rounds."""

    kind: ClassVar[str] = "reference-tensorflow"

    @staticmethod
    def to_bytes(images: Tensor) -> Tensor:
        return (images * 127.5 + 128).clamp(0, 255).to(torch.uint8)  # cut after a half was added


@dataclass(frozen=True, eq=False)
class TorchBlock(ReferenceBlock):
    """A block of `global_torch`, which cuts."""

    kind: ClassVar[str] = "reference-torch"

    @staticmethod
    def to_bytes(images: Tensor) -> Tensor:
        return ((images + 1) * 127.5).clamp(0, 255).to(torch.uint8)


def reference_channels(layout: StyleLayout) -> NDArray[np.int64]:
    """The channels that both builders sweep: the convolutions among the first 17 layers, 5,376
    channels of FFHQ-1024."""
    among = list(layout)[:17]
    channels = layout.indices("conv")
    first: NDArray[np.int64] = channels[channels < among[-1].slice.stop]
    return first


def reference_styles(
    generator: Generator,
    latents: int,
    truncation: float,
    cutoff: int | None,
    seed: int,
    label: int | None,
) -> Iterator[Tensor]:
    """Styles (n, C) of the first so many latents of a seed, in batches, on the generator's device.

    The latents are those of both builders, whose seed is 5: one sequence of NumPy's `RandomState`,
    which is frozen for ever. They know no classes; those of a conditional generator are random, or
    `label`.

    Args:
        truncation: psi of the first `cutoff` rows of w, or of all.
    """
    random, chosen = np.random.RandomState(seed), Stream.STATISTICS.random(seed)
    for first in range(0, latents, BATCH):
        z = random.standard_normal((BATCH, generator.z_dim)).astype(np.float32)
        classes = chosen.integers(generator.c_dim, size=BATCH).tolist() if generator.c_dim else []
        count = min(BATCH, latents - first)
        yield styled(generator, z[:count], classes[:count], truncation, label, cutoff)
