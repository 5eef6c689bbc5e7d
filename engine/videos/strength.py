"""How far an edit goes in each frame: found at some, and in between by smoothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .smooth import smoothed
from .track import Track

KEY_SECONDS = 0.5
"""Between two frames at which an edit's strength is found."""
MOST_KEYS = 64


def key_frames(track: Track) -> list[int]:
    """The frames at which strengths are found: about two a second of those that show the face, the
    first and the last of them too, `MOST_KEYS` at most."""
    there = np.flatnonzero(track.found)
    times = track.times[there]
    count = 1 + round((times[-1] - times[0]) / KEY_SECONDS) if len(there) > 1 else 1
    count = min(max(count, min(2, len(there))), MOST_KEYS, len(there))
    asked = np.linspace(times[0], times[-1], count)
    return sorted({int(there[np.abs(times - time).argmin()]) for time in asked})


def shares_of_keys(track: Track, keys: list[int], sigma: float) -> NDArray[np.float64]:
    """How much of each key frame's step every frame takes, (n, K): the rows times the steps (K, C)
    are the steps of frames, smooth over time, and less where the face comes or goes."""
    times = track.times[keys]
    eye = np.eye(len(keys))
    steady = smoothed(times, eye, sigma) if len(keys) > 1 else eye  # (K, K)
    between = np.stack([np.interp(track.times, times, row) for row in eye], 1)  # (n, K)
    shares: NDArray[np.float64] = track.shares()[:, None] * (between @ steady)
    return shares
