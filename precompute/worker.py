"""Who works on a block: the models of this process, or those of whatever process it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from ..engine.models.draft import Draft
from ..engine.models.features import load_features
from ..engine.models.load import load_encoder, load_generator
from ..engine.models.precision import Precision
from ..engine.models.protocols import Generator
from ..store.errors import FingerprintError
from ..store.features import FeatureSource
from ..store.fingerprint import ModelIdentity
from .blocks import Arrays, Models, Setup, WorkBlock
from .executors import worker_device
from .features import sources_of


@dataclass(frozen=True, eq=False)
class LocalWorker:
    """Works on the blocks of a run with the models of this process."""

    models: Models
    setup: Setup

    def __call__(self, block: WorkBlock) -> Arrays:
        return block.run(self.models, self.setup)


@dataclass(frozen=True)
class Sources:
    """Where another process finds the models of a run: what `load_generator` and `load_encoder`
    take; where it is drafts that are drawn, their side and what was fitted for them; and where
    features are read, what `load_features` takes."""

    generator: str
    clip: str
    precision: Precision = "float32"
    draft: tuple[int, bytes] | None = None
    features: str | None = None


@dataclass(frozen=True, eq=False)
class RemoteWorker:
    """A `LocalWorker` in whatever process it is called: the first call there loads the models.

    Raises:
        FingerprintError: what lies at the sources there are other models.
    """

    sources: Sources
    generator: ModelIdentity
    clip: ModelIdentity
    setup: Setup
    read: Mapping[str, FeatureSource] = field(default_factory=dict)

    def __call__(self, block: WorkBlock) -> Arrays:
        models = _models(self.sources, worker_device())
        found = (models.generator.identity, models.encoder.identity)
        for here, there in zip(found, (self.generator, self.clip), strict=True):
            if there.differences(here):
                raise FingerprintError(
                    f"workers: one loaded {here} where the run has {there}; "
                    "give every machine the same files under the same paths"
                )
        if sources_of(models.features) != self.read:
            raise FingerprintError(
                "workers: one loaded other readers of features than the run has; give every "
                "machine the same weights by `styleatlas models fetch`"
            )
        return block.run(models, self.setup)


@lru_cache(maxsize=1)
def _models(sources: Sources, device: str | None) -> Models:
    generator: Generator = load_generator(sources.generator, device, sources.precision)
    if sources.draft is not None:
        generator = Draft(generator, *sources.draft)
    features = None if sources.features is None else load_features(sources.features, generator)
    return Models(generator, load_encoder(sources.clip, device, sources.precision), features)
