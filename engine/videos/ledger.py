"""What the file `<output>.work` keeps of an edit of a video: a record a frame, each written once
behind the others, so that nothing is lost with a process that is killed, and nothing is held in
memory."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...store.errors import InputError, OutputError, ResumeError
from ...store.fingerprint import from_json, to_json
from ...store.work import StateFile, value_parts

_MAGIC = b"styleatlas video 1\n"
_HEAD = struct.Struct("<4sQ32s")
"""Of a record: its kind, how many bytes follow, and the SHA-256 of all that is before and of
them."""
_MOST_PLAN = 2**20


class Ledger(StateFile):
    """Records of work on a video, in the order in which they were made.

    A record says by its digest that it, and all before it, are as they were written; what follows
    one that is not, as after a crash, is made again.

    Args:
        output: what will be written.
        plan: all that decides it, as JSON values.

    Raises:
        ResumeError: another process is at work on this output, or what is kept is of other work.
        OutputError: nothing can be written there.
    """

    def __init__(self, output: Path, plan: Mapping[str, Any]) -> None:
        super().__init__(output, "edit of a video")
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self._places: dict[bytes, list[tuple[int, int]]] = {}
        try:
            known = self.load(lambda path: self._read_plan(path, plan))
            self._open(to_json("plan", dict(plan)).encode(), bool(known))
        except BaseException:
            self.__exit__()
            raise

    def count(self, kind: bytes) -> int:
        """How many records of a kind of four letters there are."""
        return len(self._places.get(kind, ()))

    def read(self, kind: bytes, i: int) -> bytes:
        """The content of the i-th record of a kind."""
        place, size = self._places[kind][i]
        file = self._opened
        file.seek(place)
        content = file.read(size)
        if len(content) != size:
            raise ResumeError(f"{self.path}: was cut while it was in use; start again")
        return content

    def all(self, kind: bytes) -> Iterator[bytes]:
        """All of a kind."""
        return (self.read(kind, i) for i in range(self.count(kind)))

    def add(self, kind: bytes, content: bytes) -> None:
        """Writes a record behind the others.

        Raises:
            OutputError: it cannot be written.
        """
        file = self._opened
        try:
            place = file.seek(0, os.SEEK_END)
            digest = self._next(kind, content)
            file.write(_HEAD.pack(kind, len(content), digest) + content)
            file.flush()
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written ({error.strerror or error}); check permissions "
                "and free space, or choose another -o"
            ) from error
        self._places.setdefault(kind, []).append((place + _HEAD.size, len(content)))

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()
        super().__exit__(*error)

    @property
    def _opened(self) -> BinaryIO:
        assert self._file is not None  # from the end of __init__ on
        return self._file

    def _next(self, kind: bytes, content: bytes) -> bytes:
        self._digest.update(kind + struct.pack("<Q", len(content)) + content)
        return self._digest.copy().digest()

    def _read_plan(self, path: Path, plan: Mapping[str, Any]) -> bool:
        """Requires that the file is of this plan; False where it holds not even one."""
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise InputError("it is no such file")
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return False
            kind, size, _ = _HEAD.unpack(head)
            if kind != b"plan" or size > _MOST_PLAN:
                raise InputError("it is damaged")
            text = file.read(size)
            if len(text) < size:
                return False
        there = from_json("plan", text.decode())
        here = from_json("plan", to_json("plan", dict(plan)))
        self.require_same(value_parts(there), value_parts(here))
        return True

    def _open(self, plan: bytes, known: bool) -> None:
        """Takes up what is sound of the file, or begins it anew."""
        try:
            self._file = self.path.open("r+b" if known else "w+b")
            if not known:
                self._file.write(_MAGIC)
                self.add(b"plan", plan)
                return
            self._file.seek(len(_MAGIC))
            end = self._take_up(self._file)
            self._file.truncate(end)
            if not self.count(b"plan"):
                raise ResumeError(
                    f"{self.path}: cannot be resumed (it is damaged); delete it to start afresh, "
                    "or choose another -o"
                )
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be used ({error.strerror or error}); check permissions and "
                "free space, or choose another -o"
            ) from error

    def _take_up(self, file: BinaryIO) -> int:
        """Where the last sound record ends."""
        whole = os.fstat(file.fileno()).st_size
        while True:
            end = file.tell()
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return end
            kind, size, digest = _HEAD.unpack(head)
            if size > whole - end - _HEAD.size:
                return end
            content = file.read(size)
            before = self._digest.copy()
            if self._next(kind, content) != digest:
                self._digest = before
                return end
            self._places.setdefault(kind, []).append((end + _HEAD.size, size))


def packed(**arrays: NDArray[Any]) -> bytes:
    """Arrays as the content of a record."""
    file = io.BytesIO()
    head = [[name, x.dtype.str, list(x.shape)] for name, x in arrays.items()]
    file.write(json.dumps(head).encode() + b"\n")
    for array in arrays.values():
        file.write(np.ascontiguousarray(array).tobytes())
    return file.getvalue()


def unpacked(content: bytes) -> dict[str, NDArray[Any]]:
    """What `packed` made of them."""
    head, _, rest = content.partition(b"\n")
    arrays, start = {}, 0
    for name, dtype, shape in json.loads(head):
        kind, count = np.dtype(dtype), int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(rest, kind, count, start).reshape(shape)
        start += count * kind.itemsize
    return arrays
