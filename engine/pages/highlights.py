"""What of an atlas is worth showing: how its layers answer, and the phrases and channels that stand
for all others. Without torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...store.atlas import Atlas
from ...store.layout import Layer


class Phrasebook:
    """What the channels of an atlas mean in the words of its bank."""

    def __init__(self, atlas: Atlas) -> None:
        self._atlas = atlas

    def sides(self, channel: int, top: int) -> tuple[list[str], list[str]]:
        """The `top` phrases that a channel, by flat index, moves an image towards most, and away
        from; none for a channel that is not in the table, or moves nothing."""
        atlas = self._atlas
        if not len(atlas.prompts) or channel not in atlas.channels:
            return [], []
        row = atlas.rows[atlas.row_of(channel)]
        if not row.any():
            return [], []
        towards, away = atlas.phrase_index.both_signs(row, top)
        return [text for text, _ in towards], [text for text, _ in away]


def layer_answers(
    atlas: Atlas, texts: NDArray[np.float32], leading: int | None = None
) -> NDArray[np.float32]:
    """How far each layer of `measured_layers` can move the embedding along unit directions
    (n, D) of texts, float32 (n, L): the sum over its channels, or over the `leading` ones that
    answer most, of the expected movement as each takes a step of one standard deviation to the
    side that helps."""
    sums = []
    for rows in rows_of_layers(atlas):
        movement = np.abs(atlas.responses[rows] @ texts.T)  # (channels, n)
        if leading is not None:
            movement = np.sort(movement, axis=0)[-leading:]
        sums.append(movement.sum(0))
    return np.stack(sums, 1) if sums else np.zeros((len(texts), 0), np.float32)


def measured_layers(atlas: Atlas) -> list[Layer]:
    """The layers with rows in the table, in execution order."""
    return [layer for layer, _ in _measured(atlas)]


def rows_of_layers(atlas: Atlas) -> list[slice]:
    """Where the rows of each of `measured_layers` lie in the table."""
    return [rows for _, rows in _measured(atlas)]


def spread_phrases(atlas: Atlas, count: int) -> list[int]:
    """Up to `count` positions in the prompt bank, spread over what it speaks of.

    The first is the phrase farthest from the bank's mean; every other has the smallest cosine
    with those before it, all as directions from the mean (farthest-point selection, Gonzalez
    1985).
    """
    bank = atlas.prompts
    if len(bank) == 0:
        return []
    directions = atlas.phrases.embeddings  # (n, D)
    away = np.linalg.norm(bank.embeddings - bank.embeddings.mean(0), axis=1)
    chosen = [int(away.argmax())]
    nearest = directions @ directions[chosen[0]]
    while len(chosen) < min(count, len(bank)):
        nearest[chosen] = np.inf  # also where others have the same direction
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, directions @ directions[chosen[-1]])
    return chosen


def strongest_channels(atlas: Atlas, count: int) -> list[int]:
    """The flat indices of the `count` channels with the largest expected movement, strongest
    first; none that moves nothing."""
    movement = np.linalg.norm(atlas.responses, axis=1)
    order = np.argsort(-movement, kind="stable")[:count]
    return [int(atlas.channels[row]) for row in order if movement[row] > 0]


def leading_channels(atlas: Atlas, count: int) -> list[int]:
    """The strongest channel of each layer, of the `count` layers where it is strongest, in
    execution order: a choice that shows coarse and fine."""
    movement = np.linalg.norm(atlas.responses, axis=1)
    best = [rows.start + int(movement[rows].argmax()) for rows in rows_of_layers(atlas)]
    best = sorted((row for row in best if movement[row] > 0), key=lambda row: -movement[row])
    return [int(atlas.channels[row]) for row in sorted(best[:count])]


def _measured(atlas: Atlas) -> list[tuple[Layer, slice]]:
    bounds = np.searchsorted(atlas.channels, [layer.start for layer in atlas.layout])
    ends = [*bounds[1:], len(atlas.channels)]
    rows = [slice(int(first), int(last)) for first, last in zip(bounds, ends, strict=True)]
    return [(x, part) for x, part in zip(atlas.layout, rows, strict=True) if part.start < part.stop]
