"""Pickles of the first StyleGAN2, read without TensorFlow."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.engine.checkpoints.rosinality import read_rosinality
from styleatlas.engine.checkpoints.states import NOT_AVERAGED
from styleatlas.store.errors import CheckpointError

from ...checkpoint_files import (
    random_tensors,
    small_stylegan2,
    tensorflow_pickle,
    tensorflow_variables,
)

CONFIGS = {
    "skip": small_stylegan2(),
    "resnet": small_stylegan2(architecture="resnet"),
    "orig, gray": small_stylegan2(architecture="orig", image_channels=1),
    "hidden width": small_stylegan2(layer_features=9),
    "4 x 4": small_stylegan2(channels={4: 3}),
}
SKIP = CONFIGS["skip"]


def tensors_of(config):
    """Random ones whose style biases lose nothing when 1 is taken off and added again."""
    return {
        name: tensor.sub(1).add(1) if name.endswith("affine.bias") else tensor
        for name, tensor in random_tensors(config).items()
    }


def refused(path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: its generator Gs ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("flat", [False, True], ids=["components", "flat"])
@pytest.mark.parametrize("name", CONFIGS)
def test_generator_survives_the_way_to_tensorflow_and_back(tmp_path, name, flat, protocol):
    config = CONFIGS[name]
    tensors = tensors_of(config)
    path = tensorflow_pickle(tmp_path / "x", config, tensors, flat=flat, protocol=protocol)
    checkpoint = read_checkpoint(path)
    assert checkpoint.dialect == "tensorflow"
    assert checkpoint.config == config
    assert checkpoint.tensors.keys() == tensors.keys()
    for key, tensor in checkpoint.tensors.items():
        assert torch.equal(tensor, tensors[key]), key
        assert tensor.dtype == torch.float32 and tensor.is_contiguous()


CONTAINERS = {
    "Gs alone": lambda g, d, average: average,
    "(G, Gs)": lambda g, d, average: (g, average),
    "(G, D, Gs, more)": lambda g, d, average: (g, d, average, {"kimg": 3}),
    "[Gs]": lambda g, d, average: [average],
    "[G, D, Gs]": lambda g, d, average: [g, d, average],
    "[Gs, G]": lambda g, d, average: [average, g],
    "{'Gs': Gs}": lambda g, d, average: {"Gs": average},
    "{'G', 'D', 'Gs'}": lambda g, d, average: {"Gs": average, "D": d, "G": g},
}


@pytest.mark.parametrize("flat", [False, True], ids=["components", "flat"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_average_is_found_in_any_container(tmp_path, container, flat):
    tensors = tensors_of(SKIP)
    path = tensorflow_pickle(
        tmp_path / "x", SKIP, tensors, flat=flat, content=CONTAINERS[container]
    )
    checkpoint = read_checkpoint(path)
    assert checkpoint.config == SKIP and checkpoint.notes == ()
    for key, tensor in checkpoint.tensors.items():
        assert torch.equal(tensor, tensors[key]), key


@pytest.mark.parametrize(
    "content",
    [lambda g, d, average: (g, d), lambda g, d, average: g, lambda g, d, average: {"G": g}],
    ids=["(G, D)", "G", "{'G': G}"],
)
def test_network_that_is_no_average_is_read_with_a_word(tmp_path, content):
    tensors = tensors_of(SKIP)
    checkpoint = read_checkpoint(tensorflow_pickle(tmp_path / "x", SKIP, tensors, content=content))
    assert checkpoint.notes == (NOT_AVERAGED.format("G"),)
    for key, tensor in checkpoint.tensors.items():
        if not key.endswith(("affine.bias", "resample_filter")):
            assert torch.equal(tensor, 2 * tensors[key]), key


def test_discriminator_alone_is_refused(tmp_path):
    for content in (lambda g, d, average: d, lambda g, d, average: {"D": d, "Gs": None}):
        path = tensorflow_pickle(tmp_path / "x", SKIP, tensors_of(SKIP), content=content)
        refused(path, "is missing: none of its 1 networks is a generator")


def test_arguments_of_forks_change_nothing(tmp_path):
    """Only what changes what the variables compute counts."""
    tensors = tensors_of(SKIP)
    forks: dict[str, object] = {
        "min_h": 4,
        "min_w": 4,
        "res_log2": 2,
        "resolution_h": 16,
        "resolution_w": 16,
    }
    forks |= {"impl": "ref", "num_devices": 8, "spatial_augmentations": True, "use_noise": False}
    forks |= {"fmap_base": 16384, "fmap_max": 1024, "mapping_fmaps": 3, "latent_size": 99}
    checkpoint = read_checkpoint(tensorflow_pickle(tmp_path / "x", SKIP, tensors, **forks))
    assert checkpoint.config == SKIP
    for key, tensor in checkpoint.tensors.items():
        assert torch.equal(tensor, tensors[key]), key


def test_fork_without_noise_has_none(tmp_path):
    config = small_stylegan2(use_noise=False)
    tensors = tensors_of(config)
    checkpoint = read_checkpoint(tensorflow_pickle(tmp_path / "x", config, tensors))
    assert checkpoint.config == config
    assert checkpoint.tensors.keys() == tensors.keys()


def test_nothing_of_the_file_is_run_or_imported(tmp_path):
    before = set(sys.modules)
    read_checkpoint(tensorflow_pickle(tmp_path / "x", SKIP, tensors_of(SKIP)))
    assert not {name for name in set(sys.modules) - before if "dnnlib" in name}
    assert "tensorflow" not in sys.modules


def test_numbers_come_from_the_keyword_arguments(tmp_path):
    path = tensorflow_pickle(
        tmp_path / "x",
        SKIP,
        tensors_of(SKIP),
        mapping_lrmul=0.5,
        resample_kernel=[1, 2, 1],
        conv_clamp=np.float32(256),
        nonlinearity="lrelu",
        normalize_latents=True,
    )
    checkpoint = read_checkpoint(path)
    assert checkpoint.config.mapping_lr == 0.5
    assert checkpoint.config.conv_clamp == 256
    wanted = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    assert torch.equal(checkpoint.tensors["synthesis.b8.resample_filter"], wanted)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nonlinearity": "relu"}, "has nonlinearity relu, not lrelu"),
        ({"mapping_nonlinearity": np.zeros(2)}, "has mapping_nonlinearity a ndarray, not lrelu"),
        ({"normalize_latents": False}, "does not normalise its latents"),
        ({"mapping_lrmul": "x"}, "has mapping_lrmul x, not a number"),
        ({"mapping_lrmul": float("nan")}, "has mapping_lrmul nan, not a number"),
        ({"resample_kernel": [1, "3"]}, "has a resample_kernel that is no list of 2 to 64 numbers"),
        ({"resample_kernel": [1] * 65}, "has a resample_kernel that is no list of 2 to 64 numbers"),
        ({"resample_kernel": np.ones((2, 2))}, "has a resample_kernel that is no list"),
    ],
    ids=str,
)
def test_argument_that_our_network_does_not_have_is_named(tmp_path, arguments, message):
    refused(tensorflow_pickle(tmp_path / "x", SKIP, tensors_of(SKIP), **arguments), message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dlatent_avg": None}, "has no variable dlatent_avg"),
        ({"G_mapping/Dense0/weight": None}, "has no variable mapping/Dense0/weight"),
        ({"G_mapping/Dense1/weight": None}, r"does not have \(mapping/Dense1/bias, "),
        ({"G_synthesis/8x8/Conv1/mod_bias": None}, "has no variable synthesis/8x8/Conv1/mod_bias"),
        ({"G_synthesis/noise3": None}, "has no variable synthesis/noise3"),
        ({"G_synthesis/8x8/Attention/w": 1}, r"does not have \(synthesis/8x8/Attention/w\)"),
        ({"G_synthesis/8x8/ToRGB/weight": 1}, r"has .*ToRGB/weight of shape \(\), not of 4 axes"),
        ({"G_synthesis/4x4/Const/StyleMod/weight": 1}, "is a StyleGAN of 2018, not a StyleGAN2"),
        ({"G_mapping/LabelConcat/weight": 1}, "takes labels, which only PyTorch checkpoints may"),
        ({"a\nb": 1}, r"has variables that StyleGAN2 does not have \('a\\nb'\)"),
    ],
    ids=str,
)
def test_variable_that_does_not_fit_is_named(tmp_path, monkeypatch, change, message):
    variables = tensorflow_variables(SKIP, tensors_of(SKIP))
    for name, value in change.items():
        if value is None:
            del variables[name]
        else:
            variables[name] = np.array(value, "f4")
    monkeypatch.setitem(
        tensorflow_pickle.__globals__, "tensorflow_variables", lambda *given: variables
    )
    refused(tensorflow_pickle(tmp_path / "x", SKIP, {}, flat=True), message)


def test_arrays_of_whole_numbers_are_refused(tmp_path, monkeypatch):
    variables = tensorflow_variables(SKIP, tensors_of(SKIP))
    variables["dlatent_avg"] = variables["dlatent_avg"].astype("i4")
    monkeypatch.setitem(
        tensorflow_pickle.__globals__, "tensorflow_variables", lambda *given: variables
    )
    path = tensorflow_pickle(tmp_path / "x", SKIP, {})
    with pytest.raises(CheckpointError, match="dlatent_avg has type int32 where a float"):
        read_checkpoint(path)


def test_converted_by_rosinality_it_is_the_same_generator(tmp_path):
    """That project's converter, by its documentation: transpose, flip the up-convolutions."""
    tensors = tensors_of(SKIP)
    variables = tensorflow_variables(SKIP, tensors)
    state = {"input.input": variables["G_synthesis/4x4/Const/const"]}
    for i in range(SKIP.mapping_layers):
        state[f"style.{i + 1}.weight"] = variables[f"G_mapping/Dense{i}/weight"].T
        state[f"style.{i + 1}.bias"] = variables[f"G_mapping/Dense{i}/bias"]
    scopes = {"conv1": "4x4/Conv", "to_rgb1": "4x4/ToRGB"}
    for i, side in enumerate((8, 16)):
        scopes[f"convs.{2 * i}"] = f"{side}x{side}/Conv0_up"
        scopes[f"convs.{2 * i + 1}"] = f"{side}x{side}/Conv1"
        scopes[f"to_rgbs.{i}"] = f"{side}x{side}/ToRGB"
    for theirs, scope in scopes.items():
        parts = {
            name.rpartition("/")[2]: array
            for name, array in variables.items()
            if name.startswith(f"G_synthesis/{scope}/")
        }
        weight = parts["weight"].transpose(3, 2, 0, 1)
        if scope.endswith("up"):
            weight = weight[:, :, ::-1, ::-1]
        state[f"{theirs}.conv.weight"] = weight[None]
        state[f"{theirs}.conv.modulation.weight"] = parts["mod_weight"].T
        state[f"{theirs}.conv.modulation.bias"] = parts["mod_bias"] + 1
        if "ToRGB" in scope:
            state[f"{theirs}.bias"] = parts["bias"].reshape(1, 3, 1, 1)
        else:
            state[f"{theirs}.activate.bias"] = parts["bias"]
            state[f"{theirs}.noise.weight"] = parts["noise_strength"][None]
    for i in range(5):
        state[f"noises.noise_{i}"] = variables[f"G_synthesis/noise{i}"]
    path = tensorflow_pickle(tmp_path / "x", SKIP, tensors)
    converted = read_rosinality(path, state, variables["dlatent_avg"])
    assert converted.sha256() == read_checkpoint(path).sha256()
