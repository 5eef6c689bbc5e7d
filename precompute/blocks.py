"""What a block of work is, and what every kind of them starts from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..engine.models.features import Features
from ..engine.models.protocols import Generator, JointEncoder
from ..store.layout import StyleLayout
from ..store.shards import Shapes
from .batches import MeasuredBatches
from .probes import Probes

Arrays = Mapping[str, NDArray[np.float64]]

STILL = 1e-5
"""Below this length a movement is rounding error of float32 embeddings, not a direction."""


class Models:
    """The models of this process, those that read features where any do, and how many images they
    take at once."""

    def __init__(
        self, generator: Generator, encoder: JointEncoder, features: Features | None = None
    ) -> None:
        self.generator, self.encoder, self.features = generator, encoder, features
        # Gradients take more memory than renders, so that each has its own size.
        self.renders, self.gradients = MeasuredBatches(generator), MeasuredBatches(generator)

    def tensor(self, array: NDArray[Any]) -> Tensor:
        """An array on the generator's device."""
        return torch.from_numpy(array).to(self.generator.device)


@dataclass(frozen=True, eq=False)
class Setup:
    """What all blocks of a run start from.

    Args:
        styles: of the images, float32 (images, C).
        centre, step: where a channel is moved around and how far to either side, float32 (C,).
        probes: of slopes; none of them where no slopes are taken.
        pool: styles of the images of composites, float32 (n, C); n is 0 where none are measured.
    """

    styles: NDArray[np.float32]
    centre: NDArray[np.float32]
    step: NDArray[np.float32]
    probes: Probes
    pool: NDArray[np.float32]


class WorkBlock(ABC):
    """Some of the images, or of what else is counted. It is deterministic, and goes to other
    processes; every kind of them is a frozen dataclass.

    Attributes:
        kind: its name in reports.
        counted: what `first` and `last` are numbers of.
        first, last: which of them, a half-open range.
    """

    kind: ClassVar[str]
    counted: ClassVar[Literal["images", "composites", "samples"]] = "images"

    first: int
    last: int

    @property
    def count(self) -> int:
        """How many images, or what else is counted."""
        return self.last - self.first

    @property
    @abstractmethod
    def renders(self) -> int:
        """How many renders it takes; a vector-Jacobian product counts as one."""

    @abstractmethod
    def cost(self, layout: StyleLayout) -> float:
        """About how long it takes, in whole renders with their embedding."""

    @abstractmethod
    def shapes(self, width: int) -> Shapes:
        """Of the arrays that `run` returns, for a CLIP of `width` dimensions, in the order in which
        a work folder keeps them."""

    @abstractmethod
    def run(self, models: Models, setup: Setup) -> Arrays:
        """Does the work; the arrays hold sums over the images unless the kind says otherwise."""


@dataclass(frozen=True, eq=False)
class ChannelsBlock(WorkBlock):
    """Some channels over some of the images.

    Args:
        channels: flat indices, ascending (k,).
        first, last: the images, or what else is counted, a half-open range.
    """

    channels: NDArray[np.int64]
    first: int
    last: int


Block = TypeVar("Block", bound=WorkBlock)


class RunBlocks(Protocol):
    """Every block, numbered from a first one on, with what it returned, in order."""

    def __call__(
        self, blocks: Sequence[Block], first: int, /
    ) -> Iterable[tuple[Block, Arrays]]: ...
