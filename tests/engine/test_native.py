"""StyleAtlas's own checkpoints: what is read, and what is refused with which words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from styleatlas.engine.checkpoints.native import read_generator
from styleatlas.store.errors import CheckpointError
from styleatlas.store.fingerprint import weights_sha256

CPU = torch.device("cpu")
SOUND = {
    "family": "stylegan2",
    "z_dim": 6,
    "w_dim": 6,
    "mapping_layers": 2,
    "channels": {"4": 5, "8": 4},
    "image_channels": 3,
}


def read(path):
    return read_generator(path, "tiny", CPU)


def refused(path, message: str) -> None:
    """The refusal is one line that begins with the path."""
    with pytest.raises(CheckpointError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_checkpoint_survives_writing_and_reading(checkpoint, make_network):
    network, identity = read(checkpoint)
    state = make_network().state_dict()
    assert network.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())
    assert (identity.name, identity.sizes["resolution"], identity.sizes["z_dim"]) == ("tiny", 8, 6)
    assert identity.sha256 == weights_sha256((k, t.numpy()) for k, t in state.items())


def test_half_precision_is_read_as_float32_with_the_same_identity(
    make_network, write_checkpoint, tmp_path
):
    network = make_network()
    half = {key: tensor.half() for key, tensor in network.state_dict().items()}
    whole = {key: tensor.float() for key, tensor in half.items()}
    one, small = read(write_checkpoint(tmp_path / "half.safetensors", network, half))
    two, large = read(write_checkpoint(tmp_path / "whole.safetensors", network, whole))
    assert small.sha256 == large.sha256
    assert all(tensor.dtype == torch.float32 for tensor in one.state_dict().values())
    ones = [
        torch.ones(1, 5),
        torch.ones(1, 5),
        torch.ones(1, 5),
        torch.ones(1, 4),
        torch.ones(1, 4),
    ]
    assert torch.equal(one.synthesis(ones), two.synthesis(ones))


def test_other_weights_have_another_identity(checkpoint, make_network, write_checkpoint, tmp_path):
    other = write_checkpoint(tmp_path / "other.safetensors", make_network(seed=1))
    assert read(other)[1].sha256 != read(checkpoint)[1].sha256


def test_missing_file_is_named(tmp_path):
    refused(tmp_path / "none.safetensors", "no such file; check the path, or name `avatars`")
    refused(tmp_path, "no such file")


@pytest.mark.parametrize("keep", [0, 4, 8, 100, 0.5, -1])
def test_truncated_file_is_refused(checkpoint, tmp_path, keep):
    data = checkpoint.read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    refused(path, "is not a readable safetensors file")


def test_pickle_is_not_opened(tmp_path):
    torch.save({"w": torch.zeros(2)}, tmp_path / "model.pkl")
    refused(tmp_path / "model.pkl", "only StyleAtlas's own safetensors checkpoints can be read")


def test_safetensors_of_another_program_are_refused(make_network, tmp_path):
    path = tmp_path / "foreign.safetensors"
    for metadata in (None, {"format": "pt"}):
        save_file({"weight": torch.zeros(2)}, path, metadata)
        refused(path, "its header does not describe a StyleGAN2 generator")


@pytest.mark.parametrize(
    "change",
    [
        {"family": "stylegan3"},
        {"family": None},
        {"z_dim": 0},
        {"w_dim": -6},
        {"z_dim": 6.0},
        {"z_dim": True},
        {"z_dim": "6"},
        {"z_dim": 10**9},
        {"mapping_layers": 33},
        {"channels": {}},
        {"channels": {"8": 5, "16": 4}},
        {"channels": {"4": 5, "16": 4}},
        {"channels": {"4": 5, "x": 4}},
        {"channels": {"4": 5, "8": None}},
        {"channels": [5, 4]},
        {"channels": {str(4 * 2**i): 1 for i in range(12)}},
        {"surprise": 1},
    ],
    ids=str,
)
def test_impossible_header_is_refused(make_network, write_checkpoint, tmp_path, change):
    path = write_checkpoint(tmp_path / "x.safetensors", make_network(), header=SOUND | change)
    refused(path, "its header does not describe a StyleGAN2 generator")


@pytest.mark.parametrize("header", ["[" * 100_000, "[]", "7", "{", ""], ids=lambda h: h[:2])
def test_header_that_is_no_json_object_is_refused(make_network, tmp_path, header):
    path = tmp_path / "x.safetensors"
    save_file(make_network().state_dict(), path, {"styleatlas": header})
    refused(path, "its header does not describe a StyleGAN2 generator")


def test_header_that_claims_a_giant_network_allocates_nothing(
    make_network, write_checkpoint, tmp_path
):
    resource = pytest.importorskip("resource")  # not on Windows
    giant = SOUND | {"channels": {"4": 4096, "8": 8}}  # its first convolution alone: 604 MB
    path = write_checkpoint(tmp_path / "giant.safetensors", make_network(), header=giant)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path, r"b4\.conv1\.weight has shape \(5, 5, 3, 3\) where \(4096, 4096, 3, 3\)")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100_000  # kB


def spoilt(state, changes):
    """A state with some tensors replaced, and without those whose new value is None."""
    return {key: tensor for key, tensor in {**state, **changes}.items() if tensor is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mapping.fc0.weight": None}, r"missing mapping\.fc0\.weight;"),
        ({"b": torch.zeros(1), "a": torch.zeros(1)}, "surplus a, b;"),
        ({k: torch.zeros(1) for k in "abcde"}, "surplus a, b, c and 2 more;"),
        ({"mapping.w_avg": torch.zeros(7)}, r"w_avg has shape \(7,\) where \(6,\) is needed"),
        ({"mapping.w_avg": torch.zeros(6).int()}, r"w_avg has type torch\.int32 where a float"),
        ({"mapping.w_avg": torch.full((6,), np.nan)}, r"mapping\.w_avg holds NaN or infinity"),
        ({"mapping.w_avg": torch.full((6,), np.inf)}, r"mapping\.w_avg holds NaN or infinity"),
        ({"mapping.w_avg": None, "x": torch.zeros(1)}, r"missing mapping\.w_avg; surplus x;"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_tensors_that_do_not_fit_the_header_are_named(
    make_network, write_checkpoint, tmp_path, changes, message
):
    network = make_network()
    tensors = spoilt(network.state_dict(), changes)
    path = write_checkpoint(tmp_path / "x.safetensors", network, tensors)
    refused(path, message)


def test_message_about_many_wrong_tensors_stays_short(make_network, write_checkpoint, tmp_path):
    path = write_checkpoint(
        tmp_path / "x.safetensors", make_network(), header=SOUND | {"w_dim": 12}
    )
    with pytest.raises(CheckpointError) as caught:
        read(path)
    assert len(str(caught.value)) < len(str(path)) + 500
