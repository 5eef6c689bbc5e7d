"""Which prompts lie nearest to a vector in CLIP's space."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bank import PromptBank
from .errors import OptionError


class PromptIndex:
    """An exact inner-product index over a prompt bank, by FAISS."""

    def __init__(self, bank: PromptBank) -> None:
        import faiss  # here, not above: it takes longer to import than the rest of the store

        self._bank = bank
        self._index = faiss.IndexFlatIP(bank.width)
        self._index.add(bank.embeddings)

    def nearest(
        self, vectors: ArrayLike, top: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The ``top`` prompts with the largest inner product, best first.

        Args:
            vectors: finite (k, D).
            top: at least 1; at most the size of the bank is returned.

        Returns:
            Scores float32 (k, top) and positions in ``bank.texts`` int64 (k, top).

        Raises:
            OptionError: ``top`` below 1, or vectors of another shape or not finite.
        """
        if top < 1:
            raise OptionError(f"top {top}: must be at least 1")
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        if queries.ndim != 2 or queries.shape[1] != self._bank.width:
            raise OptionError(
                f"vectors: have shape {queries.shape}, must have (any, {self._bank.width})"
            )
        if not np.isfinite(queries).all():
            raise OptionError("vectors: hold NaN or infinity; check how they were computed")
        top = min(top, len(self._bank))
        if top == 0:  # FAISS refuses to search for nothing
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        scores, ids = self._index.search(queries, top)
        return scores, ids

    def both_signs(
        self, vector: ArrayLike, top: int
    ) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
        """The prompts that ``vector`` (D,) points to most, and those it points away from most.

        FAISS ranks by the largest inner product only, so the second list asks for ``-vector``.
        Each list holds up to ``top`` pairs of text and signed score, strongest first.
        """
        values = np.asarray(vector, dtype=np.float32)
        scores, ids = self.nearest(np.stack([values, -values]), top)
        texts = self._bank.texts
        towards = [(texts[i], float(s)) for s, i in zip(scores[0], ids[0], strict=True)]
        away = [(texts[i], -float(s)) for s, i in zip(scores[1], ids[1], strict=True)]
        return towards, away
