"""MTCNN's three files: read whole, or refused by the name of the one that is not its network's."""

from __future__ import annotations

import pytest
import torch

from styleatlas.engine.checkpoints.mtcnn_file import read_mtcnn
from styleatlas.engine.networks.mtcnn import OutputNetwork, ProposalNetwork, RefineNetwork
from styleatlas.store.errors import CheckpointError
from styleatlas.store.fingerprint import weights_sha256

KINDS = (ProposalNetwork, RefineNetwork, OutputNetwork)
# Written down apart from our networks, as the published files have them.
PNET = {
    "conv1.weight": (10, 3, 3, 3),
    "conv1.bias": (10,),
    "prelu1.weight": (10,),
    "conv2.weight": (16, 10, 3, 3),
    "conv2.bias": (16,),
    "prelu2.weight": (16,),
    "conv3.weight": (32, 16, 3, 3),
    "conv3.bias": (32,),
    "prelu3.weight": (32,),
    "conv4_1.weight": (2, 32, 1, 1),
    "conv4_1.bias": (2,),
    "conv4_2.weight": (4, 32, 1, 1),
    "conv4_2.bias": (4,),
}
RNET = {
    "conv1.weight": (28, 3, 3, 3),
    "conv1.bias": (28,),
    "prelu1.weight": (28,),
    "conv2.weight": (48, 28, 3, 3),
    "conv2.bias": (48,),
    "prelu2.weight": (48,),
    "conv3.weight": (64, 48, 2, 2),
    "conv3.bias": (64,),
    "prelu3.weight": (64,),
    "dense4.weight": (128, 576),
    "dense4.bias": (128,),
    "prelu4.weight": (128,),
    "dense5_1.weight": (2, 128),
    "dense5_1.bias": (2,),
    "dense5_2.weight": (4, 128),
    "dense5_2.bias": (4,),
}
ONET = {
    "conv1.weight": (32, 3, 3, 3),
    "conv1.bias": (32,),
    "prelu1.weight": (32,),
    "conv2.weight": (64, 32, 3, 3),
    "conv2.bias": (64,),
    "prelu2.weight": (64,),
    "conv3.weight": (64, 64, 3, 3),
    "conv3.bias": (64,),
    "prelu3.weight": (64,),
    "conv4.weight": (128, 64, 2, 2),
    "conv4.bias": (128,),
    "prelu4.weight": (128,),
    "dense5.weight": (256, 1152),
    "dense5.bias": (256,),
    "prelu5.weight": (256,),
    "dense6_1.weight": (2, 256),
    "dense6_1.bias": (2,),
    "dense6_2.weight": (4, 256),
    "dense6_2.bias": (4,),
    "dense6_3.weight": (10, 256),
    "dense6_3.bias": (10,),
}


@pytest.fixture
def states():
    return [{name: torch.randn(shape) for name, shape in s.items()} for s in (PNET, RNET, ONET)]


@pytest.fixture
def read(tmp_path):
    def read(states):
        paths = [tmp_path / f"{name}.pt" for name in ("pnet", "rnet", "onet")]
        for state, path in zip(states, paths, strict=True):
            torch.save(state, path)
        return read_mtcnn(*paths)

    return read


def test_every_tensor_is_read(states, read):
    networks, sha256 = read(states)
    assert [type(network) for network in networks] == list(KINDS)
    for network, state in zip(networks, states, strict=True):
        assert not network.training
        found = network.state_dict()
        assert found.keys() == state.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    every = [
        (f"{kind.__name__}.{name}", tensor.numpy())
        for kind, state in zip(KINDS, states, strict=True)
        for name, tensor in state.items()
    ]
    assert sha256 == weights_sha256(every)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv2.bias": torch.zeros(3)}, r"conv2\.bias has shape \(3,\)"),
        ({"conv9.bias": torch.zeros(3)}, r"conv9\.bias"),
        ({"conv2.bias": torch.full((48,), float("nan"))}, "NaN or infinity"),
        ({"conv2.bias": torch.zeros(48, dtype=torch.int64)}, r"type torch\.int64"),
        ({"conv2.bias": "text"}, "where a tensor is needed"),
        ({7: torch.zeros(3)}, "7"),
    ],
)
def test_state_of_another_network(change, message, states, read):
    with pytest.raises(CheckpointError, match=rf"rnet\.pt: .*{message}"):
        read([states[0], states[1] | change, states[2]])


def test_files_in_another_order(states, read):
    with pytest.raises(CheckpointError, match=r"pnet\.pt: "):
        read([states[1], states[0], states[2]])


def test_state_that_lacks_a_tensor(states, read):
    del states[2]["prelu5.weight"]
    with pytest.raises(CheckpointError, match=r"onet\.pt: .*prelu5\.weight"):
        read(states)


def test_no_state_at_all(states, read):
    with pytest.raises(CheckpointError, match=r"onet\.pt: holds a list, no state dict of MTCNN"):
        read([*states[:2], [torch.zeros(2)]])


def test_file_that_is_not_there(tmp_path):
    path = tmp_path / "pnet.pt"
    with pytest.raises(CheckpointError, match=r"pnet\.pt: no such file; `styleatlas models fetch"):
        read_mtcnn(path, path, path)
