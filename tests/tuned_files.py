"""Files of generators tuned from the embedded one, sound and otherwise."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from styleatlas.engine.checkpoints.checkpoint import GeneratorCheckpoint
from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.engine.checkpoints.tuned_file import METADATA_KEY, Difference
from styleatlas.engine.checkpoints.tuning import Pivot, Tuning
from styleatlas.store.fingerprint import weights_sha256
from styleatlas.store.registry import EMBEDDED

WEIGHT = "synthesis.b8.conv1.weight"
DIGEST = "0" * 64


@cache
def parent() -> GeneratorCheckpoint:
    return read_checkpoint(EMBEDDED.part("generator"))


@cache
def sound() -> tuple[Tuning, dict[str, Tensor]]:
    """What a file tells, and its tensors: one weight moved by a hundredth."""
    weight = parent().tensors[WEIGHT]
    drawn = torch.Generator().manual_seed(1)
    difference = Difference.of({WEIGHT: 0.01 * torch.randn(weight.shape, generator=drawn)})
    whole = difference.added_to(parent().tensors)
    config = parent().config
    w = np.random.default_rng(0).normal(size=(1, config.num_ws, config.w_dim)).astype(np.float32)
    identity = parent().identity("avatars")
    tuning = Tuning(
        identity,
        None,
        identity.sha256,
        weights_sha256((name, x.numpy()) for name, x in whole.items()),
        (Pivot("me", DIGEST, -1, w[0]),),
        {"steps": 3, "measure": "pixels and CLIP", "distance": 0.1},
    )
    tensors = {
        "w": torch.from_numpy(w),
        f"difference/{WEIGHT}": difference.levels[WEIGHT],
        f"scale/{WEIGHT}": difference.scales[WEIGHT],
    }
    return tuning, tensors


def content(told: dict[str, Any] | None = None, **tensors: Tensor | None) -> bytes:
    """A file with other entries in its JSON, and other tensors, by names with _ for / and __ for a
    dot; None for none."""
    tuning, known = sound()
    changed: dict[str, Tensor | None] = dict(known)
    for name, tensor in tensors.items():
        key = name.replace("__", ".")
        for kind in ("difference_", "scale_"):
            key = key.replace(kind, kind[:-1] + "/", 1) if key.startswith(kind) else key
        changed[key] = tensor
    text = json.dumps({**json.loads(tuning.to_json()), **(told or {})})
    return file(text, {name: x for name, x in changed.items() if x is not None})


def file(text: str, tensors: dict[str, Tensor] | None = None) -> bytes:
    return save(sound()[1] if tensors is None else tensors, {METADATA_KEY: text})
