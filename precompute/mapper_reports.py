"""What people and machines are told of the training of a mapper."""

from __future__ import annotations

from ..engine.fallbacks.mapper import Mapper
from ..store.progress import Progress
from ..store.records import Record
from .mappers import Trainer
from .training import progress_of


def training_progress(trainer: Trainer) -> Progress:
    """How far a training is, as it is shown; machines are told of every validation."""
    return progress_of(trainer, probability="probability")


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
