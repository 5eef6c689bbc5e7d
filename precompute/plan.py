"""What a table is made of, cut into blocks of work. This is the one place that cuts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..store.layout import StyleLayout
from ..store.shards import Shapes
from .agreement import COMPARED, AgreementBlock
from .blocks import WorkBlock
from .composites import COMPOSITE_IMAGES, CompositesBlock
from .samples import UNKNOWN, FeaturesBlock, PulledBlock, SamplesBlock
from .slopes import SlopesBlock
from .sweep import SweepBlock

# A block is some seconds to minutes of work at any resolution: that much is lost with it.
_MAX_PAIRS = 512
_PAIR_PIXELS = 2**16
_SLOPE_PIXELS = 8 * 64**2
_MAX_SLOPE_IMAGES = 8


@dataclass(frozen=True, eq=False)
class Plan:
    """The blocks of a run, after the prompt bank, which is block 0.

    Args:
        layout: of the generator, without the layers that its images do not depend on.
        channels: the flat indices of all rows, ascending (R,).
        slopes: blocks of derivatives, numbered after those of samples.
        sweep: blocks of the sweep, numbered after them. Those of the screened method have the
            right sizes, but which channels they have is known once the slopes are.
        composites: blocks of composites, numbered last. Their steps are zeros until they are known,
            once the table is.
        samples, pulled: blocks of samples, and of those at a smaller psi. Their latents are known
            once they are drawn.
        features: blocks that read samples which are embedded already; their latents are known, too,
            once they are drawn.
        agreement: blocks that compare a draft with whole images, numbered from 1; none without.
    """

    layout: StyleLayout
    channels: NDArray[np.int64]
    slopes: Sequence[SlopesBlock] = ()
    sweep: Sequence[SweepBlock] = ()
    composites: Sequence[CompositesBlock] = ()
    samples: Sequence[SamplesBlock] = ()
    pulled: Sequence[PulledBlock] = ()
    features: Sequence[FeaturesBlock] = ()
    agreement: Sequence[AgreementBlock] = ()

    @property
    def blocks(self) -> list[WorkBlock]:
        """All of them, the first numbered 1."""
        return [
            *self.agreement,
            *self.samples,
            *self.pulled,
            *self.features,
            *self.slopes,
            *self.sweep,
            *self.composites,
        ]

    @property
    def first_agreement(self) -> int:
        """The number of the first block that compares."""
        return 1

    @property
    def first_samples(self) -> int:
        """The number of the first block of samples."""
        return self.first_agreement + len(self.agreement)

    @property
    def first_pulled(self) -> int:
        """The number of the first block of samples at a smaller psi."""
        return self.first_samples + len(self.samples)

    @property
    def first_features(self) -> int:
        """The number of the first block that reads features alone."""
        return self.first_pulled + len(self.pulled)

    @property
    def first_slopes(self) -> int:
        """The number of the first block of derivatives."""
        return self.first_features + len(self.features)

    @property
    def first_sweep(self) -> int:
        """The number of the first block of the sweep."""
        return self.first_slopes + len(self.slopes)

    @property
    def first_composites(self) -> int:
        """The number of the first block of composites."""
        return self.first_sweep + len(self.sweep)

    @property
    def renders(self) -> list[int]:
        """How many renders every block takes, by its number."""
        return [0, *(block.renders for block in self.blocks)]

    @property
    def costs(self) -> list[float]:
        """About how long every block takes, by its number, in whole renders."""
        return [0.0, *(block.cost(self.layout) for block in self.blocks)]

    def atlas_bytes(self, phrases: int, width: int, w_dim: int, styles: int) -> int:
        """About what the atlas will take on disk, for latents w of `w_dim` dimensions and so many
        style channels."""
        table = 4 * width * (len(self.channels) + phrases)
        drawn = [*self.samples, *self.features]
        samples, pulled = (max((x.last for x in y), default=0) for y in (drawn, self.pulled))
        affine = 4 * styles * (w_dim + 1) if samples else 0
        read = 4 * sum(drawn[0].features.values()) if drawn else 0
        sampled = samples * (2 * w_dim + 4 + read)
        return table + sampled + 2 * width * (samples + pulled) + affine

    def shapes(self, phrases: int, width: int) -> list[Shapes]:
        """Of the arrays of every block, by its number."""
        return [{"embedding": (phrases, width)}, *(block.shapes(width) for block in self.blocks)]


def sweep_blocks(
    layout: StyleLayout,
    channels: NDArray[np.int64],
    images: int,
    kind: type[SweepBlock] = SweepBlock,
) -> list[SweepBlock]:
    """Every one of these channels over all images. A block takes few images and many channels, so
    that what its channels share is rendered rarely."""
    pairs = _pairs(layout)
    span = min(images, 2 ** ((pairs.bit_length() - 1) // 2))
    return [
        kind(part, first, last)
        for part in _split(channels, pairs // span)
        for first, last in _ranges(images, span)
    ]


def slope_blocks(
    layout: StyleLayout, channels: NDArray[np.int64], images: int, products: int
) -> list[SlopesBlock]:
    """Derivatives of all of these channels at all images, by so many products an image."""
    span = max(1, min(_MAX_SLOPE_IMAGES, _SLOPE_PIXELS // layout.resolution**2))
    return [SlopesBlock(channels, first, last, products) for first, last in _ranges(images, span)]


def composite_blocks(
    layout: StyleLayout, channels: NDArray[np.int64], number: int
) -> list[CompositesBlock]:
    """So many composites of these channels, with steps of zeros that take no memory."""
    blocks = []
    for first, last in _ranges(number, _pairs(layout) // COMPOSITE_IMAGES):
        steps = np.broadcast_to(np.float32(0), (last - first, len(channels)))
        blocks.append(CompositesBlock(channels, first, last, steps))
    return blocks


def sample_blocks(
    layout: StyleLayout, first: int, last: int, features: Mapping[str, int]
) -> list[SamplesBlock]:
    """The samples from `first` on, with latents that are not known yet, and what is read of them:
    by name, how many numbers."""
    return [SamplesBlock(*span, UNKNOWN, features) for span in _spans(layout, first, last)]


def pulled_blocks(layout: StyleLayout, first: int, last: int) -> list[PulledBlock]:
    """The same at a smaller psi."""
    return [PulledBlock(*span, UNKNOWN) for span in _spans(layout, first, last)]


def feature_blocks(
    layout: StyleLayout, last: int, features: Mapping[str, int]
) -> list[FeaturesBlock]:
    """What is read of the samples before `last`, which are embedded already."""
    return [FeaturesBlock(*span, UNKNOWN, features) for span in _spans(layout, 0, last)]


def agreement_blocks(layout: StyleLayout, label: int | None) -> list[AgreementBlock]:
    """The samples that are seen both ways, for whole images of this layout."""
    return [AgreementBlock(*span, label) for span in _spans(layout, 0, COMPARED)]


def _spans(layout: StyleLayout, first: int, last: int) -> list[tuple[int, int]]:
    spans = _ranges(max(0, last - first), _pairs(layout))
    return [(first + start, first + end) for start, end in spans]


def _pairs(layout: StyleLayout) -> int:
    """How many pairs of renders a block takes at most."""
    return max(16, min(_MAX_PAIRS, _PAIR_PIXELS // layout.resolution))


def _split(channels: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [channels[start : start + size] for start in range(0, len(channels), size)]


def _ranges(count: int, size: int) -> list[tuple[int, int]]:
    return [(first, min(first + size, count)) for first in range(0, count, size)]
