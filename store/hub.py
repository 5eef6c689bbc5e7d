"""Files of the Hub of Hugging Face, fetched into the cache that all programs share.

What comes is bounded by the size that the Hub tells, and proven by the hash that it keeps a file
by, before anything reads it. A note of each lies beside the fetched weights: of these alone
`styleatlas models` knows.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from .errors import FetchError, NotOnHub, OptionError, OutputError, StyleAtlasError
from .hub_names import HubName, read_name
from .hub_refusals import quiet, refusal
from .output import replacing, require_space
from .progress import Progress, Report
from .version import __version__
from .weights import models_folder

MOST_BYTES = 2**34
"""Of one file."""
LIBRARY: dict[str, Any] = {"library_name": "styleatlas", "library_version": __version__}
_NOTE_BYTES, _SLACK = 2**13, 2**20
_ETAG = re.compile(r"[\w.+-]{1,200}", re.ASCII)
_SHA256, _SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


class HubFile(NamedTuple):
    """A file of the Hub that lies here: its name, with the commit it is of, and where."""

    name: HubName
    path: Path


class Kept(NamedTuple):
    """A file that was fetched.

    Args:
        name: with its commit.
        path: None where another program has removed it.
        bytes: its size.
        when: it came.
        note: the file that knows of it.
    """

    name: HubName
    path: Path | None
    bytes: int
    when: datetime
    note: Path


class _Told(NamedTuple):
    """What the Hub tells of a file."""

    size: int
    etag: str
    commit: str


_seen: dict[tuple[str, HubName], HubFile] = {}
"""What this process has asked for, by the cache: a run sees one commit of a branch."""


def fetched(source: str | HubName, report: Report | None = None) -> HubFile:
    """A file by its name on the Hub, from the cache if it is there. Where the name is none of a
    commit, it is that of the newest that the Hub tells, or, if the Hub cannot be asked, of the
    newest that is in the cache.

    Args:
        report: hears of a download; a terminal shows it where this is not given.

    Raises:
        OptionError: it is no name of a file.
        NotOnHub: the Hub has no such revision or file.
        FetchError: it may not be read, is too large, came damaged or in part, or not at all.
        OutputError: there is no room for it, or the cache cannot be written.
    """
    name = read_name(source) if isinstance(source, str) else source
    if not name.file:
        raise OptionError(f"{name}: is a whole repository; name a file in it: {name}/FILE")
    key = str(_cache()), name
    known = _seen.get(key)
    if known is None or not known.path.is_file():
        known = _seen[key] = _find(name, report)
    return known


def _find(name: HubName, report: Report | None) -> HubFile:
    here = cached(name)
    if here is not None and name.is_pinned:
        return _proven(here)
    try:
        told = _ask(name)
    except NotOnHub:
        raise
    except FetchError:
        if here is None:
            raise
        return _proven(here)
    if here is None or here.name.revision != told.commit:
        here = _download(name, told, report)
    return _proven(here, told.etag)


def cached(name: HubName) -> HubFile | None:
    """A file as it lies in the cache, without a look at the Hub; None where it does not."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(name.repository, name.file, revision=name.revision)
    return _here(name, path) if isinstance(path, str) else None


def kept() -> list[Kept]:
    """The files that were fetched by their names on the Hub, in the order of these."""
    found = []
    for note in (models_folder() / "hub").glob("*.json"):
        with suppress(OSError, ValueError, LookupError, TypeError, OptionError):
            told = _read_note(note)
            name = read_name(told["name"])
            here = cached(name)
            when = datetime.fromtimestamp(note.stat().st_mtime, timezone.utc)
            size = int(told["bytes"])
            found.append(Kept(name, here and here.path, size, when, note))
    return sorted(found, key=lambda one: str(one.name))


def remove(name: HubName) -> list[Kept]:
    """Remove what was fetched by this name, in any revision where it has none, or all of a
    repository that it names. Other files in the cache stay, and what else refers to the same bytes
    goes on doing so.

    Raises:
        OutputError: a file cannot be removed.
    """
    gone = [one for one in kept() if _covers(name, one.name)]
    for one in gone:
        try:
            if one.path is not None:
                _discard(HubFile(one.name, one.path))
            one.note.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"{one.name}: cannot be removed ({error.strerror or error}); check permissions"
            ) from error
    return gone


def _covers(name: HubName, other: HubName) -> bool:
    """Whether a name means a file of a commit; a branch or a tag, as the cache knows it."""
    if name.repository != other.repository or name.file not in ("", other.file):
        return False
    if name.revision is None or name.is_pinned:
        return name.revision in (None, other.revision)
    here = cached(other.at(name.revision))
    return here is not None and here.name == other


def _here(name: HubName, path: str) -> HubFile:
    """Where the cache keeps files: ../snapshots/COMMIT/FILE."""
    depth = name.file.count("/")
    return HubFile(name.at(Path(path).parents[depth].name), Path(path))


def _ask(name: HubName) -> _Told:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(name.repository, name.file, revision=name.revision)
    try:
        with quiet():
            told = get_hf_file_metadata(url, **LIBRARY)
    except Exception as error:  # whatever a network or a proxy can raise
        raise refusal(name, error) from error
    size, etag, commit = told.size, told.etag, told.commit_hash
    if size is None or not _ETAG.fullmatch(etag or "") or not _SHA1.fullmatch(commit or ""):
        raise FetchError(
            f"{name}: the server does not tell its size, hash and commit, as the Hub does; check "
            "HF_ENDPOINT and the proxy"
        )
    return _Told(size, etag or "", commit or "")


