"""A judge that can be computed by hand, and what it is asked."""

from __future__ import annotations

import numpy as np

from styleatlas.engine.evaluation.judges import (
    Look,
)
from styleatlas.engine.evaluation.scores import (
    Predictions,
)
from styleatlas.engine.evaluation.suite import Suite, Trial

SEEDS = tuple(range(1, 71))  # more than a batch


class PixelJudge:
    """Reads pixels 7 and 12 of the countable generator as low or high; 12 is hidden where 7 lies
    far down."""

    name = "pixels"
    drawings = None
    attributes = {"seven": ("low", "high"), "twelve": ("low", "high")}  # noqa: RUF012
    looked = 0

    def look(self, images):
        self.looked += len(images)
        pixels = images[:, 0].flatten(1)[:, [7, 12]].numpy()
        seen = np.stack([pixels[:, 0] < np.inf, pixels[:, 0] > -0.8], 1)
        return Look(Predictions((pixels > (0.25, -0.2)).astype(np.int16), seen), (images,))

    def direction(self, neutral, target):
        return None


SUITE = Suite(
    {
        "seven": {"low": ("something else",), "high": ("a picture channel7",)},
        "twelve": {"low": ("something channel0",), "high": ("a picture channel12",)},
    },
    (
        Trial("a picture", "a picture channel7", "seven", ("high",)),
        Trial("a picture", "a picture channel12 channel12 channel7", "twelve", ("high",)),
    ),
)


def rows_of(record, way, alpha=None):
    return [row for row in record["edits"] if (row["way"], row["alpha"]) == (way, alpha)]
