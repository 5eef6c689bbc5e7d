"""What the training of a mapper leaves beside its output: its state until it ends, and a log."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor

from ..engine.checkpoints.mapper_checkpoint import header_from_json, header_to_json
from ..engine.checkpoints.native import read_safetensors
from ..engine.fallbacks.mapper import MapperRecord
from ..engine.networks.mapper import MapperConfig
from ..store.errors import CheckpointError, ResumeError
from ..store.fingerprint import ModelIdentity
from ..store.output import leftovers, replacing, require_writable

METADATA_KEY, DIGEST_KEY = "styleatlas-mapper-training", "sha256"
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


class TrainingFile:
    """The file `<output>.work`, which is there while a training is not finished, and the log
    `<output without extension>.csv`, which stays.

    Args:
        output: the file that the mapper will be written to.
        config: of its network.
        record: the models, prompts and settings that decide its weights.

    Attributes:
        found: what an earlier process kept of this training; None if it kept nothing.
        kept: how many steps the file holds by now; None without a file.

    Raises:
        OutputError: the files cannot be written there.
        ResumeError: the file there is of another training, or damaged.
    """

    def __init__(self, output: Path, config: MapperConfig, record: MapperRecord) -> None:
        target = require_writable(output)
        self.path = target.with_name(f"{target.name}.work")
        self.log_path = require_writable(target.with_suffix(".csv"))
        self._config, self._record = config, record
        self.found = self._load()
        self.kept = None if self.found is None else self.found.log[-1].step

    def save(self, state: TrainingState) -> None:
        """Keep where the training stands; after a crash the file is the old one or this one.

        Raises:
            OutputError: it cannot be written.
        """
        header = header_to_json(self._config, self._record)
        tensors = {
            f"{part}.{name}": tensor.detach().cpu().contiguous()
            for part in ("network", "averages", "squares", "best")
            for name, tensor in getattr(state, part).items()
        }
        tensors["log"] = torch.tensor([list(row) for row in state.log], dtype=torch.float64)
        content = save(tensors, {METADATA_KEY: header, DIGEST_KEY: _digest(header, tensors)})
        with replacing(self.path) as file:
            file.write(content)
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
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        self.kept = None

    def _load(self) -> TrainingState | None:
        ours = {self.path.name, self.log_path.name}
        for path, name in leftovers(self.path.parent):
            if name in ours:
                path.unlink(missing_ok=True)
        if not os.path.lexists(self.path):
            return None
        try:
            metadata, tensors = read_safetensors(self.path)
            config, record = header_from_json(self.path, metadata.get(METADATA_KEY, ""))
            if differences := _differences(record, self._record):
                raise ResumeError(
                    f"{self.path}: is of another training: {', '.join(differences)}; go on with "
                    f"its settings, or start afresh: delete {self.path}, or choose another -o"
                )
            if config != self._config:
                raise ValueError("its network is another one")
            if metadata.get(DIGEST_KEY) != _digest(metadata[METADATA_KEY], tensors):
                raise ValueError("its SHA-256 is not the one it names")
            return self._parsed(tensors)
        except (CheckpointError, ValueError) as error:
            reason = str(error).removeprefix(f"{self.path}: ")
            raise ResumeError(
                f"{self.path}: cannot be resumed ({reason}); delete it to start afresh, or choose "
                "another -o"
            ) from error

    def _parsed(self, tensors: Mapping[str, Tensor]) -> TrainingState:
        """The state; ValueError where the tensors are not those of one."""
        parts: dict[str, dict[str, Tensor]] = {}
        for part in ("network", "averages", "squares", "best"):
            parts[part] = {}
            for name, shape in self._config.shapes().items():
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


def _differences(there: MapperRecord, here: MapperRecord) -> list[str]:
    """What is not the same, in words; a model's name does not count."""
    theirs, ours = _parts(there), _parts(here)
    unset = (object(), "unset")  # None is a value
    return [
        f"{name} is {theirs.get(name, unset)[1]} there and {ours.get(name, unset)[1]} here"
        for name in {**theirs, **ours}
        if theirs.get(name, unset)[0] != ours.get(name, unset)[0]
    ]


def _parts(record: MapperRecord) -> dict[str, tuple[Any, str]]:
    """Everything that must be the same, each as a value and as a message shows it."""
    models = {"generator": record.generator, "CLIP": record.clip}
    rest = {"neutral": record.neutral, "target": record.target, "library": record.library}
    rest |= {f"settings.{name}": value for name, value in record.settings.items()}
    return {
        **{name: (_sha256(model), str(model)) for name, model in models.items()},
        **{name: (value, json.dumps(value)) for name, value in rest.items()},
    }


def _sha256(model: ModelIdentity | None) -> str | None:
    return None if model is None else model.sha256


def _digest(header: str, tensors: Mapping[str, Tensor]) -> str:
    """Of the header and every tensor: a file that was damaged shows."""
    return hashlib.sha256(header.encode() + save(dict(tensors))).hexdigest()