def _download(name: HubName, told: _Told, report: Report | None) -> HubFile:
    from huggingface_hub import hf_hub_download

    if told.size > MOST_BYTES:
        raise FetchError(
            f"{name}: holds {told.size:,} bytes, and files of at most {MOST_BYTES:,} are taken; "
            "name another"
        )
    cache = _cache()
    with suppress(OSError):  # what cannot be made is said when it is written to
        cache.mkdir(parents=True, exist_ok=True)
    require_space(cache / name.repository, told.size, "set HF_HUB_CACHE to another folder")
    bar = _bar(name, told.size, report)
    try:
        with quiet():
            path = hf_hub_download(
                name.repository, name.file, revision=name.revision, tqdm_class=bar, **LIBRARY
            )
    except Exception as error:
        cut = not isinstance(error, StyleAtlasError) and getattr(error, "errno", None) is None
        if cut and 0 < bar.came < told.size:
            raise FetchError(
                f"{name}: ended after {bar.came:,} of {told.size:,} bytes; try again, or check the "
                "network"
            ) from error
        raise refusal(name, error) from error
    found = _here(name, path)
    if found.name.revision != told.commit:
        raise FetchError(f"{name}: was changed on the Hub as it was fetched; try again")
    return found


def _bar(name: HubName, size: int, report: Report | None) -> Any:
    """A class of bars, as huggingface_hub takes one, that reports, and ends what does not end;
    `came` is how many bytes there were. A download may have two of them, by what comes and by what
    is written, of which the first may be somewhat more."""
    from tqdm import tqdm

    def told(done: int) -> None:
        if report is not None:
            figures = (f"{done / 1e6:.1f} of {size / 1e6:.1f} MB",)
            record = {"file": str(name), "bytes": done, "total": size}
            label = name.file.rpartition("/")[2]
            report(Progress(done, size, None, str(name), label, figures, record, spare=True))

    class Bar(tqdm):  # type: ignore[type-arg]
        came = 0

        def __init__(self, *arguments: Any, **how: Any) -> None:
            how.pop("name", None)
            how["disable"] = None if report is None else True
            super().__init__(*arguments, **how)
            self._came = int(how.get("initial") or 0)

        def update(self, n: float | None = 1) -> bool | None:
            self._came += int(n or 0)
            Bar.came = max(Bar.came, self._came)
            if Bar.came > 2 * size + _SLACK:
                raise FetchError(
                    f"{name}: is longer than the {size:,} bytes that the Hub tells; try again later"
                )
            told(min(Bar.came, size))
            return super().update(n)

    return Bar


def _proven(file: HubFile, etag: str | None = None) -> HubFile:
    """The same, once its bytes are known to be those that the Hub has.

    Raises:
        FetchError: they are not; the file is gone then.
    """
    note = _note(file.name)
    size = file.path.stat().st_size
    with suppress(OSError, ValueError, LookupError, TypeError):
        if _read_note(note)["bytes"] == size:
            return file
    # The cache keeps a file by its hash, and links to it by its name.
    linked = Path(os.readlink(file.path)).name if file.path.is_symlink() else None
    known = etag or linked
    if known is not None and (digest := _digest_like(known, file.path, size)) not in (None, known):
        with suppress(OSError):
            _discard(file)
        raise FetchError(
            f"{file.name}: came damaged, for its hash is {digest[:12] if digest else ''} and the "
            f"Hub's {known[:12]}; it was not kept, try again"
        )
    with suppress(OSError, OutputError):  # without a note it is proven again
        note.parent.mkdir(parents=True, exist_ok=True)
        with replacing(note) as written:
            written.write(json.dumps({"name": str(file.name), "bytes": size}).encode())
    return file


def _digest_like(etag: str, path: Path, size: int) -> str | None:
    """The hash of a file of the kind that an ETag is: SHA-256 of large files, Git's SHA-1 of small
    ones. None of any other."""
    if _SHA256.fullmatch(etag):
        digest = hashlib.sha256()
    elif _SHA1.fullmatch(etag):
        digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    else:
        return None
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def _discard(file: HubFile) -> None:
    """Take a file out of the cache, with its bytes where nothing else there refers to them, and
    folders that hold nothing any more."""
    snapshots = file.path.parents[file.name.file.count("/") + 1]
    blob = None
    if file.path.is_symlink():
        blob = file.path.parent / os.readlink(file.path)
        blob = Path(os.path.normpath(blob))
    file.path.unlink(missing_ok=True)
    if blob is not None and not _linked(snapshots, blob):
        blob.unlink(missing_ok=True)
    for folder in file.path.parents:
        if folder == snapshots or any(folder.iterdir()):
            break
        folder.rmdir()
    if not any(snapshots.iterdir()):
        _forget_branches(snapshots.parent)


def _linked(snapshots: Path, blob: Path) -> bool:
    links = (path for path in snapshots.rglob("*") if path.is_symlink())
    return any(os.path.normpath(path.parent / os.readlink(path)) == str(blob) for path in links)


def _forget_branches(repository: Path) -> None:
    """Of a repository that holds no file: what branches pointed to."""
    for path in (repository / "refs").rglob("*"):
        if path.is_file():
            path.unlink()


def _note(name: HubName) -> Path:
    key = hashlib.sha256(str(name).encode()).hexdigest()[:32]
    return models_folder() / "hub" / f"{key}.json"


def _read_note(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _NOTE_BYTES:
        raise ValueError("is no note")
    told = json.loads(path.read_bytes())
    if not isinstance(told, dict):
        raise ValueError("is no note")
    return told


def _cache() -> Path:
    """The folder of huggingface_hub's cache, as the environment says."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)
