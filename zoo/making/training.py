"""What the training scripts share: a resumable state file, a learning-rate schedule, corruption."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

WORK = Path(__file__).resolve().parents[2] / "build" / "zoo"  # git-ignored
ZOO = Path(__file__).resolve().parents[1] / "avatars"


class Run:
    """A training run that can be killed at any moment and started again with the same command.

    `state` maps names to objects with `state_dict` and `load_state_dict`.
    """

    def __init__(self, name: str, state: dict[str, Any], save_every_seconds: float = 120) -> None:
        self.path = WORK / f"{name}.pt"
        self.state, self.save_every = state, save_every_seconds
        self.step, self.seconds = 0, 0.0
        WORK.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            saved = torch.load(self.path, weights_only=True)
            for key, item in state.items():
                item.load_state_dict(saved["state"][key])
            self.step, self.seconds = saved["step"], saved["seconds"]
        self._last = self._saved = time.monotonic()

    def advance(self) -> None:
        """Counts one finished step and saves when it is time."""
        now = time.monotonic()
        self.step, self.seconds, self._last = self.step + 1, self.seconds + now - self._last, now
        if now - self._saved > self.save_every:
            self.save()

    def save(self) -> None:
        state = {key: item.state_dict() for key, item in self.state.items()}
        temporary = self.path.with_suffix(".tmp")
        torch.save({"state": state, "step": self.step, "seconds": self.seconds}, temporary)
        os.replace(temporary, self.path)
        self._saved = time.monotonic()


def cosine(progress: float, first: float, last: float, warmup: float = 0.02) -> float:
    """Learning rate at `progress` in [0, 1]: linear warm-up to `first`, cosine to `last`."""
    if progress < warmup:
        return first * progress / warmup
    t = (progress - warmup) / (1 - warmup)
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(t, 1)))


def corrupt(images: Tensor, generator: torch.Generator) -> Tensor:
    """Makes the first half of a batch of crisp renders look like a small generator's pictures:
    blurred, lowered in contrast, stained and grainy, each at random.
    (n, 3, h, w) in [-1, 1] -> the same shape."""
    n = len(images) // 2

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=generator) * (high - low) + low

    crisp, x = images[n:], images[:n]
    soft = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    softer = F.avg_pool2d(soft, 3, 1, 1, count_include_pad=False)
    x = torch.lerp(x, soft, uniform(-0.3, 1.0).clamp(min=0))
    x = torch.lerp(x, softer, uniform(-1.0, 0.8).clamp(min=0))
    stain = torch.randn(n, 3, 8, 8, generator=generator) * uniform(-0.1, 0.15).clamp(min=0)
    grain = torch.randn(n, 1, 32, 32, generator=generator) * uniform(-0.1, 0.1).clamp(min=0)
    noise = F.interpolate(stain, size=32, mode="bilinear") + grain
    x = x * uniform(0.85, 1.1) + F.interpolate(noise, size=x.shape[-1], mode="bilinear")
    return torch.cat([x, crisp]).clamp(-1.2, 1.2)
