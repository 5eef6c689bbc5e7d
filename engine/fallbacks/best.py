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
        see: of rows (m,) and styles (m, C) that they came to: CLIP's probability of the target,
            and whether that is enough, so that an image needs no other way, (m,) each.

    Attributes:
        styles: the best so far, (n, C).
        ways: by which way, (n,).
        tried: for each image, the probability of the target by each way tried.
    """

    def __init__(
        self,
        before: Tensor,
        see: Callable[[Sequence[int], Tensor], tuple[NDArray[np.float64], NDArray[np.bool_]]],
    ) -> None:
        self.styles = before.clone()
        self.ways: list[Way] = ["direction"] * len(before)
        self.tried: list[dict[Way, float]] = [{} for _ in range(len(before))]
        self._see = see
        self._seen = np.full(len(before), -np.inf)
        self._enough = np.zeros(len(before), bool)

    @property
    def open(self) -> list[int]:
        """The images that no way was enough for yet."""
        rows: list[int] = np.flatnonzero(~self._enough).tolist()
        return rows

    @torch.inference_mode()
    def take(self, way: Way, rows: Sequence[int], styles: Tensor) -> None:
        """Measures what a way came to on some rows, and keeps it where CLIP sees more."""
        chances, enough = self._see(rows, styles)
        for i, (row, chance) in enumerate(zip(rows, chances.tolist(), strict=True)):
            self.tried[row][way] = round(chance, 4)
            # What is enough beats what is not, however sure CLIP is.
            if (bool(enough[i]), chance) > (bool(self._enough[row]), self._seen[row]):
                self._seen[row], self.ways[row], self.styles[row] = chance, way, styles[i]
                self._enough[row] = enough[i]
