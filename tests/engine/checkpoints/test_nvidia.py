"""NVIDIA's pickles: every number is read from the module it governs, and nothing in them runs."""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.engine.checkpoints.states import NOT_AVERAGED
from styleatlas.engine.checkpoints.tensors import load_tensors
from styleatlas.engine.inert.objects import InertTensor, Storage
from styleatlas.store.errors import CheckpointError

from ...checkpoint_files import (
    golden,
    modules_of,
    nvidia_module,
    nvidia_pickle,
    random_tensors,
    small_stylegan2,
    small_stylegan3,
)

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import plain_stylegan

from ...near import assert_near

CONFIGS = {
    "skip": small_stylegan2(),
    "clamped, reduced": small_stylegan2(conv_clamp=256.0, num_fp16_res=2, mapping_layers=2),
    "labels, other widths": small_stylegan2(c_dim=3, embed_features=4, layer_features=9),
    "resnet": small_stylegan2(architecture="resnet", conv_clamp=0.5),
    "orig, gray, 3 taps, no noise": small_stylegan2(
        architecture="orig", image_channels=1, filter_taps=3, use_noise=False
    ),
    "T": small_stylegan3(),
    "R": small_stylegan3(use_radial_filters=True, conv_kernel=1),
    "T, labels, other numbers": small_stylegan3(
        c_dim=2, margin_size=5, filter_size=4, conv_clamp=None, output_scale=1.5, num_fp16_res=1
    ),
}


def refused(path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def assert_same_tensors(found, wanted) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, wanted[name]), name


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("name", ["sg2_skip_map8", "sg3_t"])
def test_golden_is_read_exactly(tmp_path, name, protocol):
    state, modules, _ = golden(name)
    checkpoint = read_checkpoint(
        nvidia_pickle(tmp_path / "x.pkl", state, modules, protocol=protocol)
    )
    assert checkpoint.dialect == "nvidia"
    assert_same_tensors(checkpoint.tensors, state)
    again = modules_of(checkpoint.config)
    assert again.keys() == modules.keys()
    for place, module in again.items():
        for attribute, value in module["attrs"].items():
            value = value.tolist() if isinstance(value, np.ndarray) else value
            assert modules[place]["attrs"].get(attribute) == value, f"{place}.{attribute}"


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_number_is_read_from_the_modules(tmp_path, name, ordered):
    config = CONFIGS[name]
    tensors = random_tensors(config)
    path = nvidia_pickle(tmp_path / "x", tensors, modules_of(config), ordered=ordered)
    checkpoint = read_checkpoint(path)
    assert checkpoint.config == config
    assert_same_tensors(checkpoint.tensors, tensors)
    for tensor in checkpoint.tensors.values():
        assert tensor.dtype == torch.float32 and tensor.is_contiguous()


def test_nothing_of_the_file_is_run_imported_or_read_in_vain(tmp_path, monkeypatch):
    config = CONFIGS["skip"]
    tensors = random_tensors(config)
    path = nvidia_pickle(tmp_path / "x.pkl", tensors, modules_of(config))
    loaded = []
    load = InertTensor.load
    monkeypatch.setattr(InertTensor, "load", lambda record: loaded.append(1) or load(record))
    before = set(sys.modules)
    read_checkpoint(path)
    assert not {name for name in set(sys.modules) - before if "dnnlib" in name or "utils" in name}
    assert len(loaded) == len(tensors)  # neither those of G nor of D


def test_network_alone_and_snapshot_without_discriminator_are_read(tmp_path):
    config = CONFIGS["T"]
    tensors = random_tensors(config)
    for content in (lambda s: s["G_ema"], lambda s: {"G_ema": s["G_ema"], "D": None}):
        path = nvidia_pickle(tmp_path / "x", tensors, modules_of(config), content=content)
        assert_same_tensors(read_checkpoint(path).tensors, tensors)


