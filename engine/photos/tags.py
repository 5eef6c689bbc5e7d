"""What the tags of a TIFF, or of EXIF, which is one, claim to hold, before anything believes them.

Each of a directory's entries names bytes anywhere in the file. A few thousand that all name the
same ones make gigabytes of kilobytes, for a reader that takes each by itself, as Pillow before 13
does.
"""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass
from typing import BinaryIO

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}  # of BigTIFF
_DIRECTORIES = (0x8769, 0x8825, 0xA005)  # EXIF, GPS and what is in EXIF's
_MOST_DIRECTORIES = 8
_MOST_TAGS = 2**16  # as many as their numbers
_ALLOWED = 2**24  # bytes beyond: cameras that miscount are common, and harm nobody


def tags_fit(file: BinaryIO) -> bool:
    """Whether the first directory of a TIFF, and those of its EXIF, claim hardly more bytes than
    the file has. What is no TIFF claims none; the file's place is kept."""
    place = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
    form = _FORMS.get(head[2:4].strip(b"\0"))
    claimed: float = 0
    if order and form is not None and len(head) >= form.start + 8:
        waiting = [struct.unpack_from(order + form.offset, head, form.start)[0]]
        for _ in range(_MOST_DIRECTORIES):
            if waiting and (at := waiting.pop()) < size:
                file.seek(at)
                more, others = _claims(file, order, form)
                claimed += more
                waiting += others
    file.seek(place)
    return claimed <= size + _ALLOWED


def jpeg_exif(file: BinaryIO) -> bytes:
    """The EXIF of a JPEG, of all of its segments together, as Pillow takes it; the file's place is
    kept."""
    place = file.tell()
    file.seek(2)
    found = b""
    while len(head := file.read(4)) == 4 and head[0] == 0xFF and head[1] not in (0xD9, 0xDA):
        content = file.read(int.from_bytes(head[2:], "big") - 2)
        if head[1] == 0xE1 and content[:6] == b"Exif\0\0":
            found += content[6:]
    file.seek(place)
    return found


@dataclass(frozen=True)
class _Form:
    """Of a directory: where the first one's place stands, and how places, the number of entries and
    entries themselves are packed."""

    start: int
    offset: str
    count: str
    entry: str
    within: int  # bytes of a value that lies in its entry


_FORMS = {b"*": _Form(4, "I", "H", "HHII", 4), b"+": _Form(8, "Q", "Q", "HHQQ", 8)}
"""TIFF's and BigTIFF's, by what their heads say."""


def _claims(file: BinaryIO, order: str, form: _Form) -> tuple[float, list[int]]:
    """Bytes that the values of the directory at a file's place take, and where those directories
    are that it names."""
    numbers, entry = struct.Struct(order + form.count), struct.Struct(order + form.entry)
    head = file.read(numbers.size)
    if len(head) < numbers.size:
        return 0, []
    (count,) = numbers.unpack(head)
    if count > _MOST_TAGS:
        return math.inf, []
    claimed, others = 0, []
    for _ in range(count):
        if len(packed := file.read(entry.size)) < entry.size:
            break
        tag, kind, length, value = entry.unpack(packed)
        size = _SIZES.get(kind, 0) * length
        claimed += size if size > form.within else 0
        if tag in _DIRECTORIES:
            others.append(value)
    return claimed, others
