"""What the training of a mapper leaves beside its output: its state until it ends, and a log."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..engine.checkpoints.mapper_checkpoint import header_from_json, header_to_json
from ..engine.checkpoints.state_file import read_state, state_bytes
from ..engine.fallbacks.mapper import MapperRecord
from ..engine.networks.mapper import MapperConfig
from ..store.output import replacing, require_writable
from ..store.work import Parts, StateFile, model_part, value_parts

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


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Where a training stands: the weights, Adam's two moments and the best weights, each by the
    names of the network's tensors, and the log. The last row of the log tells the step."""

    network: Mapping[str, Tensor]
    averages: Mapping[str, Tensor]
    squares: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    log: Sequence[Row]


class TrainingFile(StateFile):
    """The file `<output>.work`, which is there while a training is not finished, and the log
    `<output without extension>.csv`, which stays.

    Args:
        output: the file that the mapper will be written to.

    Attributes:
        kept: how many steps the file is known to hold; None where none is.

    Raises:
        OutputError: the files cannot be written there.
        ResumeError: another process is at work on this output.
    """

    def __init__(self, output: Path) -> None:
        self.log_path = require_writable(require_writable(output).with_suffix(".csv"))
        super().__init__(output, "training", self.log_path.name)
        self.kept: int | None = None

    def found(self, config: MapperConfig, record: MapperRecord) -> TrainingState | None:
        """What an earlier process kept of a training; None if it kept nothing.

        Args:
            config: of its network.
            record: the models, prompts and settings that decide its weights, and the library. A
                later one goes on.

        Raises:
            ResumeError: the file there is of another training, or damaged.
        """

        def same(header: str) -> None:
            their_config, theirs = header_from_json(self.path, header)
            self.require_same(_parts(theirs), _parts(record))
            if their_config != config:
                raise ValueError("its network is another one")

        state = self.load(lambda path: _parsed(read_state(path, METADATA_KEY, same), config))
        self.kept = None if state is None else state.log[-1].step
        return state

    def keep(self, state: TrainingState, config: MapperConfig, record: MapperRecord) -> None:
        """Keep where the training stands; after a crash the file is the old one or this one.

        Raises:
            OutputError: it cannot be written.
        """
        tensors = {
            f"{part}.{name}": tensor
            for part in ("network", "averages", "squares", "best")
            for name, tensor in getattr(state, part).items()
        }
        tensors["log"] = torch.tensor([list(row) for row in state.log], dtype=torch.float64)
        self.save(state_bytes(METADATA_KEY, header_to_json(config, record), tensors))
        self.kept = state.log[-1].step
        self.write_log(state.log)

    def write_log(self, log: Sequence[Row]) -> None:
        """Write the whole log as CSV, a row a step; what was not measured stays empty.

        Raises:
            OutputError: it cannot be written.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(Row._fields)
        for row in log:
            figures = ("" if math.isnan(value) else f"{value:.6g}" for value in row[1:])
            writer.writerow([row.step, *figures])
        with replacing(self.log_path) as file:
            file.write(text.getvalue().encode())

    def remove(self) -> None:
        """Remove the state, once the mapper is written or where it is of no use; the log stays."""
        super().remove()
        self.kept = None


def _parsed(tensors: Mapping[str, Tensor], config: MapperConfig) -> TrainingState:
    """The state; ValueError where the tensors are not those of one."""
    parts: dict[str, dict[str, Tensor]] = {}
    for part in ("network", "averages", "squares", "best"):
        parts[part] = {}
        for name, shape in config.shapes().items():
            tensor = tensors.get(f"{part}.{name}")
            if tensor is None or tensor.dtype != torch.float32 or tensor.shape != shape:
                raise ValueError(f"it has no sound tensor {part}.{name}")
            parts[part][name] = tensor
    log = tensors.get("log", torch.empty(0))
    if log.dtype != torch.float64 or log.ndim != 2 or log.shape[1] != len(Row._fields):
        raise ValueError("it has no sound log")
    rows = [Row(step, *row[1:]) for step, row in enumerate(log.tolist())]
    if not rows or log[:, 0].tolist() != list(range(len(rows))) or not rows[0].validated:
        raise ValueError("its log does not count from 0")
    return TrainingState(**parts, log=rows)


def _parts(record: MapperRecord) -> Parts:
    """Everything that must be the same."""
    prompts = {"neutral": record.neutral, "target": record.target}
    return {
        "generator": model_part(record.generator),
        "CLIP": model_part(record.clip),
        **value_parts(prompts),
        **value_parts(record.settings, "settings."),
    }
