"""Every hostile file is refused in one line that names it, soon, and nothing of it runs.

`README.md` beside this file says what each attack tries.
"""

from __future__ import annotations

import os
import pickle
import re
import sys
import time
from pathlib import Path

import pytest
import torch

from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.engine.inert import torchfile
from styleatlas.engine.inert.allowed import (
    LATENT_GLOBALS,
    MAPPER_GLOBALS,
    NVIDIA_GLOBALS,
    TENSORFLOW_GLOBALS,
)
from styleatlas.engine.inert.objects import InertObject, InertTensor, Storage
from styleatlas.engine.inert.torchfile import read_torch
from styleatlas.engine.inert.unpickle import MAX_FILE_BYTES, unpickle
from styleatlas.store.errors import CheckpointError, InputError

from .. import checkpoint_files
from . import hostile
from .clip_attacks import CLIPS
from .conftest import clean, traces
from .encoder_attacks import ENCODERS
from .generator_attacks import GENERATORS
from .graph_attacks import GRAPHS
from .latent_attacks import LATENTS
from .lpips_attacks import LPIPS_FILES
from .mapper_attacks import MAPPERS
from .mtcnn_attacks import MTCNN
from .own_encoder_attacks import OWN_ENCODERS
from .photo_attacks import PHOTOS
from .pickle_attacks import ARGUMENTS, BOMBS, EXECUTION, STATES, TENSORS, Attack, read_nvidia
from .size_attacks import SIZES
from .table_attacks import TABLES
from .tfjs_attacks import TFJS
from .torch_attacks import STREAMS, ZIPS
from .tuned_attacks import TUNED
from .video_attacks import VIDEOS

SECONDS = 10.0  # at work, waiting not counted, for the worst of them; most take milliseconds
# What the libraries import when they are first asked for it:
"".encode("cp437")  # a codec for names in zip files
with torch.device("meta"):  # how a network is built without memory for its weights
    torch.nn.Conv2d(1, 1, 1)
ATTACKS = {**EXECUTION, **STATES, **ARGUMENTS, **TENSORS, **STREAMS, **BOMBS, **ZIPS, **MAPPERS}
ATTACKS |= GENERATORS | LATENTS | CLIPS | SIZES | TABLES | TFJS | LPIPS_FILES | MTCNN | GRAPHS
ATTACKS |= PHOTOS | VIDEOS | TUNED | ENCODERS | OWN_ENCODERS


def refused(read, path: Path, message: str) -> None:
    """One line, not too long, that begins with the file's name."""
    with pytest.raises((CheckpointError, InputError)) as caught:
        read(path)
    said = str(caught.value)
    assert re.search(message, said), said
    assert said.startswith((f"{path}: ", f"{path}, "))
    assert said.isprintable()
    assert len(said) < len(str(path)) + 400


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_attack_is_refused(attack: Attack, tmp_path):
    path = tmp_path / "checkpoint"
    path.write_bytes(attack.make())
    modules = set(sys.modules)
    start = time.thread_time()
    refused(attack.read, path, attack.message)
    assert time.thread_time() - start < SECONDS
    assert set(sys.modules) == modules
    assert not traces()


@pytest.mark.parametrize(
    "name", ["os.system", "dotted name", "builtins.eval", "import of a module"]
)
def test_attack_works_on_pickle(name):
    """So the canary would be seen."""
    pickle.loads(ATTACKS[name].make())
    assert traces()
    clean()


def test_readme_lists_every_attack():
    text = Path(__file__).with_name("README.md").read_text("utf-8")
    files, _, _ = text.partition("# Hostile requests")
    assert re.findall(r"^\| `(.+?)` \|", files, re.M) == list(ATTACKS)


def test_source_in_a_snapshot_does_not_run(tmp_path):
    path = tmp_path / "snapshot.pkl"
    path.write_bytes(hostile.snapshot())
    generator = read_nvidia(path)["G_ema"]
    assert generator.kind == "torch_utils.persistence"
    assert generator.state.keys() == {"type", "version", "class_name", "state"}
    assert not traces()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "stream"])
