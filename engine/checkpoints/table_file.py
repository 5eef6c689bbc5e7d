"""Tables of channel relevance that other programs drew, and the statistics of styles beside them.

Their layouts are those of StyleCLIP (`fs3.npy`, `S_mean_std`) and stylegan3-editing
(`delta_i_c.npy`, `s_stats`). No code of a file runs, and no array is read before its size and type
are known to be sound.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...store.errors import InputError
from ..inert.allowed import ARRAY_GLOBALS
from ..inert.objects import InertTensor, escaped
from ..inert.torchfile import read_torch
from ..inert.unpickle import map_file, read_pickle
from .checkpoint import excerpt
from .read import TORCH_MAGIC

MAX_VALUES = 2**28
_NUMPY = b"\x93NUMPY"
_FARTHEST = 0.02
"""How far the length of a row may be from 1: CLIP's half floats leave a thousandth."""
_LARGEST = 1e30  # of a style, in what a float32 holds

Values = NDArray[np.float64]
Layers = tuple[tuple[str | None, Values], ...]
"""Numbers (n,) of each layer, and its name where the file tells it; one entry of all channels where
they are not apart."""


@dataclass(frozen=True, eq=False)
class StyleStatistics:
    """Mean and standard deviation of style channels, as a file has them."""

    mean: Layers
    std: Layers


def read_table(path: Path) -> Values:
    """The rows of a table, float64 (R, D) of unit length; zeros for rows without a number, which
    is what the builders leave of a channel that moves nothing.

    Raises:
        InputError: it holds something else.
        CheckpointError: a pickle or a file of PyTorch's that is not sound.
    """
    found = _content(path)
    shape = getattr(found, "shape", None)
    if shape is None:
        raise InputError(
            f"{path}: holds {excerpt(found)}, no table; name an array (channels, CLIP's width) "
            "such as fs3.npy, and statistics by --stats"
        )
    if len(shape) != 2 or min(shape) < 1:
        raise InputError(
            f"{path}: has shape {tuple(shape)}; a table has (channels, CLIP's width), such as "
            "(6048, 512)"
        )
    rows = _values(path, "a table", found)
    unknown = np.isnan(rows)
    dead = unknown.all(1)
    if unknown.any(1).sum() > dead.sum() or np.isinf(rows).any():
        raise InputError(f"{path}: holds NaN or infinity within a row; get it again")
    rows[dead] = 0
    with np.errstate(over="ignore"):  # infinity, which is no length of 1
        lengths = np.linalg.norm(rows, axis=1)
    off = (lengths > 0) & (np.abs(lengths - 1) > _FARTHEST)
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise InputError(
            f"{path}: {off.sum()} of {len(rows)} rows are not of length 1, the first of them row "
            f"{row} of {lengths[row]:.3g}; a table's rows are normalised means of unit steps in "
            "CLIP's space"
        )
    live = lengths > 0
    if not live.any():
        raise InputError(f"{path}: holds zeros or NaN alone, which edits nothing; get it again")
    rows[live] /= lengths[live, None]
    return rows


