"""MobileStyleGAN's checkpoints in their authors' names."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch

from styleatlas.engine.checkpoints.filled import NO_AVERAGE, NO_NOISE
from styleatlas.engine.checkpoints.mobile_stylegan import NO_STATIC_STYLE
from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.engine.models.generator import build
from styleatlas.store.errors import CheckpointError

from ...attacks import hostile
from ...checkpoint_files import random_tensors, small_mobile_stylegan
from ...mobile_files import lightning_state
from ...near import assert_near

CONFIG = small_mobile_stylegan()


@pytest.fixture
def static() -> dict[str, torch.Tensor]:
    layers = CONFIG.styled_layers()
    return {la.name: torch.randn(la.size) for la in layers if ".conv" in la.name}


@pytest.fixture
def state(static) -> dict[str, torch.Tensor]:
    return lightning_state(CONFIG, random_tensors(CONFIG), static)


def saved(tmp_path, content):
    path = tmp_path / "mobilestylegan.ckpt"
    torch.save(content, path)
    return path


def demodulated(tensors, static):
    """Every output divided by its norm, one by one, under the vector in place of a style."""
    found = dict(tensors)
    for layer, vector in static.items():
        name = f"synthesis.{layer}"
        full = f"{name}.weight" in tensors
        key = f"{name}.weight" if full else f"{name}.pointwise"
        found[key] = tensors[key].clone()
        for output in found[key]:
            kernels = output if full else output * tensors[f"{name}.depthwise"][:, 0]
            norm = (kernels * vector[:, None, None] / math.sqrt(9 * len(vector))).norm()
            output /= norm
    return found


@torch.no_grad()
def test_state_of_training_is_read_with_its_demodulation(tmp_path, state, static):
    content = {"epoch": 3, "state_dict": {**state, "teacher.x": torch.ones(2)}}
    read = read_checkpoint(saved(tmp_path, content))
    assert (read.dialect, read.family, read.notes) == (
        "mobile_stylegan",
        "mobile_stylegan",
        (NO_AVERAGE,),
    )
    assert read.config == small_mobile_stylegan(mapping_lr=0.01)
    network, wanted = build(read.config), build(CONFIG)
    network.load_state_dict(read.tensors)
    wanted.load_state_dict(demodulated(random_tensors(CONFIG), static))
    styles = [torch.randn(2, layer.size) for layer in CONFIG.styled_layers()]
    assert_near(network.synthesis(styles), wanted.synthesis(styles))
    z = torch.randn(3, CONFIG.z_dim)
    assert_near(network.mapping(z), wanted.mapping(z))


def test_what_lightning_keeps_beside_the_state_is_passed_over(tmp_path, state):
    named = {
        "pytorch_lightning.callbacks.model_checkpoint": ("ModelCheckpoint", object),
        "pytorch_lightning.utilities.parsing": ("AttributeDict", dict),
    }
    modules = {part: ModuleType(part) for part in ("pytorch_lightning", *named)}
    made = []
    for module, (name, base) in named.items():
        made.append(type(name, (base,), {"__module__": module}))
        setattr(modules[module], name, made[-1])
    callback, attributes = made
    content = {
        "callbacks": {callback: {"best": torch.tensor(1.0)}},
        "hyper_parameters": attributes(lr=0.1),
        "state_dict": state,
    }
    with hostile.modules_of(modules):
        path = saved(tmp_path, content)
    assert read_checkpoint(path).sha256() == read_checkpoint(saved(tmp_path, state)).sha256()


def test_averaged_student_is_preferred(tmp_path, state):
    other = {name: tensor * 2 for name, tensor in state.items() if name.startswith("student.")}
    ema = {name.replace("student.", "student_ema."): t for name, t in state.items()}
    read = read_checkpoint(saved(tmp_path, {"state_dict": {**other, **ema}}))
    assert read.sha256() == read_checkpoint(saved(tmp_path, state)).sha256()


def test_what_the_file_lacks_is_filled_alike_and_noted(tmp_path, state):
    bare = {k: v for k, v in state.items() if not k.endswith((".map", ".vector"))}
    first, second = (read_checkpoint(saved(tmp_path, bare)) for _ in range(2))
    assert first.notes == (NO_AVERAGE, NO_STATIC_STYLE, NO_NOISE)
    assert first.sha256() == second.sha256()
    ones = {k: torch.ones_like(v) if k.endswith(".vector") else v for k, v in state.items()}
    same = read_checkpoint(saved(tmp_path, ones)).tensors["synthesis.b8.conv2.pointwise"]
    assert torch.equal(first.tensors["synthesis.b8.conv2.pointwise"], same)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"student.conv1.bias": None}, "has no conv1.bias"),
        ({"student.layers.1.up.modulation.bias": None}, "has no layers.1.up.modulation.bias"),
        ({"student.layers.0.conv2.conv.weight_permute": torch.ones(3, 3)}, r"shape \(3, 3\), not"),
        ({"student.input.input": torch.ones(1, 11, 4, 4)}, "shape|four bands"),
        ({"student.layers.1.to_img.bias": torch.ones(13)}, "a to_img of 13 channels"),
        ({"mapping_net.layers.1.bias": None}, "parts of one"),
        ({"mapping_net.layers.1.weight": torch.ones(6)}, "no matrix"),
        ({"mapping_two.0.weight": torch.ones(2, 2)}, "2 mapping networks"),
        ({"student.layers.0.conv1.conv.other": torch.ones(3)}, "2 vectors beside"),
        ({"student.conv1.bias": "text"}, "where a tensor is needed"),
    ],
)
def test_state_that_does_not_fit_is_refused_by_the_tensor(tmp_path, state, change, message):
    spoilt = {k: v for k, v in {**state, **change}.items() if v is not None}
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(saved(tmp_path, {"state_dict": spoilt}))
    assert str(caught.value).startswith(str(tmp_path)) and str(caught.value).isprintable()
