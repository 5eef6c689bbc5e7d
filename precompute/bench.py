"""Where a block is worked on: the models, and everything else its result depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from ..engine.models.load import load_encoder, load_generator
from ..engine.models.precision import Precision
from ..engine.models.protocols import Generator, JointEncoder
from ..store.errors import FingerprintError
from ..store.fingerprint import ModelIdentity
from .batches import Batches
from .executors import worker_device
from .plan import WorkBlock
from .refit import composite_block
from .slopes import Probes, slopes_block
from .sweep import reference_block, sweep_block

Arrays = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Setup:
    """What all blocks of a run start from.

    Args:
        styles: of the images, float32 (images, C).
        centre, step: where a channel is moved around and how far to either side, float32 (C,).
        probes: of slopes; None where none are taken.
        pool: styles of the images of composites, float32 (n, C); None where none are measured.
    """

    styles: NDArray[np.float32]
    centre: NDArray[np.float32]
    step: NDArray[np.float32]
    probes: Probes | None
    pool: NDArray[np.float32] | None = None


class Bench:
    """The models of this process; called with a set-up and a block it returns the block's sums."""

    def __init__(self, generator: Generator, encoder: JointEncoder) -> None:
        self.generator, self.encoder = generator, encoder
        # Gradients take more memory than renders, so that each kind has its own size.
        self._renders, self._slopes = Batches(generator), Batches(generator)

    def __call__(self, setup: Setup, block: WorkBlock) -> Arrays:
        device = self.generator.device
        styles, centre, step = (
            torch.from_numpy(array).to(device) for array in (setup.styles, setup.centre, setup.step)
        )
        models = (self.generator, self.encoder, block, styles)
        if block.kind == "sweep":
            return sweep_block(*models, centre, step, self._renders)
        if block.kind == "reference":
            return reference_block(*models, centre, step, self._renders)
        if block.kind == "composites":
            assert setup.pool is not None
            pool = torch.from_numpy(setup.pool).to(device)
            return composite_block(*models[:3], pool, self._renders)
        assert setup.probes is not None
        return slopes_block(*models, step, setup.probes, self._slopes)


@dataclass(frozen=True)
class Sources:
    """Where another process finds the models of a run: what `load_generator` and `load_encoder`
    take."""

    generator: str
    clip: str
    precision: Precision = "float32"


@dataclass(frozen=True, eq=False)
class RemoteBench:
    """A `Bench` in whatever process it is called: the first call there loads the models.

    Raises:
        FingerprintError: what lies at the sources there are other models.
    """

    sources: Sources
    generator: ModelIdentity
    clip: ModelIdentity

    def __call__(self, setup: Setup, block: WorkBlock) -> Arrays:
        bench = _bench(self.sources, worker_device())
        found = (bench.generator.identity, bench.encoder.identity)
        for here, there in zip(found, (self.generator, self.clip), strict=True):
            if here.sha256 != there.sha256:
                raise FingerprintError(
                    f"workers: one loaded {here} where the run has {there}; "
                    "give every machine the same files under the same paths"
                )
        return bench(setup, block)


@lru_cache(maxsize=1)
def _bench(sources: Sources, device: str | None) -> Bench:
    return Bench(
        load_generator(sources.generator, device, sources.precision),
        load_encoder(sources.clip, device, sources.precision),
    )