def test_source_in_a_tuned_generator_does_not_run(tmp_path, monkeypatch, legacy):
    monkeypatch.setattr(checkpoint_files, "GUARD", hostile.PAYLOAD)
    config = checkpoint_files.small_stylegan2()
    tensors = checkpoint_files.random_tensors(config)
    path, modules = tmp_path / "model.pt", checkpoint_files.modules_of(config)
    checkpoint_files.nvidia_module(path, tensors, modules, legacy=legacy)
    assert hostile.PAYLOAD.encode() in path.read_bytes()
    found = read_checkpoint(path).tensors
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert not traces()


def test_code_in_a_torchscript_archive_does_not_run(tmp_path, capfd):
    inside = hostile.members(hostile.scripted())
    for name in inside:
        if name.endswith(".py"):
            inside[name] += hostile.PAYLOAD.encode()
        if name.endswith(("constants.pkl", ".debug_pkl")):
            inside[name] = EXECUTION["os.system"].make()
    path = tmp_path / "scripted.pt"
    path.write_bytes(hostile.zipped(inside))
    module = read_torch(path)
    assert module.state["layer"].state["weight"].load().tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert capfd.readouterr() == ("", "")
    assert not traces()


@pytest.mark.parametrize("form", ["snapshot", "zip", "stream"])
def test_truncated_anywhere(form, tmp_path):
    path = tmp_path / form
    if form == "snapshot":
        whole, read = hostile.snapshot(), read_nvidia
    else:
        whole, read = hostile.saved(hostile.training_save(), legacy=form == "stream"), read_torch
    for length in range(1, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=f"^{re.escape(str(path))}: "):
            read(path)


ODD = [
    hostile.constant(value)
    for value in (
        None,
        True,
        0,
        -1,
        10**12,
        2.5,
        "",
        "x",
        b"",
        b"x",
        (),
        (1,),
        [],
        [[]],
        {},
        {1: 2},
    )
] + [hostile.ORDERED_DICT, hostile.numpy_type(), hostile.numpy_type(state=None)]
INERT = (
    InertObject,
    InertTensor,
    Storage,
    dict,
    list,
    tuple,
    set,
    bytes,
    str,
    int,
    float,
    type(None),
)


ALLOWED = {**NVIDIA_GLOBALS, **TENSORFLOW_GLOBALS, **MAPPER_GLOBALS}
ODD_CALLS = {
    **{(*name, "checkpoint"): ALLOWED for name in ALLOWED},
    **{(*name, "latents"): LATENT_GLOBALS for name in LATENT_GLOBALS},
}


@pytest.mark.parametrize(("module", "name", "of"), sorted(ODD_CALLS))
def test_allowed_name_given_odd_arguments(module, name, of):
    """Whatever is passed, the outcome is a refusal or inert data."""
    allowed = ODD_CALLS[module, name, of]
    symbol = hostile.name(module, name)
    for odd in ODD:
        for count in range(8):
            for opcode in (b"R", b"\x81", b"b"):
                content = symbol + hostile.tuple_of(*[odd] * count) + opcode
                try:
                    result, _ = unpickle(hostile.pickled(content), Path("odd"), allowed)
                except CheckpointError:
                    continue
                assert isinstance(result, INERT)


def test_too_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr(torchfile, "MAX_MEMBERS", 3)
    path = tmp_path / "checkpoint"
    path.write_bytes(hostile.saved(torch.zeros(2)))
    refused(read_torch, path, "holds more than 3 members")


@pytest.mark.parametrize("read", [read_nvidia, read_torch])
def test_file_that_cannot_be_read(read, tmp_path):
    path = tmp_path / "checkpoint"
    refused(read, path, "no such file; check the path")
    path.write_bytes(b"")
    refused(read, path, "is empty")
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    refused(read, path, "more than any checkpoint")
    refused(read, tmp_path, "is no regular file")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        refused(read, tmp_path / "pipe", "is no regular file")
