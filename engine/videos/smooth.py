"""Smoothing over time, without a lag."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Smoothing(NamedTuple):
    """Standard deviations of the smoothing over time, in seconds; 0 is none.

    Args:
        crop: of where the crop lies: landmarks tremble by a pixel or two.
        latents: a refinement trembles, and a blink takes .1.
        strength: of how far the edit goes.
    """

    crop: float = 0.12
    latents: float = 0.05
    strength: float = 1.0


_REACH = 4.0  # standard deviations, beyond which weights count for nothing


def weights_at(
    times: NDArray[np.float64], i: int, sigma: float
) -> tuple[slice, NDArray[np.float64]]:
    """Local linear regression with Gaussian weights (Fan 1992) at the i-th of ascending times (n,),
    in seconds: the neighbours that count, and the weights of their values, of sum 1. What moves
    evenly stays as it is, up to both ends, and nothing lags behind; what trembles is averaged.

    Args:
        sigma: standard deviation of the weights, in seconds; 0 leaves everything as it is.
    """
    if sigma <= 0:
        return slice(i, i + 1), np.ones(1)
    first, last = np.searchsorted(times, times[i] + np.array([-1, 1]) * _REACH * sigma)
    near = slice(int(first), max(int(last), i + 1))
    apart = times[near] - times[i]
    weight = np.exp(-0.5 * (apart / sigma) ** 2)
    one, two = (weight * apart).sum(), (weight * apart**2).sum()
    line = weight * (two - apart * one)
    if not line.sum() > 1e-12 * weight.sum() ** 2 * sigma**2:  # a neighbour alone tells no slope
        line = weight
    return near, line / line.sum()


def smoothed(
    times: NDArray[np.float64], values: NDArray[np.float64], sigma: float
) -> NDArray[np.float64]:
    """Values (n, ...) at ascending times (n,), smoothed; see `weights_at`."""
    rows = (weights_at(times, i, sigma) for i in range(len(times)))
    return np.stack([np.tensordot(weight, values[near], 1) for near, weight in rows])
