"""Success and preservation of edits, with intervals: pure array maths, without torch.

*Success*: of the images that lacked the attribute and showed that they did, how many have it after
the edit. *Preservation*: of all the other attributes of those images that are seen before and
after, how many are read as they were. *Fully right*: of the images that lacked the attribute, how
many have it, and every other attribute as it was. Where the truth can be drawn, of the same images:
*damaged*, how many lie further from every drawing than 95 % of unedited images do; *hit*, how many
are nearest to the drawing that the image before was nearest to, with that one attribute changed;
*leak*, how much changed where the attribute is not. All are shares, or means, of one edit, then
averaged over edits.

The intervals are bootstrapped over seeds: every image of a resample stands in it as often in one
way of editing as in another, so that differences between ways are of the same images. The edits
are not resampled: they are a list that somebody chose, and no sample of prompts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
_OUTER = (2.5, 97.5)  # percent: what a 95 % interval lies between
_REACHED = 0.95  # of the resamples must have a figure for it to have an interval

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a judge read of n images, A attributes each; any shape (..., n, A).

    Args:
        values: the number of each attribute's value, int16.
        seen: whether the image shows the attribute at all, bool.
    """

    values: NDArray[np.int16]
    seen: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class EditCounts:
    """One edit of n images, counted; any shape (..., n).

    Args:
        absent: whether the attribute was lacking, and seen to be.
        won: whether it was lacking and is there now.
        same: how many of the other attributes are as they were, 0 where it was not lacking.
        shown: how many of them are seen before and after, 0 where it was not lacking.
    """

    absent: NDArray[np.bool_]
    won: NDArray[np.bool_]
    same: NDArray[np.int64]
    shown: NDArray[np.int64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether it was lacking, is there now, and no other attribute changed."""
        right: NDArray[np.bool_] = self.won & (self.same == self.shown)
        return right


@dataclass(frozen=True, eq=False)
class DrawnCounts:
    """What drawings tell of one edit of n images; any shape (..., n), nothing where the attribute
    was not lacking.

    Args:
        damaged: whether the image lies further from every drawing than is usual.
        hit: whether it is nearest to the drawing that it ought to be nearest to.
        leak: how much changed where the attribute is not, 0 to 1.
    """

    damaged: NDArray[np.bool_]
    hit: NDArray[np.bool_]
    leak: NDArray[np.float32]


def count_edit(
    before: Predictions, after: Predictions, attribute: int, wanted: NDArray[np.integer[Any]]
) -> EditCounts:
    """Counts an edit that is to bring one of the values `wanted` of an attribute."""
    lacking = ~np.isin(before.values[..., attribute], wanted) & before.seen[..., attribute]
    others = np.arange(before.values.shape[-1]) != attribute
    both = before.seen & after.seen & others & lacking[..., None]
    return EditCounts(
        absent=np.broadcast_to(lacking, both.shape[:-1]),
        won=lacking & np.isin(after.values[..., attribute], wanted),
        same=(both & (before.values == after.values)).sum(-1),
        shown=both.sum(-1),
    )


def is_hit(
    before: Predictions, after: Predictions, attribute: int, wanted: NDArray[np.integer[Any]]
) -> NDArray[np.bool_]:
    """Whether the drawings after an edit are those before it with that one attribute changed to a
    wanted value: it is to be seen, and all that is seen before and after to be the same. What was
    hidden before, as the colour of hair on a bald head, may be anything; so may what is hidden
    after."""
    others = np.arange(before.values.shape[-1]) != attribute
    both = before.seen & after.seen & others
    kept: NDArray[np.bool_] = ((before.values == after.values) | ~both).all(-1)
    return kept & np.isin(after.values[..., attribute], wanted) & after.seen[..., attribute]


def resampled(count: int, seed: int = 0) -> Array:
    """How often each of `count` images stands in each resample, (1 + 1000, count): the first row
    is the images as they are, so that figure 0 of all that is made of these weights is the
    estimate itself."""
    draws = np.random.default_rng(seed).multinomial(count, [1 / count] * count, size=RESAMPLES)
    return np.concatenate([np.ones((1, count)), draws])


def share(weights: Array, hits: NDArray[Any], of: NDArray[Any]) -> Array:
    """Percent of `of` (E, n) that are `hits` (E, n), in every resample: (B, E), NaN where there is
    nothing to count."""
    counts = weights @ of.T.astype(np.float64)
    hit = weights @ hits.T.astype(np.float64)
    shares: Array = np.divide(hit, counts, where=counts > 0, out=np.full(counts.shape, np.nan))
    return 100 * shares


def over_edits(shares: Array) -> Array:
    """The mean over the edits that have a figure, (B, E) -> (B,); NaN where none has."""
    known = ~np.isnan(shares)
    counts = known.sum(-1)
    sums = np.where(known, shares, 0).sum(-1)
    means: Array = np.divide(sums, counts, where=counts > 0, out=np.full(counts.shape, np.nan))
    return means


def at_success(success: Array, preservation: Array, level: Array) -> Array:
    """What is preserved where a curve first reaches a level of success: NaN where it never does.

    A curve begins at the images as they are, with no success and all preserved, and is straight
    between its K points.

    Args:
        success, preservation: percent at rising alphas, (B, K) each.
        level: the success to match, (B,).
    """
    start = np.zeros((len(success), 1))
    x = np.concatenate([start, success], 1)
    y = np.concatenate([start + 100, preservation], 1)
    reached = x >= level[:, None]
    found = np.where(reached.any(1), y[:, 0], np.nan)
    for row in np.flatnonzero(reached.any(1) & ~reached[:, 0]):
        last = int(reached[row].argmax())
        ends = slice(last - 1, last + 1)
        found[row] = np.interp(level[row], x[row, ends], y[row, ends])
    return found


def interval(figures: Array, digits: int = 2) -> dict[str, float | None]:
    """The estimate with its 95 % interval, of figures (B,) of which the first is the estimate; no
    interval where more than a resample in twenty has no figure."""
    value, draws = float(figures[0]), figures[1:]
    known = draws[~np.isnan(draws)]
    if np.isnan(value) or len(known) < _REACHED * len(draws):
        return {"value": rounded(value, digits), "low": None, "high": None}
    low, high = np.percentile(known, _OUTER)
    return {
        "value": rounded(value, digits),
        "low": rounded(low, digits),
        "high": rounded(high, digits),
    }


def rounded(value: float | np.floating[Any], digits: int = 2) -> float | None:
    """A figure as reports have it; None for NaN."""
    return None if np.isnan(value) else round(float(value), digits)
