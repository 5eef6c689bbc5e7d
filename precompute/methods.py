"""The methods that channels are measured by: each its blocks, and the table of what they find."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..engine.models.protocols import Generator
from ..engine.models.sampling import w_shape
from ..store.layout import StyleLayout
from .blocks import RunBlocks, Setup
from .plan import Plan, slope_blocks, sweep_blocks
from .reference import (
    ReferenceBlock,
    TensorFlowBlock,
    TorchBlock,
    reference_channels,
    reference_styles,
)
from .relevance import RelevanceTable, audit, screened, screened_count, sloped_table, swept_table
from .statistics import image_styles, moments, require_statistics, style_statistics

TableName = Literal[
    "screened", "sweep", "jacobian", "reference-tensorflow", "reference-torch", "none"
]
Measured = tuple[RelevanceTable, dict[str, Any]]
"""A table, and what else was found out about it."""

SCREENING_PROBES = 32
"""Of the screened method, where no other number is given."""


class MeasureMethod(ABC):
    """A way to measure what every channel does.

    Attributes:
        name: as settings and fingerprints have it.
        takes_slopes: whether any channel is measured by slopes.
    """

    name: ClassVar[TableName]
    takes_slopes: ClassVar[bool]

    @abstractmethod
    def products(self, width: int, probes: int | None) -> int:
        """Vector-Jacobian products an image, for a CLIP of so many dimensions and as many `probes`
        as were asked for, if any were."""

    def statistics(
        self, generator: Generator, latents: int, truncation: float, seed: int, label: int | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of every style channel; see `style_statistics`."""
        return style_statistics(generator, latents, truncation, seed, label)

    def images(
        self, generator: Generator, images: int, truncation: float, seed: int, label: int | None
    ) -> Tensor:
        """The styles (images, C) of the images that channels are measured on."""
        return image_styles(generator, images, truncation, seed, label)

    @abstractmethod
    def plan(self, layout: StyleLayout, images: int, products: int) -> Plan:
        """The blocks of its channels over so many images, without composites."""

    @abstractmethod
    def measure(self, plan: Plan, setup: Setup, run: RunBlocks) -> Measured:
        """The table of the channels of its plan, from what `run` returns."""


class Sweep(MeasureMethod):
    """Moves every channel to both sides of its mean."""

    name: ClassVar[TableName] = "sweep"
    takes_slopes = False

    def products(self, width: int, probes: int | None) -> int:
        return 0

    def plan(self, layout: StyleLayout, images: int, products: int) -> Plan:
        channels = _channels(layout)
        return Plan(layout, channels, sweep=sweep_blocks(layout, channels, images))

    def measure(self, plan: Plan, setup: Setup, run: RunBlocks) -> Measured:
        blocks = run(plan.sweep, plan.first_sweep)
        return swept_table(plan.channels, len(setup.styles), setup.probes.width, blocks), {}


class TensorFlowReference(Sweep):
    """The sweep of StyleCLIP's `global_directions`, its channels, latents and faults included."""

    name: ClassVar[TableName] = "reference-tensorflow"
    block: ClassVar[type[ReferenceBlock]] = TensorFlowBlock
    pulled: ClassVar[int | None] = None
    """How many rows of w psi pulls towards the average. `global_directions` has a cutoff of 8, but
    goes on with the first row in place of all, which is pulled."""

    def statistics(
        self, generator: Generator, latents: int, truncation: float, seed: int, label: int | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        require_statistics(latents)
        cutoff = self._cutoff(generator)
        return moments(reference_styles(generator, latents, truncation, cutoff, seed, label))

    def images(
        self, generator: Generator, images: int, truncation: float, seed: int, label: int | None
    ) -> Tensor:
        cutoff = self._cutoff(generator)
        drawn = reference_styles(generator, images, truncation, cutoff, seed, label)
        return torch.cat(list(drawn))

    def plan(self, layout: StyleLayout, images: int, products: int) -> Plan:
        channels = reference_channels(layout)
        return Plan(layout, channels, sweep=sweep_blocks(layout, channels, images, self.block))

    def _cutoff(self, generator: Generator) -> int | None:
        return None if self.pulled is None else min(self.pulled, w_shape(generator)[0])


class TorchReference(TensorFlowReference):
    """The sweep of StyleCLIP's `global_torch`."""

    name: ClassVar[TableName] = "reference-torch"
    block: ClassVar[type[ReferenceBlock]] = TorchBlock
    pulled = 8


class Jacobian(MeasureMethod):
    """Takes slopes of all channels at once."""

    name: ClassVar[TableName] = "jacobian"
    takes_slopes = True

    def products(self, width: int, probes: int | None) -> int:
        return min(width, probes or width)

    def plan(self, layout: StyleLayout, images: int, products: int) -> Plan:
        channels = _channels(layout)
        return Plan(layout, channels, slope_blocks(layout, channels, images, products))

    def measure(self, plan: Plan, setup: Setup, run: RunBlocks) -> Measured:
        probes, blocks = setup.probes, run(plan.slopes, plan.first_slopes)
        return sloped_table(plan.channels, len(setup.styles), probes.width, probes, blocks), {}


class Screened(Jacobian):
    """Takes slopes, sweeps the channels that are strongest by them, and audits the rest."""

    name: ClassVar[TableName] = "screened"

    def products(self, width: int, probes: int | None) -> int:
        return min(width, probes or SCREENING_PROBES)

    def plan(self, layout: StyleLayout, images: int, products: int) -> Plan:
        channels = _channels(layout)
        # Spread over the layers, as those that will be chosen are: they cost about as much.
        spread = np.linspace(0, len(channels) - 1, screened_count(len(channels)))
        as_many = channels[spread.astype(np.int64)]
        return Plan(
            layout,
            channels,
            slope_blocks(layout, channels, images, products),
            sweep_blocks(layout, as_many, images),
        )

    def measure(self, plan: Plan, setup: Setup, run: RunBlocks) -> Measured:
        slopes, _ = super().measure(plan, setup, run)
        images, probes = len(setup.styles), setup.probes
        strongest, audited = screened(slopes, probes.seed)
        chosen = np.union1d(strongest, audited)
        blocks = run(sweep_blocks(plan.layout, chosen, images), plan.first_sweep)
        swept = swept_table(chosen, images, probes.width, blocks)
        found = {"swept": len(chosen), "audit": audit(slopes, swept, strongest, probes)}
        return slopes.replaced(swept), found


class NoTable(MeasureMethod):
    """Measures no channel: for atlases of samples alone."""

    name: ClassVar[TableName] = "none"
    takes_slopes = False

    def products(self, width: int, probes: int | None) -> int:
        return 0

    def plan(self, layout: StyleLayout, images: int, products: int) -> Plan:
        return Plan(layout, np.zeros(0, np.int64))

    def measure(self, plan: Plan, setup: Setup, run: RunBlocks) -> Measured:
        return swept_table(plan.channels, 1, setup.probes.width, ()), {}


def _channels(layout: StyleLayout) -> NDArray[np.int64]:
    return layout.indices("conv", "rgb")


MEASURE_METHODS: Mapping[TableName, MeasureMethod] = {
    method.name: method
    for method in (
        Screened(),
        Sweep(),
        Jacobian(),
        TensorFlowReference(),
        TorchReference(),
        NoTable(),
    )
}
