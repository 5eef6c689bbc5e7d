"""What is right of an edit where the truth can be drawn, beside what a judge reads of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..models.protocols import Generator
from ..models.sampling import render_batches, styles_from_seeds
from .drawings import Drawings
from .judges import Judge, Look
from .scores import Predictions

SEEDS = range(2001, 2501)
"""Of the unedited images that tell how far an image usually lies from a drawing."""
PERCENTILE = 95
MARGIN = 3
"""Pixels around an attribute's own that it may change, too, since a generator draws softly."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """The drawings that images are nearest to; any shape (..., n).

    Args:
        predictions: their attributes and which of them they show, (..., n, A).
        distance: see `Nearest`, float32 (..., n).
        leak: see `leaked`, float32 (..., n); 0 of what was not edited.
    """

    predictions: Predictions
    distance: NDArray[np.float32]
    leak: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Truth:
    """What n unedited images are nearest to, and beyond which distance an image is damaged."""

    drawn: Drawn
    limit: float


def drawn(drawings: Drawings, images: Tensor, look: Look) -> Drawn:
    """Of images (n, 3, side, side), each searched for from what a judge read of it."""
    nearest = drawings.nearest(images, look.predictions.values)
    predictions = Predictions(nearest.values, drawings.visible(nearest.values))
    return Drawn(predictions, nearest.distance, np.zeros_like(nearest.distance))


def joined(parts: Iterable[Drawn]) -> Drawn:
    """One after the other."""
    every = list(parts)
    return Drawn(
        Predictions(
            np.concatenate([part.predictions.values for part in every]),
            np.concatenate([part.predictions.seen for part in every]),
        ),
        np.concatenate([part.distance for part in every]),
        np.concatenate([part.leak for part in every]),
    )


def usual_limit(drawings: Drawings, judge: Judge, generator: Generator, truncation: float) -> float:
    """The distance that 95 % of 500 unedited images of the generator do not pass."""
    styles = styles_from_seeds(generator, SEEDS, truncation)
    batches = render_batches(generator, styles)
    distance = joined(drawn(drawings, images, judge.look(images)) for images in batches).distance
    return float(np.percentile(distance, PERCENTILE))


def leaked(before: Tensor, after: Tensor, region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How much images (n, channels, H, W) in [-1, 1] changed outside of a region (n, H, W): mean
    absolute difference on a scale from 0 to 1, (n,); 0 where nothing lies outside."""
    apart = (after.clamp(-1, 1) - before.clamp(-1, 1)).abs().mean(1).cpu().float() / 2
    outside = torch.from_numpy(~region)
    total = (apart * outside).sum((1, 2))
    leak: NDArray[np.float32] = (total / outside.sum((1, 2)).clamp(min=1)).numpy()
    return leak
