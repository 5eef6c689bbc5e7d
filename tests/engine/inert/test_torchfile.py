"""Files by torch.save and torch.jit.save are read as torch.load reads them, but inert."""

from __future__ import annotations

import argparse
import io
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from styleatlas.engine.inert.objects import InertObject, InertTensor
from styleatlas.engine.inert.torchfile import read_torch
from styleatlas.store.errors import CheckpointError

from ...attacks import hostile

DTYPES = [
    *(torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
]


@pytest.fixture(params=["zip", "stream"])
def reread(request, tmp_path):
    """Save with torch, read with StyleAtlas."""

    def reread(content: object, **options: object) -> object:
        zipped = request.param == "zip"
        path = tmp_path / "file.pt"
        torch.save(content, path, _use_new_zipfile_serialization=zipped, **options)
        return read_torch(path)

    return reread


def same(found: InertTensor, wanted: torch.Tensor) -> bool:
    """Same values, type and shape; contiguous and without a gradient."""
    tensor = found.load()
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    assert tensor.is_contiguous() and not tensor.requires_grad
    return tensor.dtype == wanted.dtype and torch.equal(tensor, wanted)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type(reread, dtype):
    wanted = (torch.arange(24).reshape(2, 3, 4) % 5).to(dtype)
    assert same(reread(wanted), wanted)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol(reread, protocol):
    wanted = torch.randn(3, 4)
    assert same(reread([wanted], pickle_protocol=protocol)[0], wanted)


def test_views(reread):
    whole = torch.randn(2, 6, 4, 4)
    views = [
        *(whole, whole[1], whole[:, 2:5], whole.transpose(1, 2), whole[..., ::2]),
        *(whole.to(memory_format=torch.channels_last), whole[0, 0, 0, 0], whole[:0]),
        *(torch.tensor(2.5), torch.empty(0), torch.empty(3, 0, 2), torch.tensor(True)),
    ]
    for found, wanted in zip(reread(views), views, strict=True):
        assert same(found, wanted)


def test_state_dict_and_parameters(reread):
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    found = reread({"state": module.state_dict(), "weight": module[0].weight})
    assert type(found["state"]) is dict
    assert found["state"].keys() == module.state_dict().keys()
    assert all(same(found["state"][key], value) for key, value in module.state_dict().items())
    assert same(found["weight"], module[0].weight.detach())


def test_training_save(reread):
    found = reread(hostile.training_save())
    args = found["args"]
    assert (args.kind, args.args) == ("argparse.Namespace", ())
    assert (args.state["size"], args.state["path"]) == (8, "data")
    assert args.state["nested"].state == {"seed": None}
    assert found["latent_avg"].tolist() == [0, 1, 2]
    assert found["folder"].kind.startswith("pathlib.")
    assert found["folder"].args == ("runs", "1")


def test_optimiser_state(reread):
    """Old versions of torch number parameters by their address."""
    average = torch.randn(2, 3)
    state = {94_539_113_141_840: {"step": 7, "exp_avg": average}}
    found = reread({"state": state, "param_groups": [{"lr": 0.002, "betas": (0, 0.99)}]})
    assert same(found["state"][94_539_113_141_840]["exp_avg"], average)
    assert found["param_groups"] == [{"lr": 0.002, "betas": (0, 0.99)}]


def test_sizes_and_devices(reread):
    size, device = reread([torch.Size([1, 2]), torch.device("cuda:1")])
    assert size == (1, 2)
    assert (device.kind, device.args) == ("torch.device", ("cuda", 1))


def test_cuda_locations_are_ignored(tmp_path):
    path = tmp_path / "file.pt"
    path.write_bytes(
        hostile.archive(
            hostile.pickled(hostile.tensor((2, 2), (2, 1), source=hostile.zip_storage()), 2),
            {"0": np.arange(4, dtype=np.float32).tobytes()},
        )
    )
    assert read_torch(path).load().tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize("half", [False, True])
def test_torchscript(tmp_path, half):
    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
            self.scale = torch.nn.Parameter(torch.randn(()))
            self.register_buffer("mask", torch.ones(2, 2, dtype=torch.bool))
            self.widths = [3, 4]
            self.name = "block"

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers(x) * self.scale + len(self.widths) + len(self.name)

    path = tmp_path / "ViT-B-32.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; CLIP's files remain
        module = torch.jit.script(Block().half() if half else Block())
        torch.jit.save(module, str(path))
    found = read_torch(path)
    assert isinstance(found, InertObject)
    assert found.kind.startswith("__torch__.") and found.kind.endswith(".Block")
    assert (found.state["widths"], found.state["name"]) == ([3, 4], "block")
    wanted = module.state_dict()
    assert same(found.state["scale"], wanted["scale"])
    assert same(found.state["mask"], wanted["mask"])
    linear = found.state["layers"].state["0"]
    assert same(linear.state["weight"], wanted["layers.0.weight"])
    assert linear.state["training"] is True


def test_repacked_zip_is_read(tmp_path):
    """Without zip64, as other programs pack it."""
    path = tmp_path / "file.pt"
    path.write_bytes(hostile.zipped(hostile.members(hostile.saved({"a": torch.ones(2)}))))
    assert read_torch(path)["a"].load().tolist() == [1, 1]


def test_archive_without_byteorder_is_little_endian(tmp_path):
    """torch before 2.1 wrote none."""
    inside = hostile.members(hostile.saved(torch.ones(2)))
    path = tmp_path / "file.pt"
    path.write_bytes(
        hostile.zipped({name: raw for name, raw in inside.items() if "byteorder" not in name})
    )
    assert read_torch(path).load().tolist() == [1, 1]


@pytest.mark.parametrize("legacy", [False, True])
def test_reading_describes_and_loading_copies_once(tmp_path, legacy):
    size = 32 * 2**20
    path = tmp_path / "large.pt"
    path.write_bytes(hostile.saved([torch.ones(size // 8), torch.ones(size // 8)], legacy=legacy))
    tracemalloc.start()
    try:
        first, second = read_torch(path)
        described = tracemalloc.get_traced_memory()[1]
        first.load()
        loaded = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert described < 2**20
    assert loaded < size // 2 + 2**20
    assert second.load().sum() == size // 8


def test_compressed_archive_says_how_to_mend(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, raw in hostile.members(hostile.saved(torch.ones(2))).items():
            file.writestr(name, raw)
    path = tmp_path / "file.pt"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="compressed, as torch"):
        read_torch(path)


def test_path_of_a_namespace_is_a_record(tmp_path):
    path = tmp_path / "file.pt"
    torch.save(argparse.Namespace(path=Path("a", "b")), path)
    assert read_torch(path).state["path"].args == ("a", "b")
