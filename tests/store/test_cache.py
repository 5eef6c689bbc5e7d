"""Inversions in the user's cache: never trusted, listed, bounded and cleared."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from styleatlas.store import cache as module
from styleatlas.store.cache import InversionCache, clear_inversions, inversions
from styleatlas.store.errors import OutputError

KEY = "a" * 64
ARRAYS = {"w": np.arange(12, dtype=np.float32).reshape(3, 4), "steps": np.array([7], np.int32)}


def written(content: bytes, key: str = KEY) -> Path:
    """A file with the right digest of whatever it holds."""
    folder = InversionCache().folder
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key}.inversion"
    path.write_bytes(hashlib.sha256(content).digest() + content)
    return path


def header(fields: dict[str, object], data: bytes = b"") -> bytes:
    text = json.dumps(fields).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_what_is_kept_comes_back_bit_for_bit() -> None:
    InversionCache().remember(KEY, ARRAYS)
    found = InversionCache().find(KEY)
    assert found is not None and found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert InversionCache().find("b" * 64) is None


HOSTILE = {
    "nothing": b"",
    "a header that is longer than the file": (2**60).to_bytes(8, "little") + b"{}",
    "no JSON": header({})[:8] + b"[[",
    "an array beyond the file": header(
        {"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    ),
    "a type that NumPy lacks": header(
        {"w": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}, b"\0\0"
    ),
    "a pickle": b"\x80\x04cposix\nsystem\n(S'touch gone'\ntR.",
    "a NumPy archive": b"PK\x03\x04" + bytes(60),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_whatever_is_no_inversion_is_passed_over(content: bytes) -> None:
    written(content)
    assert InversionCache().find(KEY) is None


def test_another_digest_a_cut_and_a_large_file_are_passed_over(monkeypatch) -> None:
    sound = save(ARRAYS)
    path = written(sound)
    assert InversionCache().find(KEY) is not None
    whole = path.read_bytes()
    for spoilt in (whole[:-1], whole[:31], bytes([whole[0] ^ 1]) + whole[1:], whole + b"\0"):
        path.write_bytes(spoilt)
        assert InversionCache().find(KEY) is None
    path.write_bytes(whole)
    monkeypatch.setattr(module, "_LARGEST", len(whole) - 1)
    assert InversionCache().find(KEY) is None


def test_they_are_listed_newest_first_and_cleared() -> None:
    assert inversions() == [] and clear_inversions() == 0
    cache = InversionCache()
    for number, key in enumerate(("old", "new")):
        cache.remember(key, ARRAYS)
        os.utime(cache.folder / f"{key}.inversion", (1e9 + number, 1e9 + number))
    (cache.folder / "notes.txt").write_text("mine")
    listed = inversions()
    assert [one.key for one in listed] == ["new", "old"]
    assert listed[0].bytes == (cache.folder / "new.inversion").stat().st_size
    assert listed[1].when.isoformat() == "2001-09-09T01:46:40+00:00"
    assert clear_inversions() == 2 and inversions() == []
    assert [path.name for path in cache.folder.iterdir()] == ["notes.txt"]


def test_the_oldest_are_given_up(monkeypatch) -> None:
    cache = InversionCache()
    cache.remember("0", ARRAYS)
    size = inversions()[0].bytes
    monkeypatch.setattr(module, "MOST_BYTES", 3 * size)
    for number in range(5):
        cache.remember(str(number), ARRAYS)
        os.utime(cache.folder / f"{number}.inversion", (1e9 + number, 1e9 + number))
    cache.remember("5", ARRAYS)
    assert [one.key for one in inversions()] == ["5", "4", "3"]


@pytest.mark.ordinary_user
def test_a_folder_that_cannot_be_written_is_left_alone(tmp_path) -> None:
    folder = InversionCache().folder
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    try:
        InversionCache().remember(KEY, ARRAYS)
        assert InversionCache().find(KEY) is None
    finally:
        folder.chmod(0o700)


def test_a_file_where_the_folder_should_be_is_left_alone() -> None:
    folder = InversionCache().folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("in the way")
    InversionCache().remember(KEY, ARRAYS)
    assert InversionCache().find(KEY) is None and inversions() == []
    assert folder.read_text() == "in the way"


def test_what_cannot_be_removed_is_named(monkeypatch) -> None:
    InversionCache().remember(KEY, ARRAYS)

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OutputError, match=f"{KEY}.*cannot be removed .Permission denied"):
        clear_inversions()


def test_environment_names_the_folder_of_what_is_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("STYLEATLAS_CACHE", str(tmp_path / "mine"))
    InversionCache().remember("0", ARRAYS)
    assert [path.name for path in (tmp_path / "mine" / "inversions").iterdir()] == ["0.inversion"]
    monkeypatch.delenv("STYLEATLAS_CACHE")
    assert InversionCache().find("0") is None
