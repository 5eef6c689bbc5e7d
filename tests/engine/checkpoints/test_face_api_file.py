"""face-api's networks out of TensorFlow's names and order of axes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from styleatlas.engine.checkpoints.face_api_file import read_face_api
from styleatlas.engine.networks.face_api import AgeGenderNetwork, DenseNetwork
from styleatlas.store.errors import CheckpointError

from ...face_files import tensors_of

# Name, shape in the file, ours, and the axes of the file in the order of ours.
SOME = {
    "dense0/conv0/filters": ((3, 3, 3, 32), "dense0.conv0.weight", (3, 2, 0, 1)),
    "dense0/conv0/bias": ((32,), "dense0.conv0.bias", (0,)),
    "dense2/conv0/depthwise_filter": (
        (3, 3, 64, 1),
        "dense2.conv0.depthwise.weight",
        (2, 3, 0, 1),
    ),
    "dense2/conv0/pointwise_filter": (
        (1, 1, 64, 128),
        "dense2.conv0.pointwise.weight",
        (3, 2, 0, 1),
    ),
    "dense2/conv0/bias": ((128,), "dense2.conv0.pointwise.bias", (0,)),
    "fc/weights": ((256, 7), "fc.weight", (1, 0)),
    "fc/bias": ((7,), "fc.bias", (0,)),
}


def write(folder, tensors):
    path = folder / "some_model.bin"
    path.write_bytes(b"".join(np.ascontiguousarray(t).tobytes() for t in tensors.values()))
    weights = [{"name": n, "shape": t.shape, "dtype": "float32"} for n, t in tensors.items()]
    manifest = [{"weights": weights, "paths": [path.name]}]
    (folder / "some_model-weights_manifest.json").write_text(json.dumps(manifest))
    return path


def test_tensors_are_turned(tmp_path):
    tensors = tensors_of(DenseNetwork(7))
    network, sha256 = read_face_api(write(tmp_path, tensors), DenseNetwork(7))
    assert not network.training and len(sha256) == 64
    found = network.state_dict()
    assert len(found) == len(tensors) == 49
    for name, (shape, ours, order) in SOME.items():
        assert tensors[name].shape == shape
        assert torch.equal(found[ours], torch.from_numpy(tensors[name].transpose(order).copy()))


def test_age_and_gender_have_heads_of_their_own(tmp_path):
    tensors = tensors_of(AgeGenderNetwork())
    assert tensors["fc/age/weights"].shape == (512, 1)
    network, _ = read_face_api(write(tmp_path, tensors), AgeGenderNetwork())
    for head in ("age", "gender"):
        wanted = torch.from_numpy(tensors[f"fc/{head}/weights"].T.copy())
        assert torch.equal(network.state_dict()[f"fc.{head}.weight"], wanted)


def test_weights_of_another_network(tmp_path):
    path = write(tmp_path, tensors_of(DenseNetwork(136)))
    with pytest.raises(CheckpointError, match=r"some_model\.bin: .*fc\.weight"):
        read_face_api(path, DenseNetwork(7))


def test_weights_that_lack_a_layer(tmp_path):
    tensors = tensors_of(DenseNetwork(7))
    del tensors["dense3/conv2/bias"]
    with pytest.raises(CheckpointError, match=r"some_model\.bin: .*dense3\.conv2\.pointwise\.bias"):
        read_face_api(write(tmp_path, tensors), DenseNetwork(7))
