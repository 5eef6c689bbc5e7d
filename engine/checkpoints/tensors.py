"""From what an untrusted file describes to tensors in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...store.errors import CheckpointError
from ..inert.objects import InertTensor
from .checkpoint import FLOATS, excerpt

PARALLEL = "module."


def without_parallel(state: Mapping[Any, Any]) -> dict[Any, Any]:
    """A state dict without the `module.` before every name, as DataParallel saves it."""
    return below(state, PARALLEL) if state and all(map(_is_parallel, state)) else dict(state)


def below(state: Mapping[Any, Any], prefix: str) -> dict[Any, Any]:
    """The part of a state dict under a prefix, without it; all of it for an empty one."""
    if not prefix:
        return dict(state)
    return {
        name.removeprefix(prefix): value
        for name, value in state.items()
        if isinstance(name, str) and name.startswith(prefix)
    }


def _is_parallel(name: object) -> bool:
    return isinstance(name, str) and name.startswith(PARALLEL)


def load_tensors(path: Path, described: Mapping[str, object]) -> dict[str, Tensor]:
    """Read tensors as float32; `described` holds a `InertTensor`, a NumPy array or, of files that
    are no pickles, a tensor a name.

    Raises:
        CheckpointError: something else, no floats, or more values than the file can hold.
    """
    values = 0
    for name, source in described.items():
        if isinstance(source, InertTensor | Tensor):
            kind, shape = source.dtype, source.shape
            is_float = source.dtype in FLOATS
        elif isinstance(source, np.ndarray):
            kind, shape = source.dtype, source.shape
            is_float = source.dtype.kind == "f" and source.dtype.itemsize <= 8
        else:
            raise CheckpointError(
                f"{path}: {excerpt(name)} is {excerpt(source)} where a tensor is needed; "
                "get the checkpoint from its source again"
            )
        if not is_float:
            raise CheckpointError(
                f"{path}: {excerpt(name)} has type {kind} where a float is needed; "
                "get the checkpoint from its source again"
            )
        values += int(np.prod(shape, dtype=object))
    # A value takes two bytes at least, so this leaves room for tensors that share memory.
    if values > path.stat().st_size:
        raise CheckpointError(
            f"{path}: it claims {values} numbers, more than the file can hold; "
            "get the checkpoint from its source again"
        )
    return {name: _loaded(source) for name, source in described.items()}


def _loaded(source: object) -> Tensor:
    if isinstance(source, InertTensor):
        return source.load().float()
    if isinstance(source, Tensor):
        return source.float()
    # NumPy arrays may be read-only or big-endian, which PyTorch does not take.
    return torch.from_numpy(np.array(source, dtype="<f4"))
