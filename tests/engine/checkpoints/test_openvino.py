"""MobileStyleGAN as OpenVINO's graphs: read as it was written, and refused where it is another."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from styleatlas import load_generator
from styleatlas.engine.checkpoints.describe import checkpoint_record
from styleatlas.engine.checkpoints.filled import NO_AVERAGE
from styleatlas.engine.checkpoints.native import read_native, write_generator
from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.engine.models.generator import build
from styleatlas.store.errors import CheckpointError
from styleatlas.store.weights import fetched_file

from ...checkpoint_files import GOLDENS, random_tensors, small_mobile_stylegan
from ...mobile_files import openvino_folder
from ...near import assert_near

CONFIG = small_mobile_stylegan(channels={4: 12, 8: 8, 16: 16, 32: 5}, image_channels=1)


@pytest.fixture
def folder(tmp_path) -> Path:
    return openvino_folder(tmp_path / "graphs", CONFIG, random_tensors(CONFIG))


def spoilt(folder: Path, graph: str, pattern: str, other: str, count: int = 1) -> None:
    path = folder / f"{graph}Network.xml"
    text, found = re.subn(pattern, other, path.read_text(), count=count)
    assert found
    path.write_text(text)


def refused(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(folder)
    said = str(caught.value)
    assert said.startswith(str(folder)) and said.isprintable()
    return said


@torch.no_grad()
def test_generator_of_graphs_maps_and_draws_as_the_one_written(folder):
    read = read_checkpoint(folder)
    network, wanted = build(read.config), build(CONFIG)
    network.load_state_dict(read.tensors)
    wanted.load_state_dict(random_tensors(CONFIG))
    z = torch.randn(3, CONFIG.z_dim)
    assert_near(network.mapping(z), wanted.mapping(z))
    styles = [torch.randn(2, layer.size) for layer in CONFIG.styled_layers()]
    assert_near(network.synthesis(styles), wanted.synthesis(styles))
    for name, tensor in wanted.synthesis.state_dict().items():
        if "noise" not in name:
            assert torch.equal(read.tensors[f"synthesis.{name}"], tensor), name


def test_noise_keeps_its_strength(folder):
    found, written = read_checkpoint(folder).tensors, random_tensors(CONFIG)
    for layer in ("b4.conv1", "b32.conv2"):
        strength = float(found[f"synthesis.{layer}.noise_strength"])
        assert float(found[f"synthesis.{layer}.noise_const"].square().mean()) == pytest.approx(1)
        maps = written[f"synthesis.{layer}.noise_const"]
        maps = maps * written[f"synthesis.{layer}.noise_strength"]
        assert strength == pytest.approx(float(maps.square().mean().sqrt()))


def test_noise_of_zeros_stays_zero(tmp_path):
    tensors = random_tensors(CONFIG)
    tensors["synthesis.b8.conv1.noise_strength"].zero_()
    found = read_checkpoint(openvino_folder(tmp_path / "graphs", CONFIG, tensors)).tensors
    assert float(found["synthesis.b8.conv1.noise_strength"]) == 0
    assert found["synthesis.b8.conv1.noise_const"].abs().max() == 0


def test_average_w_is_a_mean_of_w_and_noted(folder):
    read = read_checkpoint(folder)
    assert read.notes == (NO_AVERAGE,)
    network = build(read.config)
    network.load_state_dict(read.tensors)
    with torch.no_grad():
        w = network.mapping(torch.randn(20000, CONFIG.z_dim))
    spread = w.std(0)
    assert ((network.mapping.w_avg - w.mean(0)).abs() < 0.05 * spread + 1e-6).all()


def test_average_w_has_the_same_bits_however_it_is_summed(folder):
    """It counts for the identity of the weights, which no processor may change."""
    read = read_checkpoint(folder)
    x = np.random.RandomState(0).standard_normal((10_000, CONFIG.z_dim))
    x /= np.sqrt((x**2).mean(1, keepdims=True) + 1e-8)
    for i in range(CONFIG.mapping_layers):
        weight = read.tensors[f"mapping.fc{i}.weight"].double().numpy()[:, ::-1]
        bias = read.tensors[f"mapping.fc{i}.bias"].double().numpy()
        x = np.einsum("ni,oi->no", x[:, ::-1], weight / math.sqrt(weight.shape[1])) + bias
        x = np.where(x > 0, x, 0.2 * x) * math.sqrt(2)
    wanted = [math.fsum(column) / len(x) for column in x.T[:, ::-1]]
    assert read.tensors["mapping.w_avg"].tolist() == np.float32(wanted).tolist()


@pytest.mark.parametrize("name", ["", "SynthesisNetwork.xml", "MappingNetwork.xml"])
def test_folder_and_either_graph_name_the_same_generator(folder, name):
    assert read_checkpoint(folder / name).sha256() == read_checkpoint(folder).sha256()


def test_converted_file_is_the_same_generator(folder, tmp_path):
    read = read_checkpoint(folder)
    write_generator(tmp_path / "g.safetensors", read)
    again = read_native(tmp_path / "g.safetensors")
    assert again.config == read.config
    assert again.sha256() == read.sha256()
    generator = load_generator(tmp_path / "g.safetensors", "cpu")
    assert generator.identity.sha256 == read.identity("g").sha256


def test_record_tells_family_and_licence(folder):
    record = checkpoint_record(folder, read_checkpoint(folder))
    assert (record["family"], record["dialect"]) == ("mobile_stylegan", "openvino")
    assert (record["resolution"], record["image_channels"], record["num_ws"]) == (64, 1, 11)
    assert "non-commercial" in record["licence"]
    assert record["style_channels"] == sum(layer.size for layer in CONFIG.styled_layers())


# Other networks


@pytest.mark.parametrize(
    ("graph", "pattern", "other", "message"),
    [
        ("Mapping", 'type="PReLU"', 'type="ReLU"', r"\(ReLU\) should be a PReLU of 2 inputs"),
        ("Mapping", 'keep_dims="true"', 'keep_dims="false"', "should be keep_dims true"),
        ("Mapping", 'transpose_b="true"', 'transpose_b="false"', "should be transpose_b true"),
        ("Synthesis", 'strides="2, 1"', 'strides="1, 2"', "should be strides 2, 1"),
        ("Synthesis", 'pads_begin="1, 1"', 'pads_begin="0, 0"', "should be pads_begin 1, 1"),
        ("Synthesis", 'dilations="1, 1"', 'dilations="2, 2"', "should be dilations 1, 1"),
        ("Synthesis", 'type="Multiply"', 'type="Divide"', "should be a Multiply of 2 inputs"),
        ("Synthesis", 'type="Result"', 'type="Sink"', "graph of 1 inputs and 0 results"),
        ("Synthesis", "<dim>64</dim>", "<dim>63</dim>", "an image of 16 to 4096 pixels"),
        ("Synthesis", 'type="Concat"', 'type="Split"', "should be a shape"),
    ],
)
def test_graph_of_another_network_is_refused_by_the_layer(folder, graph, pattern, other, message):
    spoilt(folder, graph, pattern, other, count=0)
    assert re.search(message, refused(folder))


def test_other_slope_is_refused(folder):
    path = folder / "SynthesisNetwork.bin"
    raw = path.read_bytes()
    assert raw.count(np.float32(0.2).tobytes()) >= 7
    path.write_bytes(raw.replace(np.float32(0.2).tobytes(), np.float32(0.1).tobytes()))
    assert "should be the number 0.2" in refused(folder)


def test_other_wavelet_is_refused(folder):
    path = folder / "SynthesisNetwork.bin"
    root = np.float32(np.sqrt(0.5)).tobytes()
    raw = path.read_bytes()
    path.write_bytes(raw[: raw.index(root)] + bytes(4) + raw[raw.index(root) + 4 :])
    assert "the filter of a Haar wavelet" in refused(folder)


def test_bands_swapped_are_refused(folder):
    """Edges that lead to another part of a split."""
    text = (folder / "SynthesisNetwork.xml").read_text()
    splits = re.findall(r'<layer id="(\d+)" name="\w+" type="VariadicSplit"', text)
    three = splits[1]
    text = re.sub(
        rf'from-layer="{three}" from-port="4"', f'from-layer="{three}" from-port="5"', text
    )
    (folder / "SynthesisNetwork.xml").write_text(text)
    assert "should be part 1 of a VariadicSplit" in refused(folder)


def test_not_finite_weights_are_refused(folder):
    path = folder / "SynthesisNetwork.bin"
    raw = bytearray(path.read_bytes())
    raw[:4] = np.float32(np.nan).tobytes()  # the constant comes first
    path.write_bytes(raw)
    assert "synthesis.b4.const holds NaN or infinity" in refused(folder)


def test_missing_graph_or_weights_are_named(folder):
    (folder / "MappingNetwork.xml").unlink()
    assert "MappingNetwork.xml: no such file" in refused(folder)


def test_missing_weights_are_named(folder):
    (folder / "SynthesisNetwork.bin").unlink()
    assert "lacks SynthesisNetwork.bin beside it" in refused(folder)


def test_graph_by_another_name_is_told_how_to_name_it(folder):
    other = folder / "face-detection.xml"
    (folder / "SynthesisNetwork.xml").rename(other)
    with pytest.raises(CheckpointError, match="name the folder"):
        read_checkpoint(other)


def test_other_folder_is_still_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is a directory"):
        read_checkpoint(tmp_path)


# The published weights


@pytest.mark.faces
@torch.inference_mode()
def test_published_generator_maps_and_draws_as_openvino_does():
    """The golden holds w and every 64th pixel, by OpenVINO 2026.4.1 in float32."""
    generator = load_generator(
        fetched_file("mobile-stylegan", "SynthesisNetwork.xml").parent, "cpu"
    )
    assert generator.layout.size == 6752
    z = torch.from_numpy(np.random.RandomState(0).randn(1, 512).astype(np.float32))
    w = generator.map(z)
    image = generator.render(generator.styles(w))[0]
    with np.load(GOLDENS / "mobile_stylegan_faces.npz", allow_pickle=False) as golden:
        assert_near(w[0, 0], torch.from_numpy(golden["w"]))
        wanted = torch.from_numpy(golden["image"])
    assert image.shape == (3, 1024, 1024)
    assert float((image[:, 32::64, 32::64] - wanted).abs().max()) < 1e-4 * float(image.std())
