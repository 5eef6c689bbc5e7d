"""Files that are handed out by unguessable names: pictures, films, latents; and photos, which are
not handed out."""

from __future__ import annotations

import filecmp
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...store.cache import INVERSION
from ...store.errors import DiskFull, Missing, TooLarge
from .nouns import Limits, Picture, Upload

TYPES = {
    **{".png": "image/png", ".webp": "image/webp", ".gif": "image/gif", ".mp4": "video/mp4"},
    **{".jpg": "image/jpeg", ".tif": "image/tiff", ".heic": "image/heic"},
    ".npz": "application/zip",
}
"""Of what is handed out, by the end of its name."""
LATENTS, _PHOTO = ".npz", ".photo"
_TOKEN = 24  # bytes
_KEY = r"[0-9a-f]{64}"
_NAME = re.compile(rf"[A-Za-z0-9_-]{{32}}(\.[a-z0-9]{{3,5}}|\.{_KEY}{re.escape(INVERSION)})")
_TEMPORARY = "incoming-"


def token() -> str:
    """A name that nobody guesses, 32 letters of a URL."""
    return secrets.token_urlsafe(_TOKEN)


@dataclass(frozen=True)
class _Kept:
    bytes: int
    created: float


class Pictures:
    """A folder of such files. What lies there is what there is: no other list can disagree.

    Args:
        folder: made if it is not there.
        limits: `disk`, `reserve` and `upload` of them.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder, self._limits = folder, limits
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        found: list[tuple[float, str, int]] = []
        for entry in os.scandir(folder):
            if entry.name.startswith(_TEMPORARY):
                os.unlink(entry.path)  # a killed service was at it
            elif _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                found.append((entry.stat().st_mtime, entry.name, entry.stat().st_size))
        self._kept = {name: _Kept(size, when) for when, name, size in sorted(found)}
        self._bytes = sum(size for _, _, size in found)
        for name in list(self._kept):
            if name.endswith(INVERSION) and not self.has_photo(name.partition(".")[0]):
                self._drop(name)  # a killed service had dropped the photo

    @property
    def size(self) -> int:
        """Bytes of all together."""
        return self._bytes

    def open(self, name: str, webp: bool = False) -> Picture:
        """A file to hand out; with `webp` the smaller one of the same picture, where there is one.

        Raises:
            Missing: there is none of that name.
        """
        smaller = f"{name.removesuffix('.png')}.webp"
        if webp and name.endswith(".png") and smaller in self._kept:
            name = smaller
        suffix = Path(name).suffix
        if suffix not in TYPES or name not in self._kept:
            raise Missing("picture: there is none of this name, or not any more")
        return Picture(self.folder / name, TYPES[suffix], name)

    def photo(self, upload: str) -> Path:
        """The file of a photo.

        Raises:
            Missing: there is none of that id.
        """
        return self._input(f"{upload}{_PHOTO}", "photo")

    def has_photo(self, upload: str) -> bool:
        """Whether it is still there."""
        return f"{upload}{_PHOTO}" in self._kept

    def are_one_photo(self, one: str, other: str) -> bool:
        """Whether two photos that are there have the same bytes."""
        with suppress(Missing, OSError):
            return filecmp.cmp(self.photo(one), self.photo(other), shallow=False)
        return False

    def latents(self, inverted: str) -> Path:
        """A file of latents.

        Raises:
            Missing: there is none of that id.
        """
        return self._input(f"{inverted}{LATENTS}", "latents")

    def _input(self, name: str, what: str) -> Path:
        if name not in self._kept:
            raise Missing(f"{what}: there are none of this id, or not any more; send them anew")
        return self.folder / name

    def adopt(self, path: Path, stem: str) -> str:
        """Takes in a file; its name here, with this stem."""
        name = f"{stem}{path.suffix.lower()}"
        there = self.folder / name
        linked(path, there)  # as other jobs may have made the same one
        self._keep(name, there.stat().st_size)
        return name

    def take_in(self, folder: Path, made: dict[str, Any]) -> dict[str, Any]:
        """Takes in what a worker made in a folder, as `Made` tells it; what is told of it then:
        names in place of files.

        Raises:
            OSError: there is no room.
            ValueError: it names a file of another place.
        """
        pictures = []
        for picture in made["pictures"]:
            file, stem = folder / picture["file"], token()
            name = self.adopt(_inside(folder, file), stem)
            if (smaller := file.with_suffix(".webp")) != file and smaller.exists():
                self.adopt(_inside(folder, smaller), stem)
            told = {key: value for key, value in picture.items() if key != "file"}
            pictures.append({"name": name, "type": TYPES[Path(name).suffix], **told})
        result = {"record": made["record"], "pictures": pictures, "notes": made["notes"]}
        if made["latents"] is not None:
            result["latents"] = token()
            self.adopt(_inside(folder, folder / made["latents"]), result["latents"])
        return result

    def lend_inversions(self, upload: str, folder: Path) -> None:
        """Lays what was found of a photo into the folder of a job, as an `InversionCache`."""
        with suppress(OSError):  # then it is found again
            folder.mkdir(exist_ok=True)
            for name in self._inversions(upload):
                linked(self.folder / name, folder / name.partition(".")[2])

    def keep_inversions(self, upload: str, folder: Path) -> None:
        """Takes in what a job found of a photo that is still there, and ends with it.

        Raises:
            OSError: there is no room.
        """
        known = set(self._inversions(upload))
        for path in folder.glob(f"*{INVERSION}"):
            name = f"{upload}.{path.name}"
            if self.has_photo(upload) and name not in known and _NAME.fullmatch(name):
                self.adopt(_inside(folder, path), f"{upload}.{path.stem}")

    def _inversions(self, upload: str) -> list[str]:
        with self._lock:
            return [n for n in self._kept if n.startswith(upload) and n.endswith(INVERSION)]

    async def receive(self, content: bytes | AsyncIterable[bytes]) -> Upload:
        """Takes in a photo, as it is.

        Raises:
            TooLarge: it has more bytes than are taken.
            DiskFull: there is no room.
        """
        self.require_room()
        temporary = self.folder / f"{_TEMPORARY}{token()}"
        size = 0
        try:
            with temporary.open("xb") as file:
                async for chunk in _chunks(content):
                    size += len(chunk)
                    if size > self._limits.upload:
                        raise TooLarge(
                            f"photo: has more than {self._limits.upload // 2**20} MiB; make it "
                            "smaller"
                        )
                    file.write(chunk)
            upload = token()
            os.replace(temporary, self.folder / f"{upload}{_PHOTO}")
        except ConnectionError:  # an OSError, too, but the client's
            raise
        except OSError as error:
            raise _full(error) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        return Upload(upload, size, self._keep(f"{upload}{_PHOTO}", size).created)

    def require_room(self) -> None:
        """Raise DiskFull where the disk has no more than the reserve."""
        if shutil.disk_usage(self.folder).free < self._limits.reserve:
            raise DiskFull(
                "disk: of the service has no room; try later, or tell who runs it to free some"
            )

    def remove(self, name: str) -> bool:
        """Ends a file, and the smaller one of the same picture; whether it was there."""
        smaller = f"{name.removesuffix('.png')}.webp"
        gone = [self._drop(one) for one in {name, smaller if name.endswith(".png") else name}]
        return any(gone)

    def remove_photo(self, upload: str) -> bool:
        """Ends a photo, and what was found of it; whether it was there."""
        return self._drop(f"{upload}{_PHOTO}")

    def forget_before(self, when: float) -> None:
        """Ends what came before a time."""
        with self._lock:
            old = [name for name, kept in self._kept.items() if kept.created < when]
        for name in old:
            self._drop(name)

    def _keep(self, name: str, size: int) -> _Kept:
        """Counts a file, and ends the oldest ones where all are too large."""
        kept = _Kept(size, time.time())
        with self._lock:
            self._kept[name] = kept
            self._bytes += size
        while self._bytes > self._limits.disk and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))
        return kept

    def _drop(self, name: str) -> bool:
        with self._lock:
            kept = self._kept.pop(name, None)
            if kept is None:
                return False
            self._bytes -= kept.bytes
        with suppress(OSError):
            (self.folder / name).unlink(missing_ok=True)
        if name.endswith(_PHOTO):
            for found in self._inversions(name.removesuffix(_PHOTO)):
                self._drop(found)
        return True


def forget_files(folder: Path, before: float, most: int) -> None:
    """Removes the files below a folder that are older than a time, and the oldest ones where all
    have more than so many bytes."""
    found = [(path.stat(), path) for path in folder.rglob("*") if path.is_file()]
    held = 0
    for about, path in sorted(found, key=lambda one: one[0].st_mtime, reverse=True):
        held += about.st_size
        if about.st_mtime < before or held > most:
            path.unlink(missing_ok=True)


def _inside(folder: Path, path: Path) -> Path:
    """A file of a folder. A worker that somebody took over might name others."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{path}: lies elsewhere")
    return path


def linked(path: Path, there: Path) -> None:
    """The same file at another place, or its copy where the file system has no such links.

    Raises:
        OSError: it cannot be there.
    """
    try:
        os.link(path, there)
    except OSError:
        shutil.copyfile(path, there)


async def _chunks(content: bytes | AsyncIterable[bytes]) -> AsyncIterable[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    async for chunk in content:
        yield chunk


def _full(error: OSError) -> DiskFull:
    return DiskFull(f"disk: the photo cannot be kept ({error.strerror or error}); try later")
