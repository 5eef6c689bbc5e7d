"""StyleAtlas's own checkpoints: what is written and read, and what is refused with which words."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from styleatlas.engine.checkpoints.checkpoint import GeneratorCheckpoint, expected_shapes
from styleatlas.engine.checkpoints.native import config_to_json, read_native, write_generator
from styleatlas.engine.networks.stylegan2 import StyleGAN2Config
from styleatlas.engine.networks.stylegan3 import stylegan3_config
from styleatlas.store.atlas import Atlas
from styleatlas.store.errors import CheckpointError, OutputError
from styleatlas.store.fingerprint import weights_sha256
from styleatlas.store.registry import EMBEDDED

from ...checkpoint_files import random_tensors, small_stylegan2, small_stylegan3
from ...memory import growth_of

CONFIGS = {
    "skip": small_stylegan2(),
    "resnet, clamped, reduced": small_stylegan2(
        architecture="resnet", conv_clamp=256.0, num_fp16_res=2, filter_taps=3
    ),
    "orig, labels, no noise": small_stylegan2(
        architecture="orig", c_dim=3, embed_features=4, layer_features=9, use_noise=False
    ),
    "T": small_stylegan3(),
    "R, labels": small_stylegan3(use_radial_filters=True, conv_kernel=1, c_dim=2, conv_clamp=None),
}
TWO = CONFIGS["skip"]
THREE = CONFIGS["T"]


@pytest.fixture(params=CONFIGS, ids=str)
def written(request, tmp_path):
    """A checkpoint and the file it was written to."""
    config = CONFIGS[request.param]
    path = tmp_path / "x.safetensors"
    checkpoint = GeneratorCheckpoint.of(path, config, random_tensors(config), "nvidia")
    write_generator(path, checkpoint)
    return checkpoint, path


def write(path, config=TWO, tensors=None, header=None):
    """A file as another program, or a bad disk, might leave it."""
    text = config_to_json(config) if header is None else header
    state = random_tensors(config) if tensors is None else tensors
    save_file(state, path, {"styleatlas": text if isinstance(text, str) else json.dumps(text)})
    return path


def refused(path, message: str) -> None:
    """The refusal is one line that begins with the path."""
    with pytest.raises(CheckpointError, match=message) as caught:
        read_native(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 600


def test_checkpoint_survives_writing_and_reading(written):
    checkpoint, path = written
    read = read_native(path)
    assert read.config == checkpoint.config
    assert read.dialect == "styleatlas"
    assert read.tensors.keys() == checkpoint.tensors.keys()
    for name, tensor in read.tensors.items():
        assert torch.equal(tensor, checkpoint.tensors[name])
        assert tensor.dtype == torch.float32 and tensor.is_contiguous()
    assert read.sha256() == weights_sha256((k, t.numpy()) for k, t in checkpoint.tensors.items())


def test_same_weights_are_written_as_the_same_bytes(written, tmp_path):
    checkpoint, path = written
    again = tmp_path / "again.safetensors"
    backwards = dict(reversed(checkpoint.tensors.items()))
    write_generator(again, replace(checkpoint, tensors=backwards))
    assert again.read_bytes() == path.read_bytes()
    write_generator(again, read_native(path))
    assert again.read_bytes() == path.read_bytes()


def test_header_holds_every_number(written):
    checkpoint, path = written
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata.keys() == {"styleatlas"}
    described = json.loads(metadata["styleatlas"])
    assert described.keys() == {"family", *asdict(checkpoint.config)} - {"constant"}
    assert described["family"] == checkpoint.family


def test_identity_names_the_sizes(written):
    checkpoint, _ = written
    identity = checkpoint.identity("tiny")
    assert (identity.name, identity.sha256) == ("tiny", checkpoint.sha256())
    assert identity.sizes == {"resolution": 16, "z_dim": 5, "w_dim": 6, "image_channels": 3}


def test_refused_place_is_left_as_it_was(written, tmp_path):
    checkpoint, _ = written
    with pytest.raises(OutputError, match="does not exist"):
        write_generator(tmp_path / "none" / "x.safetensors", checkpoint)


def test_shipped_generator_reads_from_its_short_header():
    checkpoint = read_native(EMBEDDED.generator)
    channels = {4: 128, 8: 128, 16: 96, 32: 48, 64: 24}
    assert checkpoint.config == StyleGAN2Config(
        z_dim=64, w_dim=256, mapping_layers=4, channels=channels
    )
    assert checkpoint.sha256() == Atlas.open(EMBEDDED.atlas).fingerprint.generator.sha256


def test_half_precision_is_read_as_float32_with_the_same_identity(tmp_path):
    half = {name: tensor.half() for name, tensor in random_tensors(TWO).items()}
    whole = {name: tensor.float() for name, tensor in half.items()}
    small = read_native(write(tmp_path / "half.safetensors", tensors=half))
    large = read_native(write(tmp_path / "whole.safetensors", tensors=whole))
    assert small.sha256() == large.sha256()
    assert all(torch.equal(tensor, whole[name]) for name, tensor in small.tensors.items())


def test_other_weights_have_another_identity(tmp_path):
    one = read_native(write(tmp_path / "one.safetensors"))
    two = read_native(write(tmp_path / "two.safetensors", tensors=random_tensors(TWO, seed=1)))
    assert one.sha256() != two.sha256()


@pytest.mark.parametrize("keep", [0, 4, 8, 100, 0.5, -1])
def test_truncated_file_is_refused(tmp_path, keep):
    path = write(tmp_path / "cut.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    refused(path, "is not a readable safetensors file")


def test_safetensors_of_another_program_are_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    for metadata in (None, {"format": "pt"}):
        save_file({"weight": torch.zeros(2)}, path, metadata)
        refused(path, "is a safetensors file of another program .* `styleatlas convert`")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "stylegan1"}, "family is stylegan1"),
        ({"family": None}, "family is None"),
        ({"z_dim": 0}, "z_dim is 0, must be a whole number from 1 to 8192"),
        ({"w_dim": -6}, "w_dim is -6"),
        ({"z_dim": 6.0}, r"z_dim is 6\.0"),
        ({"z_dim": True}, "z_dim is True"),
        ({"z_dim": "6\n"}, r"z_dim is '6\\n'"),
        ({"z_dim": 10**9}, "z_dim is 1000000000"),
        ({"z_dim": 10**400}, "z_dim is a number beyond 64 bits"),
        ({"z_dim": [6]}, "z_dim is a list"),
        ({"c_dim": -1}, "c_dim is -1"),
        ({"mapping_layers": 33}, "mapping_layers is 33"),
        ({"mapping_lr": 0}, "mapping_lr is 0, must be a positive number"),
        ({"mapping_lr": None}, "mapping_lr is None"),
        ({"embed_features": 0}, "embed_features is 0"),
        ({"image_channels": 0}, "image_channels is 0"),
        ({"conv_clamp": -1.0}, r"conv_clamp is -1\.0"),
        ({"conv_clamp": "256"}, "conv_clamp is 256"),
        ({"filter_taps": 1}, "filter_taps is 1"),
        ({"num_fp16_res": -1}, "num_fp16_res is -1"),
        ({"use_noise": 1}, "use_noise is 1, must be true or false"),
        ({"architecture": "dense"}, "architecture is dense, must be one of skip, resnet, orig"),
        ({"channels": {}}, "channels must be given for 4 and its doubles"),
        ({"channels": {"8": 5, "16": 4}}, "channels must be given for 4"),
        ({"channels": {"4": 5, "16": 4}}, "channels must be given for 4"),
        ({"channels": {str(4 * 2**i): 1 for i in range(12)}}, "channels must be given for 4"),
        ({"channels": {"4": 5, "x": 4}}, "does not describe a generator"),
        ({"channels": {"4": 5, " 8": 4}}, "does not describe a generator"),
        ({"channels": {"4": 5, "8": None}}, r"channels\[8\] is None"),
        ({"channels": [5, 4]}, "does not describe a generator"),
        ({"surprise": 1}, "surprise is no field of StyleGAN2Config"),
        ({"layers": []}, "layers is no field of StyleGAN2Config"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_impossible_header_is_refused(tmp_path, change, message):
    header = json.loads(config_to_json(TWO)) | change
    refused(write(tmp_path / "x.safetensors", header=header), message)


def test_header_without_a_needed_number_is_refused(tmp_path):
    for config, names in ((TWO, ["family", "z_dim", "channels"]), (THREE, ["layers", "input"])):
        for name in names:
            header = json.loads(config_to_json(config))
            del header[name]
            refused(write(tmp_path / "x.safetensors", header=header), f"needs '?{name}")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("resolution", 12, "resolution is 12, must be a power of two"),
        ("output_scale", 0, "output_scale is 0"),
        ("input.size", 10**6, "size is 1000000"),
        ("input.bandwidth", -1, "bandwidth is -1"),
        ("input.channels", 7, "L0_24_8: its input is not what the layer before it puts out"),
        ("layers.0.name", "L0", "layer 0 is called L0, must be L<i>_<size>_<channels>"),
        ("layers.1.name", "a.b\n", r"layer 1 is called 'a\.b\\n'"),
        ("layers.1.in_rate", 3, "its factors do not lead"),
        ("layers.1.padding", [0, 0], "its padding does not lead from its input's size"),
        ("layers.1.padding", [0], "padding must be two whole numbers"),
        ("layers.1.padding", 0, "does not describe a generator"),
        ("layers.1.up_factor", 9, "up_factor is 9"),
        ("layers.1.up_taps", 5000, "up_taps is 5000"),
        ("layers.1.is_torgb", True, "the last layer, and no other, must be toRGB"),
        ("layers.3.up_taps", 2, "layer 3: is the last one, toRGB, which must not resample"),
        ("layers.1.clamp", 0, "clamp is 0"),
        ("layers.1.in_cutoff", None, "in_cutoff is None"),
        ("layers.1.reduced", None, "reduced is None"),
        ("layers.1.surprise", 1, "surprise is no field of FilteredLayer"),
        ("layers", [], "it has 0 layers, must have 1 to 64"),
        ("layers", {}, "it has 0 layers"),
        ("layers", None, "does not describe a generator"),
        ("layers", [1], "does not describe a generator"),
        ("input", [], "does not describe a generator"),
        ("image_channels", 1, "does not put out the image's channels and resolution"),
    ],
)
def test_contradictory_stylegan3_is_refused(tmp_path, place, value, message):
    header = json.loads(config_to_json(THREE))
    *way, last = [int(step) if step.isdigit() else step for step in place.split(".")]
    target = header
    for step in way:
        target = target[step]
    target[last] = value
    refused(write(tmp_path / "x.safetensors", THREE, header=header), message)


@pytest.mark.parametrize(
    "header", ["[" * 100_000, "[]", "7", "{", "", "null", "9" * 9999], ids=lambda h: h[:2]
)
def test_header_that_is_no_json_object_is_refused(tmp_path, header):
    refused(write(tmp_path / "x.safetensors", header=header or " "), "does not describe a generat")


def test_header_that_claims_a_giant_network_allocates_nothing(tmp_path):
    giant = replace(TWO, channels={4: 4096, 8: 5, 16: 4})  # conv1 alone: 604 MB
    path = write(tmp_path / "giant.safetensors", header=config_to_json(giant))
    message = r"b4\.const has shape \(7, 4, 4\) where \(4096, 4, 4\) is needed"
    assert growth_of(lambda: refused(path, message)) < 100e6


def spoilt(state, changes):
    """A state with some tensors replaced, and without those whose new value is None."""
    return {key: tensor for key, tensor in {**state, **changes}.items() if tensor is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mapping.fc0.weight": None}, r"missing mapping\.fc0\.weight;"),
        ({"b": torch.zeros(1), "a\n": torch.zeros(1)}, r"surplus 'a\\n', b;"),
        ({k: torch.zeros(1) for k in "abcde"}, "surplus a, b, c and 2 more;"),
        ({"mapping.w_avg": torch.zeros(7)}, r"w_avg has shape \(7,\) where \(6,\) is needed"),
        ({"mapping.w_avg": torch.zeros(6).int()}, r"w_avg has type torch\.int32 where a float"),
        ({"mapping.w_avg": torch.zeros(6).bool()}, r"w_avg has type torch\.bool where a float"),
        ({"mapping.w_avg": torch.full((6,), np.nan)}, r"mapping\.w_avg holds NaN or infinity"),
        ({"mapping.w_avg": torch.full((6,), np.inf)}, r"mapping\.w_avg holds NaN or infinity"),
        (
            {"mapping.w_avg": torch.full((6,), 1e99, dtype=torch.float64)},
            "w_avg holds NaN or infinity",
        ),
        ({"mapping.w_avg": None, "x": torch.zeros(1)}, r"missing mapping\.w_avg; surplus x;"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_tensors_that_do_not_fit_the_header_are_named(tmp_path, changes, message):
    tensors = spoilt(random_tensors(TWO), changes)
    refused(write(tmp_path / "x.safetensors", tensors=tensors), message)


def test_message_about_many_wrong_tensors_stays_short(tmp_path):
    path = write(tmp_path / "x.safetensors", header=config_to_json(replace(TWO, w_dim=12)))
    refused(path, "and [0-9]+ more; export the checkpoint again")


@pytest.mark.parametrize("name", CONFIGS)
def test_expected_shapes_are_those_of_the_network(make_network, name):
    state = make_network(config=CONFIGS[name]).state_dict()
    assert expected_shapes(CONFIGS[name]) == {k: tuple(t.shape) for k, t in state.items()}


@pytest.mark.parametrize(
    ("options", "styles", "conv"),
    [({}, 4946 + 4, 4914), ({"channel_base": 65536, "channel_max": 1024}, 9890 + 4, 9826)],
    ids=["T", "R"],
)
def test_published_stylegan3_sizes_are_sound(options, styles, conv, tmp_path):
    config = stylegan3_config(resolution=1024, **options)
    layers = config.styled_layers()
    assert sum(layer.size for layer in layers) == styles
    assert sum(layer.size for layer in layers if layer.kind == "conv") == conv
    # Nothing but the tensors is missed: the numbers themselves are accepted.
    with pytest.raises(CheckpointError, match=r"missing mapping\.fc0\.bias"):
        GeneratorCheckpoint.of(tmp_path, config, {}, "nvidia")
