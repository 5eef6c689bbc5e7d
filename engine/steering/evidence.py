"""What samples say of a prompt, as people and searches for alpha are told it. Without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kind = Literal["two-state", "graded", "rare", "always there", "unknown"]
KINDS: tuple[Kind, ...] = get_args(Kind)

LOW, _THERE, HIGH = 0.1, 0.8, 0.9  # quantiles of scores that fall into no groups
_NAMED = (0.02, 0.1)  # least and largest share of images that a graded thing is said of
_OPPOSITE = 0.5  # the largest of those nearer to one of two opposites
_SURE = 0.3  # standard deviations above the mean of those who have it: what is aimed at


@dataclass(frozen=True)
class Levels:
    """Scores of images at one psi that mean something.

    Args:
        lower: what those who lack it have, on average; of what falls into no groups the tenth
            percentile.
        there: from which on an image has it, halfway to the goal; of an unknown thing the 80th
            percentile, of a graded one what those have that it is said of.
        goal: a little more than those who have it have, on average; of an unknown thing the 90th
            percentile, of a graded one the upper quartile of those that it is said of.
    """

    lower: float
    there: float
    goal: float


@dataclass(frozen=True)
class Evidence:
    """What samples say of a text direction.

    Args:
        kind: `two-state`, where scores fall into two groups; `graded`, where they spread more than
            by chance without falling into two; `rare` and `always there`, where one of the groups
            is small; `unknown`, where scores are no other than those of prompts without a meaning.
        share: of the samples that have it.
        separation: of the groups, in standard deviations.
        gain: of log likelihood a sample, of two groups over one.
        near, far: the levels at the psi `near_psi` and at psi 1.
        near_psi: the smaller psi at which samples were embedded, too.
    """

    kind: Kind
    share: float
    separation: float
    gain: float
    near: Levels
    far: Levels
    near_psi: float

    @property
    def few(self) -> bool:
        """Whether one of the groups is small."""
        return self.kind in ("rare", "always there")

    def levels(self, psi: float) -> Levels:
        """At a truncation psi, on the line through the two at which samples were embedded. At a
        negative one images are as far from the average one, and so have what shows it as much."""
        part = (abs(psi) - self.near_psi) / (1 - self.near_psi)
        near, far = self.near, self.far
        return Levels(*(
            getattr(near, name) + part * (getattr(far, name) - getattr(near, name))
            for name in ("lower", "there", "goal")
        ))  # fmt: skip


def levels_of_spread(scores: NDArray[np.float32]) -> Levels:
    """Of what is unknown."""
    return Levels(*(float(x) for x in np.quantile(scores, (LOW, _THERE, HIGH))))


def share_called(scores: NDArray[np.float32], opposites: bool = False) -> float:
    """Of how many images a graded thing is said: those that CLIP sees nearer to the target than to
    the neutral prompt, as bald heads and old faces are what few images are furthest in. 2 to 10 %,
    since not every CLIP's cosines with two texts can be compared; of opposites, as men and women
    are, up to half."""
    least, most = _NAMED
    return float(np.clip((scores > 0).mean(), least, _OPPOSITE if opposites else most))


def levels_of_called(scores: NDArray[np.float32], share: float) -> Levels:
    """Of what is graded, and said of this share of the images."""
    return Levels(*(float(x) for x in np.quantile(scores, (LOW, 1 - share, 1 - share / 4))))


def levels_of_groups(scores: NDArray[np.float32], has: Array) -> Levels:
    """By weighted moments of both groups."""
    ones, zeros = has.sum().clip(1e-9), (1 - has).sum().clip(1e-9)
    mean, lower = float(has @ scores / ones), float((1 - has) @ scores / zeros)
    spread = math.sqrt(float(has @ (scores - mean) ** 2 / ones))
    goal = mean + _SURE * spread
    return Levels(lower, (lower + goal) / 2, goal)
