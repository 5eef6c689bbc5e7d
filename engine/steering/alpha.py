"""How far to go: alpha found by what CLIP sees, with a few renders an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Measure = Callable[[NDArray[np.int64], Array], Array]
"""Which images (m,), the alphas (m, E + K) to render them at -> what CLIP sees, (m, E + K)."""

DEFAULT_PROBABILITY = 0.998
"""What CLIP is to see a target with, against its neutral prompt, where alpha is found."""
MAX_ALPHA = 100.0
ROUNDS = 5
_ABOVE = 0.15  # of the way to the goal: how far beyond it is near enough
_FLAT = 0.03  # of that way: a round that gains less has come to no good
_NARROW = 0.15  # of an alpha: no use to look closer
_SHORTEST, _LONGEST = 1.3, 2.0  # times the alpha so far: how far a guess beyond it goes
_DAMPED = 0.35  # of the alpha the atlas expects to undo a drift
_STILL = 0.05  # of the way to the goal: a drift that needs no correction
_DIGITS = 3  # of an alpha: the noise of a batch must not show in what one finds again
_CLOSE = 0.1  # of the best gain: what is as good as the best


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found for n images, E edits and K things to hold still.

    Args:
        alphas: (n, E + K); at least 0 for edits, of either sign for the others.
        rounds: which round had them, 0 for the image as it was, (n,).
        seen: how far the images are there, (n, E + K).
    """

    alphas: Array
    rounds: NDArray[np.int64]
    seen: Array


def find_alphas(
    measure: Measure, before: Array, slopes: Array, first: Array, goals: Array, most: Array
) -> Found:
    """The smallest alphas at which every edit reaches its goal, or, where one comes to no good,
    at which they come as near as they do, with counter-steps for what is to be held still.

    A search in every image and edit by itself: up, by the slope so far, until the goal is passed or
    more alpha gains no more, then between the last two. What edits do to each other, and to what is
    held, is corrected in the next round. It ends when all goals are met closely or cannot be, or
    after 5 rounds.

    Args:
        measure: renders images and tells how far each is along each edit and each thing to hold.
        before: (n, E + K), how far the images are as they are.
        slopes: (E + K,), what alpha 1 is expected to bring.
        first: alphas to begin with where a goal is not met yet, above 0, (n, E).
        goals: how far they are to be, (n, E).
        most: the largest alphas, (n, E); in an image, things to hold still go as far as any edit.
    """
    edits = goals.shape[1]
    start, still = before[:, :edits], before[:, edits:]
    way = (goals - start).clip(0)  # (n, E)
    aim = goals + _ABOVE / 2 * way
    low, low_seen = np.zeros_like(start), start
    high, high_seen = np.full_like(start, np.inf), np.zeros_like(start)
    alphas = np.where(way > 0, np.minimum(first, most), 0)
    held = np.zeros_like(still)
    settled = (way == 0) | (most <= 0)
    open_ = ~settled.all(1)
    seen, tried = [before], [np.zeros_like(before)]
    for _ in range(ROUNDS):
        rows = np.flatnonzero(open_)
        if len(rows) == 0:
            break
        alphas, held = alphas.round(_DIGITS), held.round(_DIGITS)
        tried.append(np.concatenate([alphas, held], 1))
        seen.append(np.full_like(before, -np.inf))
        seen[-1][rows] = measure(rows, tried[-1][rows])
        now = np.where(open_[:, None], seen[-1][:, :edits], low_seen)
        over = now >= goals
        # A first step may gain nothing yet, or lose some, where more of it would.
        higher = ~over & ((now > low_seen + _FLAT * way) | (low == 0))
        slope = np.maximum(now - start, 1e-9) / np.maximum(alphas, 1e-9)
        low, low_seen = np.where(higher, alphas, low), np.where(higher, now, low_seen)
        high, high_seen = np.where(higher, high, alphas), np.where(higher, high_seen, now)
        high = np.where(high <= low, np.inf, high)  # another edit moved the ground
        near = over & (now <= goals + _ABOVE * way)
        bracketed = np.isfinite(high)
        narrow = bracketed & (low >= (1 - _NARROW) * high)
        settled = (way == 0) | (most <= 0) | near | narrow | (higher & (alphas >= most - 1e-3))
        guess = (low + (aim - low_seen) / slope).clip(_SHORTEST * low, _LONGEST * low)
        part = (aim - low_seen) / np.maximum(high_seen - low_seen, 1e-9)
        part = np.where(high_seen >= goals, part, 0.5).clip(0.1, 0.9)
        between = low + part * np.where(bracketed, high - low, 0)
        alphas = np.where(settled, alphas, np.where(bracketed, between, guess).clip(0, most))
        drift = np.where(open_[:, None], seen[-1][:, edits:] - still, 0)
        held = held - _DAMPED * drift / np.maximum(slopes[edits:], 1e-6)
        furthest = most.max(1, keepdims=True)
        held = held.clip(-furthest, furthest)
        open_ &= ~(settled.all(1) & (np.abs(drift) <= _STILL * way.max(1, keepdims=True)).all(1))
    return _best(np.stack(tried), np.stack(seen), goals)


def _best(tried: Array, seen: Array, goals: Array) -> Found:
    """Of the rounds that bring about as much as the best, the one with the least drift, or, where
    nothing is held, with the least alpha: (rounds, n, E + K) each; goals (n, E)."""
    edits = goals.shape[1]
    now, drift = seen[..., :edits], np.abs(seen - seen[0])[..., edits:]
    gains = np.minimum(now - now[0], (goals - now[0]).clip(0)).sum(2)  # (rounds, n)
    enough = gains >= gains.max(0) * (1 - _CLOSE) - 1e-12
    reached = (now >= goals).all(2)
    allowed = np.where(reached.any(0), reached, enough)
    effort = drift.sum(2) if drift.shape[2] else tried.sum(2)
    rounds = np.where(allowed, effort, np.inf).argmin(0)
    chosen = rounds, np.arange(tried.shape[1])
    return Found(tried[chosen], rounds, seen[chosen])
