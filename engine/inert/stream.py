"""The stream torch.save wrote before it wrote zip files, and writes for a storage by itself.

Five pickles (magic number, version, system, object, list of storage keys), then for each key the
number of elements as int64 and the elements.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...store.errors import CheckpointError
from .budget import MEND, Budget
from .machine import Allowed, Symbol
from .objects import Storage
from .unpickle import unpickle

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001


def read_stream(
    data: memoryview, path: Path, allowed: Allowed, budget: Budget, place: str = ""
) -> Any:
    """The object in a stream, with records in place of tensors.

    Raises:
        CheckpointError: the stream is malformed or asks for a name not in `allowed`.
    """

    def refuse(reason: str) -> CheckpointError:
        return CheckpointError(f"{path}: {place}{reason}; {MEND}")

    def read(start: int, **names: Any) -> tuple[Any, int]:
        return unpickle(data, path, place=place, budget=budget, start=start, **names)

    if MAGIC.to_bytes(10, "little") not in bytes(data[:32]):
        raise refuse("does not begin as a file by torch.save does")
    magic, end = read(0, allowed={})
    if type(magic) is not int or magic != MAGIC:
        raise refuse("does not begin as a file by torch.save does")
    version, end = read(end, allowed={})
    if type(version) is not int or version != VERSION:
        raise refuse("is of another version of torch.save")
    system, end = read(end, allowed={})
    if type(system) is not dict or system.get("little_endian") is not True:
        raise refuse("was not saved on a little-endian machine")
    storages = Storages()
    result, end = read(end, allowed=allowed, persistent=storages.find)
    keys, end = read(end, allowed={})
    if (
        type(keys) is not list
        or not all(type(key) is str for key in keys)
        or len(set(keys)) != len(keys)
        or set(keys) != storages.found.keys()
    ):
        raise refuse("lists other storages than its tensors use")
    for key in keys:
        storage = storages.found[key]
        count = int.from_bytes(data[end : end + 8], "little", signed=True)
        if len(data) - end < 8 or count != storage.length:
            raise refuse(f"a storage has {count} elements where {storage.length} are declared")
        start, end = end + 8, end + 8 + count * storage.dtype.itemsize
        if end > len(data):
            raise refuse("is truncated")
        storage.data = data[start:end]
    if end != len(data):
        raise refuse("goes on after its end")
    return result


class Storages:
    """The storages that persistent identifiers of one file name."""

    def __init__(self) -> None:
        self.found: dict[str, Storage] = {}

    def find(self, identifier: object) -> Storage:
        """("storage", storage class, key, device, number of elements[, None])

        Raises:
            ValueError: the identifier is no such tuple, or contradicts an earlier one.
        """
        if type(identifier) is not tuple or len(identifier) not in (5, 6):
            raise ValueError("refers to something that is not a storage")
        word, symbol, key, device, length = identifier[:5]
        if (
            type(word) is not str
            or word != "storage"
            or type(symbol) is not Symbol
            or symbol.rule.dtype is None
            or type(key) is not str
            or type(device) is not str
            or type(length) is not int
            or length < 0
        ):
            raise ValueError("refers to something that is not a storage")
        if len(identifier) == 6 and identifier[5] is not None:
            raise ValueError("holds a view of a storage, which torch.save does not write")
        storage = self.found.get(key)
        if storage is None:
            storage = self.found[key] = self.open(key, Storage(symbol.rule.dtype, length))
        elif storage.dtype != symbol.rule.dtype or storage.length != length:
            raise ValueError("names one storage with two types or lengths")
        return storage

    def open(self, key: str, storage: Storage) -> Storage:
        """Find the bytes of a new storage; those of a stream come after the pickle."""
        return storage
