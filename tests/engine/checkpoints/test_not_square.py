"""Generators whose constant is no 4 x 4, in every dialect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from styleatlas.engine.checkpoints.checkpoint import GeneratorCheckpoint
from styleatlas.engine.checkpoints.describe import checkpoint_record
from styleatlas.engine.checkpoints.native import (
    METADATA_KEY,
    config_from_json,
    config_to_json,
    read_safetensors,
    write_generator,
)
from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.store.errors import CheckpointError

from ...checkpoint_files import (
    modules_of,
    nvidia_pickle,
    random_tensors,
    rosinality_file,
    rosinality_state,
    small_stylegan2,
    tensorflow_pickle,
)

HIGH = small_stylegan2(constant=(4, 2))  # 16 high, 8 wide, as StyleGAN-Human's is 1024 x 512
WIDE = small_stylegan2(constant=(3, 5))  # 12 high, 20 wide
BOTH = pytest.mark.parametrize("config", [HIGH, WIDE], ids=["high", "wide"])


def tensors_of(config):
    """Random ones whose style biases lose nothing when 1 is taken off and added again."""
    return {
        name: tensor.sub(1).add(1) if name.endswith("affine.bias") else tensor
        for name, tensor in random_tensors(config).items()
    }


def snapshot(path, config, resolution=None):
    modules = modules_of(config)
    if resolution is not None:
        modules["synthesis"]["attrs"]["img_resolution"] = resolution
    return nvidia_pickle(path, tensors_of(config), modules)


def tensorflow(path, config, **arguments):
    return tensorflow_pickle(path, config, tensors_of(config), **arguments)


def rosinality(path, config, **changes):
    tensors = tensors_of(config)
    state = rosinality_state(config, tensors) | changes
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    return rosinality_file(path, state, tensors["mapping.w_avg"])


def native(path, config):
    checkpoint = GeneratorCheckpoint.of(path, config, tensors_of(config), "nvidia")
    write_generator(path, checkpoint)
    return path


def refused(path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()


@BOTH
@pytest.mark.parametrize("has_noise", [True, False])
def test_state_dict_in_nvidias_names_tells_the_constant(tmp_path, config, has_noise):
    config, tensors = replace(config, conv_clamp=256.0), tensors_of(config)
    kept = {k: t for k, t in tensors.items() if has_noise or not k.endswith("noise_const")}
    torch.save({"g_ema": kept}, tmp_path / "x.pt")
    found = read_checkpoint(tmp_path / "x.pt")
    assert found.config == config
    for name, tensor in found.tensors.items():
        assert name not in kept or torch.equal(tensor, kept[name]), name
    assert found.tensors["synthesis.b8.conv1.noise_const"].shape == config.size(8)


@BOTH
def test_every_dialect_has_the_same_numbers_tensors_and_identity(tmp_path, config):
    wanted = GeneratorCheckpoint.of(tmp_path, config, tensors_of(config), "nvidia")
    for make in (snapshot, tensorflow, rosinality, native):
        found = read_checkpoint(make(tmp_path / "file", config))
        assert found.config == config, make
        assert found.sha256() == wanted.sha256(), make
        for name, tensor in found.tensors.items():
            assert torch.equal(tensor, wanted.tensors[name]), (make, name)


def test_sizes_are_height_and_width_of_the_image_and_of_every_layer(tmp_path):
    checkpoint = read_checkpoint(snapshot(tmp_path / "x.pkl", WIDE))
    assert checkpoint.config.image_size == (12, 20)
    assert checkpoint.tensors["synthesis.b8.conv0.noise_const"].shape == (6, 10)
    record = checkpoint_record(tmp_path, checkpoint)
    assert (record["height"], record["width"], record["resolution"]) == (12, 20, 20)
    assert [layer["resolution"] for layer in record["layers"]] == [5, 5, 10, 10, 10, 20, 20, 20]
    sizes = checkpoint.identity("wide").sizes
    assert (sizes["height"], sizes["width"], sizes["resolution"]) == (12, 20, 20)


def test_square_ones_are_remembered_and_written_as_ever(tmp_path):
    checkpoint = read_checkpoint(native(tmp_path / "square", small_stylegan2()))
    assert checkpoint.identity("x").sizes.keys() == {
        *("resolution", "z_dim", "w_dim", "image_channels")
    }
    header = read_safetensors(tmp_path / "square")[0][METADATA_KEY]
    assert "constant" not in header
    assert config_from_json(tmp_path, header).constant == (4, 4)
    assert '"constant": [3, 5]' in config_to_json(WIDE)


@pytest.mark.parametrize("said", [12, 20, 16, [12, 20], [20, 12], np.array([12, 20])], ids=str)
def test_forks_say_the_size_in_one_way_or_the_other(tmp_path, said):
    assert read_checkpoint(snapshot(tmp_path / "x.pkl", WIDE, said)).config == WIDE


@pytest.mark.parametrize(
    ("said", "told"),
    [(64, "64"), ([12, 12], "12 x 12"), ([12, 20, 3], "12 x 20 x 3"), ([], ""), (0, "0")],
)
def test_size_that_the_blocks_do_not_lead_to_is_refused(tmp_path, said, told):
    path = snapshot(tmp_path / "x.pkl", WIDE, said)
    refused(path, rf"img_resolution is {told}, but its blocks .* make pictures of 12 x 20;")


def test_tensorflow_forks_name_their_scopes_and_sizes(tmp_path):
    told = {"resolution_w": 20, "resolution_h": np.int64(12), "min_w": 5, "min_h": 3}
    for start in ((4, 4), (3, 5), (5, 3)):
        for doublings in (2, 4):
            path = tensorflow(tmp_path / "x", WIDE, start=start, res_log2=doublings, **told)
            assert read_checkpoint(path).config == WIDE


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"resolution_w": 1024}, "resolution_w 1024, but .* pictures of 12 x 20 from a constant"),
        ({"resolution_h": 20, "resolution_w": 12}, "resolution_h 20, but"),
        ({"min_h": 4}, "min_h 4, but .* a constant of 3 x 5"),
        ({"res_log2": 10}, "res_log2 10, but"),
        ({"resolution_w": "20"}, "resolution_w 20, not a number"),
        ({"resolution_w": 10**30}, "resolution_w a number beyond 64 bits, not a number"),
    ],
)
def test_tensorflow_fork_that_says_another_size_is_refused(tmp_path, told, message):
    refused(tensorflow(tmp_path / "x", WIDE, **told), message)


def test_old_rosinality_files_get_noise_maps_of_the_constants_aspect(tmp_path):
    noise = dict.fromkeys(f"noises.noise_{i}" for i in range(5))
    found = read_checkpoint(rosinality(tmp_path / "x.pt", WIDE, **noise)).tensors
    random = np.random.RandomState(0)
    names = ["b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1"]
    for name, size in zip(names, [(3, 5), (6, 10), (6, 10), (12, 20), (12, 20)], strict=True):
        wanted = random.standard_normal(size).astype("f4")
        assert np.array_equal(found[f"synthesis.{name}.noise_const"].numpy(), wanted)


@BOTH
def test_noise_maps_of_another_shape_are_refused(tmp_path, config):
    height, width = config.size(8)
    turned = rosinality(
        tmp_path / "x.pt", config, **{"noises.noise_1": torch.zeros(1, 1, width, height)}
    )
    needed = rf"b8.conv0.noise_const has shape \({width}, {height}\) where \({height}, {width}\)"
    refused(turned, needed)
