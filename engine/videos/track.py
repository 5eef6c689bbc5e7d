"""One face, or one part, through the frames of a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...store.errors import InputError
from ..models.landmarks import Face
from ..photos.align import Quadrilateral, face_quad
from .smooth import smoothed

BRIDGED = 0.25
"""Seconds for which a face may not be found, as it blinks or is blurred, and still is followed."""
FADE = 0.25
"""Seconds in which an edit comes and goes where the face is lost or found."""
_NEAR, _SIZE = 0.6, 1.6
"""How far a face may go from frame to frame, in sides of its crop, and by what factor it may
grow."""


@dataclass(frozen=True, eq=False)
class Track:
    """Where the crop lies in each of n frames.

    Args:
        times: of the frames, in seconds, (n,).
        quads: corners (n, 4, 2); NaN where it is lost.
        found: whether it was found there, or bridged, bool (n,).
    """

    times: NDArray[np.float64]
    quads: NDArray[np.float64]
    found: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.times)

    @property
    def stretches(self) -> list[tuple[int, int]]:
        """First and one behind the last of frames in a row that show it."""
        edges = np.flatnonzero(np.diff(np.concatenate([[False], self.found, [False]])))
        return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]

    def smoothed(self, sigma: float) -> Track:
        """With steady crops: corners are smoothed stretch by stretch, which keeps them squares, as
        they are sums of the middle and of two vectors that are each other's quarter turn."""
        quads = self.quads.copy()
        for a, b in self.stretches:
            quads[a:b] = smoothed(self.times[a:b], self.quads[a:b], sigma)
        return Track(self.times, quads, self.found)

    def shares(self) -> NDArray[np.float64]:
        """How much of an edit each frame gets, (n,): all but where it comes or goes, 0 where it is
        lost."""
        shares = np.zeros(len(self))
        for a, b in self.stretches:
            times = self.times[a:b]
            shares[a:b] = 1
            for lost, apart in ((a > 0, times - times[0]), (b < len(self), times[-1] - times)):
                if lost:
                    step = np.diff(self.times).mean()
                    shares[a:b] = np.minimum(shares[a:b], (apart + step) / FADE)
        return shares


def choose_face(faces: Sequence[Face], last: Quadrilateral | None, number: int) -> int | None:
    """Which of a frame's faces, the largest first, is the one that is followed; None if none is.

    Args:
        last: where it was; None before it was found at all, when it is the one of that number.
    """
    if last is None:
        return number - 1 if number <= len(faces) else None
    side, middle = _side(last), last.mean(0)
    best, least = None, _NEAR
    for i, face in enumerate(faces):
        quad = face_quad(face.points)
        apart = float(np.linalg.norm(quad.mean(0) - middle)) / side
        grown = abs(np.log(_side(quad) / side))
        if grown <= np.log(_SIZE) and apart + grown < least:
            best, least = i, apart + grown
    return best


def bridged(name: str, times: NDArray[np.float64], quads: NDArray[np.float64]) -> Track:
    """The track of a face that was found at quads (n, 4, 2), NaN where it was not: over short gaps
    it goes on evenly.

    Raises:
        InputError: it was found nowhere.
    """
    found = np.isfinite(quads).all((1, 2))
    if not found.any():
        raise InputError(
            f"{name}: no face was found in its {len(times)} frames; if it shows something else, "
            "name the square to be edited by --align box X,Y,SIZE"
        )
    known = np.flatnonzero(found)
    filled, there = quads.copy(), found.copy()
    for a, b in pairwise(known):
        if b - a > 1 and times[b] - times[a] <= BRIDGED + 1e-9:
            share = (times[a + 1 : b] - times[a]) / (times[b] - times[a])
            filled[a + 1 : b] = quads[a] + share[:, None, None] * (quads[b] - quads[a])
            there[a + 1 : b] = True
    return Track(times, filled, there)


def standing(times: NDArray[np.float64], quad: Quadrilateral) -> Track:
    """The same part of every frame."""
    n = len(times)
    return Track(times, np.repeat(quad[None], n, 0), np.ones(n, bool))


def _side(quad: Quadrilateral) -> float:
    return float(np.linalg.norm(quad[3] - quad[0]))
