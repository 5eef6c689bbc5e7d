"""Which random numbers come from where."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Separate streams of one seed, one a purpose, so that how many numbers one of them gives never
    changes another's. An atlas follows from these numbers: none may change, and none serve twice.

    The training of mappers has 6 and 7, in `mappers.py`.
    """

    STATISTICS = 0
    IMAGES = 1
    PROBES = 2
    AUDIT = 3
    COMPOSITE_IMAGES = 4
    COMPOSITES = 5
    SAMPLES = 8
    AGREEMENT = 9
    ENCODER = 10
    ENCODER_VALIDATION = 11
    ENCODER_POOL = 12

    def random(self, seed: int, *numbers: int) -> np.random.Generator:
        """This stream of a seed, from its beginning; with `numbers`, that of one part of it."""
        return np.random.default_rng([seed, self, *numbers])
