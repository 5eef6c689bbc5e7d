"""Single files out of an archive of others, by exact name, size and hash. Nothing else in it is
written, and nothing run.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, cast

from .errors import FetchError, OutputError
from .weights import Member

_MOST_ENTRIES = 20_000
_MOST_BYTES = 2**30
"""Of a whole archive that has to be read to find a file in it, once it is expanded."""
_SPOILT = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    RuntimeError,
    ValueError,
)


def unpack(archive: Path, members: Mapping[str, Member], folder: Path) -> None:
    """Write files of a wheel or of a tar.gz into a folder, by their own names.

    A file must be in the archive once, as a plain file and of the size stated; no more is ever read
    of it. What else the archive holds is passed over, and an archive of more than a gibibyte, or
    of more than 20,000 entries, refused.

    Args:
        members: by their paths in the archive.

    Raises:
        FetchError: the archive cannot be read, lacks a file, or has another than was published.
        OutputError: a file cannot be written.
    """
    entries = _of_zip if archive.suffix == ".whl" else _of_tar
    found = set()
    with _reading(archive):
        for name, plain, size, opened in entries(archive, members):
            member = members[name]
            if name in found:
                raise _other(archive, name, "is in it twice")
            if not plain:
                raise _other(archive, name, "is no plain file")
            if size != member.size:
                raise _other(archive, name, f"has {size:,} bytes, not {member.size:,}")
            with opened() as stream:
                content = stream.read(member.size + 1)
            if hashlib.sha256(content).hexdigest() != member.sha256:
                raise _other(archive, name, "is not what was published")
            _write(folder / Path(name).name, content)
            found.add(name)
    for name in members:
        if name not in found:
            raise _other(archive, name, "is missing")


Entry = tuple[str, bool, int, Callable[[], IO[bytes]]]
"""Name, whether it is a plain file, size in bytes, and what opens it."""


def _of_zip(path: Path, wanted: Mapping[str, Member]) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.orig_filename in wanted:
                kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where no mode is kept
                plain = kind in (0, stat.S_IFREG)
                yield info.orig_filename, plain, info.file_size, partial(archive.open, info)


def _of_tar(path: Path, wanted: Mapping[str, Member]) -> Iterator[Entry]:
    longest = max(member.size for member in wanted.values())
    with gzip.open(path) as expanded:
        bounded = cast(IO[bytes], _Bounded(expanded, longest))  # all that tarfile needs of one
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            for number, info in enumerate(archive):
                if number >= _MOST_ENTRIES:
                    told = f"has more than {_MOST_ENTRIES:,} entries"
                    raise FetchError(f"{path.name}: {told}; {_MEND}")
                if info.name in wanted:
                    plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
                    yield info.name, plain, info.size, partial(_opened, archive, info)


def _opened(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(info)
    if stream is None:
        raise tarfile.ReadError(f"{info.name} cannot be opened")
    return stream


class _Bounded:
    """A file of which no more is read than is reasonable, at once and in all.

    Args:
        longest: bytes of the longest read that is asked for.
    """

    def __init__(self, file: gzip.GzipFile, longest: int) -> None:
        self._file, self._longest = file, longest + 2**20  # a buffer's worth more

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self._longest or self._file.tell() + size > _MOST_BYTES:
            raise tarfile.ReadError("it expands to more than is reasonable")
        return self._file.read(size)

    def seek(self, at: int) -> int:
        if not 0 <= at <= _MOST_BYTES:
            raise tarfile.ReadError("it expands to more than is reasonable")
        return self._file.seek(at)

    def tell(self) -> int:
        return self._file.tell()


_MEND = "fetch it again, or from another index"


def _other(archive: Path, name: str, what: str) -> FetchError:
    return FetchError(f"{archive.name}: {name} {what}; {_MEND}")


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    try:
        yield
    except _SPOILT as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FetchError(f"{archive.name}: cannot be unpacked ({reason}); {_MEND}") from error


def _write(path: Path, content: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(
            f"{path.name}: cannot be written to {path.parent} ({error.strerror or error}); make "
            "room, or check permissions"
        ) from error