def test_snapshot_without_a_generator_is_refused(tmp_path):
    config = CONFIGS["skip"]
    tensors, modules = random_tensors(config), modules_of(config)
    for content, message in (
        (lambda s: {"w": np.zeros(3)}, "holds a dict of w, no generator that can be read"),
        (lambda s: {}, "holds an empty dict, no generator"),
        (lambda s: {"G_ema": 7}, "G_ema is no network module as NVIDIA's code pickles it"),
        (lambda s: {"G_ema": s["D"]}, "G_ema is of class Discriminator, not Generator"),
        (lambda s: [s["D"]], "its last network is of class Discriminator, not Generator"),
        (lambda s: [7], "holds a list, no generator"),
    ):
        refused(nvidia_pickle(tmp_path / "x", tensors, modules, content=content), message)


@pytest.mark.parametrize(
    "content",
    [lambda s: {"G": s["G_ema"], "D": s["D"]}, lambda s: {"G": s["G_ema"], "G_ema": None}],
    ids=["none", "empty"],
)
def test_snapshot_without_an_average_is_read_with_a_word(tmp_path, content):
    tensors = random_tensors(CONFIGS["skip"])
    path = nvidia_pickle(tmp_path / "x", tensors, modules_of(CONFIGS["skip"]), content=content)
    checkpoint = read_checkpoint(path)
    assert_same_tensors(checkpoint.tensors, tensors)
    assert checkpoint.notes == (NOT_AVERAGED.format("G"),)


@pytest.mark.parametrize(
    "content",
    [lambda s: [s["G_ema"]], lambda s: (s["G"], s["D"], s["G_ema"])],
    ids=["alone in a list", "a tuple"],
)
def test_average_among_networks_without_names_is_the_last(tmp_path, content):
    tensors = random_tensors(CONFIGS["T"])
    path = nvidia_pickle(tmp_path / "x", tensors, modules_of(CONFIGS["T"]), content=content)
    checkpoint = read_checkpoint(path)
    assert_same_tensors(checkpoint.tensors, tensors)
    assert checkpoint.notes == ()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "stream"])
@pytest.mark.parametrize(
    "content",
    [lambda s: s["G_ema"], lambda s: {"G": s["G"], "D": s["D"], "G_ema": s["G_ema"]}],
    ids=["alone", "among others"],
)
@pytest.mark.parametrize("name", ["skip", "T"])
def test_modules_by_torch_save_are_those_of_a_pickle(tmp_path, name, content, legacy):
    """As PTI and HyperStyle save a generator that they tuned to a photo."""
    config = CONFIGS[name]
    tensors = random_tensors(config)
    path = nvidia_module(tmp_path / "x.pt", tensors, modules_of(config), content, legacy=legacy)
    checkpoint = read_checkpoint(path)
    assert checkpoint.config == config and checkpoint.notes == ()
    assert_same_tensors(checkpoint.tensors, tensors)


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("row", [[1.0, 2, 1], [1.0, 1], [1.0] * 8], ids=len)
def test_filter_is_that_of_the_layers_that_up_sample(tmp_path, make_network, architecture, row):
    """Those that do not have the default filter of four taps, which nothing uses."""
    taps = torch.tensor(row) / sum(row)
    config = small_stylegan2(architecture=architecture, filter_taps=len(row))
    tensors = random_tensors(config)
    wanted = torch.outer(taps, taps)
    default = torch.tensor([1.0, 3, 3, 1]) / 8
    for name in tensors:
        if name.endswith("resample_filter"):
            # A separable one is kept as a row; the default is not.
            given = taps if len(row) >= 8 else wanted
            tensors[name] = torch.outer(default, default) if "conv1" in name else given
    checkpoint = read_checkpoint(nvidia_pickle(tmp_path / "x", tensors, modules_of(config)))
    assert checkpoint.config == config
    network = make_network(config=checkpoint.config)
    network.load_state_dict(checkpoint.tensors)
    styles = [torch.randn(2, layer.size) for layer in config.styled_layers()]
    with torch.no_grad():
        for name, tensor in network.named_buffers():
            if name.endswith("conv0.resample_filter"):
                assert_near(tensor, wanted)
        assert_near(network.synthesis(styles), plain_stylegan.stylegan2(network, styles))


