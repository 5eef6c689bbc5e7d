"""Weights as TensorFlow.js keeps them: `NAME.bin`, numbers one tensor after another, described by
`NAME-weights_manifest.json` beside it.

The manifest is a list of groups, each of them `paths` (of the files that hold its numbers) and
`weights`, in order: `name`, `shape`, `dtype` and, where numbers are kept as bytes, `quantization`:
a number is byte * `scale` + `min`. Only one group over one file is read, of float32 or uint8, as
face-api has it. No path that a manifest names is opened.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...store.errors import CheckpointError
from ..inert.objects import checked_lengths
from ..inert.unpickle import map_file
from .checkpoint import excerpt, is_real

MANIFEST = "-weights_manifest.json"
MAX_MANIFEST_BYTES = 2**20
MAX_WEIGHT_BYTES = 64 * 2**20
MAX_WEIGHTS = 4096
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Described:
    """One tensor of a manifest; `scale` and `low` are None where its numbers are float32."""

    name: str
    shape: tuple[int, ...]
    scale: float | None
    low: float | None

    @property
    def nbytes(self) -> int:
        """Of its numbers in the file."""
        return math.prod(self.shape) * (4 if self.scale is None else 1)


def read_tfjs(path: Path) -> dict[str, Tensor]:
    """The tensors of `NAME.bin` by name, float32, on the CPU, in the order and the shapes of the
    manifest: kernels are (height, width, inputs, outputs), dense ones (inputs, outputs).

    Raises:
        CheckpointError: one of the two files is missing, too large or malformed, or they do not
            fit each other: bytes missing or left over, numbers that are not finite.
    """
    described = read_manifest(path.with_name(path.stem + MANIFEST), path.name)
    data = map_file(path)
    if len(data) > MAX_WEIGHT_BYTES:
        raise _refused(path, f"has {len(data)} bytes, more than {MAX_WEIGHT_BYTES}")
    wanted = sum(weight.nbytes for weight in described)
    if len(data) != wanted:
        raise _refused(path, f"has {len(data)} bytes where its manifest describes {wanted}")
    tensors = {}
    start = 0
    for weight in described:
        tensors[weight.name] = _numbers(data[start : start + weight.nbytes], weight)
        start += weight.nbytes
        if not bool(tensors[weight.name].isfinite().all()):
            raise _refused(path, f"{excerpt(weight.name)} holds NaN or infinity")
    return tensors


def read_manifest(path: Path, weights_name: str) -> list[Described]:
    """What a manifest says of the one file `weights_name`, in order.

    Raises:
        CheckpointError: it is missing, too long, or anything but such a description.
    """
    content = map_file(path)
    if len(content) > MAX_MANIFEST_BYTES:
        raise _refused(path, f"has {len(content)} bytes, more than {MAX_MANIFEST_BYTES}")
    try:
        groups = json.loads(
            str(content, "utf-8"), object_pairs_hook=_object, parse_constant=_constant
        )
    except (ValueError, RecursionError) as error:
        reason = excerpt(str(error)[:60]) if isinstance(error, ValueError) else "nested too deep"
        raise _refused(path, f"is no sound JSON ({reason})") from error
    if type(groups) is not list or len(groups) != 1 or not _has(groups[0], "paths", "weights"):
        raise _refused(path, "is no list of one group of `paths` and `weights`")
    if groups[0]["paths"] != [weights_name]:
        raise _refused(path, f"does not describe {excerpt(weights_name)} alone")
    weights = groups[0]["weights"]
    if type(weights) is not list or not 0 < len(weights) <= MAX_WEIGHTS:
        raise _refused(path, f"does not list 1 to {MAX_WEIGHTS} weights")
    described = [_described(path, weight) for weight in weights]
    if len({weight.name for weight in described}) != len(described):
        raise _refused(path, "describes one name twice")
    return described


def _described(path: Path, weight: Any) -> Described:
    quantised = _has(weight, "name", "shape", "dtype", "quantization")
    if not quantised and not _has(weight, "name", "shape", "dtype"):
        raise _refused(path, "describes a weight by other than name, shape, dtype, quantization")
    name, shape = weight["name"], weight["shape"]
    if type(name) is not str or not 0 < len(name) <= 200:
        raise _refused(path, f"names a weight {excerpt(name)}")
    try:
        lengths = checked_lengths(tuple(shape) if type(shape) is list else shape, "its shape")
    except ValueError as error:
        raise _refused(path, f"{excerpt(name)}: {error}") from error
    if weight["dtype"] != "float32":
        raise _refused(path, f"{excerpt(name)} is of {excerpt(weight['dtype'])}, not of float32")
    if not quantised:
        return Described(name, lengths, None, None)
    how = weight["quantization"]
    if not _has(how, "dtype", "scale", "min") or how["dtype"] != "uint8":
        raise _refused(path, f"{excerpt(name)} is not quantised by dtype uint8, scale and min")
    scale, low = how["scale"], how["min"]
    if not (is_real(scale) and is_real(low) and abs(low) + 255 * abs(scale) <= LARGEST):
        raise _refused(path, f"{excerpt(name)} has scale {excerpt(scale)} and min {excerpt(low)}")
    return Described(name, lengths, float(scale), float(low))


def _numbers(data: memoryview, weight: Described) -> Tensor:
    if weight.scale is None or weight.low is None:
        values = np.frombuffer(data, "<f4").astype(np.float32)
    else:
        exact = np.frombuffer(data, np.uint8) * np.float64(weight.scale) + weight.low
        values = exact.astype(np.float32)
    return torch.from_numpy(values.reshape(weight.shape))


def _has(value: object, *keys: str) -> bool:
    """Whether a value from JSON is an object of exactly these keys."""
    return isinstance(value, dict) and value.keys() == set(keys)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("one key twice")
    return found


def _constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON's")


def _refused(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {reason}; it is damaged or no weights of face-api's, fetch it again by "
        "`styleatlas models fetch face-api`"
    )
