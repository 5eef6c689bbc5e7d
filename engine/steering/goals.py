"""What images of an edit are to be seen with, and what became of them. Without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .direction import Direction
from .status import Status, together

_FIRST = 0.43  # of the alpha that the table expects


@dataclass(frozen=True, eq=False)
class Goals:
    """How n images are to be seen along E directions, in how much nearer they are to the target.

    Args:
        goal: what is aimed at, (n, E).
        still: from which on an image stays as it is, (n, E).
        there: from which on it shows the target, (n, E).
        slopes: what alpha 1 is expected to bring, (E,).
        first: alphas to begin a search with; 0 to begin with a guess, (n, E).
        most: the largest alphas, (n, E).
        back: the largest the other way, at least 0, (n, E).
    """

    goal: NDArray[np.float64]
    still: NDArray[np.float64]
    there: NDArray[np.float64]
    slopes: NDArray[np.float64]
    first: NDArray[np.float64]
    most: NDArray[np.float64]
    back: NDArray[np.float64]

    def guess(self, before: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of a direction of the table, from how images are seen as they are: less than is expected
        to take them there, since near an image edits go faster than 5 sigma away."""
        expected = (self.goal - before) / np.maximum(self.slopes, 1e-6)
        guess: NDArray[np.float64] = (_FIRST * expected).clip(1, self.most / 2)
        return guess


def statuses_of(
    directions: tuple[Direction, ...],
    goals: Goals,
    seen: NDArray[np.float64] | None,
    alphas: NDArray[np.float64],
    spared: NDArray[np.bool_],
) -> list[Status | None]:
    """What became of n images: by how they are seen, (n, E), where CLIP looked, how far they went,
    (n, E), and whether they were left alone as a given alpha does those that have nothing to take
    off, (n, E)."""
    found: list[Status | None] = []
    for i in range(len(alphas)):
        each: list[Status | None] = []
        for j, direction in enumerate(directions):
            far = goals.most[i, j] if alphas[i, j] > 0 else goals.back[i, j]
            beyond = bool(abs(alphas[i, j]) > far + 1e-3)
            stopped = bool(alphas[i, j] >= goals.most[i, j] - 1e-2)
            if direction.evidence is not None and direction.evidence.kind == "unknown":
                each.append("unsupported")
            elif spared[i, j]:
                each.append("already_there")
            elif beyond:
                each.append("out_of_range")
            elif seen is None:
                each.append(None)
            elif seen[i, j] >= goals.there[i, j]:
                each.append("reached" if alphas[i, j] else "already_there")
            else:
                each.append("out_of_range" if stopped else "not_reached")
        known = [status for status in each if status]
        found.append(together(known) if len(known) == len(each) else None)
    return found
