"""Which dialect a file is of, and what is said of files that are of none."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import zipfile
from argparse import Namespace

import numpy as np
import pytest
import torch
from PIL import Image

from styleatlas.engine.checkpoints.checkpoint import GeneratorCheckpoint
from styleatlas.engine.checkpoints.describe import checkpoint_record
from styleatlas.engine.checkpoints.native import write_generator
from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.store.errors import CheckpointError
from styleatlas.store.registry import EMBEDDED

from ...checkpoint_files import (
    modules_of,
    nvidia_pickle,
    random_tensors,
    rosinality_file,
    rosinality_state,
    small_stylegan2,
    small_stylegan3,
    tensorflow_pickle,
)

CONFIG = small_stylegan2()
TENSORS = {
    name: tensor.sub(1).add(1) if name.endswith("affine.bias") else tensor
    for name, tensor in random_tensors(CONFIG).items()
}


def write_dialect(path, dialect: str):
    """The same generator in any dialect."""
    if dialect == "nvidia":
        return nvidia_pickle(path, TENSORS, modules_of(CONFIG))
    if dialect == "tensorflow":
        return tensorflow_pickle(path, CONFIG, TENSORS)
    if dialect == "rosinality":
        state = rosinality_state(CONFIG, TENSORS)
        return rosinality_file(path, state, TENSORS["mapping.w_avg"])
    write_generator(path, GeneratorCheckpoint.of(path, CONFIG, TENSORS, "nvidia"))
    return path


DIALECTS = ["styleatlas", "nvidia", "tensorflow", "rosinality"]


def refused(path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["", ".pkl", ".pt", ".safetensors", ".h5"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialect_is_told_by_content(tmp_path, dialect, suffix):
    checkpoint = read_checkpoint(write_dialect(tmp_path / f"x{suffix}", dialect))
    assert checkpoint.dialect == dialect
    assert checkpoint.config == CONFIG


def test_same_weights_have_one_identity_and_convert_to_the_same_bytes(tmp_path):
    hashes, contents = set(), set()
    for dialect in DIALECTS:
        checkpoint = read_checkpoint(write_dialect(tmp_path / dialect, dialect))
        hashes.add(checkpoint.sha256())
        write_generator(tmp_path / "out", checkpoint)
        contents.add((tmp_path / "out").read_bytes())
    assert len(hashes) == len(contents) == 1


def test_header_whose_length_looks_like_a_pickle_is_one_of_safetensors(tmp_path):
    data = write_dialect(tmp_path / "x", "styleatlas").read_bytes()
    length = int.from_bytes(data[:8], "little")
    padding = (0x80 - length) % 256  # the first byte is that of a pickle
    padded = (length + padding).to_bytes(8, "little") + data[8 : 8 + length] + b" " * padding
    path = tmp_path / "y"
    path.write_bytes(padded + data[8 + length :])
    assert path.read_bytes()[:1] == b"\x80"
    assert read_checkpoint(path).config == CONFIG


SUPPORTED = "generators are read from NVIDIA's .pkl and state dicts of StyleGAN2 and StyleGAN3"
FOREIGN = {
    "empty": (b"", "is empty; get it again"),
    "text": (b"hello world", r"of a known kind \(it begins with 68 65 6c 6c 6f 20 77 6f\); gen"),
    "one byte": (b"\n", r"of a known kind \(it begins with 0a\)"),
    "web page": (b"\n <!DOCTYPE html><html>", "is a web page, so its download failed"),
    "web page without a type": (b"<HTML lang=en>", "is a web page"),
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid", "fetch it with `git lfs pull`"),
    "gzip": (gzip.compress(b"x"), "is packed with gzip; unpack it first"),
    "tar": (b"a" * 257 + b"ustar\0" + b"0" * 300, "is a tar archive; unpack it first"),
    "hdf5": (b"\x89HDF\r\n\x1a\nrest", "is an HDF5 file, such as an atlas; name the generator's"),
    "jpeg": (b"\xff\xd8\xff\xe0", "is a picture"),
    "onnx": (b"\x08\x08\x12\x07pytorch", f"is an ONNX model, .*exported from; {SUPPORTED}"),
    "tensorflow": (b'model_checkpoint_path: "x"', "is the index of a TensorFlow checkpoint"),
    "old pickle": (pickle.dumps([1], protocol=0), "is no checkpoint of a known kind"),
    "cut pickle": (pickle.dumps({"G_ema": [1] * 99}, protocol=4)[:-9], "is truncated"),
    "cut zip": (b"PK\x03\x04" + bytes(99), "zip"),
    "hostile pickle": (
        b"\x80\x04cos\nsystem\n(X\x02\0\0\0lstR.",
        r"asks for the Python .*os\.system",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_file_of_no_dialect_is_called_what_it_is(tmp_path, name):
    content, message = FOREIGN[name]
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    refused(path, message)


def test_places_without_a_file_are_named(tmp_path):
    refused(tmp_path / "none.pkl", "no such file; check the path, or name `avatars`")
    refused(tmp_path, "is a directory; name the file in it$")
    (tmp_path / "ffhq.pkl").touch()
    refused(tmp_path, r"is a directory; name the file in it, such as ffhq\.pkl$")
    (tmp_path / "model_index.json").touch()
    refused(tmp_path, "is a directory; it is a pipeline of Hugging Face's diffusers")
    refused(tmp_path / ("x" * 5000), "cannot be read|no such file")
    refused(EMBEDDED.atlas, "is an HDF5 file")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        refused(tmp_path / "pipe", "is no regular file")


def test_picture_and_array_are_named(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    refused(tmp_path / "x.png", "is a picture; name the generator's checkpoint")
    np.save(tmp_path / "x.npy", np.zeros(3))
    refused(tmp_path / "x.npy", "is a NumPy array")
    np.savez(tmp_path / "x.npz", np.zeros(3))
    refused(tmp_path / "x.npz", "zip file that torch.save did not write")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("image.png", b"x")
    refused(tmp_path / "x.zip", "zip file that torch.save did not write")


ZEROS = torch.zeros(2)
TORCH = {
    "part of a generator": ({"synthesis.b4.const": ZEROS}, "holds a part of a state dict in NVID"),
    "part of a decoder": (
        {"state_dict": {"decoder.synthesis.input.weight": ZEROS}, "opts": {}},
        "holds a part of a state dict in NVIDIA's names",
    ),
    "StyleGAN-XL": (
        {"G_ema": {"mapping.embed_proj.weight": ZEROS, "mapping.fc0.weight": ZEROS}},
        "holds the state dict of a StyleGAN-XL, .*no conversion mends that",
    ),
    "MMGeneration": (
        {"meta": {}, "state_dict": {"generator_ema.style_mapping.1.weight": ZEROS}},
        "holds a StyleGAN2 of MMGeneration or MMagic, no .* NVIDIA's .pkl or rosinality's .pt",
    ),
    "BasicSR": (
        {"params_ema": {"style_mlp.1.weight": ZEROS}},
        "holds a StyleGAN2 of BasicSR or GFPGAN, no .* NVIDIA's .pkl or rosinality's .pt",
    ),
    "lucidrains": (
        {"GAN": {"G.initial_block": ZEROS}, "version": "1.5.1"},
        "holds a StyleGAN2 of lucidrains' stylegan2_pytorch, no .*no conversion mends that",
    ),
    "StyleGAN of 2018": (
        {"g_running": {"module.generator.progression.0.conv1.weight": ZEROS}},
        "holds a StyleGAN of 2018, in rosinality's names, no",
    ),
    "diffusion": ({"down_blocks.0.weight": ZEROS}, "holds a diffusion model of Hugging Face's"),
    "encoder": ({"state_dict": {"encoder.body.0": ZEROS}}, "an encoder without its generator"),
    "clip": ({"visual.proj": ZEROS, "logit_scale": ZEROS}, "holds a CLIP, no generator.*--clip"),
    "mapper": ({"state_dict": {"mapper.x": ZEROS}}, "a latent mapper of StyleCLIP"),
    "face": ({"input_layer.0.weight": ZEROS}, "a face recogniser"),
    "other": ({"model": ZEROS, "a\nb": 1}, r"a dict of model, 'a\\nb', no generator"),
    "empty": ({}, "an empty dict, no generator"),
    "tensor": (ZEROS, "holds a tensor, no generator"),
    "list": ([ZEROS], "holds a list, no generator"),
    "namespace": (Namespace(x=1), "holds an object of argparse.Namespace"),
    "number keys": ({3: ZEROS, None: 1}, "a dict of 3, None"),
}


@pytest.mark.parametrize("name", TORCH)
def test_torch_file_without_generator_is_called_what_it_is(tmp_path, name):
    content, message = TORCH[name]
    path = tmp_path / "x.pt"
    torch.save(content, path)
    refused(path, message)


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_torchscript_is_no_generator(tmp_path):
    class Scaled(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    path = tmp_path / "x.pt"
    with torch.inference_mode():
        torch.jit.save(torch.jit.trace(Scaled(), ZEROS), path)
    refused(path, "a TorchScript model, such as OpenAI's CLIP, no generator")


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (
            small_stylegan2(architecture="resnet", c_dim=3),
            {"family": "stylegan2", "architecture": "resnet", "num_ws": 6, "style_channels": 32}
            | {"conv_channels": 28, "conditional": True, "c_dim": 3},
        ),
        (
            small_stylegan3(),
            {"family": "stylegan3", "architecture": "config T", "num_ws": 5}
            | {"style_channels": 36, "conv_channels": 24, "conditional": False},
        ),
        (
            small_stylegan3(use_radial_filters=True, conv_kernel=1),
            {"family": "stylegan3", "architecture": "config R"},
        ),
    ],
    ids=["StyleGAN2", "T", "R"],
)
def test_record_tells_what_a_checkpoint_is(tmp_path, make_network, config, told):
    path = nvidia_pickle(tmp_path / "x.pkl", random_tensors(config), modules_of(config))
    checkpoint = read_checkpoint(path)
    record = checkpoint_record(path, checkpoint)
    assert json.loads(json.dumps(record)) == record
    assert {key: record[key] for key in told} == told
    assert record["dialect"] == "nvidia" and "non-commercial" in record["licence"]
    assert record["sha256"] == checkpoint.sha256()
    assert (record["z_dim"], record["w_dim"], record["resolution"]) == (5, 6, 16)
    assert sum(layer["channels"] for layer in record["layers"]) == record["style_channels"]
    network = make_network(config=config)
    assert record["parameters"] == sum(p.numel() for p in network.parameters())
