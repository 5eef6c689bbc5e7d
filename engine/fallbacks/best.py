"""Ways of editing tried one after the other: the best so far of every image is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..steering.request import Way


class BestOfWays:
    """What CLIP saw best of n images.

    Args:
        before: their styles (n, C).
        see: CLIP's probability of the target in images of styles (m, C): (m,).
        enough: the probability from which on an image needs no other way.

    Attributes:
        styles: the best so far, (n, C).
        ways: by which way, (n,).
        tried: for each image, the probability of the target by each way tried.
    """

    def __init__(
        self, before: Tensor, see: Callable[[Tensor], NDArray[np.float64]], enough: float
    ) -> None:
        self.styles = before.clone()
        self.ways: list[Way] = ["direction"] * len(before)
        self.tried: list[dict[Way, float]] = [{} for _ in range(len(before))]
        self._see, self._enough = see, enough
        self._seen = np.full(len(before), -np.inf)

    @property
    def open(self) -> list[int]:
        """The images that no way was enough for yet."""
        rows: list[int] = np.flatnonzero(self._seen < self._enough).tolist()
        return rows

    @torch.inference_mode()
    def take(self, way: Way, rows: Sequence[int], styles: Tensor) -> None:
        """Measures what a way came to on some rows, and keeps it where CLIP sees more."""
        for i, (row, chance) in enumerate(zip(rows, self._see(styles).tolist(), strict=True)):
            self.tried[row][way] = round(chance, 4)
            if chance > self._seen[row]:
                self._seen[row], self.ways[row], self.styles[row] = chance, way, styles[i]
