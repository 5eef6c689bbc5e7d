"""State dicts in NVIDIA's names: names and shapes tell the network, and what they do not tell is
said."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from styleatlas import load_generator
from styleatlas.engine.checkpoints.filled import NO_AVERAGE, NO_NOISE
from styleatlas.engine.checkpoints.native import write_generator
from styleatlas.engine.checkpoints.nvidia_state import ASSUMED, CLAMP, OTHER_SCHEDULE
from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.engine.checkpoints.states import NOT_AVERAGED
from styleatlas.engine.networks import filters
from styleatlas.engine.networks.stylegan3 import StyleGAN3, stylegan3_config
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
from ...near import assert_near

TWO = small_stylegan2(conv_clamp=CLAMP)
TENSORS = random_tensors(TWO)
ASSUMED_TWO, ASSUMED_THREE = ASSUMED.format(""), ASSUMED.format(", an output scale of 0.25")
STYLEGAN2 = {
    "skip": TWO,
    "resnet": small_stylegan2(conv_clamp=CLAMP, architecture="resnet"),
    "orig, gray, 3 taps, no noise": small_stylegan2(
        conv_clamp=CLAMP, architecture="orig", image_channels=1, filter_taps=3, use_noise=False
    ),
    "labels, other widths": small_stylegan2(
        conv_clamp=CLAMP, c_dim=3, embed_features=4, layer_features=9, channels={4: 3, 8: 2}
    ),
    "4 pixels": small_stylegan2(conv_clamp=CLAMP, channels={4: 3}),
}
STYLEGAN3 = {
    "T": {},
    "R": {"use_radial_filters": True, "conv_kernel": 1},
    "T, labels": {"c_dim": 2},
    "T of 14 layers": {"num_layers": 14, "num_critical": 2, "margin_size": 10, "resolution": 64},
    "R of 14 layers": {"num_layers": 14, "num_critical": 2, "margin_size": 10, "resolution": 32}
    | {"use_radial_filters": True, "conv_kernel": 1},
    "T, other margin and filters": {"margin_size": 5, "filter_size": 4, "num_layers": 6},
}


def designed(config) -> dict[str, torch.Tensor]:
    """A state dict with the filters that a schedule designs, as training has them."""
    network = StyleGAN3(config)
    network.mapping.w_avg.normal_()
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def saved(path, content):
    torch.save(content, path)
    return path


def refused(path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def assert_holds(checkpoint, config, tensors) -> None:
    assert checkpoint.dialect == "nvidia"
    assert checkpoint.config == config
    assert checkpoint.tensors.keys() == tensors.keys()
    for name, tensor in checkpoint.tensors.items():
        assert torch.equal(tensor, tensors[name]), name


@pytest.mark.parametrize("name", STYLEGAN2)
def test_stylegan2_is_told_by_names_and_shapes(tmp_path, name):
    tensors = random_tensors(STYLEGAN2[name])
    checkpoint = read_checkpoint(saved(tmp_path / "x.pt", tensors))
    assert_holds(checkpoint, STYLEGAN2[name], tensors)
    assert checkpoint.notes == (ASSUMED_TWO,)


@pytest.mark.parametrize("name", STYLEGAN3)
def test_stylegan3_is_told_by_its_layers_and_proved_by_its_filters(tmp_path, name):
    """All that is computed with; the cutoffs, too, since the filters are theirs."""
    config = small_stylegan3(**STYLEGAN3[name])
    tensors = designed(config)
    checkpoint = read_checkpoint(saved(tmp_path / "x.pt", tensors))
    assert_holds(checkpoint, config, tensors)
    assert checkpoint.notes == (ASSUMED_THREE,)


def test_stylegan3_in_half_precision_is_proved_as_well(tmp_path):
    config = small_stylegan3(use_radial_filters=True, conv_kernel=1)
    tensors = {name: tensor.half() for name, tensor in designed(config).items()}
    checkpoint = read_checkpoint(saved(tmp_path / "x.pt", tensors))
    assert checkpoint.config == config and checkpoint.notes == (ASSUMED_THREE,)


@pytest.mark.parametrize("name", ["sg2_skip_map8", "sg3_t"])
def test_golden_renders_as_from_its_pickle(tmp_path, name):
    """Bit for bit: what the state dict does not tell is as in the pickle, or never binds."""
    state, modules, arrays = golden(name)
    known = load_generator(nvidia_pickle(tmp_path / "x.pkl", state, modules), "cpu")
    found = load_generator(saved(tmp_path / "x.pt", state), "cpu")
    assert found.identity.sha256 == known.identity.sha256
    assert found.layout == known.layout
    w = found.map(torch.tensor(arrays["z"]), truncation=0.7)
    assert abs(w.numpy() - arrays["ws"]).max() <= 1e-5
    image = found.render(found.styles(w))
    assert torch.equal(image, known.render(known.styles(w)))
    assert abs(image.numpy() - arrays["img"]).max() <= 1e-4 * arrays["img"].std()


@pytest.mark.parametrize(
    ("radial", "channels"),
    [({}, 4946), ({"use_radial_filters": True, "conv_kernel": 1}, 9890)],
    ids=["T", "R"],
)
def test_published_schedule_of_1024_pixels_is_told(tmp_path, radial, channels):
    """With thin layers, whose widths are not part of it."""
    wide = {"channel_base": 65536, "channel_max": 1024} if radial else {}
    published = stylegan3_config(resolution=1024, **radial, **wide)
    assert sum(layer.in_channels for layer in published.layers) == channels
    thin = stylegan3_config(
        resolution=1024, z_dim=5, w_dim=6, channel_base=1024, channel_max=8, **radial
    )
    assert [layer.out_size for layer in thin.layers] == [x.out_size for x in published.layers]
    found = read_checkpoint(saved(tmp_path / "x.pt", designed(thin)))
    assert found.config == thin and found.notes == (ASSUMED_THREE,)


WRAPPED = {
    "g_ema": lambda state: {"g_ema": state, "g_optim": {"state": {}, "param_groups": []}},
    "G_ema beside G and D": lambda state: {
        "G": {name: tensor * 2 for name, tensor in state.items()},
        "D": {"b4.out.weight": torch.zeros(1, 4)},
        "G_ema": state,
    },
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "decoder": lambda state: {
        "state_dict": {f"decoder.{name}": tensor for name, tensor in state.items()}
        | {"encoder.body.0.weight": torch.zeros(2)},
        "opts": {"n_styles": 16},
    },
    "Lightning": lambda state: {
        "state_dict": {f"G.{name}": tensor * 2 for name, tensor in state.items()}
        | {f"G_ema.{name}": tensor for name, tensor in state.items()}
    },
    "DataParallel": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "DataParallel in g_ema": lambda state: {
        "g_ema": {f"module.{name}": tensor for name, tensor in state.items()}
    },
    "DataParallel around a decoder": lambda state: {
        "state_dict": {f"module.decoder.{name}": tensor for name, tensor in state.items()}
    },
}


@pytest.mark.parametrize("wrap", WRAPPED)
def test_state_dict_is_found_where_people_put_it(tmp_path, wrap):
    checkpoint = read_checkpoint(saved(tmp_path / "x.pt", WRAPPED[wrap](TENSORS)))
    assert_holds(checkpoint, TWO, TENSORS)
    assert checkpoint.notes == (ASSUMED_TWO,)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"g": TENSORS, "d": {}}, "g"),
        ({"G": TENSORS, "D": {}}, "G"),
        ({"state_dict": {f"G.{name}": tensor for name, tensor in TENSORS.items()}}, "G"),
    ],
    ids=["g", "G", "Lightning"],
)
def test_generator_that_is_no_average_is_read_with_a_word(tmp_path, content, name):
    checkpoint = read_checkpoint(saved(tmp_path / "x.pt", content))
    assert_holds(checkpoint, TWO, TENSORS)
    assert checkpoint.notes == (NOT_AVERAGED.format(name), ASSUMED_TWO)


def test_safetensors_of_another_program_are_read_by_their_names(tmp_path):
    from safetensors.torch import save_file

    save_file(TENSORS, tmp_path / "x.safetensors")
    assert_holds(read_checkpoint(tmp_path / "x.safetensors"), TWO, TENSORS)
    save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors")
    refused(tmp_path / "x.safetensors", "a safetensors file of another program")


def test_input_without_its_transform_has_none(tmp_path):
    """stylegan3-editing leaves it out."""
    config = small_stylegan3()
    tensors = designed(config)
    bare = {k: tensor for k, tensor in tensors.items() if k != "synthesis.input.transform"}
    found = read_checkpoint(saved(tmp_path / "x.pt", bare))
    assert_holds(found, config, tensors | {"synthesis.input.transform": torch.eye(3)})


@pytest.mark.parametrize("shape", [(6,), (1, 6), (4, 6), (1, 4, 6)], ids=str)
def test_missing_average_is_the_one_beside_it(tmp_path, shape):
    bare = {name: tensor for name, tensor in TENSORS.items() if name != "mapping.w_avg"}
    average = TENSORS["mapping.w_avg"].expand(shape).clone()
    found = read_checkpoint(saved(tmp_path / "x.pt", {"state_dict": bare, "latent_avg": average}))
    assert_holds(found, TWO, TENSORS)


@pytest.mark.parametrize("config", [TWO, STYLEGAN2["labels, other widths"]], ids=["z", "z and c"])
def test_buffers_that_parameters_lack_are_filled(tmp_path, make_network, config):
    tensors = random_tensors(config)
    buffers = ("w_avg", "noise_const", "resample_filter")
    bare = {name: tensor for name, tensor in tensors.items() if not name.endswith(buffers)}
    found = read_checkpoint(saved(tmp_path / "x.pt", bare))
    assert found.config == config
    assert found.notes == (ASSUMED_TWO, NO_NOISE, NO_AVERAGE)
    for name, tensor in found.tensors.items():
        assert name.endswith(("w_avg", "noise_const")) or torch.equal(tensor, tensors[name]), name
    network = make_network(config=config)
    network.load_state_dict(found.tensors)
    z = torch.randn(20_000, config.z_dim)
    c = torch.eye(3)[torch.randint(3, (20_000,))] if config.c_dim else None
    with torch.no_grad():
        w = network.mapping(z, c)
    error = (found.tensors["mapping.w_avg"] - w.mean(0)).abs() / w.std(0)
    assert float(error.max()) < 5 / 100
    again = read_checkpoint(saved(tmp_path / "y.pt", bare))
    assert again.sha256() == found.sha256()


def test_other_cutoffs_than_published_are_said(tmp_path):
    config = small_stylegan3(first_cutoff=3.0)
    tensors = designed(config)
    found = read_checkpoint(saved(tmp_path / "x.pt", tensors))
    assert found.notes == (ASSUMED_THREE, OTHER_SCHEDULE)
    name = f"synthesis.{config.layers[0].name}.up_filter"
    layer = found.config.layers[0]
    usual = filters.low_pass(
        layer.up_taps, layer.in_cutoff, layer.in_half_width * 2, layer.in_rate * layer.up_factor
    )
    assert float((found.tensors[name] - usual).abs().max()) > 0.01 * float(usual.max())


def test_converted_it_says_no_more_than_it_knows(tmp_path):
    read = read_checkpoint(saved(tmp_path / "x.pt", TENSORS))
    write_generator(tmp_path / "x.safetensors", read)
    assert_holds(
        replace(read_checkpoint(tmp_path / "x.safetensors"), dialect="nvidia"), TWO, TENSORS
    )


def test_state_dict_and_module_by_torch_save_render_alike(tmp_path, make_network):
    config = replace(TWO, conv_clamp=None)
    tensors = make_network(config=config).state_dict()
    whole = load_generator(nvidia_module(tmp_path / "a.pt", tensors, modules_of(config)), "cpu")
    bare = load_generator(saved(tmp_path / "b.pt", tensors), "cpu")
    styles = torch.randn(3, bare.layout.size)
    assert_near(bare.render(styles), whole.render(styles))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mapping.fc1.weight": torch.zeros(6)}, r"has mapping\.fc1\.weight of shape \(6,\)"),
        ({"mapping.fc0.weight": torch.zeros(0, 6)}, r"fc0\.weight of shape \(0, 6\), where 2 axes"),
        ({"synthesis.b16.torgb.bias": None}, r"has no synthesis\.b16\.torgb\.bias"),
        ({"synthesis.b8.conv1.weight": None}, "channels must be given for 4 and its doubles"),
        ({"synthesis.b8.conv0.affine.bias": None}, r"missing synthesis\.b8\.conv0\.affine\.bias"),
        ({"synthesis.b8.attention": torch.zeros(2)}, r"surplus synthesis\.b8\.attention"),
        ({"mapping.fc9.weight": torch.zeros(2, 2)}, r"surplus mapping\.fc9\.weight"),
        ({"synthesis.b8.conv0.noise_const": None}, r"missing synthesis\.b8\.conv0\.noise_const"),
        ({"synthesis.b8.conv0.resample_filter": torch.zeros(3, 3)}, r"resample_filter has shape"),
        ({"mapping.w_avg": torch.zeros(7)}, r"w_avg has shape \(7,\)"),
        ({"mapping.w_avg": torch.full((6,), torch.nan)}, "w_avg holds NaN"),
        ({"mapping.w_avg": torch.zeros(6).long()}, "w_avg has type torch.int64"),
        ({"mapping.w_avg": "x"}, "w_avg is x where a tensor is needed"),
        ({"mapping.embed.weight": torch.zeros(9, 3)}, "z_dim is -4, must be a whole number"),
        ({"a\nb": torch.zeros(2)}, r"surplus 'a\\nb'"),
    ],
    ids=str,
)
def test_tensor_that_does_not_fit_is_named(tmp_path, change, message):
    state = {name: value for name, value in {**TENSORS, **change}.items() if value is not None}
    refused(saved(tmp_path / "x.pt", state), message)


def renamed(tensors, old: str, new: str):
    return {name.replace(old, new): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("L1_24_8.", "M1_24_8.", r"has 3 layers L<i>_<size>_<channels>, not 3 to 64 in a row"),
        ("L3_16_3.", "L3_0_3.", "makes images of 0 pixels, no power of two"),
        ("L3_16_3.", "L3_24_3.", "makes images of 24 pixels, no power of two"),
        ("L1_24_8.", "L1_25_8.", "has layers of 24, 25, 16, 16, ... samples, which StyleGAN3's"),
        ("L0_24_8.", "L0_24_9.", r"L0_24_9\.weight has shape \(8, 8, 3, 3\)"),
        ("L1_24_8.up_filter", "L1_24_8.down", "surplus synthesis.L1_24_8.down"),
        ("input.phases", "input.phase", "missing synthesis.input.phases"),
    ],
)
def test_layer_that_does_not_fit_is_named(tmp_path, old, new, message):
    config = small_stylegan3()
    refused(saved(tmp_path / "x.pt", renamed(designed(config), old, new)), message)


def test_endless_resolutions_and_layers_allocate_nothing(tmp_path):
    more = {f"synthesis.b{2**i}.conv1.weight": torch.zeros(1, 1, 1, 1) for i in range(2, 40)}
    refused(saved(tmp_path / "x.pt", TENSORS | more), r"has no synthesis\.b4096\.torgb\.bias")
    many = {f"synthesis.L{i}_24_8.weight": torch.zeros(1, 1, 1, 1) for i in range(90)}
    refused(saved(tmp_path / "y.pt", designed(small_stylegan3()) | many), "has 9[0-9] layers")
