"""How to train a mapper."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.models.sampling import MAX_SEED, require_truncation
from ..store.errors import OptionError

GROUPS = ("coarse", "medium", "fine")
MAX_STEPS, MAX_BATCH = 100_000, 1024
MAX_WEIGHT = 1000.0


@dataclass(frozen=True)
class TrainSettings:
    """What decides a mapper, beside its models, prompts and given latents.

    Args:
        steps: at most so many, 1 to 100,000.
        batch: latents a step, 1 to 1,024.
        learning_rate: at its highest, above 0. Weights are stored 100 times as large as they
            count, so it is far from the usual ones.
        groups: those of w's rows that may move: coarse, medium, fine.
        directional: weight of the direction of the embedding's movement; 0 is StyleCLIP's loss.
        l2: weight of the mean square of w' - w.
        identity: weight of the identity loss, where there is one.
        truncation: psi of drawn latents, -2 to 2.
        seed: of weights and latents, 0 to 2^32 - 1.
        label: the class of drawn latents of a conditional generator; None: classes at random.
        validate_every: steps from one validation to the next.
        patience: validations without a gain before the training ends early.

    Raises:
        OptionError: a value out of its range.
    """

    steps: int = 150
    batch: int = 8
    learning_rate: float = 2.0
    groups: tuple[str, ...] = GROUPS
    directional: float = 0.5
    l2: float = 1.4
    identity: float = 0.1
    truncation: float = 0.7
    seed: int = 0
    label: int | None = None
    validate_every: int = 25
    patience: int = 8

    def __post_init__(self) -> None:
        bounds = {"steps": MAX_STEPS, "batch": MAX_BATCH, "validate_every": MAX_STEPS}
        for name, most in {**bounds, "patience": MAX_STEPS}.items():
            if not 1 <= getattr(self, name) <= most:
                raise OptionError(f"{name} {getattr(self, name)}: must lie between 1 and {most}")
        for name in ("directional", "l2", "identity"):
            if not 0 <= getattr(self, name) <= MAX_WEIGHT:
                raise OptionError(
                    f"{name} {getattr(self, name):g}: must lie between 0 and {MAX_WEIGHT:g}"
                )
        if not 0 < self.learning_rate <= MAX_WEIGHT:
            raise OptionError(
                f"learning rate {self.learning_rate:g}: must lie above 0 and up to {MAX_WEIGHT:g}"
            )
        if not self.groups or not set(self.groups) <= set(GROUPS):
            raise OptionError(
                f"groups {','.join(self.groups)!r}: must be some of {', '.join(GROUPS)}"
            )
        require_truncation(self.truncation)
        if not 0 <= self.seed <= MAX_SEED:
            raise OptionError(f"seed {self.seed}: must lie between 0 and {MAX_SEED}")
