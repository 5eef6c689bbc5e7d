"""How to invert."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from ...store.errors import OptionError
from ...store.fingerprint import ModelIdentity
from .refine import Space

SPACES: tuple[Space, ...] = get_args(Space)
Begin = Literal["encoder", "look-up", "mean"]
MAX_STEPS = 10_000

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class InvertSettings:
    """How to invert.

    Args:
        space: what a refinement moves: w, the same in all rows; w+, a row a layer; s, style space.
        start: what a photo encoder says of the crop, what the samples of an atlas say of it, or the
            average w; None stands for the encoder where there is one, else for the samples.
        steps: of the refinement; None until the distance stops paying, 0 for the start alone.
        label: the class of a conditional generator; the nearest by look-up if not given.
        encoder: sha256 of the photo encoder that it starts by, which another one is refused for; of
            whichever there is if not given.

    Raises:
        OptionError: another word, or a number out of its range.
    """

    space: Space = "w+"
    start: Begin | None = None
    steps: int | None = None
    label: int | None = None
    encoder: str | None = None

    def __post_init__(self) -> None:
        for name, known in (("space", SPACES), ("start", (*get_args(Begin), None))):
            if getattr(self, name) not in known:
                told = f"{name} {getattr(self, name)!r}"
                words = ", ".join(word for word in known if word is not None)
                raise OptionError(f"{told}: is unknown; use one of {words}")
        if self.steps is not None and not (
            type(self.steps) is int and 0 <= self.steps <= MAX_STEPS
        ):
            raise OptionError(f"steps {self.steps}: must be a whole number from 0 to {MAX_STEPS}")
        if self.encoder is not None and not (
            isinstance(self.encoder, str) and _SHA256.fullmatch(self.encoder)
        ):
            raise OptionError("encoder: must be the sha256 of a photo encoder, 64 hex digits")

    def begun_by(self, encoder: ModelIdentity | None) -> InvertSettings:
        """The same where this photo encoder, or none, is at hand: with a `start`, and the `encoder`
        where it is that.

        Raises:
            OptionError: it starts by an encoder, and there is none, or another one.
        """
        start = self.start or ("look-up" if encoder is None else "encoder")
        if start != "encoder":
            return replace(self, start=start, encoder=None)
        asked = "" if self.encoder is None else f" of the weights {self.encoder[:12]}"
        mend = "name it by --encoder (in Python photo_encoder=)"
        if encoder is None:
            raise OptionError(f"start encoder: there is no photo encoder{asked}; {mend}")
        if self.encoder not in (None, encoder.sha256):
            raise OptionError(
                f"start encoder: is by a photo encoder{asked}, and this one is {encoder}; {mend}"
            )
        return replace(self, start=start, encoder=encoder.sha256)

    def record(self) -> dict[str, Any]:
        """As JSON values; what is inverted without an encoder is told as before there were any."""
        told = asdict(self)
        if self.encoder is None:
            del told["encoder"]
        return told