def test_filters_of_four_taps_stay_as_they_are_in_the_file(tmp_path):
    """Used or not, for they count for the identity that atlases remember."""
    config = CONFIGS["skip"]
    tensors = random_tensors(config)
    tensors["synthesis.b8.conv0.resample_filter"] = torch.full((4, 4), 1 / 16)
    checkpoint = read_checkpoint(nvidia_pickle(tmp_path / "x", tensors, modules_of(config)))
    assert_same_tensors(checkpoint.tensors, tensors)


@pytest.mark.parametrize(
    ("place", "class_name", "what"),
    [
        ("", "SuperresGenerator", "G_ema is a StyleGAN-XL"),
        ("mapping.embed_proj", "FullyConnectedLayer", "G_ema is a StyleGAN-XL"),
        ("mapping.clip", "CLIP", "G_ema is a StyleGAN-T"),
    ],
)
def test_descendant_is_named_with_what_is_missing(tmp_path, place, class_name, what):
    modules = modules_of(CONFIGS["T"])
    modules[place] = {"attrs": {}, **modules.get(place, {}), "class_name": class_name}
    path = nvidia_pickle(tmp_path / "x", random_tensors(CONFIGS["T"]), modules)
    refused(path, f"{what}: .*computed here; .*no conversion mends that")


def test_separable_filter_is_spread_over_both_axes(tmp_path):
    config = small_stylegan2(filter_taps=8)
    tensors = random_tensors(config)
    row = torch.rand(8)
    stored = {
        name: row if name.endswith("resample_filter") else tensor
        for name, tensor in tensors.items()
    }
    checkpoint = read_checkpoint(nvidia_pickle(tmp_path / "x", stored, modules_of(config)))
    assert checkpoint.config == config
    found = checkpoint.tensors["synthesis.b8.conv0.resample_filter"]
    assert torch.equal(found, torch.outer(row, row))


def test_sizes_may_be_numbers_lists_tuples_or_arrays(tmp_path):
    config = CONFIGS["T"]
    modules = modules_of(config)
    forms = [int, lambda s: [s, s], lambda s: (s, s), lambda s: np.array([s, s])]
    for i, layer in enumerate(config.layers):
        attributes = modules[f"synthesis.{layer.name}"]["attrs"]
        attributes["in_size"] = forms[i % 4](layer.in_size)
        attributes["out_size"] = forms[(i + 1) % 4](layer.out_size)
        attributes["padding"] = (list, tuple, np.array)[i % 3](layer.padding * 2)
        attributes["up_factor"] = np.int64(layer.up_factor)
        attributes["in_cutoff"] = np.array(layer.in_cutoff)
    path = nvidia_pickle(tmp_path / "x", random_tensors(config), modules)
    assert read_checkpoint(path).config == config


MISSING = object()


