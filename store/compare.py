"""How alike two atlases of one generator are: methods, seeds or CLIPs side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .atlas_data import AtlasData
from .bank import PromptBank
from .errors import FingerprintError
from .records import Record, rounded

TOP = 30
_SAMPLE = 2**10  # phrases
_BLOCK = 2**8  # of them whose scores with all channels are held at once

Floats = NDArray[np.floating[Any]]


def comparison_records(a: AtlasData, b: AtlasData) -> list[Record]:
    """A record of all layers together (layer "all"), then one of each layer.

    Only channels that both atlases hold (`shared`) are compared, and only those that live in both
    where directions are. A figure that cannot be told is None.

    - `cosine`: the median cosine of a channel's two rows, and `weighted` the same with channels
      weighted by the geometric mean of their strengths; None if the CLIPs differ, for then the
      rows lie in different spaces;
    - `scores`: the median over channels of the correlation of a channel's scores with the phrases
      that both banks hold, as directions from their mean: across CLIPs, too;
    - `strengths`: Spearman's correlation of them over the channels;
    - `consistency_a`, `consistency_b`: medians; these and the last None of an atlas of rows alone;
    - `top_30`: of the 30 channels that answer most to such a phrase, the share that both atlases
      name, the median over phrases; of all layers together only.

    Raises:
        FingerprintError: the atlases are of different generators.
    """
    _require_one_generator(a, b)
    shared, in_a, in_b = np.intersect1d(
        a.channels, b.channels, assume_unique=True, return_indices=True
    )
    phrases = _shared_phrases(a, b)
    same_clip = not a.fingerprint.clip.differences(b.fingerprint.clip)
    live = (a.consistency[in_a] > 0) & (b.consistency[in_b] > 0)  # (shared,)
    strengths = a.strength[in_a], b.strength[in_b]
    alone = a.rows_alone or b.rows_alone
    rows = a.rows[in_a], b.rows[in_b]
    cosines = np.einsum("rd,rd->r", *rows) if same_clip else None
    correlations = None if phrases is None else _score_correlations(*rows, *phrases)

    def record(name: str, start: int, stop: int, top: float | None) -> Record:
        here = (shared >= start) & (shared < stop)
        alive = here & live
        weights = np.sqrt(strengths[0] * strengths[1])[alive]
        held = [int(((x.channels >= start) & (x.channels < stop)).sum()) for x in (a, b)]
        return {
            "layer": name,
            "shared": int(here.sum()),
            "only_a": held[0] - int(here.sum()),
            "only_b": held[1] - int(here.sum()),
            "cosine": None if cosines is None else _median(cosines[alive]),
            "weighted": None if cosines is None else _median(cosines[alive], weights),
            "scores": None if correlations is None else _median(correlations[alive]),
            "strengths": None if alone else _spearman(strengths[0][here], strengths[1][here]),
            "consistency_a": None if a.rows_alone else _median(a.consistency[in_a][here]),
            "consistency_b": None if b.rows_alone else _median(b.consistency[in_b][here]),
            "top_30": top,
        }

    top = None if phrases is None else _top_overlap(*rows, *phrases)
    layers = [record(layer.name, layer.start, layer.slice.stop, None) for layer in a.layout]
    return [record("all", 0, a.layout.size, top), *layers]


def _require_one_generator(a: AtlasData, b: AtlasData) -> None:
    one, other = a.fingerprint.generator, b.fingerprint.generator
    if one.sha256 != other.sha256 or a.layout != b.layout:
        raise FingerprintError(
            f"atlases of different generators: the first was drawn with {one}, the second with "
            f"{other}; compare atlases of one generator"
        )


def _shared_phrases(a: AtlasData, b: AtlasData) -> tuple[Floats, Floats] | None:
    """The phrases of both banks, or a sample of many, as unit directions from their mean, (n, D)
    of either; None if there are fewer than two."""
    texts = tuple(text for text in a.prompts.texts if text in b.prompts)
    texts = texts[:: max(-(-len(texts) // _SAMPLE), 1)]
    if len(texts) < 2:
        return None
    found = [np.stack([x.embedding(text) for text in texts]) for x in (a, b)]
    one, other = (PromptBank(texts, embeddings).centred().embeddings for embeddings in found)
    return one, other


def _score_correlations(rows_a: Floats, rows_b: Floats, a: Floats, b: Floats) -> Floats:
    """Pearson's correlation over phrases of the scores of each pair of rows: (rows,).

    By second moments (D, D) of the phrases, so that no matrix of rows by phrases is needed.
    """
    a, b = a - a.mean(0), b - b.mean(0)
    products = np.einsum("rd,rd->r", rows_a @ (a.T @ b), rows_b)
    sizes = np.einsum("rd,rd->r", rows_a @ (a.T @ a), rows_a)
    sizes = sizes * np.einsum("rd,rd->r", rows_b @ (b.T @ b), rows_b)
    correlations: Floats = products / np.sqrt(sizes.clip(1e-12))
    return correlations


def _top_overlap(rows_a: Floats, rows_b: Floats, a: Floats, b: Floats) -> float | None:
    """The median over phrases of the share of the top channels that both tables name."""
    count = min(TOP, len(rows_a))
    if count == 0:
        return None
    shares = []
    for start in range(0, len(a), _BLOCK):
        block = slice(start, start + _BLOCK)
        chosen = [_top(rows @ x[block].T, count) for rows, x in ((rows_a, a), (rows_b, b))]
        shares.append((chosen[0] & chosen[1]).sum(0) / count)
    return _median(np.concatenate(shares))


def _top(scores: Floats, count: int) -> NDArray[np.bool_]:
    """Which `count` of the scores of each column are the largest, by size."""
    best = np.argpartition(-np.abs(scores), count - 1, axis=0)[:count]
    chosen = np.zeros(scores.shape, bool)
    np.put_along_axis(chosen, best, True, axis=0)
    return chosen


def _median(values: Floats, weights: Floats | None = None) -> float | None:
    """The value that half of the weight lies below; None of nothing."""
    if len(values) == 0:
        return None
    if weights is None:
        return rounded(np.median(values))
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return rounded(values[order][np.searchsorted(below, below[-1] / 2)])


def _spearman(a: Floats, b: Floats) -> float | None:
    """The correlation of ranks; None where one side does not vary."""
    middle = (len(a) - 1) / 2
    one, other = _ranks(a) - middle, _ranks(b) - middle
    size = float(np.sqrt(np.vdot(one, one) * np.vdot(other, other)))
    return rounded(np.vdot(one, other) / size) if size else None


def _ranks(values: Floats) -> Floats:
    """Ranks from 0, (n,); equal values sharing the mean of theirs."""
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[position]
