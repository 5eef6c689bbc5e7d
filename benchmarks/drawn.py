"""Drawings of avatars whose attributes are known, and how near images come to them; shared by the
benchmarks of inversion."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from styleatlas import load_encoder, load_generator
from styleatlas.engine.evaluation.judges import AttributeJudge
from styleatlas.engine.models.protocols import Generator, JointEncoder
from styleatlas.engine.models.sampling import render_batches, w_shape
from styleatlas.store.records import Record
from styleatlas.store.registry import EMBEDDED

sys.path.insert(0, str(Path(__file__).parents[1] / "zoo" / "making"))
from measure import held_out as held_out

REPORTED, TUNED = slice(0, 200), slice(200, 1_000)
"""Of the drawings that nothing was trained on, `held_out`."""
Array = NDArray[np.float32]


class Models:
    """What draws, sees and judges."""

    def __init__(self) -> None:
        self.generator: Generator = load_generator(EMBEDDED.name, "cpu")
        self.encoder: JointEncoder = load_encoder(EMBEDDED.name, "cpu")
        self.judge = AttributeJudge(EMBEDDED)
        self.rows = w_shape(self.generator)[0]

    @torch.inference_mode()
    def render(self, w: Array) -> Tensor:
        latents = torch.from_numpy(w.astype(np.float32))[:, None].expand(-1, self.rows, -1)
        batches = render_batches(self.generator, self.generator.styles(latents))
        return torch.cat(list(batches)).clamp(-1, 1)

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Array:
        parts = [self.encoder.images(part).float().numpy() for part in images.split(64)]
        embedding = np.concatenate(parts)
        unit: Array = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
        return unit


class Drawn:
    """Drawings (n, 3, 64, 64) of known attributes (n, A)."""

    def __init__(self, models: Models, values: NDArray[np.int64]) -> None:
        drawings = models.judge.drawings
        assert drawings is not None
        self.models, self.values = models, values
        self.images, self.seen = drawings.draw(torch.from_numpy(values)), drawings.visible(values)

    def scored(self, w: Array) -> Record:
        """How near the images of latents (n, w_dim) come to them."""
        return self.compared(self.models.render(w))

    def compared(self, images: Tensor) -> Record:
        """How near images (n, 3, 64, 64) come to them."""
        right = (self.models.judge.look(images).predictions.values == self.values) | ~self.seen
        return {
            "all right %": round(100 * float(right.all(1).mean()), 1),
            "attributes %": round(100 * float(right[self.seen].mean()), 2),
            "L1": f"{distance(images, self.images).mean():.4f}",
        }

    def wrong(self, w: Array) -> dict[str, int]:
        """How many images of latents (n, w_dim) show another value of an attribute."""
        read = self.models.judge.look(self.models.render(w)).predictions.values
        counts = ((read != self.values) & self.seen).sum(0).tolist()
        named = zip(self.models.judge.attributes, counts, strict=True)
        return {name: count for name, count in named if count}


def distance(one: Tensor, other: Tensor) -> Array:
    apart: Array = ((one - other).abs().flatten(1).mean(1) / 2).numpy()
    return apart


def nearest(x: Array, w: Array, query: Array) -> Array:
    return w[(query @ x.T).argmax(1)]