@pytest.mark.parametrize(
    ("config", "place", "value", "message"),
    [
        ("skip", "synthesis.b8.conv0.up", MISSING, "is missing"),
        ("skip", "synthesis.b8.conv0.up", 1, "is 1, must be 2"),
        ("skip", "synthesis.b8.conv1.up", 2, "is 2, must be 1"),
        ("skip", "synthesis.b8.conv0.up", 2.0, "is 2.0, must be 2"),
        ("skip", "synthesis.b4.conv1.activation", "relu", "is relu, must be lrelu"),
        ("skip", "synthesis.b4.conv1.act_gain", 1.0, "is 1, must be 1.41421"),
        ("skip", "synthesis.b8.conv1.use_noise", False, "is False where .* is True"),
        ("skip", "synthesis.b8.conv1.use_noise", 1, "is 1, must be true or false"),
        ("skip", "synthesis.b8.conv1.conv_clamp", 3, "is 3.0 where .* is None"),
        ("skip", "synthesis.b8.torgb.conv_clamp", "x\ny", r"is 'x\\ny', must be a finite number"),
        ("skip", "synthesis.b8.torgb.weight_gain", 1.0, "is 1, must be 0.447214"),
        ("skip", "synthesis.b8.architecture", "resnet", "is resnet where .* is skip"),
        ("skip", "synthesis.b8.architecture", np.zeros(2), "is a ndarray, must be skip or"),
        ("skip", "synthesis.b8.use_fp16", True, "is True, must be False"),
        ("skip", "synthesis.b8.use_fp16", MISSING, "is missing"),
        ("skip", "synthesis.img_resolution", 12, "is 12, but its blocks and their constant"),
        ("skip", "synthesis.img_resolution", 2**40, "is 1099511627776, must be a whole number"),
        ("skip", "synthesis.img_channels", "3", "is 3, must be a whole number"),
        ("skip", "mapping.num_layers", 0, "is 0, must be 1 to 32"),
        ("skip", "mapping.num_layers", 10**6, "is 1000000, must be 1 to 32"),
        ("skip", "mapping.num_layers", True, "is True, must be a whole number"),
        ("skip", "mapping.w_dim", None, "is None, must be a whole number"),
        ("skip", "mapping.fc1.activation", "linear", "is linear, must be lrelu"),
        ("skip", "mapping.fc1.bias_gain", 1.0, "is 1, must be 0.01"),
        ("skip", "mapping.fc1.weight_gain", float("nan"), "is nan, must be a finite number"),
        ("skip", "synthesis.b4.conv1.affine.bias_gain", 0.5, "is 0.5, must be 1"),
        ("labels, other widths", "mapping.embed.activation", "lrelu", "must be linear"),
        ("T", "synthesis.output_scale", MISSING, "is missing"),
        ("T", "synthesis.input.size", [8, 9], r"is \[8, 9\], must be square"),
        ("T", "synthesis.input.size", [8.5, 8.5], "is a list, must be a list of whole numbers"),
        ("T", "synthesis.L1_24_8.padding", [1, 2, 2, 1], "must be the same for both axes"),
        ("T", "synthesis.L1_24_8.padding", np.zeros((99, 99)), "is a ndarray, must be a list"),
        ("T", "synthesis.L1_24_8.down_radial", MISSING, "is missing"),
        ("T", "synthesis.L1_24_8.is_torgb", 0, "is 0, must be true or false"),
        ("T", "synthesis.L1_24_8.conv_clamp", float("inf"), "is inf, must be a finite number"),
    ],
)
def test_attribute_that_our_networks_do_not_have_is_named(tmp_path, config, place, value, message):
    modules = modules_of(CONFIGS[config])
    module, _, attribute = place.rpartition(".")
    modules[module]["attrs"][attribute] = value
    if value is MISSING:
        del modules[module]["attrs"][attribute]
    path = nvidia_pickle(tmp_path / "x", random_tensors(CONFIGS[config]), modules)
    refused(path, rf"x: {place} .*{message}")


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("", "TriPlaneGenerator"),
        ("mapping", "Mapper\n"),
        ("mapping.fc0", "Linear"),
        ("synthesis", "SuperresNetwork"),
        ("synthesis.b8", "Block"),
        ("synthesis.b8.conv0", "Layer"),
        ("synthesis.b8.torgb", "ToAlpha"),
        ("synthesis.b8.torgb.affine", "Linear"),
    ],
)
def test_module_of_another_class_is_named(tmp_path, place, name):
    modules = modules_of(CONFIGS["skip"])
    modules[place]["class_name"] = name
    path = nvidia_pickle(tmp_path / "x", random_tensors(CONFIGS["skip"]), modules)
    refused(path, rf"x: {place or 'G_ema'} is of class '?{name.strip()}")


