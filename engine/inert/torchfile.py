"""Files by torch.save and torch.jit.save: a zip of a pickle and raw tensors, or the older stream.

Of a zip only the central directory, `data.pkl`, `byteorder` and the tensors are read. A
TorchScript archive also carries code and constants, which are never opened.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from ...store.errors import CheckpointError
from .allowed import TORCH_GLOBALS
from .budget import MEND, Budget
from .machine import Allowed
from .objects import Storage, escaped
from .stream import Storages, read_stream
from .unpickle import map_file, unpickle

MAX_MEMBERS = 65_536
MAX_DIRECTORY_BYTES = 8 * 2**20
ENCRYPTED = 0x1 | 0x40 | 0x2000
UTF8 = 0x800


def read_torch(path: Path, allowed: Allowed = TORCH_GLOBALS) -> Any:
    """The object in a file, with records in place of tensors and of every object with a class.

    Args:
        allowed: the names the file may use.

    Raises:
        CheckpointError: the file is unreadable, malformed, or asks for a name that is not
            supported.
    """
    data = map_file(path)
    budget = Budget.of(len(data))
    if bytes(data[:4]) != b"PK\x03\x04":
        return read_stream(data, path, allowed, budget)
    members = _members(path, data)
    roots = [name.removesuffix("/data.pkl") for name in members if name.endswith("/data.pkl")]
    roots = [root for root in roots if "/" not in root]
    if len(roots) != 1:
        raise CheckpointError(
            f"{path}: is a zip file that torch.save did not write (no data.pkl in a single "
            "folder); name a checkpoint"
        )
    root = roots[0]
    if bytes(members.get(f"{root}/byteorder", b"little")[:8]).strip() != b"little":
        raise CheckpointError(
            f"{path}: was saved on a big-endian machine; save it again on a little-endian one"
        )
    storages = _Members(members, root)
    result, end = unpickle(
        members[f"{root}/data.pkl"],
        path,
        allowed,
        persistent=storages.find,
        scripted=f"{root}/constants.pkl" in members,
        place="data.pkl, ",
        budget=budget,
    )
    if end != len(members[f"{root}/data.pkl"]):
        raise CheckpointError(f"{path}: data.pkl goes on after its end; {MEND}")
    return result


class _Members(Storages):
    """Storages that are members of a zip."""

    def __init__(self, members: dict[str, memoryview], root: str) -> None:
        super().__init__()
        self.members = members
        self.root = root

    def open(self, key: str, storage: Storage) -> Storage:
        data = self.members.get(f"{self.root}/data/{key}")
        if data is None:
            raise ValueError("refers to a storage that the file does not hold")
        if len(data) != storage.length * storage.dtype.itemsize:
            raise ValueError(
                f"declares a storage of {storage.length} {storage.dtype} which has "
                f"{len(data)} bytes"
            )
        storage.data = data
        return storage


def _members(path: Path, data: memoryview) -> dict[str, memoryview]:
    """The bytes of every member but TorchScript's code, which is compressed and left so."""
    directory = _directory_start(path, data)
    try:
        with zipfile.ZipFile(path) as file:
            entries = sorted(file.infolist(), key=lambda entry: entry.header_offset)
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        reason = f"has a broken zip directory ({type(error).__name__})"
        raise CheckpointError(f"{path}: {reason}; {MEND}") from error
    if len(entries) > MAX_MEMBERS:
        raise CheckpointError(f"{path}: holds more than {MAX_MEMBERS} members; {MEND}")
    members: dict[str, memoryview] = {}
    end = 0
    for entry in entries:
        name = entry.orig_filename
        start = _member_start(entry, data)
        problem = _entry_problem(entry)
        if start is None:
            problem = "whose header is missing or names another"
        elif name in members:
            problem = "twice"
        elif entry.header_offset < end:
            problem = "that overlaps another"
        elif start + entry.compress_size > directory:
            problem = "that reaches beyond the members"
        if problem is not None or start is None:
            raise CheckpointError(f"{path}: holds a member {escaped(name)} {problem}; {MEND}")
        end = start + entry.compress_size
        stored = entry.compress_type == zipfile.ZIP_STORED
        members[name] = data[start:end] if stored else data[:0]
    return members


def _entry_problem(entry: zipfile.ZipInfo) -> str | None:
    name = entry.orig_filename
    parts = PurePosixPath(name).parts
    if not name or name[0] == "/" or ".." in parts or set(name) & set("\\\0:"):
        return "outside its folder"
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "that is a link or a device"
    if entry.flag_bits & ENCRYPTED:
        return "that is encrypted"
    stored = entry.compress_type == zipfile.ZIP_STORED
    if stored and entry.file_size != entry.compress_size:
        return "of two sizes"
    if not stored and (parts[1:2] != ("code",) or len(parts) < 3):
        return "that is compressed, as torch.save leaves none"
    return None


def _member_start(entry: zipfile.ZipInfo, data: memoryview) -> int | None:
    """Where a member's bytes begin, behind a header that must name it as the directory does."""
    start = entry.header_offset + 30
    header = bytes(data[start - 30 : start])
    if len(header) != 30 or header[:4] != b"PK\x03\x04":
        return None
    name_length, extra_length = struct.unpack("<HH", header[26:])
    name = bytes(data[start : start + name_length])
    encoding = "utf-8" if entry.flag_bits & UTF8 else "cp437"
    return (
        start + name_length + extra_length if name == entry.orig_filename.encode(encoding) else None
    )


def _directory_start(path: Path, data: memoryview) -> int:
    """Where the members end. Refuses a directory too long for zipfile to read at ease, one with
    bytes after it, and one that does not begin where it says, as behind a prefix."""
    end = len(data) - 22
    tail = bytes(data[end:]) if end > 0 else b""
    if tail[:4] != b"PK\x05\x06" or tail[-2:] != b"\0\0":
        raise CheckpointError(f"{path}: is a truncated or foreign zip file; {MEND}")
    size, start = struct.unpack("<LL", tail[12:20])
    if end >= 76 and bytes(data[end - 20 : end - 16]) == b"PK\x06\x07":
        end -= 76
        record = bytes(data[end : end + 56])
        if record[:4] != b"PK\x06\x06":
            raise CheckpointError(f"{path}: has a broken zip directory; {MEND}")
        size, start = struct.unpack("<QQ", record[40:56])
    if size > MAX_DIRECTORY_BYTES or start + size != end:
        raise CheckpointError(f"{path}: has a zip directory of a wrong place or size; {MEND}")
    return int(start)
