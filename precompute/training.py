"""Training of networks: steps of Adam with a warm-up and a cosine to 0, validations, the best kept.

What a step draws follows from the seed and its number alone, so that a training taken up again
ends in the same weights.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..engine.models.memory import is_out_of_memory
from ..engine.models.protocols import Generator
from ..engine.models.sampling import one_hot_labels
from ..store.errors import DeviceMemoryError, OptionError
from ..store.progress import Progress
from .training_state import Config, Record, Row, TrainingState, TrainingStateFile

Made = TypeVar("Made")

_BETAS = (0.9, 0.99)
_WARM_UP = 0.1  # of all steps, and at most
_LONGEST_WARM_UP = 20


class Pacing(Protocol):
    """The settings that every training has; `rate` is the learning rate of a step, from 0."""

    @property
    def steps(self) -> int: ...

    @property
    def batch(self) -> int: ...

    @property
    def learning_rate(self) -> float: ...

    @property
    def validate_every(self) -> int: ...

    @property
    def patience(self) -> int: ...


def rate(settings: Pacing, step: int) -> float:
    """The learning rate of a step, counted from 0."""
    warm_up = min(1.0, (step + 1) / math.ceil(min(_WARM_UP * settings.steps, _LONGEST_WARM_UP)))
    return settings.learning_rate * warm_up * (1 + math.cos(math.pi * step / settings.steps)) / 2


class Training(ABC, Generic[Config, Record, Row, Made]):
    """A network on its way: `advance` until `finished`, then `made`.

    Args:
        network: as it begins.
        settings: how long, and how fast; `pacing`.

    Attributes:
        config: of the network.
        record: where what is made will come from, but for what is known at its end.
        whole: whether `state` is that of a step that is done; not while `advance` is within one.
    """

    config: Config
    record: Record

    def __init__(self, network: nn.Module, settings: Pacing) -> None:
        self._network, self.pacing = network, settings
        self._optimizer = torch.optim.Adam(network.parameters(), betas=_BETAS)
        self._device = next(network.parameters()).device
        self.whole = True
        self._log: list[Row] = []
        self._best: dict[str, Tensor] = {}
        self._began = time.monotonic()

    @abstractmethod
    def _row(self, step: int) -> Row:
        """An empty line of the log."""

    @abstractmethod
    def _learn(self, step: int) -> Row:
        """Gives the network the gradients of step `step`, counted from 0, and returns the line of
        the log that comes after it."""

    @abstractmethod
    def _validated(self, row: Row) -> Row:
        """The row with what is held out comes to."""

    @property
    @abstractmethod
    def made(self) -> Made:
        """The best one so far, for use only, and what validation found of it.

        Raises:
            OptionError: none was better than before the first step.
        """

    def begin(self) -> None:
        """Starts at step 0, with what the untrained network comes to."""
        self._note(self._row(0))

    def take_up(self, state: TrainingState[Row]) -> None:
        """Goes on where another process stopped."""
        self._network.load_state_dict(dict(state.network))
        for name, parameter in self._network.named_parameters():
            self._optimizer.state[parameter] = {
                "step": torch.tensor(float(state.log[-1].step)),
                # laid out as Adam itself does, by which the last bits may go
                "exp_avg": torch.zeros_like(parameter).copy_(state.averages[name]),
                "exp_avg_sq": torch.zeros_like(parameter).copy_(state.squares[name]),
            }
        self._best = {name: tensor.to(self._device) for name, tensor in state.best.items()}
        self._log = list(state.log)
        self._began = time.monotonic() - self._log[-1].seconds

    @property
    def state(self) -> TrainingState[Row]:
        """All that `take_up` needs, sharing memory with the training."""
        network = self._network.state_dict()
        moments: dict[str, dict[str, Tensor]] = {"exp_avg": {}, "exp_avg_sq": {}}
        parameters = dict(self._network.named_parameters())
        for name, tensor in network.items():  # of a buffer nothing is learned
            known = self._optimizer.state.get(parameters.get(name, tensor), {})
            for key, tensors in moments.items():
                tensors[name] = known.get(key, torch.zeros_like(tensor))
        averages, squares = moments.values()
        return TrainingState(network, averages, squares, self._best, list(self._log))

    @property
    def log(self) -> Sequence[Row]:
        """A row for every step so far, and one for the beginning."""
        return self._log

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or too many validations brought nothing."""
        waited = sum(row.validated for row in self._log[self.best.step + 1 :])
        return bool(self._log[-1].step >= self.pacing.steps or waited >= self.pacing.patience)

    @property
    def best(self) -> Row:
        """The row of the lowest validation loss, the first of equal ones."""
        return min((row for row in self._log if row.validated), key=lambda row: row.validation_loss)

    def advance(self) -> None:
        """One step, and a validation where one is due.

        Raises:
            OptionError: the loss is not finite.
            DeviceMemoryError: the batch does not fit into the device's memory.
        """
        step = self._log[-1].step
        self._optimizer.zero_grad()
        try:
            row = self._learn(step)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise DeviceMemoryError(
                f"{self._device}: a batch of {self.pacing.batch} does not fit into "
                "its memory; lower --batch"
            ) from error
        for group in self._optimizer.param_groups:
            group["lr"] = rate(self.pacing, step)
        self.whole = False
        self._optimizer.step()
        self._note(row)
        self.whole = True

    def _note(self, row: Row) -> None:
        """Adds a row to the log, with a validation where one is due."""
        pacing = self.pacing
        if row.step % pacing.validate_every == 0 or row.step == pacing.steps:
            row = self._validated(row)
            if not self._log or row.validation_loss < self.best.validation_loss:
                state = self._network.state_dict()
                self._best = {name: tensor.clone() for name, tensor in state.items()}
        self._log.append(row._replace(seconds=time.monotonic() - self._began))

    def _require_finite(self, loss: Tensor, step: int) -> None:
        if not torch.isfinite(loss):
            raise OptionError(
                f"training: the loss of step {step} is not finite; lower --learning-rate, which "
                f"is {self.pacing.learning_rate:g}"
            )


