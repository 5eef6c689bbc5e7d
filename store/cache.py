"""What is remembered between runs, in the user's cache folder unless another one is named:
embeddings of texts, inversions, and where generators lie that others were tuned from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.numpy import load, save

from .bank import normalise_prompt
from .checks import row_norms
from .errors import OutputError
from .fingerprint import ModelIdentity
from .output import replacing

MOST_BYTES = 2**28
"""Of all inversions together."""
CACHE_VARIABLE = "STYLEATLAS_CACHE"
"""The variable of the environment that names another folder for what is remembered."""
_FORMAT = "2"
INVERSION, _EMBEDDING = ".inversion", ".f4"
_LARGEST = 2**24  # bytes of one
_DIGEST = 32  # bytes of SHA-256


def cache_folder() -> Path:
    """Where the variable of the environment STYLEATLAS_CACHE says, or else in the user's own cache
    folder. It may not exist yet."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else user_cache_path("styleatlas")


class Remembered(NamedTuple):
    """A file of the cache: what it is found by, its bytes, and when it was written."""

    key: str
    bytes: int
    when: datetime


class TextCache:
    """Embeddings of prompts by one CLIP with one set of templates, a small file each.

    The cache is a convenience: a file that cannot be read, is damaged or does not fit is passed
    over, and a folder that cannot be written is left alone.

    Args:
        clip: what the embeddings come from, with all that is told of it: not that of an atlas of
            before, which may stand for several, whose embeddings differ.
        templates: the sentences each prompt was embedded in.
        width: the number of dimensions, D.
    """

    def __init__(self, clip: ModelIdentity, templates: Sequence[str], width: int) -> None:
        # Before there was a format, embeddings by other activations stood under one key.
        key = hashlib.sha256("\n".join([_FORMAT, clip.key, *templates]).encode()).hexdigest()
        self._folder: Path = cache_folder() / "texts" / key[:32]
        self._width = width

    def find(self, text: str) -> NDArray[np.float32] | None:
        """The embedding (D,) of a prompt, or None when it is not remembered."""
        path = self._path(text)
        size = 4 * self._width
        try:
            if path.stat().st_size != size:
                return None
            vector = np.frombuffer(path.read_bytes(), "<f4")
        except (OSError, ValueError):
            return None
        fits = vector.shape == (self._width,) and bool(abs(row_norms(vector[None])[0] - 1) < 1e-3)
        return vector.astype(np.float32) if fits else None

    def remember(self, text: str, embedding: NDArray[np.float32]) -> None:
        """Keep the embedding (D,) of a prompt for later runs, if the folder allows it."""
        path = self._path(text)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(embedding.astype("<f4").tobytes())
        except (OSError, OutputError):
            return

    def _path(self, text: str) -> Path:
        name = hashlib.sha256(normalise_prompt(text).encode()).hexdigest()
        return self._folder / f"{name}{_EMBEDDING}"


class InversionCache:
    """Inversions of photos remembered between runs, a small file each: arrays by name, as
    safetensors behind their digest.

    Like `TextCache` a convenience: what cannot be read, is damaged or too large is passed over.
    The oldest are given up where all are larger than `MOST_BYTES`.

    Args:
        folder: where they lie; in the user's cache if not given.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = cache_folder() / "inversions" if folder is None else folder

    def find(self, key: str) -> dict[str, NDArray[Any]] | None:
        """The arrays that are remembered by a key, or None."""
        path = self._path(key)
        try:
            if path.stat().st_size > _LARGEST:
                return None
            content = path.read_bytes()
            if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
                return None
            return load(content[_DIGEST:])
        except (OSError, SafetensorError, ValueError, KeyError):
            return None

    def remember(self, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep arrays by a key for later runs, if the folder allows it."""
        content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        if len(content) > _LARGEST - _DIGEST:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self._path(key)) as file:
                file.write(hashlib.sha256(content).digest() + content)
            self._give_up_oldest()
        except (OSError, OutputError):
            return

    def listed(self) -> list[Remembered]:
        """What is remembered, the newest first."""
        return _remembered(self.folder, f"*{INVERSION}")

    def clear(self) -> int:
        """Forget all; how many there were.

        Raises:
            OutputError: one cannot be removed.
        """
        return _forget([self._path(one.key) for one in self.listed()])

    def _give_up_oldest(self) -> None:
        held = 0
        for one in self.listed():
            held += one.bytes
            if held > MOST_BYTES:
                self._path(one.key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{INVERSION}"


def inversions_folder() -> Path:
    """Where the inversions in the user's cache lie."""
    return InversionCache().folder


def inversions() -> list[Remembered]:
    """The inversions in the user's cache, the newest first."""
    return InversionCache().listed()


def clear_inversions() -> int:
    """Forget the inversions in the user's cache; how many there were.

    Raises:
        OutputError: one cannot be removed.
    """
    return InversionCache().clear()


def texts_folder() -> Path:
    """Where the embeddings of texts in the user's cache lie, in a folder for each CLIP."""
    return cache_folder() / "texts"


def texts() -> list[Remembered]:
    """The embeddings of texts in the user's cache, the newest first."""
    return _remembered(texts_folder(), f"*/*{_EMBEDDING}")


def clear_texts() -> int:
    """Forget the embeddings of texts in the user's cache; how many there were.

    Raises:
        OutputError: one cannot be removed.
    """
    folder = texts_folder()
    return _forget(list(folder.glob(f"*/*{_EMBEDDING}")))


def _remembered(folder: Path, pattern: str) -> list[Remembered]:
    found = []
    with suppress(OSError):
        for path in folder.glob(pattern):
            with suppress(OSError):
                about = path.stat()
                when = datetime.fromtimestamp(about.st_mtime, timezone.utc)
                found.append(Remembered(path.stem, about.st_size, when))
    return sorted(found, key=lambda one: one.when, reverse=True)


def _forget(paths: Sequence[Path]) -> int:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be removed ({error.strerror or error}); check permissions"
            ) from error
    return len(paths)


def remember_place(sha256: str, path: Path) -> None:
    """Keep where the file or folder of a generator of these weights lies, if the folder allows it:
    what is tuned from it holds only the difference."""
    kept = _place(sha256)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replacing(kept) as file:
            file.write(os.fsencode(path.absolute()))
    except (OSError, OutputError):
        return


def remembered_place(sha256: str) -> Path | None:
    """Where a generator of these weights lay when something was tuned from it; None where nobody
    remembers, or it is there no longer."""
    try:
        found = Path(os.fsdecode(_place(sha256).read_bytes()))
        return found if found.exists() else None
    except (OSError, ValueError):
        return None


def _place(sha256: str) -> Path:
    return cache_folder() / "generators" / sha256
