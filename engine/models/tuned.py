"""Generators tuned from another, as to a photo, how far their style space moved, and what became of
directions in it."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...store.atlas import Atlas
from ...store.errors import FingerprintError
from ...store.fingerprint import ModelIdentity, todays_settings
from ...store.records import Record
from .protocols import Generator, JointEncoder
from .sampling import styles_from_seeds, w_from_seeds, w_shape

FAR = 0.5
"""Standard deviations from which on a style space is said to have moved far."""
AXES, STEP = 8, 2.0
"""Directions that are compared: along so many axes of w, by so many standard deviations."""
_SAMPLES = 1_000
_AT_ONCE = 64
_ROUNDING = 1e-5  # of float32, over sums of hundreds
_PSI = 0.7  # of the statistics of an atlas that does not tell


@dataclass(frozen=True)
class Moved:
    """How far the styles of a tuned generator lie from those of its parent.

    Args:
        sigma: root mean square over style channels, in standard deviations of each: `by` the
            atlas's samples, of the styles of the same latents; by its statistics, which tell less,
            of the change of mean and of deviation.
        by: what the atlas could tell.
    """

    sigma: float
    by: Literal["samples", "statistics"]

    @property
    def is_far(self) -> bool:
        """Whether the atlas may no longer tell what this generator does."""
        return not self.sigma < FAR

    def record(self) -> Record:
        """As JSON values."""
        return {"moved_sigma": round(self.sigma, 4), "by": self.by}

    def __str__(self) -> str:
        told = f"its styles moved by {self.sigma:.2g} sigma (by the atlas's {self.by})"
        if not self.is_far:
            return told
        return f"{told}, so the atlas may not fit; draw one of this generator by `precompute`"


def as_tuned(generator: Generator, parent: ModelIdentity) -> Generator:
    """The same generator, known to be tuned from `parent`; as it is where its weights are those."""
    if generator.identity.is_of(parent):
        return generator
    tuned = copy(generator)
    tuned.identity = replace(generator.identity, tuned_from=parent.sha256)
    return tuned


@torch.inference_mode()
def moved(atlas: Atlas, generator: Generator) -> Moved:
    """How far a generator of the atlas's layers moved from the atlas's own.

    Of N of the atlas's samples, at most 1,000, with latents w_n, styles S_nc by the atlas's own
    generator and T_nc by this one: the root of the mean over n and c of ((T_nc - S_nc) / s_c)^2,
    s_c the standard deviation of S_nc over n. Without samples, of the mean m and deviation s of
    each channel there, and m' and s' of 1,000 seeds here: the root of the mean over c of
    ((m' - m)^2 + (s' - s)^2) / s^2. Channels that do not vary are left out.

    Raises:
        FingerprintError: its w has another width than the samples'.
    """
    if atlas.samples is None:
        psi = todays_settings(atlas.fingerprint.settings).get("truncation", _PSI)
        styles = styles_from_seeds(generator, range(_SAMPLES), float(psi)).double().cpu().numpy()
        mean, std = atlas.style_mean.astype(np.float64), atlas.style_std.astype(np.float64)
        squares = np.square(styles.mean(0) - mean) + np.square(styles.std(0) - std)
        return Moved(_root(squares, mean, std), "statistics")
    w = torch.from_numpy(atlas.samples.w[:_SAMPLES].astype(np.float32))
    rows, width = w_shape(generator)
    if w.shape[1] != width:
        raise FingerprintError(
            f"generator {generator.identity}: has w of {width}, and the atlas's samples have "
            f"{w.shape[1]}, so it is not tuned from {atlas.fingerprint.generator}"
        )
    there = atlas.samples.styles_of(np.arange(len(w))).astype(np.float64)
    parts = w.to(generator.device).split(_AT_ONCE)
    here = np.concatenate(
        [generator.styles(part[:, None].expand(-1, rows, -1)).double().cpu() for part in parts]
    )
    squares = np.square(here - there).mean(0)
    return Moved(_root(squares, there.mean(0), there.std(0)), "samples")


@torch.inference_mode()
def directions_kept(
    parent: Generator, tuned: Generator, encoder: JointEncoder, axes: Tensor, w: Tensor
) -> float:
    """Whether steps do to images of a tuned generator what they do to its parent's: the mean, over
    images and axes, of the cosine of the two movements of CLIP's embedding, 1 where nothing
    changed.

    Args:
        axes: steps of w, (k, w_dim), as `main_axes` gives them.
        w: of the images, (n, num_ws, w_dim).
    """
    cosines = []
    for one in w.to(parent.device).float():
        moves = []
        places = torch.cat([one[None], one + axes.to(one)[:, None]])  # (1 + k, num_ws, w_dim)
        for generator in (parent, tuned):
            seen = torch.cat(
                [
                    encoder.images(generator.render(generator.styles(part))).float()
                    for part in places.split(1)
                ]
            )
            moves.append(seen[1:] - seen[:1])
        cosines.append(F.cosine_similarity(moves[0], moves[1]))
    return float(torch.cat(cosines).mean())


def main_axes(atlas: Atlas, generator: Generator) -> Tensor:
    """Steps of w, (AXES, w_dim), of `STEP` standard deviations along what a generator's own images
    differ by most: the principal axes of the w of the atlas's samples, or of as many seeds."""
    if atlas.samples is None:
        w = w_from_seeds(generator, range(_SAMPLES), 1.0)[:, 0].cpu()
    else:
        w = torch.from_numpy(atlas.samples.w.astype(np.float32))
    values, vectors = torch.linalg.eigh(torch.cov(w.double().t()).reshape(w.shape[1], -1))
    steps = STEP * values.clamp(min=0).sqrt()[:, None] * vectors.t()  # ascending
    axes: Tensor = steps[-AXES:].flip(0).float()
    return axes


def varying(mean: NDArray[np.floating[Any]], std: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Which channels vary by more than the rounding of their mean, (C,)."""
    vary: NDArray[np.bool_] = std > _ROUNDING * np.abs(mean)
    return vary


def _root(
    squares: NDArray[np.float64], mean: NDArray[np.float64], std: NDArray[np.float64]
) -> float:
    """The root of the mean of squares (C,) in units of the deviation of each channel."""
    vary = varying(mean, std)
    return float(np.sqrt((squares[vary] / np.square(std[vary])).mean())) if vary.any() else 0.0
