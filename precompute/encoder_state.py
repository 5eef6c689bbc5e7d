"""What the training of an encoder leaves beside its output: its state until it ends, and a log."""

from __future__ import annotations

import math
from typing import NamedTuple

from ..engine.checkpoints.own_encoder_file import (
    OwnEncoderRecord,
    header_from_json,
    header_to_json,
)
from ..engine.networks.own_encoder import OwnEncoderConfig
from ..store.work import Parts, model_part, value_parts
from .training_state import TrainingStateFile

METADATA_KEY = "styleatlas-encoder-training"
_UNKNOWN = math.nan


class Row(NamedTuple):
    """A line of the log: what `step` steps have led to.

    `loss` and its parts, each a mean before its weight, are of the batch of the last of them and
    the pass whose turn it was; those of `validation` of the held-out images, after the last pass.
    `latents` is the share of the variance of w that is missed. What was not measured is NaN.
    `seconds` of all processes together.
    """

    step: int
    loss: float = _UNKNOWN
    latents: float = _UNKNOWN
    pixels: float = _UNKNOWN
    lpips: float = _UNKNOWN
    identity: float = _UNKNOWN
    validation_loss: float = _UNKNOWN
    validation_latents: float = _UNKNOWN
    validation_pixels: float = _UNKNOWN
    validation_lpips: float = _UNKNOWN
    validation_identity: float = _UNKNOWN
    seconds: float = 0.0

    @property
    def validated(self) -> bool:
        """Whether the held-out images were looked at."""
        return not math.isnan(self.validation_loss)


class EncoderTrainingFile(TrainingStateFile[OwnEncoderConfig, OwnEncoderRecord, Row]):
    """The file `<output>.work` of the training of an encoder, and its log."""

    key = METADATA_KEY
    row = Row

    def header(self, config: OwnEncoderConfig, record: OwnEncoderRecord) -> str:
        """See `TrainingStateFile.header`."""
        return header_to_json(config, record)

    def described(self, header: str) -> tuple[OwnEncoderConfig, OwnEncoderRecord]:
        """See `TrainingStateFile.described`."""
        return header_from_json(self.path, header)

    def parts(self, record: OwnEncoderRecord) -> Parts:
        """See `TrainingStateFile.parts`."""
        return {
            "generator": model_part(record.generator),
            **value_parts({"samples": record.samples}),
            **value_parts(record.settings, "settings."),
        }
