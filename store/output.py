"""Writing a file so that a reader sees the old one or the whole new one, never a part."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import OutputError

LONGEST_NAME = 255
"""Bytes of the name of a file, on every file system in use."""

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp")
_BESIDE = 14  # bytes by which the names of what is written beside a file are longer


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a temporary file beside ``path``, open for writing.

    When the block ends the file is forced to disk and takes the place of ``path``; when it
    raises, Ctrl-C included, the temporary file is removed and ``path`` stays as it was.

    Raises:
        OutputError: ``path`` is no place for a file, or an OSError while writing.
    """
    target = require_writable(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        sync_directory(target.parent)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(
            f"{path}: cannot be written ({reason}); check permissions and free space, "
            "or choose another place"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def require_writable(path: str | os.PathLike[str]) -> Path:
    """Where a file written to ``path`` will lie; asked before long work, so that none is lost.

    Raises:
        OutputError: ``path`` is no place for a file.
    """
    if "\0" in os.fspath(path):
        raise OutputError(f"{os.fspath(path)!r}: holds a zero byte, as no file's name does")
    # A link is followed, so that a link to a large disk stays one.
    target = Path(os.path.realpath(path))
    if len(os.fsencode(target.name)) > LONGEST_NAME - _BESIDE:
        raise OutputError(f"{path}: the name is too long; shorten it")
    if target.exists() and not target.is_file():
        what = "a directory" if target.is_dir() else "not a regular file"
        raise OutputError(f"{path}: is {what}; name a file to write")
    if not target.parent.is_dir():
        raise OutputError(f"{path}: the directory {target.parent} does not exist; create it first")
    if not os.access(target.parent, os.W_OK):
        raise OutputError(f"{path}: the directory {target.parent} is not writable; choose another")
    return target


@dataclass(frozen=True)
class Naming:
    """How files of a kind are called, and what is said of one that is not."""

    suffixes: tuple[str, ...]
    wanted: str

    def require(self, path: str | os.PathLike[str]) -> None:
        """Raise OutputError unless `path` is called so and can be written; asked before the work,
        so that none is lost."""
        if Path(path).suffix.lower() not in self.suffixes:
            raise OutputError(f"{path}: {self.wanted}")
        require_writable(path)


FILMS = (".gif", ".webp", ".mp4")
PICTURE = Naming((".png",), "pictures are written as PNG; end the name in .png")
FILM = Naming(FILMS, "films are written as GIF, WebP or MP4; end the name in .gif, .webp or .mp4")
PICTURE_OR_FILM = Naming((".png", *FILMS), PICTURE.wanted)
PHOTO = Naming(
    (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".heic", ".heif"),
    "photos are written as JPEG, PNG, WebP, TIFF or HEIC; end the name in .jpg, .png, .webp, .tif "
    "or .heic",
)
STYLES = Naming((".npz",), "styles are written as NumPy's .npz; end the name in .npz")
REPORT = Naming((".html", ".htm"), "reports are written as HTML; end the name in .html")
CONVERTED = Naming((".safetensors",), "a converted checkpoint's name must end in .safetensors")
ATLAS = Naming((".h5", ".hdf5"), "an atlas is an HDF5 file; end the name in .h5")
TUNED = Naming((".safetensors",), "a tuned generator's name must end in .safetensors")
ENCODER = Naming((".safetensors",), "an encoder's name must end in .safetensors")
MAPPER = Naming((".safetensors",), "a mapper's name must end in .safetensors")


def require_space(
    path: str | os.PathLike[str], needed: int, elsewhere: str = "choose another -o"
) -> None:
    """Raise OutputError unless so many bytes are free where ``path`` lies; asked before long work.
    A disk that does not tell is taken to have room.

    Args:
        elsewhere: how another place is chosen, as the message tells it.
    """
    target = Path(os.path.realpath(path))
    try:
        free = shutil.disk_usage(target.parent).free
    except OSError:
        return
    if free < needed:
        raise OutputError(
            f"{path}: the work needs {needed:,} bytes in {target.parent}, and {free:,} are free "
            f"there; free some, or {elsewhere}, on a larger disk"
        )


def leftovers(folder: Path) -> Iterator[tuple[Path, str]]:
    """What killed processes left of :func:`replacing`: each file and the name it was to take."""
    for path in list(folder.iterdir()):
        match = _TEMPORARY.fullmatch(path.name)
        if match and path.is_file():
            yield path, match[1]


def sync_directory(path: Path) -> None:
    """Force the names in a directory to disk."""
    if os.name != "posix":  # elsewhere a directory cannot be opened
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
