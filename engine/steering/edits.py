"""An edit as people write it, and what several of them do to each other. Without torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...prompts.negation import Reading, content, read_prompt, with_thing
from ...store.atlas import Atlas
from ...store.bank import one_line
from ...store.errors import OptionError, require_number
from ...store.queries import expected_shift
from .direction import Direction

MAX_WEIGHT = 20.0
CONTAINS, UNDOES = 0.5, -0.2
"""Shares from which on an edit is said to contain or to undo another."""
_SUBJECT = "an image"  # where neither prompt says what of
_ARROW = re.compile(r"-+>|→")
_WEIGHT = re.compile(r"(?P<text>.*)\s:\s(?P<weight>.*)")
_ATTACHED = re.compile(
    r".*:\s*(?P<weight>(?:[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)?)", re.IGNORECASE
)
"""A text that ends in a number behind a colon, or in a colon."""
_RATIO = re.compile(r".*\d:\d+")


@dataclass(frozen=True)
class Edit:
    """From one prompt to another, `weight` times as far as it would go alone.

    A negative weight leads from the target to the neutral prompt. Prompts are kept as
    `one_line` writes them.

    Raises:
        OptionError: a weight that is 0, not finite or beyond +-20.
        PromptError: a prompt that is empty or holds control characters.
    """

    neutral: str
    target: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("neutral", "target"):
            object.__setattr__(self, name, one_line(name, getattr(self, name)))
        require_number("weight", self.weight)
        if not 0 < abs(self.weight) <= MAX_WEIGHT:
            raise OptionError(
                f"weight {self.weight:g}: must lie between -{MAX_WEIGHT:g} and {MAX_WEIGHT:g} and "
                "not be 0"
            )

    @classmethod
    def parse(cls, text: str) -> Edit:
        """Read `a face -> a sad face : 1.5`; the weight may be left out, and the arrow be →.

        A weight stands at the end, behind a colon with a space on either side; other colons belong
        to the prompts. One with a number that lacks the spaces might be either, and is refused,
        unless the two numbers around it are a ratio, as in 16:9.

        Raises:
            OptionError: it is written otherwise, or a weight out of its range.
            PromptError: a prompt that holds control characters.
        """
        shown = f"edit {text[:80]!r}"
        sides = [" ".join(side.split()) for side in _ARROW.split(text)]
        if len(sides) > 2:
            raise OptionError(
                f"{shown}: holds {len(sides) - 1} arrows, and leads from one prompt to one other; "
                "write each edit by itself, or give such prompts as neutral and target"
            )
        written = _WEIGHT.fullmatch(f" {sides[-1]}")
        target = written["text"].strip() if written else sides[-1]
        weight = written["weight"] if written else None
        if len(sides) < 2 or not sides[0] or not target:
            raise OptionError(
                f"{shown}: write it as NEUTRAL -> TARGET : WEIGHT, such as "
                "'a face -> a sad face : 1.5'"
            )
        if _ATTACHED.fullmatch(sides[0]) and not _RATIO.fullmatch(sides[0]):
            raise OptionError(
                f"{shown}: has a weight left of the arrow; write it at the end, or give such a "
                "prompt as neutral"
            )
        attached = _ATTACHED.fullmatch(target)
        if attached is not None and weight is None and not _RATIO.fullmatch(target):
            raise OptionError(
                f"{shown}: ends in {attached['weight'] or 'a colon'!r}, which may be meant as a "
                "weight; write a weight as ' : 2', with spaces, and behind a prompt that ends so "
                "' : 1'"
            )
        try:
            return cls(sides[0], target, 1.0 if weight is None else float(weight))
        except ValueError:
            raise OptionError(
                f"{shown}: {weight!r} is no weight; write a number after the colon, or leave both "
                "out"
            ) from None

    def back(self) -> Edit:
        """The same edit the other way round."""
        return Edit(self.target, self.neutral, self.weight)

    def forward(self) -> Edit:
        """The same edit with a positive weight."""
        if self.weight > 0:
            return self
        return replace(self.back(), weight=-self.weight)


def as_meant(edit: Edit) -> tuple[Edit, ...]:
    """An edit in prompts that say what is there, of a positive weight. What the target says is
    missing is led away from, from having it: "a face -> a man without a hat" is "a man with a hat
    -> a man". What the neutral prompt says is missing, and the target does not, is led to. What the
    target says beside that is an edit of its own. See `prompts/negation.py`."""
    edit = edit.forward()
    neutral, target = read_prompt(edit.neutral), read_prompt(edit.target)
    if not neutral.lacks and not target.lacks:
        return (Edit(neutral.plain, target.plain, edit.weight),)
    start = neutral.plain or (target.plain if target.lacks else "") or _SUBJECT
    base = target.plain or start
    pairs: list[tuple[str, str]] = []
    said = content(edit.neutral, people=True)
    if content(target.plain) - said or (content(target.plain) & _words_of(neutral)):
        pairs.append((start, target.plain))
    pairs += [(with_thing(base, t), base) for t in target.lacks if t not in neutral.lacks]
    for thing in neutral.lacks:
        if thing not in target.lacks and not content(thing.name) <= content(target.plain):
            pairs.append((start, with_thing(start, thing)))
    pairs = pairs or [(start, base)]
    return tuple(Edit(*pair, edit.weight) for pair in pairs)


def meant_as_one(neutral: str, target: str) -> Edit:
    """What a pair of prompts means, where that is one edit; see `as_meant`.

    Raises:
        OptionError: they mean several edits.
    """
    meant = as_meant(Edit(neutral, target))
    if len(meant) > 1:
        told = " and ".join(f'"{edit.neutral}" -> "{edit.target}"' for edit in meant)
        raise OptionError(f'"{target}": says several things, {told}; ask for one at a time')
    return meant[0]


def _words_of(reading: Reading) -> set[str]:
    return {word for thing in reading.lacks for word in content(thing.name)}


@dataclass(frozen=True)
class Conflict:
    """What one edit is expected to do of another.

    Args:
        edit, other: their targets.
        share: how far `edit` moves images along the other's text direction, as a share of what the
            other edit does itself at the same alpha. 1: it contains it; -1: it undoes it.
        style_cosine: of their steps in style space, each channel counted by its strength, -1 to 1.
    """

    edit: str
    other: str
    share: float
    style_cosine: float

    def __str__(self) -> str:
        what = "contains" if self.share > 0 else "undoes"
        return (
            f'"{self.edit}" {what} {abs(self.share):.0%} of "{self.other}" '
            f"(cosine of their steps {self.style_cosine:.2f})"
        )


def conflicts(atlas: Atlas, directions: Sequence[Direction]) -> list[Conflict]:
    """The pairs of which one contains at least half of the other, or undoes a fifth of it, asked
    both ways."""
    found = []
    shifts = [expected_shift(atlas, direction.delta(1.0)) for direction in directions]
    std = atlas.style_std[atlas.channels]
    weights = np.divide(atlas.strength, std, out=np.zeros_like(std), where=std > 0)
    steps = [direction.delta(1.0)[atlas.channels] * weights for direction in directions]
    for i, edit in enumerate(directions):
        for j, other in enumerate(directions):
            own = float(shifts[j] @ other.text)
            if i == j or own <= 0:
                continue
            share = float(shifts[i] @ other.text) / own
            if share >= CONTAINS or share <= UNDOES:
                sizes = float(np.linalg.norm(steps[i]) * np.linalg.norm(steps[j]))
                cosine = float(steps[i] @ steps[j]) / sizes if sizes else 0.0
                found.append(Conflict(edit.target, other.target, share, cosine))
    return found
