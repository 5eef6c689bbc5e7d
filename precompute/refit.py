"""Rows refitted so that they foretell what channels do together, not only one by one.

The sweep moves one channel at a time, and an edit moves tens of them. Composite directions, such as
edits take, are measured, and the responses of the atlas are moved towards what explains them, held
back by a ridge towards what was measured of each channel alone. The idea is that of Multi2One (Kim
et al., ICLR 2023); the regression is our own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.steering.direction import Choice, find_direction
from ..store.atlas import Atlas
from ..store.errors import DirectionError
from .blocks import RunBlocks
from .plan import Plan
from .streams import Stream

Array = NDArray[np.float64]

_PHRASE_SIZES, _RANDOM_SIZES = (10, 30, 50, 100), (10, 30, 50)  # channels
_LARGEST = (2.5, 5.0)  # sigma that the channel which moves most is moved to either side

# Both from trials on the embedded pair, see docs/methods.md: 3,000 suits 1,550 composites, 10,000
# suits 6,200. A looser ridge foretells composites better and makes worse edits.
_RIDGE, _LEAST_RIDGE = 1.6, 3000.0
_WEAK = 0.02  # of the typical length: below, channels are held equally fast


def refit(atlas: Atlas, plan: Plan, seed: int, run: RunBlocks) -> Atlas:
    """The atlas with rows and strengths refitted from the composites of the plan it was drawn by.

    The plan knows only how many they are; `run` returns what blocks measure, in their order.
    """
    blocks = plan.composites
    steps = composite_steps(atlas, blocks[-1].last, seed)  # (n, R)
    sigma = atlas.style_std[atlas.channels]
    filled = [
        replace(block, steps=(steps[block.first : block.last] * sigma).astype(np.float32))
        for block in blocks
    ]
    measured = run(filled, plan.first_composites)
    moves = np.concatenate([arrays["moves"] for _, arrays in measured])  # (n, D)
    return with_responses(atlas, fitted(atlas.responses.astype(np.float64), steps, moves))


def composite_steps(atlas: Atlas, number: int, seed: int) -> Array:
    """Steps of many channels each, in standard deviations, (number, R).

    One half are directions of the bank's phrases. The others take channels at random, evenly or by
    strength, with random weights; they also stand in for phrases that no channel answers to. A
    channel without a response is not moved.
    """
    random = Stream.COMPOSITES.random(seed)
    live = np.flatnonzero(_lengths(atlas.responses) > 0)
    steps = np.zeros((number, len(atlas.channels)))
    if not len(live):
        return steps
    strength = atlas.strength[live].astype(np.float64)
    phrases = np.resize(random.permutation(len(atlas.prompts)), (number + 1) // 2)
    for i, step in enumerate(steps):
        if len(atlas.prompts) and i < len(phrases):
            _add_phrase(atlas, int(phrases[i]), int(random.choice(_PHRASE_SIZES)), step)
        if not step.any():
            size = min(int(random.choice(_RANDOM_SIZES)), len(live))
            chances = strength / strength.sum() if random.random() < 0.5 else None
            some = random.choice(live, size, replace=False, p=chances)
            step[some] = random.uniform(-1, 1, size)
        step *= random.uniform(*_LARGEST) / np.abs(step).max()
    return steps


def ridge(composites: int) -> float:
    """How fast responses are held to those of single channels: lambda, in squared sigma. It grows
    with the number of composites, and no lower than what suits 1,550 of them, for the noise of few
    is no smaller."""
    return max(_LEAST_RIDGE, _RIDGE * composites)


def fitted(before: Array, steps: Array, moves: Array) -> Array:
    """The responses M (R, D) that minimise |X M - Y|^2 + lambda sum_r w_r |M_r - M0_r|^2.

    M0 are the responses `before`, X the steps (n, R) in sigma, Y their movements (n, D); w_r is
    m / (|M0_r| + 0.02 m), with m the root mean square of all |M0_r|, so that a weak channel does
    not explain what a strong one did. A channel without a response keeps none.
    """
    lengths = _lengths(before)
    live = lengths > 0
    typical = np.sqrt((lengths**2).mean())
    x, known = steps[:, live], before[live]
    held = x.T @ x
    held[np.diag_indices_from(held)] += (
        ridge(len(steps)) * typical / (lengths[live] + _WEAK * typical)
    )
    after: Array = before.copy()
    after[live] += np.linalg.solve(held, x.T @ (moves - x @ known))
    return after


def with_responses(atlas: Atlas, responses: Array) -> Atlas:
    """The atlas whose `responses` are these (R, D): rows are their directions, strengths follow
    from their lengths, and consistencies stay, but for those of rows of zeros."""
    lengths = _lengths(responses)
    live = (lengths > 0) & (atlas.consistency > 0)
    known = np.where(live, atlas.consistency, 1)
    rows = np.where(live[:, None], responses / np.where(live, lengths, 1)[:, None], 0)
    strength = np.where(live, 2 * atlas.strength_in_sigma * lengths / known, atlas.strength)
    return replace(
        atlas,
        rows=rows.astype(np.float32),
        strength=strength.astype(np.float32),
        consistency=np.where(live, atlas.consistency, 0).astype(np.float32),
    )


def _add_phrase(atlas: Atlas, phrase: int, size: int, step: Array) -> None:
    """Adds the direction of a phrase by its `size` best channels to a step of zeros (R,)."""
    bank, choice = atlas.phrases, Choice(channels=size)
    try:
        found = find_direction(
            atlas, bank.embeddings[phrase], neutral="", target=bank.texts[phrase], choice=choice
        )
    except DirectionError:
        return
    step[np.searchsorted(atlas.channels, found.channels)] = found.scores


def _lengths(rows: NDArray[Any]) -> Array:
    lengths: Array = np.linalg.norm(rows.astype(np.float64), axis=1)
    return lengths
