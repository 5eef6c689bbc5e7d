"""Where the look-up begins images of known latents, so that an encoder learns what is left.

A look-up that has learned from an image knows it too well. So samples are looked up by others
(cross-fitting), which is how it does with images that it never saw. What it then finds follows w as

    found = mean of found + A (w - mean of w) + e

with A by ridge regression. Of latents that are no samples the start is drawn: A of them, and the e
of some sample, more or less of it, since photographs lie farther than images of the generator do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..engine.steering.lookup import LookUp
from ..engine.steering.regression import slopes_on
from ..store.sample_set import SampleSet

FOLDS = 4
STRENGTH = (0.7, 1.3)
"""Of e, from least to most."""
FROM_THE_MEAN, ASTRAY = 0.03, 0.03
"""The shares of starts that lie at the mean, and where those of other images would: of what no
look-up knows, and of what it takes for something else, as it does in the dark."""

Array = NDArray[np.float32]


class Starts:
    """Where images begin.

    Args:
        samples: of the atlas; at the average w without.
        centre: the average w, (w_dim,).

    Attributes:
        found: what the look-up by other samples finds of every sample, float32 (N, w_dim); None
            without.
    """

    def __init__(self, samples: SampleSet | None, centre: Array) -> None:
        self._centre = centre
        self.found: Array | None = None
        if samples is None:
            return
        w = samples.w.astype(np.float32)
        self.found = cross_fitted(samples)
        self._mean, self._found_mean = w.mean(0), self.found.mean(0)
        self._slopes = slopes_on(w - self._mean, self.found)
        self._error = self.found - self._found_mean - (w - self._mean) @ self._slopes

    def draw(self, w: Array, random: np.random.Generator) -> Array:
        """Where images of latents w (n, w_dim) might begin, the same shape."""
        if self.found is None:
            return np.repeat(self._centre[None], len(w), 0)
        strength = random.uniform(*STRENGTH, (len(w), 1)).astype(np.float32)
        error = strength * self._error[random.integers(len(self._error), size=len(w))]
        start = self._found_mean + (w - self._mean) @ self._slopes + error
        return self.misled(start, random)

    def misled(self, start: Array, random: np.random.Generator) -> Array:
        """Starts (n, w_dim), some of them where no look-up, or a wrong one, would begin."""
        if self.found is None:
            return start
        lost, start = random.random(len(start)), start.copy()
        start[lost < FROM_THE_MEAN] = self._centre
        others = self.found[random.integers(len(self.found), size=len(start))]
        astray = lost > 1 - ASTRAY
        start[astray] = others[astray]
        return start


def cross_fitted(samples: SampleSet) -> Array:
    """What the look-up finds of every sample by those of other folds, float32 (N, w_dim)."""
    found = np.zeros(samples.w.shape, np.float32)
    features = samples.features
    for fold in range(FOLDS):
        rows = np.arange(fold, len(samples), FOLDS)
        others = np.delete(np.arange(len(samples)), rows)
        seen = {name: values[rows] for name, values in features.items()}
        embedding = samples.embedding[rows].astype(np.float32)
        found[rows] = LookUp(samples, rows=others).find(embedding, seen).w
    return found
