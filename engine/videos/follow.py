"""The latents of a face frame by frame: each is looked for from where the one before it ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..photos.inversion import Inversion, Inverter, InvertSettings
from ..photos.photo import Pixels
from ..photos.refine import MOST
from .ledger import Ledger, packed, unpacked
from .smooth import weights_at
from .track import Track

STEPS = 8
"""Of a refinement that begins at the latent of the frame before, at most."""
KIND = b"late"
"""Of its records."""


class Follower:
    """Inverts crops one after the other.

    The first of a stretch is inverted as a photo is, by look-up and refinement. Every other is
    refined from the latent of the one before it, in a few steps, and pulled to the first one's, so
    that nothing drifts: hundreds of frames are as near to what the generator draws as one. Where
    photos are only looked up (`--steps 0`), so is every frame.
    """

    def __init__(self, inverter: Inverter, settings: InvertSettings) -> None:
        self._inverter, self._settings = inverter, settings
        steps = STEPS if settings.steps is None else min(STEPS, settings.steps)
        self.following = replace(settings, steps=steps)
        self._anchor: Tensor | None = None
        self._step: Tensor | None = None

    def estimate(self, frames: int, stretches: int) -> float:
        """Seconds, at most."""
        start = self._inverter.estimate(1, replace(self._settings, steps=0))
        if not self.following.steps:
            return frames * start
        step = max(0.0, self._inverter.estimate(1, self.following) - start) / self.following.steps
        most = MOST if self._settings.steps is None else self._settings.steps
        return (
            stretches * (start + most * step) + (frames - stretches) * self.following.steps * step
        )

    def begin(self, crop: Pixels) -> tuple[Inversion, bytes]:
        """The first crop of a stretch: what it came to, and its record."""
        found = self._inverter.invert([crop], self._settings)
        assert found.w is not None  # not in style space, which is refused
        self._anchor, self._step = found.w, None
        record = packed(
            styles=found.styles[0].cpu().numpy(),
            step=np.zeros(0, np.float32),
            anchor=found.w.cpu().numpy(),
            told=np.array([found.distance[0], found.steps[0]], np.float64),
        )
        return found, record

    def go_on(self, crop: Pixels) -> bytes:
        """The next crop: its record."""
        if not self._settings.steps and self._settings.steps is not None:
            return self.begin(crop)[1]
        assert self._anchor is not None  # of the stretch's first
        refined, self._step = self._inverter.follow(crop, self._anchor, self._step, self.following)
        return packed(
            styles=refined.styles[0].cpu().numpy(),
            step=self._step.numpy(),
            anchor=np.zeros(0, np.float32),
            told=np.array([float(refined.distance[0]), int(refined.steps[0])], np.float64),
        )

    def take_up(self, first: bytes, last: bytes) -> None:
        """Go on behind a record, of a stretch that began with the first."""
        self._anchor = torch.from_numpy(unpacked(first)["anchor"].copy())
        step = unpacked(last)["step"]
        self._step = torch.from_numpy(step.copy()) if step.size else None


@dataclass(frozen=True, eq=False)
class Latents:
    """Styles of the frames of a track that show it, as a ledger keeps them.

    Args:
        sigma: of their smoothing, in seconds.
    """

    track: Track
    ledger: Ledger
    sigma: float

    def places(self) -> NDArray[np.int64]:
        """Of each frame, the number of its record, (n,); -1 where it is lost."""
        return np.where(self.track.found, np.cumsum(self.track.found) - 1, -1)

    def told(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distances, and steps, of the frames that show it."""
        rows = np.array([unpacked(record)["told"] for record in self.ledger.all(KIND)])
        return rows[:, 0], rows[:, 1]

    def smoothed(self, frames: Iterator[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Of ascending frames that show it, each with its styles (C,); no more of them are held
        than are smoothed over."""
        places, held = self.places(), dict[int, NDArray[np.float32]]()
        stretches = {i: (a, b) for a, b in self.track.stretches for i in range(a, b)}
        for i in frames:
            a, b = stretches[i]
            near, weights = weights_at(self.track.times[a:b], i - a, self.sigma)
            wanted = range(a + near.start, a + near.stop)
            for gone in [k for k in held if k < wanted.start]:
                del held[gone]
            for k in wanted:
                if k not in held:
                    held[k] = unpacked(self.ledger.read(KIND, int(places[k])))["styles"]
            styles = sum(
                weight * held[k].astype(np.float64)
                for k, weight in zip(wanted, weights, strict=True)
            )
            yield i, np.asarray(styles, np.float32)