def progress_of(trainer: Training[Any, Any, Any, Any], **validated: str) -> Progress:
    """How far a training is, as it is shown; machines are told of every validation.

    Args:
        validated: what else of its row they are told, by the names of its fields.
    """
    row, steps, best, record = trainer.log[-1], trainer.pacing.steps, trainer.best, None
    if row.validated and row.step:
        record = {
            "step": row.step,
            "of_steps": steps,
            "loss": round(row.loss, 4),
            "validation_loss": round(row.validation_loss, 4),
            **{name: round(getattr(row, field), 4) for name, field in validated.items()},
        }
    figures = [f"step {row.step}/{steps}", f"validation {best.validation_loss:.3f} at {best.step}"]
    if row.step:
        figures.insert(1, f"loss {row.loss:.3f}")
    done = steps if trainer.finished else row.step
    return Progress(done, steps, row.step, label="train", figures=tuple(figures), record=record)


@torch.no_grad()
def drawn_latents(
    generator: Generator,
    random: np.random.Generator,
    count: int,
    truncation: float = 1.0,
    label: int | None = None,
) -> Tensor:
    """w (count, num_ws, w_dim) at random, of classes at random where none is given."""
    z = torch.from_numpy(random.standard_normal((count, generator.z_dim), np.float32))
    classes = random.integers(max(generator.c_dim, 1), size=count).tolist()
    labels = one_hot_labels(generator, classes, label)
    return generator.map(z.to(generator.device), labels, truncation=truncation)


def train(
    training: Training[Config, Record, Row, Made],
    place: TrainingStateFile[Config, Record, Row],
    report: Callable[[Any], None] = lambda training: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Made:
    """Trains to the end, from where an earlier process stopped, if one did.

    The state is kept every SAVE_SECONDS and at Ctrl-C; it is still there when this returns, and to
    be removed once the output is written. On one device, and on a CPU with one thread, a training
    that was killed ends in the same bits.

    Args:
        report: called with the training at the start and after every step.
        tell: told in a line what there is to know.

    Raises:
        ResumeError: what is kept is of another training, or damaged.
        OutputError: state or log cannot be written.
        OptionError: the loss is not finite, or nothing was learned. The state is then removed.
        DeviceMemoryError: a batch does not fit into the device's memory.
    """
    found, steps = place.found(training.config, training.record), training.pacing.steps

    def keep() -> None:
        place.keep(training.state, training.config, training.record)

    if found is None:
        training.begin()
    else:
        training.take_up(found)
        tell(f"resuming: {place.kept} of {steps} steps are done")
    report(training)
    try:
        while not training.finished:
            training.advance()
            report(training)
            if place.due:
                keep()
        keep()
        return training.made
    except KeyboardInterrupt:
        if training.whole:
            keep()
        if place.kept is not None:
            kept = f"{place.kept} of {steps} steps are kept in {place.path}"
            tell(f"interrupted: {kept}: the same command resumes")
        raise
    except OptionError:
        place.remove()
        place.write_log(training.log)
        raise