def read_statistics(paths: Sequence[Path]) -> StyleStatistics:
    """Mean and standard deviation of styles: of one file that holds both, a pair of lists or, as
    stylegan3-editing has them, (transform, means, deviations), or of two, the means first.

    Raises:
        InputError: something else, or numbers that cannot be such.
        CheckpointError: a pickle or a file of PyTorch's that is not sound.
    """
    if len(paths) == 1:
        path = paths[0]
        found = _content(path)
        both = list(found) if isinstance(found, list | tuple) else []
        if len(both) == 3 and isinstance(both[0], dict):  # the pose, which is none of a channel's
            both = both[1:]
        if len(both) != 2 or not all(isinstance(part, list | tuple | dict) for part in both):
            raise InputError(
                f"{path}: holds {excerpt(found)}; statistics are a pair of lists, means and "
                "standard deviations, with an array a layer, or two files, that of the means first"
            )
        places = [f"{path}: means", f"{path}: deviations"]
    elif len(paths) == 2:
        both, places = [_content(path) for path in paths], [str(path) for path in paths]
    else:
        raise InputError("statistics: are one file of means and deviations, or one of either")
    mean, std = (_layers(place, part) for place, part in zip(places, both, strict=True))
    if [values.shape for _, values in mean] != [values.shape for _, values in std]:
        raise InputError(f"{places[1]}: has other layers than the means; take both of one run")
    for place, layers in zip(places, (mean, std), strict=True):
        for name, values in layers:
            if not (np.abs(values) < _LARGEST).all():
                raise InputError(
                    f"{place}: holds NaN, infinity or what no style is{_of(name)}; compute it again"
                )
    for name, values in std:
        if (values < 0).any():
            raise InputError(
                f"{places[1]}: holds a deviation below 0{_of(name)}; give the file of means first"
            )
    return StyleStatistics(mean, std)


def _layers(place: str, content: object) -> Layers:
    if isinstance(content, dict):
        named = [(str(name), part) for name, part in content.items()]
    elif isinstance(content, list | tuple):
        named = [(None, part) for part in content]  # type: ignore[misc] # names or none
    else:
        named = [(None, content)]  # type: ignore[list-item]
    layers = []
    for name, part in named:
        shape = getattr(part, "shape", ())
        if not shape or max(shape) != math.prod(shape) or not math.prod(shape):
            raise InputError(
                f"{place}: holds {excerpt(part)}{_of(name)} where the numbers of a layer's "
                "channels should be; name a file such as S_mean_std"
            )
        layers.append((name, _values(place, "statistics", part).reshape(-1)))
    if not layers:
        raise InputError(f"{place}: holds no layers; name a file such as S_mean_std")
    return tuple(layers)


def _of(name: str | None) -> str:
    return "" if name is None else f" in {escaped(name)}"


def _values(place: str | Path, what: str, found: Any) -> Values:
    """An array of floats, or a tensor of them, as float64."""
    kind = found.dtype
    is_float = kind.is_floating_point if isinstance(found, InertTensor) else kind.kind == "f"
    if not is_float:
        raise InputError(f"{place}: has type {kind} where floats are needed; name a file of {what}")
    if math.prod(found.shape) > MAX_VALUES:
        raise InputError(f"{place}: holds more than {MAX_VALUES:,} numbers; name a file of {what}")
    with np.errstate(over="ignore"):  # infinity, which is refused
        if isinstance(found, InertTensor):
            return np.array(found.load().double().numpy())
        return np.array(found, np.float64)


def _content(path: Path) -> object:
    """What a file holds, as an array, or as inert data with arrays in it."""
    head = bytes(map_file(path)[:32])
    if head.startswith(_NUMPY):
        return _array(path)
    if head.startswith(b"PK\x03\x04") or TORCH_MAGIC in head:
        return read_torch(path)
    if head.startswith(b"\x80"):
        return read_pickle(path, ARRAY_GLOBALS)
    raise InputError(
        f"{path}: is no array of NumPy's, pickle or file of PyTorch's (it begins with "
        f"{head[:8].hex(' ')}); name a file such as fs3.npy or S_mean_std"
    )


def _array(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = read(file)
            start = file.tell()
        except Exception as error:  # NumPy hands on whatever Python's parser makes of a header
            raise InputError(f"{path}: is no sound NumPy file; save it again") from error
        if dtype.kind != "f" or dtype.itemsize > 8:
            raise InputError(
                f"{path}: has type {escaped(str(dtype))[:40]}; only arrays of floats of at most 64 "
                "bits are read"
            )
        size = os.fstat(file.fileno()).st_size - start
        if math.prod(shape) * dtype.itemsize != size:
            raise InputError(
                f"{path}: has {size} bytes for an array of shape {tuple(shape)[:8]}; get it again"
            )
        file.seek(0)
        try:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: is no sound NumPy file; save it again") from error
    return array
