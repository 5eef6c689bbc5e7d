"""How to invert."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ...store.errors import OptionError
from .refine import Space

SPACES: tuple[Space, ...] = get_args(Space)
Begin = Literal["look-up", "mean"]
MAX_STEPS = 10_000


@dataclass(frozen=True)
class InvertSettings:
    """How to invert.

    Args:
        space: what a refinement moves: w, the same in all rows; w+, a row a layer; s, style space.
        start: what the samples of an atlas say of the crop, or the average w.
        steps: of the refinement; None until the distance stops paying, 0 for the start alone.
        label: the class of a conditional generator; the nearest by look-up if not given.

    Raises:
        OptionError: another word, or a number out of its range.
    """

    space: Space = "w+"
    start: Begin = "look-up"
    steps: int | None = None
    label: int | None = None

    def __post_init__(self) -> None:
        for name, known in (("space", SPACES), ("start", get_args(Begin))):
            if getattr(self, name) not in known:
                told = f"{name} {getattr(self, name)!r}"
                raise OptionError(f"{told}: is unknown; use one of {', '.join(known)}")
        if self.steps is not None and not (
            type(self.steps) is int and 0 <= self.steps <= MAX_STEPS
        ):
            raise OptionError(f"steps {self.steps}: must be a whole number from 0 to {MAX_STEPS}")
