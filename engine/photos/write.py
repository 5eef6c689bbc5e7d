"""Edited photos, written as their photo was."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin

from ...store.errors import OptionError, OutputError
from ...store.output import PHOTO, replacing
from ...store.version import LIBRARY
from ..pictures.recipe import Recipe, png_text
from .metadata import XMP, written_exif
from .photo import Photo, Pixels, over_white

QUALITY = 95
"""Of JPEG and HEIC, where the photo has no tables of its own."""
LONGEST = {"JPEG": 65535, "WebP": 16383}
"""Pixels a side that a format can hold."""
FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WebP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".heic": "HEIC",
    ".heif": "HEIC",
}
_XMP_TAG = 700
_Writer = Callable[[Image.Image, Photo, BinaryIO, bool], None]
_SUFFIXES = {"JPEG": ".jpg", "WebP": ".webp", "TIFF": ".tif", "HEIC": ".heic"}


def own_suffix(kind: str) -> str:
    """How the name of an edited photo ends that is to stay in its format. What came as GIF, of 256
    colours, or as BMP, which holds no profile and no mark, becomes PNG."""
    return _SUFFIXES.get(kind, ".png")


def require_photo_name(path: str | os.PathLike[str]) -> str:
    """The format that a photo is written in by its file's name; asked before the work.

    Raises:
        OutputError: it is none that photos are written in, or no place for a file, or HEIC where
            pillow-heif is missing.
    """
    PHOTO.require(path)
    kind = FORMATS[Path(path).suffix.lower()]
    if kind == "HEIC":
        _heif(path)
    return kind


def write_photo(
    photo: Photo,
    pixels: Pixels,
    path: str | os.PathLike[str],
    *,
    marked: bool = True,
    recipe: Recipe | None = None,
) -> tuple[str, ...]:
    """Write an edited photo in the format that the name asks for: with the photo's profile,
    opacity, resolution and what is kept of its EXIF; a JPEG by its own quantisation tables and
    subsampling; PNG, WebP and TIFF without loss. A file of that name is replaced as a whole.

    Args:
        pixels: uint8 (H, W, 3) in the photo's profile, upright, of the photo's size.
        marked: whether the file says that it was edited, and by what: IPTC's DigitalSourceType in
            XMP, and Software in EXIF and PNG.
        recipe: what it was made from, which a PNG keeps.

    Returns:
        What the format could not hold, each a line to follow the name.

    Raises:
        OptionError: pixels of another size or type.
        OutputError: the file cannot be written, or the format does not hold so large a picture.
    """
    kind = require_photo_name(path)
    if pixels.dtype != np.uint8 or pixels.shape != photo.pixels.shape:
        raise OptionError(
            f"pixels: are {pixels.dtype} of shape {pixels.shape}; give uint8 of shape "
            f"{photo.pixels.shape}, as the photo has"
        )
    height, width = photo.shape
    if max(height, width) > LONGEST.get(kind, height + width):
        raise OutputError(
            f"{path}: {kind} holds at most {LONGEST[kind]} pixels a side, and the photo is "
            f"{width} x {height}; name a .png"
        )
    notes = []
    alpha = photo.alpha
    if alpha is not None and kind == "JPEG":
        pixels, alpha = over_white(pixels, alpha), None
        notes.append("holds no opacity as JPEG; the photo was laid over white")
    picture = Image.fromarray(pixels)
    if alpha is not None:
        picture.putalpha(Image.fromarray(alpha))
    texts = PngImagePlugin.PngInfo() if recipe is None else png_text(recipe)
    writers: dict[str, _Writer] = {
        "JPEG": _jpeg,
        "PNG": partial(_png, texts),
        "WebP": _webp,
        "TIFF": _tiff,
        "HEIC": _heic,
    }
    with replacing(path) as file:
        try:
            writers[kind](picture, photo, file, marked)
        except (ValueError, TypeError, RuntimeError) as error:  # of libraries; OSError is known
            raise OutputError(
                f"{path}: cannot be written as {kind} ({error}); name a .png"
            ) from error
    return tuple(notes)


def _jpeg(picture: Image.Image, photo: Photo, file: BinaryIO, marked: bool) -> None:
    how: dict[str, Any] = {"quality": QUALITY, "subsampling": 0}
    if photo.tables is not None:
        how = {"qtables": [list(table) for table in photo.tables]}
        how["subsampling"] = photo.subsampling or 0
    if marked:
        content = b"http://ns.adobe.com/xap/1.0/\0" + XMP
        how["extra"] = b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content
    if photo.dpi is not None:
        how["dpi"] = tuple(min(65535, round(number)) for number in photo.dpi)
    picture.save(file, "JPEG", **how, **_beside(photo, marked))


def _png(
    texts: PngImagePlugin.PngInfo,
    picture: Image.Image,
    photo: Photo,
    file: BinaryIO,
    marked: bool,
) -> None:
    if marked:
        texts.add_text("Software", LIBRARY)
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    how: dict[str, Any] = {"pnginfo": texts}
    if photo.dpi is not None:
        how["dpi"] = photo.dpi
    picture.save(file, "PNG", **how, **_beside(photo, marked))


def _webp(picture: Image.Image, photo: Photo, file: BinaryIO, marked: bool) -> None:
    # Without loss, exact also where nothing is seen: how a photo was compressed, it does not say.
    how: dict[str, Any] = {"lossless": True, "exact": True, "quality": 50, "method": 2}
    if marked:
        how["xmp"] = XMP
    picture.save(file, "WEBP", **how, **_beside(photo, marked))


def _tiff(picture: Image.Image, photo: Photo, file: BinaryIO, marked: bool) -> None:
    how = _beside(photo, marked)
    tags = Image.Exif()
    tags.load(how.pop("exif", b""))
    if marked:
        tags[_XMP_TAG] = XMP
    # Not compressed, since libtiff, which then writes, takes no EXIF from Pillow.
    picture.save(file, "TIFF", exif=tags, **how)


def _heic(picture: Image.Image, photo: Photo, file: BinaryIO, marked: bool) -> None:
    how: dict[str, Any] = _beside(photo, marked) | ({"xmp": XMP} if marked else {})
    if "icc_profile" in how:
        picture.info["icc_profile"] = how.pop("icc_profile")
    _heif(file.name).from_pillow(picture).save(file, quality=QUALITY, chroma="444", **how)


def _beside(photo: Photo, marked: bool) -> dict[str, Any]:
    """What every format holds beside the pixels, by the names that Pillow's writers know."""
    exif = written_exif(photo.exif, photo.dpi, marked=marked)
    given = {"icc_profile": photo.profile, "exif": exif}
    return {name: value for name, value in given.items() if value is not None}


def _heif(path: object) -> Any:
    try:
        import pillow_heif
    except ImportError as error:
        raise OutputError(
            f"{path}: HEIC is written by the package pillow-heif; `pip install "
            "'styleatlas[photos]'`, or name a .jpg or .png"
        ) from error
    return pillow_heif
