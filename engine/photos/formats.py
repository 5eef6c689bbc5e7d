"""The kinds of pictures that are read, each told by its first bytes and opened by its own reader
alone: what a file is called, and what else Pillow could open, does not count."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ...store.errors import InputError

READ = "JPEG, PNG, WebP, TIFF, BMP, GIF and HEIC"
HEAD = 12
"""Bytes by which a kind is told."""
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_OTHERS = {
    b"%PDF": "PDF",
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "EPS",
    b"8BPS": "Photoshop",
    b"\x00\x00\x01\x00": "an icon",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"PK\x03\x04": "a zip file",
    b"<svg": "SVG",
    b"<?xml": "XML or SVG",
}

Opened = ImageFile.ImageFile


def kind_of(head: bytes) -> str | None:
    """The format of a file that begins with these bytes, as `Photo.format` has it."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if head.startswith(b"BM"):
        return "BMP"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC:
        return "HEIC"
    return None


def opener(path: str, head: bytes) -> tuple[str, Callable[[BinaryIO, str], Opened]]:
    """The format of a file, and what opens it: reads what is said of the picture, and no pixels.

    Raises:
        InputError: it is of no such kind, or HEIC where its reader is missing.
    """
    kind = kind_of(head)
    if kind is None:
        other = next((name for start, name in _OTHERS.items() if head.startswith(start)), None)
        if head[4:8] == b"ftyp":
            other = "AVIF" if head[8:12] in (b"avif", b"avis") else "a film"
        what = f"is {other}, which is not read" if other else "is no picture of a kind that is read"
        raise InputError(f"{path}: {what}; save it as JPEG or PNG ({READ} are read)")
    return kind, _heic(path) if kind == "HEIC" else _OPENERS[kind]


def _heic(path: str) -> Callable[[BinaryIO, str], Opened]:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise InputError(
            f"{path}: is HEIC, which the package pillow-heif reads; "
            "`pip install 'styleatlas[photos]'`, or save it as JPEG"
        ) from error
    opened: Callable[[BinaryIO, str], Opened] = HeifImageFile
    return opened


# Not Image.open, whose limit is one of the whole process, and which makes of a JPEG that holds
# others behind it (depth, a brighter version) a film.
_OPENERS: dict[str, Callable[[BinaryIO, str], Opened]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
}
