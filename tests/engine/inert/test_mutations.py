"""Sound files whose unpickled content is spoilt at random: one line of refusal, never a crash.

The bytes of files are spoilt in tests/attacks; here it is what the dialects' readers walk.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from styleatlas.engine.checkpoints.read import _from_content
from styleatlas.engine.inert.allowed import NVIDIA_GLOBALS, TENSORFLOW_GLOBALS
from styleatlas.engine.inert.objects import InertObject, InertTensor, Storage
from styleatlas.engine.inert.torchfile import read_torch
from styleatlas.engine.inert.unpickle import read_pickle
from styleatlas.store.errors import CheckpointError

from ...checkpoint_files import (
    Config,
    modules_of,
    nvidia_pickle,
    random_tensors,
    rosinality_state,
    small_stylegan2,
    small_stylegan3,
    tensorflow_pickle,
)

TWO, THREE = small_stylegan2(channels={4: 3, 8: 2}), small_stylegan3(c_dim=2)
MUTATIONS = 150


def tensor_record(*shape: int, dtype: torch.dtype = torch.float32) -> InertTensor:
    count = int(np.prod(shape))
    storage = Storage(dtype, count, memoryview(bytes(count * dtype.itemsize)))
    return InertTensor(storage, 0, shape, torch.zeros(shape).stride())


VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 4, 10**9, 2**60, -(10**200), 0.0, -1.5, 1e308),
    *(float("nan"), float("inf"), "", "x", "a\nb", "lrelu", "z" * 500, b"b"),
    *((), [], {}, {1}, [1, 2], [8, 8], [None] * 2, [10**300] * 2, (1, 2, 3, 4), ["a"] * 4),
    *(np.zeros(0), np.zeros(()), np.array([3, 3]), np.zeros((3, 3, 2, 2), "f4"), np.zeros(3, "?")),
    *(tensor_record(), tensor_record(0), tensor_record(4, 4), tensor_record(3, 3, 3, 3)),
    *(tensor_record(2, dtype=torch.int64), tensor_record(1, 1, 1, 1, 1)),
    InertObject("argparse.Namespace", (), {}),
    InertObject("torch_utils.persistence"),
    InertObject("torch_utils.persistence", (), {"class_name": "X", "state": {}}),
    InertObject("dnnlib.tflib.network.Network"),
]
KEYS: list[Any] = ["x", "a\nb", 5, None, b"q", 1.5, "L0_1_1", "input", "z" * 500]


def copied(value: Any) -> Any:
    """All containers anew; what they hold stays the same."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(copied(item) for item in value)
    if isinstance(value, InertObject):
        return InertObject(value.kind, value.args, copied(value.state))
    return value


def containers(root: Any) -> list[Any]:
    """Every dict and list inside that is not empty."""
    found, pending = [], [root]
    while pending:
        value = pending.pop()
        value = value.state if isinstance(value, InertObject) else value
        if isinstance(value, dict | list) and value:
            found.append(value)
        if isinstance(value, dict | list | tuple):
            pending += value.values() if isinstance(value, dict) else value
    return found


def spoil(root: Any, dice: random.Random) -> None:
    for _ in range(dice.choice([1, 1, 1, 2, 4])):
        target = dice.choice(containers(root) or [[0]])
        place = dice.choice(list(target)) if isinstance(target, dict) else 0
        match dice.choice(["value", "value", "key", "gone"]):
            case "key" if isinstance(target, dict):
                target[dice.choice(KEYS)] = target.pop(place)
            case "gone":
                del target[place]
            case _:
                target[place] = copied(dice.choice(VALUES))


def snapshot_of(path: Path, config: Config) -> Any:
    nvidia_pickle(path, random_tensors(config), modules_of(config))
    return {"G_ema": read_pickle(path, NVIDIA_GLOBALS)["G_ema"]}


def networks(path: Path) -> Any:
    tensorflow_pickle(path, TWO, random_tensors(TWO), resample_kernel=[1, 3, 3, 1])
    return read_pickle(path, TENSORFLOW_GLOBALS)


def state_of(path: Path, tensors: Mapping[str, torch.Tensor]) -> Any:
    torch.save({"g_ema": dict(tensors), "latent_avg": torch.zeros(6)}, path)
    return read_torch(path)


DIALECTS: dict[str, Callable[[Path], Any]] = {
    "StyleGAN2": lambda path: snapshot_of(path, TWO),
    "StyleGAN3": lambda path: snapshot_of(path, THREE),
    "TensorFlow": networks,
    "rosinality": lambda path: state_of(path, rosinality_state(TWO, random_tensors(TWO))),
    "StyleGAN2's state dict": lambda path: state_of(path, random_tensors(TWO)),
    "StyleGAN3's state dict": lambda path: state_of(path, random_tensors(THREE)),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_spoilt_content_is_refused_in_one_line_or_still_sound(tmp_path, dialect):
    path = tmp_path / "x"
    content = DIALECTS[dialect](path)
    refused = 0
    for seed in range(MUTATIONS):
        spoilt = copied(content)
        spoil(spoilt, random.Random(seed))
        try:
            _from_content(path, spoilt)
        except CheckpointError as error:
            message = str(error)
            assert message.startswith(f"{path}: ") and "\n" not in message, seed
            assert len(message) < len(str(path)) + 700, seed
            refused += 1
    assert refused > MUTATIONS / 10
