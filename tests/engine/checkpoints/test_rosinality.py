"""Generators in rosinality's names, and what is made up where an old file has less."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.store.errors import CheckpointError

from ...checkpoint_files import (
    golden,
    random_tensors,
    rosinality_file,
    rosinality_state,
    small_stylegan2,
)

CONFIG = small_stylegan2()
TENSORS = random_tensors(CONFIG)
STATE = rosinality_state(CONFIG, TENSORS)
AVERAGE = TENSORS["mapping.w_avg"]


def refused(path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def assert_same(checkpoint, but: str = "nothing") -> None:
    """The checkpoint is that of `TENSORS`, but for tensors whose name ends so."""
    assert checkpoint.dialect == "rosinality"
    assert checkpoint.config == CONFIG
    assert checkpoint.tensors.keys() == TENSORS.keys()
    for name, tensor in checkpoint.tensors.items():
        assert name.endswith(but) or torch.equal(tensor, TENSORS[name]), name


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "stream"])
def test_training_save_is_read_exactly(tmp_path, legacy):
    assert_same(read_checkpoint(rosinality_file(tmp_path / "x", STATE, AVERAGE, legacy=legacy)))


def test_golden_is_read_under_the_names_of_nvidia(tmp_path):
    state, _, arrays = golden("ros_g_ema")
    average = torch.from_numpy(arrays["latent_avg"])
    found = read_checkpoint(rosinality_file(tmp_path / "x.pt", state, average)).tensors
    # Weights as they are: the factor 1/sqrt(inputs) of their run time is taken out by demodulation.
    for ours, theirs in {
        "mapping.fc3.weight": "style.4.weight",
        "synthesis.b4.const": "input.input",
        "synthesis.b4.conv1.weight": "conv1.conv.weight",
        "synthesis.b8.conv0.weight": "convs.0.conv.weight",
        "synthesis.b64.conv1.affine.bias": "convs.7.conv.modulation.bias",
        "synthesis.b64.conv1.noise_const": "noises.noise_8",
        "synthesis.b64.conv1.noise_strength": "convs.7.noise.weight",
        "synthesis.b16.torgb.bias": "to_rgbs.1.bias",
    }.items():
        assert torch.equal(found[ours].flatten(), state[theirs].flatten())
    row = torch.tensor([1.0, 3, 3, 1])
    for name, tensor in found.items():
        if name.endswith("resample_filter"):
            assert torch.equal(tensor, torch.outer(row, row) / 64)


def test_state_dict_alone_and_encoder_around_a_decoder_are_read(tmp_path):
    path = tmp_path / "x"
    torch.save(STATE, path)
    assert_same(read_checkpoint(path), but="w_avg")
    inside = {f"decoder.{name}": tensor for name, tensor in STATE.items()}
    inside["encoder.input_layer.0.weight"] = torch.zeros(2)
    rows = AVERAGE.expand(6, -1).clone()
    torch.save({"state_dict": inside, "opts": {"stylegan_size": 16}, "latent_avg": rows}, path)
    assert_same(read_checkpoint(path))


def test_missing_average_is_that_of_the_mapping(tmp_path, make_network):
    file = tmp_path / "x"
    one = read_checkpoint(rosinality_file(file, STATE))
    assert_same(one, but="w_avg")
    network = make_network(config=CONFIG)
    network.load_state_dict(one.tensors)
    z = torch.randn(20_000, CONFIG.z_dim, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        w = network.mapping(z)
    error = (one.tensors["mapping.w_avg"] - w.mean(0)).abs() / w.std(0)
    assert float(error.max()) < 5 / np.sqrt(10_000)
    # The same for everybody, and where rows of w+ differ, which are of no use as one average.
    rows = torch.randn(6, CONFIG.w_dim)
    for latent_avg in (None, rows):
        again = read_checkpoint(rosinality_file(file, STATE, latent_avg))
        assert again.sha256() == one.sha256()


def test_missing_noise_is_seeded(tmp_path):
    bare = {name: tensor for name, tensor in STATE.items() if not name.startswith("noises.")}
    one = read_checkpoint(rosinality_file(tmp_path / "x", bare, AVERAGE))
    assert_same(one, but="noise_const")
    two = read_checkpoint(rosinality_file(tmp_path / "x", bare, AVERAGE))
    assert one.sha256() == two.sha256()
    maps = [tensor for name, tensor in one.tensors.items() if name.endswith("noise_const")]
    values = torch.cat([noise.flatten() for noise in maps])
    assert abs(float(values.mean())) < 0.2 and 0.9 < float(values.std()) < 1.1


def test_missing_kernels_are_the_usual_one(tmp_path):
    bare = {name: tensor for name, tensor in STATE.items() if not name.endswith(".kernel")}
    assert_same(read_checkpoint(rosinality_file(tmp_path / "x", bare, AVERAGE)))


def test_kernels_of_another_length_are_read(tmp_path):
    config = small_stylegan2(filter_taps=3)
    tensors = random_tensors(config)
    path = rosinality_file(tmp_path / "x", rosinality_state(config, tensors), AVERAGE)
    checkpoint = read_checkpoint(path)
    assert checkpoint.config == config
    found = checkpoint.tensors["synthesis.b8.conv0.resample_filter"]
    assert torch.allclose(found, tensors["synthesis.b8.conv0.resample_filter"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"convs.1.conv.weight": None}, r"has no convs\.1\.conv\.weight"),
        ({"style.1.weight": None}, r"has no style\.1\.weight"),
        ({"noises.noise_2": None}, r"has no noises\.noise_2"),
        ({"convs.2.conv.weight": None}, r"an unknown convs\.2\.activate\.bias"),
        ({"final_linear.weight": torch.zeros(2)}, r"has an unknown final_linear\.weight"),
        ({"a\nb": torch.zeros(2)}, r"has an unknown 'a\\nb'"),
        ({"style.1.weight": torch.zeros(6)}, r"a tensor for mapping\.fc0\.weight with only 1 axes"),
        ({"conv1.noise.weight": torch.zeros(2)}, r"b4\.conv1\.noise_strength has shape \(2,\)"),
        ({"conv1.activate.bias": torch.zeros(3)}, r"b4\.conv1\.bias has shape \(3,\)"),
        ({"input.input": torch.zeros(2, 7, 4, 4)}, r"constant is 7 x 4 x 4, must be"),
        ({"style.2.bias": torch.full((6,), torch.nan)}, r"fc1\.bias holds NaN"),
        ({"style.2.bias": torch.zeros(6).long()}, r"style\.2\.bias has type torch\.int64"),
        ({"style.2.bias": "x"}, r"style\.2\.bias is x where a tensor is needed"),
        ({"convs.0.conv.blur.kernel": torch.zeros(4, 4)}, "resample_filter holds NaN"),
    ],
    ids=str,
)
def test_tensor_that_does_not_fit_is_named(tmp_path, change, message):
    state = {name: value for name, value in {**STATE, **change}.items() if value is not None}
    refused(rosinality_file(tmp_path / "x", state, AVERAGE), message)


def test_average_of_another_width_is_refused(tmp_path):
    refused(rosinality_file(tmp_path / "x", STATE, torch.zeros(7)), r"w_avg has shape \(7,\)")


def test_endless_resolutions_allocate_nothing(tmp_path):
    more = {f"convs.{i}.conv.weight": torch.zeros(1) for i in range(1000)}
    refused(
        rosinality_file(tmp_path / "x", {**STATE, **more}, AVERAGE),
        "has 501 resolutions, more than",
    )


def test_generator_of_1024_pixels_is_read(tmp_path):
    """Its largest noise map is a view whose strides multiply to 2^50."""
    config = small_stylegan2(channels={4 * 2**i: 1 for i in range(9)})
    tensors = random_tensors(config)
    path = rosinality_file(
        tmp_path / "x", rosinality_state(config, tensors), tensors["mapping.w_avg"]
    )
    checkpoint = read_checkpoint(path)
    assert checkpoint.config == config
    name = "synthesis.b1024.conv1.noise_const"
    assert torch.equal(checkpoint.tensors[name], tensors[name])
