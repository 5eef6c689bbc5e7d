"""Reads a pickle without running it: `machine.py` turns it into inert data.

A result is made of dict, list, tuple, set, str, bytes, int, float, bool, None, read-only numpy
arrays and what `records.py` defines. It holds no cycle and unfolds to a bounded number of parts,
so that a reader may walk it as a tree.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from ...store.errors import CheckpointError
from .budget import MEND, Budget
from .machine import Allowed, Machine, Unbuilt
from .objects import InertObject, InertTensor

MAX_FILE_BYTES = 4 * 2**30
MAX_NESTING = 200
# What is shared counts each time, as it does for a reader.
MAX_UNFOLDED = 2_000_000
LEAVES = {str, int, float, bool, type(None), InertTensor}
BRANCHES: dict[type, Callable[[Any], Collection[Any]]] = {
    dict: lambda value: value.values(),
    list: lambda value: value,
    tuple: lambda value: value,
    InertObject: lambda value: (value.args, value.state),
}


def read_pickle(path: Path, allowed: Allowed, start: int = 0) -> Any:
    """The content of a plain pickle file, or of what is a pickle from byte `start` on.

    Raises:
        CheckpointError: the file is unreadable, malformed, or asks for a name not in `allowed`.
    """
    data = map_file(path)
    result, end = unpickle(data, path, allowed, start=start)
    if end != len(data):
        raise CheckpointError(f"{path}: goes on after its end at byte {end}; {MEND}")
    return result


def unpickle(
    data: bytes | memoryview,
    path: Path,
    allowed: Allowed,
    *,
    persistent: Callable[[object], object] | None = None,
    start: int = 0,
    scripted: bool = False,
    place: str = "",
    budget: Budget | None = None,
) -> tuple[Any, int]:
    """The object pickled at `start` of `data`, and the offset of its end.

    Args:
        path: the file, for messages.
        allowed: the names the pickle may use.
        persistent: resolves the pickle's persistent identifiers; without it there may be none.
        scripted: classes of TorchScript (`__torch__.*`) become records.
        place: the part of the file, for messages: `data.pkl, `.
        budget: what the file may still cost; without it that of a file of this size.

    Raises:
        CheckpointError: the pickle is malformed or asks for a name not in `allowed`.
    """
    view = memoryview(data)
    machine = Machine(view, path, allowed, persistent, start, scripted, place, budget)
    try:
        result = machine.run()
        _require_tree(machine, result)
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, MemoryError) as e:
        # Every known defect has a check of its own; this keeps the promise for the unknown ones.
        raise machine.refuse(f"cannot be read ({type(e).__name__})") from e
    return result, machine.position


def map_file(path: Path) -> memoryview:
    """The bytes of a file, mapped rather than read.

    Raises:
        CheckpointError: there is no such file, or it is empty, too large or unreadable.
    """
    try:
        if not path.is_file():  # a pipe would block
            what = "is no regular file" if path.exists() else "no such file"
            raise CheckpointError(f"{path}: {what}; check the path")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                raise CheckpointError(f"{path}: is empty; get it again from its source")
            if size > MAX_FILE_BYTES:
                raise CheckpointError(
                    f"{path}: has {size} bytes, more than any checkpoint ({MAX_FILE_BYTES}); "
                    "check the path"
                )
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); check the path") from error


def _require_tree(machine: Machine, root: object) -> None:
    """Walk the result as a reader would; refuse it when that takes too long or goes too deep."""
    parts = 0
    path: list[Iterator[Any]] = [iter([root])]
    while path:
        for value in path[-1]:
            kind = type(value)
            if kind in LEAVES:
                continue
            if isinstance(value, Unbuilt):
                raise machine.refuse("holds an array or type whose content never came")
            if kind not in BRANCHES:
                continue
            items = BRANCHES[kind](value)
            parts += len(items)
            if parts > MAX_UNFOLDED:
                raise machine.refuse(f"unfolds to more than {MAX_UNFOLDED} parts")
            if items:
                if len(path) > MAX_NESTING:
                    raise machine.refuse(f"nests more than {MAX_NESTING} deep or holds itself")
                path.append(iter(items))
                break
        else:
            path.pop()
