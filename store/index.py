"""Which prompts lie nearest to a vector in CLIP's space."""

from __future__ import annotations

from math import log2
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bank import PromptBank
from .errors import OptionError

Found = tuple[NDArray[np.float32], NDArray[np.int64]]

# Of an exact search for several vectors, at a time: what stays in the processor's cache, and few
# enough scores.
ROWS, QUERIES = 2**14, 2**8

LARGE = 64_000
"""Prompts from which on :meth:`PromptIndex.prepare` builds anything: measured by `python
benchmarks/bank.py --crossover`, from here on it paid after 60 to 140 single questions, below after
hundreds."""
MANY = 16
"""Vectors of one call from which on an exact search is as fast as that of a prepared index."""
_TRAINED_ON = 64  # rows a list of the inverted file: more move its centres little
_PROBED = 8  # one list in so many is searched


class PromptIndex:
    """Inner-product search over a prompt bank: exact, and at once, as nothing is built for it.

    One question reads the bank once, and so would the building of any index: a process that asks
    little is best served like this at every size. One that asks a large bank hundreds of single
    questions calls :meth:`prepare` first.
    """

    def __init__(self, bank: PromptBank) -> None:
        self._bank = bank
        self._lists: Any = None

    def prepare(self) -> None:
        """Make single questions fast, and approximate, if the bank holds 64,000 prompts or more.

        Builds an inverted file of rows in 8 bits, by FAISS, in a quarter of the bank's memory;
        a question then reads an eighth of it, and the best rows get their exact scores. The build
        paid after 60 to 140 single questions, each then 4 to 9 times as fast; recall@10 was .95 to
        .98 on synthetic rows of 512 dimensions, the hard case, and of a million phrases by the
        embedded CLIP 1.000 (`docs/prompt-bank.md`).
        """
        size, rows = len(self._bank), self._bank.embeddings
        if size < LARGE or self._lists is not None:
            return
        import faiss  # here, not above: it takes longer to import than the rest of the store

        count = 2 ** round(log2(size) / 2)
        kind = f"IVF{count},SQ8"
        lists: Any = faiss.index_factory(self._bank.width, kind, faiss.METRIC_INNER_PRODUCT)
        lists.cp.niter, lists.cp.max_points_per_centroid = 10, _TRAINED_ON
        sample = np.random.default_rng(0).choice(size, _TRAINED_ON * count, replace=False)
        lists.train(rows[np.sort(sample)])
        lists.add(rows)
        lists.nprobe = count // _PROBED
        self._lists = lists

    def nearest(self, vectors: ArrayLike, top: int) -> Found:
        """The ``top`` prompts with the largest inner product, best first.

        They are exact, but for fewer than 16 vectors after :meth:`prepare` of a large bank: then
        about one in twenty was missed at worst, and others took its place (recall is given there).
        Scores are always those of the prompts returned.

        Args:
            vectors: finite (k, D).
            top: at least 1; at most the size of the bank is returned.

        Returns:
            Scores float32 (k, top) and positions in ``bank.texts`` int64 (k, top).

        Raises:
            OptionError: ``top`` below 1, or vectors of another shape or not finite.
        """
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        self._require(queries, top)
        top = min(top, len(self._bank))
        scores = np.empty((len(queries), top), np.float32)
        ids = np.empty((len(queries), top), np.int64)
        probing = self._lists is not None and len(queries) < MANY
        search = self._probe if probing else self._exact
        for start in range(0, len(queries), QUERIES):
            part = slice(start, start + QUERIES)
            scores[part], ids[part] = search(queries[part], top)
        return scores, ids

    def both_signs(
        self, vector: ArrayLike, top: int
    ) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
        """The prompts that ``vector`` (D,) points to most, and those it points away from most.

        Each list holds up to ``top`` pairs of text and signed score, strongest first. It is as
        exact as :meth:`nearest`.
        """
        values = np.asarray(vector, dtype=np.float32)
        sides = np.stack([values, -values])
        if self._lists is None:
            self._require(sides, top)
            found = self._both_ends(values, top)
        else:
            found = self.nearest(sides, top)
        towards, away = (
            [(self._bank.texts[i], float(score)) for score, i in zip(*side, strict=True)]
            for side in zip(*found, strict=True)
        )
        return towards, [(text, -score) for text, score in away]

    def _require(self, queries: NDArray[np.float32], top: int) -> None:
        if top < 1:
            raise OptionError(f"top {top}: must be at least 1")
        if queries.ndim != 2 or queries.shape[1] != self._bank.width:
            raise OptionError(
                f"vectors: have shape {queries.shape}, must have (any, {self._bank.width})"
            )
        if not np.isfinite(queries).all():
            raise OptionError("vectors: hold NaN or infinity; check how they were computed")

    def _both_ends(self, vector: NDArray[np.float32], top: int) -> Found:
        """The nearest of a vector and of its opposite, of all rows, by one product."""
        products = self._bank.embeddings @ vector  # (n,)
        ids = np.stack([largest(products, top), largest(-products, top)])
        return np.stack([products[ids[0]], -products[ids[1]]]), ids

    def _exact(self, queries: NDArray[np.float32], top: int) -> Found:
        """The nearest of all rows, block by block."""
        rows = self._bank.embeddings
        scores = np.empty((len(queries), 0), np.float32)
        ids = np.empty((len(queries), 0), np.int64)
        for start in range(0, len(rows), ROWS):
            block = queries @ rows[start : start + ROWS].T  # (k, ROWS)
            best = _largest(block, top)
            scores = np.hstack([scores, np.take_along_axis(block, best, 1)])
            ids = np.hstack([ids, best + start])
            best = _largest(scores, top)
            scores, ids = np.take_along_axis(scores, best, 1), np.take_along_axis(ids, best, 1)
        order = np.lexsort((ids, -scores))  # equal scores in the order of the bank
        return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)

    def _probe(self, queries: NDArray[np.float32], top: int) -> Found:
        """The nearest of the rows that the inverted file finds, by their exact scores."""
        # Eight bits misjudge a score a little: what is to be returned is among somewhat more.
        found = self._lists.search(queries, min(4 * top + 100, len(self._bank)))[1]
        rescored = [self._rescored(*pair, top) for pair in zip(queries, found, strict=True)]
        scores, ids = zip(*rescored, strict=True)
        return np.stack(scores), np.stack(ids)

    def _rescored(self, query: NDArray[np.float32], found: NDArray[np.int64], top: int) -> Found:
        ids = np.sort(found[found >= 0])  # FAISS fills with -1 what the lists did not hold
        if len(ids) < top:
            scores, ids = self._exact(query[None], top)
            return scores[0], ids[0]
        scores = self._bank.embeddings[ids] @ query
        order = np.argsort(-scores, kind="stable")[:top]
        return scores[order], ids[order]


def largest(scores: NDArray[np.floating[Any]], top: int) -> NDArray[np.int64]:
    """The positions of the ``top`` largest of (n,), or of all: best first, and equal ones in their
    order, as the stable sort of all would give them at many times the cost."""
    if top < len(scores):
        least = np.partition(scores, len(scores) - top)[len(scores) - top]
        among = np.flatnonzero(scores >= least)
    else:
        among = np.arange(len(scores))
    return among[np.argsort(-scores[among], kind="stable")[:top]]


def _largest(scores: NDArray[np.float32], top: int) -> NDArray[np.int64]:
    """The columns of the ``top`` largest of every row, or of all, in any order."""
    count = scores.shape[1]
    if count <= top:
        return np.tile(np.arange(count), (len(scores), 1))
    return np.argpartition(scores, count - top, axis=1)[:, count - top :]
