"""dlib's network as face-api keeps it, with numbers made up by a formula; its layout is written
down here apart from our network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

UNITS = [
    *((f"conv32_{i}", 32, 32) for i in (1, 2, 3)),
    ("conv64_down", 32, 64),
    *((f"conv64_{i}", 64, 64) for i in (1, 2, 3)),
    ("conv128_down", 64, 128),
    *((f"conv128_{i}", 128, 128) for i in (1, 2)),
    ("conv256_down", 128, 256),
    *((f"conv256_{i}", 256, 256) for i in (1, 2)),
    ("conv256_down_out", 256, 256),
]
"""Name, inputs and outputs of every residual unit, in order; `_down` halves the side."""
Weights = dict[str, np.ndarray]


def dlib_weights() -> Weights:
    """Under which features stay in a sane range; kernels (height, width, inputs, outputs)."""
    random = np.random.default_rng(5)
    found: Weights = {}

    def convolution(name: str, inputs: int, outputs: int, side: int) -> None:
        spread = (2 / (inputs * side**2)) ** 0.5
        shapes = {
            f"{name}/conv/filters": spread * random.normal(size=(side, side, inputs, outputs)),
            f"{name}/conv/bias": 0.1 * random.normal(size=outputs),
            f"{name}/scale/weights": 1 + 0.2 * random.normal(size=outputs),
            f"{name}/scale/biases": 0.1 * random.normal(size=outputs),
        }
        found.update({key: values.astype(np.float32) for key, values in shapes.items()})

    convolution("conv32_down", 3, 32, 7)
    for unit, inputs, outputs in UNITS:
        convolution(f"{unit}/conv1", inputs, outputs, 3)
        convolution(f"{unit}/conv2", outputs, outputs, 3)
    found["fc"] = (random.normal(size=(256, 128)) / 150).astype(np.float32)
    return found


def write_tfjs(path: Path, weights: Weights) -> Path:
    """As float32, without quantisation, with the manifest beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(np.ascontiguousarray(x).tobytes() for x in weights.values()))
    described = [
        {"name": name, "shape": list(values.shape), "dtype": "float32"}
        for name, values in weights.items()
    ]
    manifest = path.with_name(f"{path.stem}-weights_manifest.json")
    manifest.write_text(json.dumps([{"weights": described, "paths": [path.name]}]))
    return path


def as_fetched(folder: Path, monkeypatch: pytest.MonkeyPatch, weights: Weights) -> Path:
    """Puts these weights where fetched ones would lie, with `folder` as the one of all weights."""
    from styleatlas.store.weights import WEIGHTS

    monkeypatch.setenv("STYLEATLAS_MODELS", str(folder))
    return write_tfjs(WEIGHTS["face-api"].folder / "face_recognition_model.bin", weights)
