"""What people and machines are told of the training of a mapper."""

from __future__ import annotations

import json
import time
from typing import TextIO

from ..engine.fallbacks.mapper import Mapper
from ..store.records import Record, duration
from .mapper_state import Row
from .mappers import Trainer

_BAR = 24


class TrainingReport:
    """Tells a stream of every step: a line that renews itself on a terminal, elsewhere a JSON
    object a validation."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._start: tuple[float, int] | None = None

    def __call__(self, trainer: Trainer) -> None:
        row, now = trainer.log[-1], time.monotonic()
        if self._start is None:
            self._start = now, row.step
        rate = (row.step - self._start[1]) / max(now - self._start[0], 1e-3)
        left = (trainer.settings.steps - row.step) / rate if rate else None
        if self._stream.isatty():
            self._stream.write(_line(trainer, row, left))
            self._stream.flush()
        elif row.validated:
            record = {
                "step": row.step,
                "of_steps": trainer.settings.steps,
                "loss": round(row.loss, 4),
                "validation_loss": round(row.validation_loss, 4),
                "probability": round(row.probability, 4),
                "seconds_left": None if left is None else round(left, 1),
            }
            self._stream.write(json.dumps(record) + "\n")


def _line(trainer: Trainer, row: Row, left: float | None) -> str:
    steps, best = trainer.settings.steps, trainer.best
    bar = "#" * (_BAR * row.step // steps)
    parts = [
        f"\r[{bar:-<{_BAR}}] step {row.step}/{steps}",
        f"loss {row.loss:.3f}",
        f"validation {best.validation_loss:.3f} at {best.step}",
        f"{'?' if left is None else duration(left)} left ",
    ]
    return "  ".join(parts) + ("\n" if trainer.finished else "")


def training_record(mapper: Mapper, log: str) -> Record:
    """What came out of a training: the mapper's own record in short, and where the log lies."""
    about = mapper.about
    models = {"generator": about.generator, "clip": about.clip}
    return {
        "log": log,
        "neutral": about.neutral,
        "target": about.target,
        **{name: model.name for name, model in models.items() if model is not None},
        "groups": [group.name for group in mapper.network.config.groups],
        "settings": about.settings,
        "measured": about.measured,
    }


def training_text(name: str, generator: str, record: Record) -> str:
    """The same of the mapper written to `name`, and what to try next, for people.

    Args:
        generator: what the generator was loaded from.
    """
    measured = record["measured"]
    identity = record["settings"]["identity_network"]
    seen = f"CLIP's probability of the target {measured['probability_before']:.3f} before and "
    lines = [
        f'{name}: "{record["neutral"]}" -> "{record["target"]}"',
        f"  the best of {measured['of_steps']} steps is {measured['step']}; on "
        f"{measured['images']} held-out images: loss {measured['loss']:.3f}, "
        f"{seen}{measured['probability']:.3f} after",
        "  identity loss: " + ("off" if identity is None else f"by {identity['name']}"),
        f"  log of the training: {record['log']}",
        f"next: styleatlas mapper apply {name} --generator {generator} --seed 1-8 --before "
        "-o edited.png",
    ]
    return "\n".join(lines)
