"""What a training leaves beside its output: its state until it ends, and a log."""

from __future__ import annotations

import csv
import io
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from ..engine.checkpoints.state_file import read_state, state_bytes
from ..store.output import replacing, require_writable
from ..store.work import Parts, StateFile

_PARTS = ("network", "averages", "squares", "best")


class Shaped(Protocol):
    """The numbers that a network is built from."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Name and shape of every tensor of the network."""
        ...


Row = TypeVar("Row", bound=Any)
"""A named tuple, a line of a log: what `step` steps have led to. Its `loss` is of the batch of the
last of them, its `validation_loss` of what is held out, NaN where that was not looked at, which
`validated` says; `seconds` are those of all processes together."""
Config = TypeVar("Config", bound=Shaped)
Record = TypeVar("Record")


@dataclass(frozen=True, eq=False)
class TrainingState(Generic[Row]):
    """Where a training stands: the weights, Adam's two moments and the best weights, each by the
    names of the network's tensors, and the log. The last row of the log tells the step."""

    network: Mapping[str, Tensor]
    averages: Mapping[str, Tensor]
    squares: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    log: Sequence[Row]


class TrainingStateFile(StateFile, Generic[Config, Record, Row]):
    """The file `<output>.work`, which is there while a training is not finished, and the log
    `<output without extension>.csv`, which stays; for each kind of training a class of its own.

    Args:
        output: the file that what is trained will be written to.

    Attributes:
        key: what the header is called in the file's metadata.
        row: the class of the log's rows.
        kept: how many steps the file is known to hold; None where none is.

    Raises:
        OutputError: the files cannot be written there.
        ResumeError: another process is at work on this output.
    """

    key: str
    row: type[Any]

    def __init__(self, output: Path) -> None:
        self.log_path = require_writable(require_writable(output).with_suffix(".csv"))
        super().__init__(output, "training", self.log_path.name)
        self.kept: int | None = None

    @abstractmethod
    def header(self, config: Config, record: Record) -> str:
        """What stands beside the tensors."""

    @abstractmethod
    def described(self, header: str) -> tuple[Config, Record]:
        """Read what `header` wrote."""

    @abstractmethod
    def parts(self, record: Record) -> Parts:
        """Everything that must be the same for a training to go on."""

    def found(self, config: Config, record: Record) -> TrainingState[Row] | None:
        """What an earlier process kept of a training; None if it kept nothing.

        Args:
            config: of its network.
            record: the models and settings that decide its weights, and the library. A later one
                goes on.

        Raises:
            ResumeError: the file there is of another training, or damaged.
        """

        def same(header: str) -> None:
            their_config, theirs = self.described(header)
            self.require_same(self.parts(theirs), self.parts(record))
            if their_config != config:
                raise ValueError("its network is another one")

        state = self.load(lambda path: self._parsed(read_state(path, self.key, same), config))
        self.kept = None if state is None else state.log[-1].step
        return state

    def keep(self, state: TrainingState[Row], config: Config, record: Record) -> None:
        """Keep where the training stands; after a crash the file is the old one or this one.

        Raises:
            OutputError: it cannot be written.
        """
        tensors = {
            f"{part}.{name}": tensor
            for part in _PARTS
            for name, tensor in getattr(state, part).items()
        }
        tensors["log"] = torch.tensor([list(row) for row in state.log], dtype=torch.float64)
        self.save(state_bytes(self.key, self.header(config, record), tensors))
        self.kept = state.log[-1].step
        self.write_log(state.log)

    def write_log(self, log: Sequence[Row]) -> None:
        """Write the whole log as CSV, a row a step; what was not measured stays empty.

        Raises:
            OutputError: it cannot be written.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.row._fields)
        for row in log:
            step, *values = row
            writer.writerow([step, *("" if math.isnan(x) else f"{x:.6g}" for x in values)])
        with replacing(self.log_path) as file:
            file.write(text.getvalue().encode())

    def remove(self) -> None:
        """Remove the state, once the output is written or where it is of no use; the log stays."""
        super().remove()
        self.kept = None

    def _parsed(self, tensors: Mapping[str, Tensor], config: Config) -> TrainingState[Row]:
        """The state; ValueError where the tensors are not those of one."""
        parts: dict[str, dict[str, Tensor]] = {}
        for part in _PARTS:
            parts[part] = {}
            for name, shape in config.shapes().items():
                tensor = tensors.get(f"{part}.{name}")
                if tensor is None or tensor.dtype != torch.float32 or tensor.shape != shape:
                    raise ValueError(f"it has no sound tensor {part}.{name}")
                parts[part][name] = tensor
        log = tensors.get("log", torch.empty(0))
        if log.dtype != torch.float64 or log.ndim != 2 or log.shape[1] != len(self.row._fields):
            raise ValueError("it has no sound log")
        rows = [self.row(step, *row[1:]) for step, row in enumerate(log.tolist())]
        if not rows or log[:, 0].tolist() != list(range(len(rows))) or not rows[0].validated:
            raise ValueError("its log does not count from 0")
        return TrainingState(**parts, log=rows)
