"""What the training of a mapper leaves beside its output: its state until it ends, and a log."""

from __future__ import annotations

import math
from typing import NamedTuple

from ..engine.checkpoints.mapper_checkpoint import header_from_json, header_to_json
from ..engine.fallbacks.mapper import MapperRecord
from ..engine.networks.mapper import MapperConfig
from ..store.work import Parts, model_part, value_parts
from .training_state import TrainingStateFile

METADATA_KEY = "styleatlas-mapper-training"
_UNKNOWN = math.nan


class Row(NamedTuple):
    """A line of the log: what `step` steps have led to.

    `loss` and its parts, each a mean before its weight, are of the batch of the last of them; those
    of `validation`, and the `probability` of the target against the neutral prompt, of the
    held-out latents. What was not measured is NaN. `seconds` of all processes together.
    """

    step: int
    loss: float = _UNKNOWN
    clip: float = _UNKNOWN
    directional: float = _UNKNOWN
    l2: float = _UNKNOWN
    identity: float = _UNKNOWN
    validation_loss: float = _UNKNOWN
    validation_clip: float = _UNKNOWN
    validation_directional: float = _UNKNOWN
    validation_l2: float = _UNKNOWN
    validation_identity: float = _UNKNOWN
    probability: float = _UNKNOWN
    seconds: float = 0.0

    @property
    def validated(self) -> bool:
        """Whether the held-out latents were looked at."""
        return not math.isnan(self.validation_loss)


class TrainingFile(TrainingStateFile[MapperConfig, MapperRecord, Row]):
    """The file `<output>.work` of the training of a mapper, and its log."""

    key = METADATA_KEY
    row = Row

    def header(self, config: MapperConfig, record: MapperRecord) -> str:
        """See `TrainingStateFile.header`."""
        return header_to_json(config, record)

    def described(self, header: str) -> tuple[MapperConfig, MapperRecord]:
        """See `TrainingStateFile.described`."""
        return header_from_json(self.path, header)

    def parts(self, record: MapperRecord) -> Parts:
        """See `TrainingStateFile.parts`."""
        prompts = {"neutral": record.neutral, "target": record.target}
        return {
            "generator": model_part(record.generator),
            "CLIP": model_part(record.clip),
            **value_parts(prompts),
            **value_parts(record.settings, "settings."),
        }
