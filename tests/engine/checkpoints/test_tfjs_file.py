"""TensorFlow.js's weights: numbers, bytes, and the manifest that tells which is which."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from styleatlas.engine.checkpoints.tfjs_file import read_tfjs
from styleatlas.store.errors import CheckpointError

FLOATS = np.array([[1.5, -2.0, 3.25]], np.float32)
WEIGHTS = [
    {
        "name": "conv/filters",
        "shape": [1, 2, 1, 2],
        "dtype": "float32",
        "quantization": {"dtype": "uint8", "scale": 0.1, "min": -3.7},
    },
    {"name": "fc", "shape": [1, 3], "dtype": "float32"},
    {"name": "gain", "shape": [], "dtype": "float32"},
]


def write(folder):
    path = folder / "small_model.bin"
    path.write_bytes(bytes([0, 1, 128, 255]) + FLOATS.tobytes() + bytes(4))
    manifest = folder / "small_model-weights_manifest.json"
    manifest.write_text(json.dumps([{"weights": WEIGHTS, "paths": [path.name]}]))
    return path


def test_tensors_in_order(tmp_path):
    found = read_tfjs(write(tmp_path))
    assert list(found) == ["conv/filters", "fc", "gain"]
    assert all(tensor.dtype == torch.float32 for tensor in found.values())
    bytes_ = torch.tensor([-3.7, -3.6, 9.1, 21.8]).reshape(1, 2, 1, 2)
    torch.testing.assert_close(found["conv/filters"], bytes_, rtol=1e-6, atol=1e-6)
    assert torch.equal(found["fc"], torch.from_numpy(FLOATS))
    assert found["gain"].shape == ()


def test_manifest_that_is_missing(tmp_path):
    path = write(tmp_path)
    (tmp_path / "small_model-weights_manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"small_model-weights_manifest\.json: no such file"):
        read_tfjs(path)


def test_weights_that_are_missing(tmp_path):
    path = write(tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"small_model\.bin: no such file"):
        read_tfjs(path)


def test_file_larger_than_any_network(tmp_path):
    path = write(tmp_path)
    with path.open("r+b") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(CheckpointError, match=r"more than 67108864; .*`styleatlas models fetch"):
        read_tfjs(path)
