"""How to optimise latents."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...store.errors import OptionError
from ..networks.style import Space

SPACES: tuple[Space, ...] = ("s", "w", "w+")
L2 = {"s": 0.001, "w": 0.008, "w+": 0.008}
"""The weight of the squared length, whose unit is a sigma of each channel in style space."""

_RISE, _FALL = 0.05, 0.25  # shares of the steps: the learning rate's ramp up and down
_MAX_STEPS = 10_000


@dataclass(frozen=True)
class OptimiseSettings:
    """How to optimise.

    Args:
        space: what is optimised: w, one row for all layers; w+, a row a layer; s, style space in
            units of each channel's sigma.
        steps: at most.
        learning_rate: of Adam, at its highest; it rises over the first twentieth and falls by a
            cosine over the last quarter of the steps (StyleCLIP's ramp).
        l2: weight of the sum of the squares of the step; by the space if not given.
        identity: weight of the identity loss.
        directional: weight of the directional loss; 0 leaves StyleCLIP's own losses.
        crops: random crops of each image that CLIP sees besides it.
        freeze: layers that keep their styles: names, patterns such as `b32.*`, kinds.
        patience: steps without a gain after which an image stops.
        seed: of the crops.

    Raises:
        OptionError: a number out of its range, or an unknown space.
    """

    space: Space = "s"
    steps: int = 60
    learning_rate: float = 0.1
    l2: float | None = None
    identity: float = 0.005
    directional: float = 1.0
    crops: int = 0
    freeze: tuple[str, ...] = ()
    patience: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise OptionError(f"space {self.space!r}: is unknown; use one of {', '.join(SPACES)}")
        if isinstance(self.freeze, str):
            raise OptionError("freeze: is one text; give a tuple of them")
        for name, low, high in (
            ("steps", 1, _MAX_STEPS),
            ("crops", 0, 64),
            ("patience", 1, _MAX_STEPS),
            ("seed", 0, 2**32 - 1),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise OptionError(f"{name} {value}: must be a whole number from {low} to {high}")
        for name in ("learning_rate", "l2", "identity", "directional"):
            value = getattr(self, name)
            least = 1e-6 if name == "learning_rate" else 0
            if value is not None and not least <= value <= 1000:
                raise OptionError(
                    f"{name.replace('_', ' ')} {value:g}: must lie between {least:g} and 1000"
                )

    @property
    def l2_weight(self) -> float:
        """Given, or that of the space."""
        return L2[self.space] if self.l2 is None else self.l2

    def learning_rate_at(self, step: int) -> float:
        """Of a step, counted from 0 (StyleCLIP, `optimization/`)."""
        done = (step + 1) / (self.steps + 1)
        fall = min(1.0, (1 - done) / _FALL)
        return self.learning_rate * (0.5 - 0.5 * math.cos(math.pi * fall)) * min(1, done / _RISE)
