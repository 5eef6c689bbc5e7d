"""What an evaluation reads of the edits it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...store.atlas import Atlas
from ..editor import Editor
from ..steering.direction import Direction
from .likeness import Likeness
from .scores import DrawnCounts, EditCounts, Predictions, count_edit, is_hit
from .suite import Suite, Trial
from .truth import Drawn, Truth
from .variants import Variant


@dataclass(frozen=True, eq=False)
class Outcome:
    """What E trials did to n images in one way at one strength.

    Args:
        alpha: the strength; None where every image had its own.
        predictions: what the judge read, (E, n, A).
        alphas: how far each image went, float32 (E, n); NaN where no channel passed beta.
        similarity: directional similarity in the space of the atlas's CLIP, float32 (E, n); NaN
            for an image that did not move.
        judge_similarity: the same in the judge's space, NaN for a judge that knows no texts.
        pixels: mean absolute difference of the pixels on a scale from 0 to 1, float32 (E, n).
        distance: see `feature_distance`, float32 (E, n).
        likeness: by the names of `UNCHANGED`, float32 (E, n); NaN where it was not asked for.
        moves: where every image had its own alpha, how far it moved towards each phrase of the
            suite, float32 (E, n, phrases); elsewhere (E, n, 0).
        drawn: the nearest drawings, (E, n), of the images that lacked what the trial is to bring,
            and of all others as they were before; None where the truth cannot be drawn.
    """

    alpha: float | None
    predictions: Predictions
    alphas: NDArray[np.float32]
    similarity: NDArray[np.float32]
    judge_similarity: NDArray[np.float32]
    pixels: NDArray[np.float32]
    distance: NDArray[np.float32]
    likeness: Mapping[str, NDArray[np.float32]]
    moves: NDArray[np.float32]
    drawn: Drawn | None


@dataclass(frozen=True, eq=False)
class VariantResult:
    """One way of editing: the directions of E trials, None where there was none, which leaves the
    images as they are; and the outcome at every strength."""

    variant: Variant
    directions: tuple[Direction | None, ...]
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, eq=False)
class KeepResult:
    """The default way again, with something to keep.

    Args:
        trials: each with the phrases to keep; none where nothing else changed, or where nothing is
            left of the edit when that is kept.
        result: what came of those that keep something.
    """

    trials: tuple[Trial, ...]
    result: VariantResult


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that was read.

    Args:
        judge: what people call it.
        attributes: what it tells apart, in the order of A.
        styles: of the images, (n, C).
        predictions: what the judge read of the images as they are, (n, A).
        results: a variant each, the default first.
        truth: the nearest drawings of the images as they are; None where it cannot be drawn.
        likeness: what LPIPS and identity were measured by.
    """

    editor: Editor
    reference: Atlas | None
    suite: Suite
    judge: str
    attributes: dict[str, tuple[str, ...]]
    seeds: tuple[int, ...]
    truncation: float
    styles: Tensor
    predictions: Predictions
    results: tuple[VariantResult, ...]
    keep: KeepResult
    truth: Truth | None
    likeness: Likeness

    def tallies(self, outcome: Outcome) -> EditCounts:
        """Every trial of an outcome, counted: (E, n)."""
        counts = [
            count_edit(
                self.predictions,
                of_trial(outcome.predictions, number),
                *wanted_values(trial, self.attributes),
            )
            for number, trial in enumerate(self.suite.trials)
        ]
        names = ("absent", "won", "same", "shown")
        return EditCounts(*(np.stack([getattr(count, name) for count in counts]) for name in names))

    def drawn_tallies(self, outcome: Outcome) -> DrawnCounts | None:
        """What drawings tell of every trial of an outcome, (E, n); None where there are none."""
        if self.truth is None or outcome.drawn is None:
            return None
        after, absent = outcome.drawn, self.tallies(outcome).absent
        hits = [
            is_hit(
                self.truth.drawn.predictions,
                of_trial(after.predictions, number),
                *wanted_values(trial, self.attributes),
            )
            for number, trial in enumerate(self.suite.trials)
        ]
        damaged = after.distance > self.truth.limit
        leak = np.where(absent, after.leak, np.float32(0))
        return DrawnCounts(absent & damaged, absent & np.stack(hits), leak)


def of_trial(predictions: Predictions, number: int) -> Predictions:
    """Of one trial of (E, n, A), (n, A)."""
    return Predictions(predictions.values[number], predictions.seen[number])


def wanted_values(
    trial: Trial, attributes: dict[str, tuple[str, ...]]
) -> tuple[int, NDArray[np.int64]]:
    """The numbers of a trial's attribute and of its values."""
    values = attributes[trial.attribute]
    chosen = np.array([values.index(value) for value in trial.values])
    return list(attributes).index(trial.attribute), chosen