@pytest.mark.parametrize("config", ["skip", "T"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mapping.fc0.weight": None}, r"mapping\.fc0\.weight is missing or no tensor of 2"),
        ({"mapping.w_avg": None}, r"missing mapping\.w_avg"),
        ({"mapping.more": torch.zeros(1)}, r"surplus mapping\.more"),
        ({"mapping.w_avg": torch.zeros(7)}, r"mapping\.w_avg has shape \(7,\)"),
        ({"mapping.w_avg": torch.full((6,), torch.nan)}, r"mapping\.w_avg holds NaN"),
        ({"mapping.w_avg": torch.zeros(6, dtype=torch.int64)}, "w_avg has type torch.int64 where"),
        ({"mapping.fc0.bias": torch.zeros(6, 0)}, r"fc0\.bias has shape \(6, 0\)"),
    ],
    ids=str,
)
def test_tensor_that_does_not_fit_is_named(tmp_path, config, change, message):
    tensors = random_tensors(CONFIGS[config]) | change
    present = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    refused(nvidia_pickle(tmp_path / "x", present, modules_of(CONFIGS[config])), message)


def test_module_that_is_missing_is_named(tmp_path):
    for config, place in (("skip", "synthesis.b8.conv0"), ("skip", "mapping"), ("T", "synthesis")):
        below = (place, f"{place}.")
        modules = {k: v for k, v in modules_of(CONFIGS[config]).items() if k != place}
        modules = {k: v for k, v in modules.items() if not k.startswith(below[1])}
        tensors = random_tensors(CONFIGS[config])
        tensors = {k: v for k, v in tensors.items() if not k.startswith(below[1])}
        refused(nvidia_pickle(tmp_path / "x", tensors, modules), rf"{place} is missing")


def test_network_of_neither_family_is_refused(tmp_path):
    modules = {k: v for k, v in modules_of(CONFIGS["skip"]).items() if ".b" not in k}
    tensors = random_tensors(CONFIGS["skip"])
    tensors = {k: v for k, v in tensors.items() if k.startswith("mapping")}
    path = nvidia_pickle(tmp_path / "x", tensors, modules)
    refused(path, r"synthesis has neither a block b4 \(StyleGAN2\) nor an input \(StyleGAN3\)")


def test_stylegan3_whose_layers_do_not_follow_on_each_other_is_refused(tmp_path):
    config = CONFIGS["T"]
    for attribute, value in (("in_channels", 3), ("up_taps", 5), ("out_sampling_rate", 5)):
        modules = deepcopy(modules_of(config))
        modules[f"synthesis.{config.layers[1].name}"]["attrs"][attribute] = value
        path = nvidia_pickle(tmp_path / "x", random_tensors(config), modules)
        refused(path, "describes a generator that cannot be built: (layer 1|L1_24_8):")


def test_modules_in_modules_without_end_are_refused(tmp_path):
    modules, place = modules_of(CONFIGS["skip"]), "mapping"
    for _ in range(12):
        place += ".more"
        modules[place] = {"class_name": "More", "attrs": {}}
    path = nvidia_pickle(tmp_path / "x", random_tensors(CONFIGS["skip"]), modules)
    refused(path, "holds modules in modules without end")


def test_tensors_that_claim_more_than_the_file_holds_are_refused(tmp_path):
    path = tmp_path / "small"
    path.write_bytes(bytes(4000))
    storage = Storage(torch.float32, 1000, memoryview(path.read_bytes()))
    one = InertTensor(storage, 0, (1000,), (1,))
    assert len(load_tensors(path, {str(i): one for i in range(4)})) == 4
    with pytest.raises(CheckpointError, match="claims 5000 numbers, more than the file can hold"):
        load_tensors(path, {str(i): one for i in range(5)})
    with pytest.raises(CheckpointError, match="x is None where a tensor is needed"):
        load_tensors(path, {"x": None})
