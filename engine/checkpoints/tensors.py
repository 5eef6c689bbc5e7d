"""From what an untrusted file describes to tensors in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...store.errors import CheckpointError
from ..inert.objects import InertTensor
from .checkpoint import FLOATS, excerpt


def load_tensors(path: Path, described: Mapping[str, object]) -> dict[str, Tensor]:
    """Read tensors as float32; `described` holds a `InertTensor` or a NumPy array a name.

    Raises:
        CheckpointError: something else, no floats, or more values than the file can hold.
    """
    values = 0
    for name, source in described.items():
        if isinstance(source, InertTensor):
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
    # NumPy arrays may be read-only or big-endian, which PyTorch does not take.
    return torch.from_numpy(np.array(source, dtype="<f4"))
