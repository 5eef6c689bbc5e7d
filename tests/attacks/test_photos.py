"""Odd pictures that are read all the same, and what is no picture at all; those that are refused
are among `test_attacks.py`'s. `README.md` lists both."""

from __future__ import annotations

import io
import os
import re
import struct
from contextlib import suppress
from pathlib import Path

import pytest

from styleatlas.engine.photos.read import read_photo
from styleatlas.store.errors import InputError

from ..memory import growth_of
from ..photo_files import picture
from .photo_attacks import DAMAGED, ODD, PHOTOS, Odd
from .pickle_attacks import Attack

MEGABYTES = 100


def read(path: Path) -> None:
    with suppress(InputError):
        read_photo(path)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_odd_picture_is_read_and_what_was_odd_is_told(odd: Odd, tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(odd.make())
    photo = read_photo(path)
    assert photo.shape == odd.size[::-1]
    assert photo.notes == odd.notes
    assert all(note.isprintable() for note in photo.notes)


@pytest.mark.parametrize("made", [*PHOTOS.values(), *ODD.values()], ids=[*PHOTOS, *ODD])
def test_no_picture_takes_more_memory_than_it_shows(made: Attack | Odd, tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(made.make())
    assert growth_of(lambda: read(path)) < MEGABYTES * 2**20


@pytest.mark.heic
def test_heic_that_is_cut_or_claims_another_size(tmp_path):
    import pillow_heif

    file, path = io.BytesIO(), tmp_path / "photo"
    pillow_heif.from_pillow(picture(size=(64, 48))).save(file)
    sound = file.getvalue()
    size = sound.index(b"ispe") + 8
    large = sound[:size] + struct.pack(">II", 60_000, 60_000) + sound[size + 8 :]
    other = sound[:size] + struct.pack(">II", 10_000, 10_000) + sound[size + 8 :]
    for content in [large, other, *(sound[:length] for length in range(12, len(sound), 50))]:
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"^{re.escape(str(path))}: .*{DAMAGED}"):
            read_photo(path)


def test_readme_lists_every_odd_picture():
    text = Path(__file__).with_name("README.md").read_text("utf-8")
    assert re.findall(r"^\| \*(.+?)\* \|", text, re.M) == list(ODD)


def test_what_is_no_file(tmp_path):
    for path, message in [
        (tmp_path / "missing.jpg", "no such file; check the path"),
        (tmp_path, "is a directory; name the file in it"),
        (Path(os.devnull), "is no regular file; copy it to a file first"),
    ]:
        with pytest.raises(InputError, match=f"^{re.escape(str(path))}: {message}$"):
            read_photo(path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")  # which would be waited for
        with pytest.raises(InputError, match="is no regular file"):
            read_photo(tmp_path / "pipe")


def test_file_of_more_than_a_gigabyte(tmp_path):
    path = tmp_path / "photo.tif"
    with path.open("wb") as file:
        file.write(b"II*\0")
        file.truncate(2**30 + 1)
    with pytest.raises(InputError, match="has 1073741825 bytes, more than 1024 MiB"):
        read_photo(path)
