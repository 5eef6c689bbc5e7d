"""Two groups in one list of scores: who has a thing, and who has not. Without torch.

Scores of images along a text direction fall into two lobes where a generator draws a thing and CLIP
tells it. Two normal distributions are fitted by expectation maximisation (Dempster et al. 1977)
from several shares, so that a thing of one image in a hundred is found, too; a histogram stands for
the scores, so that the time does not hang on their number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST = 10
"""Images of the smaller group that a fit begins with."""
APART = 4.0
"""Separation of groups that nothing graded has."""
_AS_WIDE = 40
"""Scores that speak for a group being as wide as the other."""
_BINS = 128
_ROUNDS, _CHECKED = 60, 5
_LARGEST = 700.0  # of what numpy raises e to
_SETTLED = 1e-6  # of log likelihood a score: what a few rounds more have to gain
_FILLED = 1.3  # times the scores between two groups that two groups would have there
_NARROWEST = 0.1  # of a group, in standard deviations of all scores


@dataclass(frozen=True)
class Group:
    """A normal distribution: `mean` and `std` of the scores of a group."""

    mean: float
    std: float


@dataclass(frozen=True)
class Mixture:
    """Two groups of scores.

    Args:
        share: of the upper group, 0 to 1.
        lower, upper: the groups; the upper one has the higher mean.
        gain: of log likelihood a score, over one normal distribution, at least 0.
    """

    share: float
    lower: Group
    upper: Group
    gain: float

    @property
    def separation(self) -> float:
        """Between the means, in standard deviations (their root mean square)."""
        spread = np.hypot(self.upper.std, self.lower.std) / np.sqrt(2)
        return float((self.upper.mean - self.lower.mean) / spread)

    def posterior(self, scores: NDArray[np.floating[Any]]) -> Array:
        """The probability that images of these scores belong to the upper group, 0 to 1. It never
        falls as a score rises: of a wider lower group, the lowest scores would else count as
        upper ones, so that beyond the means it stays as it is there."""
        at = np.clip(scores, self.lower.mean, self.upper.mean)
        up = np.log(self.share) + _log_density(at, self.upper.mean, self.upper.std)
        down = np.log1p(-self.share) + _log_density(at, self.lower.mean, self.lower.std)
        posterior: Array = 1 / (1 + np.exp(down - up))
        return posterior


def fit_mixture(scores: NDArray[np.floating[Any]]) -> Mixture:
    """The two groups that make the scores (N,) likeliest, the same for the same scores.

    Of fewer scores than two groups need, or of scores that are all alike, both groups are the same.
    """
    y = scores.astype(np.float64)
    mean, std = float(y.mean()), float(y.std())
    if len(y) < 2 * LEAST or std < 1e-9:
        group = Group(mean, max(std, 1e-9))
        return Mixture(0.5, group, group, 0.0)
    x, counts = _histogram((y - mean) / std)
    powers = np.stack([np.ones_like(x), x, x**2])  # (3, bins)
    sums = (powers * counts).T  # (bins, 3): what a group adds up to is its r @ sums
    whole = sums.sum(0)
    first = _shares(len(y))
    above = np.cumsum(counts)[None] / len(y) > 1 - first[:, None]
    above[:, -1] = True
    r = np.where(above, 0.98, 0.02)  # (starts, bins)
    best = -np.inf
    for number in range(_ROUNDS):
        ones = r @ sums
        n, m, v = _moments(np.stack([whole - ones, ones]))  # of both groups, (2, starts)
        share = n / len(y)
        within = (share * v).sum(0)
        s = _width(v, n, within)
        down, up = _parabolas(share, m, s)
        r = 1 / (1 + np.exp(((down - up) @ powers).clip(None, _LARGEST)))
        if number % _CHECKED == _CHECKED - 1:
            both = np.logaddexp(up @ powers, down @ powers)
            now = float((both @ counts).max()) / len(y)
            if now - best < _SETTLED:
                break
            best = now
    few = LEAST / 2 / len(y)
    sound = (m[1] > m[0]) & (share > few).all(0)
    gains = (both - _log_density(x, 0.0, 1.0)) @ counts / len(y)
    unlike = _unlike(s, within).sum(0)
    k = int(np.where(sound, gains - unlike / len(y), -np.inf).argmax())
    if not sound[k]:
        group = Group(mean, std)
        return Mixture(0.5, group, group, 0.0)
    lower, upper = (Group(mean + std * float(m[i, k]), std * float(s[i, k])) for i in (0, 1))
    return Mixture(float(share[1, k]), lower, upper, max(0.0, float(gains[k])))


def filled(mixture: Mixture, scores: NDArray[np.float32]) -> bool:
    """Whether many more scores lie between the groups than the groups would have there, as of
    scores that are spread evenly, which two groups fit, too. Groups that lie further apart have
    some between them, too, but those are images that are neither."""
    if mixture.separation > APART:
        return False
    low, high = mixture.lower, mixture.upper
    ends = low.mean + (high.mean - low.mean) * np.array([1, 2]) / 3
    found = float(((scores > ends[0]) & (scores < ends[1])).sum())
    expected = 0.0
    for group, share in ((low, 1 - mixture.share), (high, mixture.share)):
        z = (ends - group.mean) / (group.std * math.sqrt(2))
        expected += share * len(scores) * (math.erf(z[1]) - math.erf(z[0])) / 2
    return found > _FILLED * expected + 3 * math.sqrt(expected + 1)


def _histogram(y: Array) -> tuple[Array, Array]:
    """The mean score of each bin that holds any, and how many it holds."""
    low, high = float(y.min()), float(y.max())
    number = ((y - low) * (_BINS / (high - low))).astype(np.int64).clip(0, _BINS - 1)
    counts = np.bincount(number, minlength=_BINS).astype(np.float64)
    sums = np.bincount(number, y, _BINS)
    held = counts > 0
    return sums[held] / counts[held], counts[held]


def _shares(count: int) -> Array:
    """Of the upper group, to begin with: a half, quarters of it down to `LEAST` of `count`, and the
    same of the lower group."""
    small = 0.5 * 0.25 ** np.arange(np.log(count / (2 * LEAST)) // np.log(4) + 1)
    return np.unique(np.concatenate([small, [LEAST / count], 1 - small, [1 - LEAST / count]]))


def _moments(sums: Array) -> tuple[Array, Array, Array]:
    """Counts, means and variances (2, starts) of groups by the sums of their scores to the powers
    of 0, 1 and 2, (2, starts, 3)."""
    count = sums[..., 0].clip(1e-6)
    mean = sums[..., 1] / count
    return count, mean, (sums[..., 2] / count - mean**2).clip(0)


def _parabolas(share: Array, mean: Array, std: Array) -> Array:
    """The logs of shares times normal densities (2, starts) as coefficients of the powers of a
    score, (2, starts, 3), without the constant."""
    found = np.empty((*mean.shape, 3))
    precise = 1 / std**2
    found[..., 1] = mean * precise
    found[..., 2] = -0.5 * precise
    found[..., 0] = np.log(share / std) - 0.5 * mean * found[..., 1]
    return found


def _width(variance: Array, count: Array, within: Array) -> Array:
    """The standard deviations (2, starts) of groups of so many scores, by their variances and that
    within both (starts,): a few scores do not make a group wider or narrower than the other. Else
    the tail of the other would be theirs."""
    pulled = (count * variance + _AS_WIDE * within) / (count + _AS_WIDE)
    return np.sqrt(pulled).clip(_NARROWEST)


def _unlike(std: Array, within: Array) -> Array:
    """What speaks against groups of these widths, in log likelihood, as `_width` weighs it."""
    ratio = within / std**2
    against: Array = _AS_WIDE / 2 * (ratio - 1 - np.log(ratio))
    return against


def _log_density(x: Any, mean: Any, std: Any) -> Any:
    """Of normal distributions, without the constant."""
    return -np.log(std) - 0.5 * ((x - mean) / std) ** 2
