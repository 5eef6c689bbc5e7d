"""Pictures of anybody's, read into a `Photo`."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from ...store.errors import InputError, require_path
from ...store.paths import require_file
from ..models.landmarks import MOST_PIXELS
from .colour import leads_back, space_of, srgb_profile, srgb_transform
from .formats import HEAD, Opened, opener
from .metadata import MOST_EXIF, ORIENTATION, kept_exif, sound_dpi
from .photo import Photo
from .tags import jpeg_exif, tags_fit

MOST_BYTES = 2**30
"""Of a file: 128 million pixels of 8 bytes, uncompressed."""
MOST_SCANNED = 2**34
"""Pixels that the scans of a JPEG pass over, all together: each passes over all of them, however
few bytes it has. 128 scans of the largest picture; programs write some ten."""
_TILE = 2**24  # pixels of a TIFF's tile beyond those of its picture
_STRIP = 2**20  # pixels that are brought from Pillow's memory into ours at a time

_DEEP_GREY = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_SEEN_THROUGH = ("LA", "La", "PA", "RGBA", "RGBa")
_READ_MODES = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", *_DEEP_GREY, *_SEEN_THROUGH)

Strip = tuple[Image.Image, Image.Image | None]
"""Some rows of a picture, grey or of colours, and their opacity where it has one."""


def read_photo(path: str | os.PathLike[str]) -> Photo:
    """A picture from anybody: JPEG, PNG, WebP, TIFF, BMP, GIF, and HEIC where pillow-heif is there,
    told by what is in the file. Its size is checked before any pixels are decoded.

    It is turned upright, and brought to 8 bits of RGB: what was lost on the way, its `notes` say.
    Its pixels are its own numbers, in its own profile, wherever that is one of RGB which leads both
    ways; grey pictures with a profile, printers' colours (CMYK) and other profiles end in sRGB.

    Raises:
        InputError: no such file, no such picture, a damaged one, or one of more than `MOST_PIXELS`
            pixels or `MOST_BYTES` bytes.
    """
    require_path("photo", path)
    require_file(path, InputError)
    name = os.fspath(path)
    try:
        # Pillow warns of much in strangers' files; what matters of it ends in an error or a note.
        with open(name, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _read(file, name)
    except InputError:
        raise
    except Image.DecompressionBombError as error:  # of a frame, or before the size is told
        raise InputError(
            f"{name}: has more than {MOST_PIXELS // 2**20} million pixels; make it smaller"
        ) from error
    except Exception as error:  # of whatever kind: Pillow's readers raise nearly all there are
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if isinstance(error, SyntaxError):  # as Pillow calls what does not begin as it should
            reason = "its head is damaged"
        raise InputError(
            f"{name}: cannot be read as a picture ({_printable(reason)}); it may be damaged: "
            "copy it anew, or save it again in another program"
        ) from error


def _read(file: BinaryIO, name: str) -> Photo:
    size = os.fstat(file.fileno()).st_size
    if not size:
        raise InputError(f"{name}: is empty; copy it anew")
    if size > MOST_BYTES:
        raise InputError(
            f"{name}: has {size} bytes, more than {MOST_BYTES // 2**20} MiB; make it smaller"
        )
    kind, open_picture = opener(name, file.read(HEAD))
    file.seek(0)
    # Asked before Pillow opens it, as that reads them.
    if kind == "TIFF":
        _require_tags(file, name)
    elif kind == "JPEG":
        _require_tags(io.BytesIO(jpeg_exif(file)), name)
    with open_picture(file, name) as picture:
        _require_size(picture, kind, file, name)
        notes = _simplified(picture, kind)
        # Asked before the pixels are there: some readers drop it with them.
        jpeg = picture if isinstance(picture, JpegImagePlugin.JpegImageFile) else None
        tables, subsampling = (None, None) if jpeg is None else _quantisation(jpeg)
        picture.load()
        turn, exif, said = _exif(picture, name)
        notes += said
        strips, profile, said = _to_rgb(picture, name)
        notes += said
        pixels, alpha = _upright(picture, strips, turn)
        dpi = sound_dpi(picture.info.get("dpi"))
        if dpi is not None and turn >= 5:
            dpi = dpi[::-1]
    return Photo(
        path=name,
        pixels=pixels,
        alpha=alpha,
        profile=profile,
        exif=exif,
        format=kind,
        tables=tables,
        subsampling=subsampling,
        dpi=dpi,
        notes=tuple(notes),
    )


def _require_size(picture: Opened, kind: str, file: BinaryIO, name: str) -> None:
    """Raise InputError if decoding would take more memory or time than a picture may."""
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise InputError(
            f"{name}: has {width} x {height} pixels, more than {MOST_PIXELS // 2**20} million; "
            "make it smaller"
        )
    if width < 1 or height < 1:
        raise InputError(f"{name}: has {width} x {height} pixels; name a picture that has some")
    if kind == "JPEG":
        scans = _count(file, b"\xff\xda")
        if scans * width * height > MOST_SCANNED:
            raise InputError(
                f"{name}: has {scans} scans of {width} x {height} pixels, which would take too "
                "long to read; save it again in another program"
            )
    if kind == "TIFF":
        tags = picture.tag_v2  # type: ignore[attr-defined] # TIFFs have it
        tile = int(tags.get(322, 0)) * int(tags.get(323, 0))
        if tile > width * height + _TILE:
            raise InputError(
                f"{name}: has tiles of {tile} pixels for a picture of {width} x {height}; save it "
                "again in another program"
            )


def _require_tags(file: BinaryIO, name: str) -> None:
    """Raise InputError if the tags of a TIFF, or of EXIF, claim more bytes than there are."""
    if not tags_fit(file):
        raise InputError(
            f"{name}: has tags that claim more bytes than there are; save it again in another "
            "program"
        )


def _count(file: BinaryIO, marker: bytes) -> int:
    """How often two bytes are in a file, whose place is kept."""
    place = file.tell()
    file.seek(0)
    count, last = 0, b""
    while block := file.read(2**20):
        count += (last + block).count(marker)
        last = block[-1:]
    file.seek(place)
    return count


def _simplified(picture: Opened, kind: str) -> list[str]:
    """Takes from a picture that is not loaded what cannot be kept, and says what."""
    notes = []
    if kind == "TIFF":
        # Not n_frames, which walks through all of them.
        if picture.tag_v2.next:  # type: ignore[attr-defined]
            notes.append("holds several pages; the first is taken")
    elif getattr(picture, "is_animated", False):
        several = "pictures; the first" if kind == "HEIC" else "frames; the first"
        notes.append(f"holds several {several} is taken")
    if _is_deep(picture):
        notes.append("has more than 8 bits a channel; 8 are kept")
        if picture.info.pop("transparency", None) is not None:  # a colour, of 16 bits as well
            notes.append("has a colour that is seen through, which is opaque now")
    return notes


def _is_deep(picture: Opened) -> bool:
    """Whether a picture's own numbers have more than 8 bits."""
    if picture.mode in _DEEP_GREY:
        return True
    if picture.info.get("bit_depth", 8) > 8:  # of HEIC
        return True
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        return max(_numbers(picture.tag_v2.get(258)), default=8) > 8
    if isinstance(picture, PngImagePlugin.PngImageFile):  # which tells Pillow's reader of it
        return any("16" in str(tile[3]) for tile in picture.tile)
    return False


def _numbers(value: object) -> tuple[int, ...]:
    return tuple(n for n in value if isinstance(n, int)) if isinstance(value, tuple) else ()


def _quantisation(
    picture: JpegImagePlugin.JpegImageFile,
) -> tuple[tuple[tuple[int, ...], ...] | None, int | None]:
    """Tables and subsampling of a JPEG, where pictures of RGB can be written by them."""
    found: Mapping[int, Any] = picture.quantization
    tables = tuple(tuple(found[key]) for key in sorted(found))
    sampling = JpegImagePlugin.get_sampling(picture)
    # Written tables are numbered anew, and go to brightness and colours in this order.
    usual = sorted(found) in ([0], [0, 1]) and picture.layers in (1, 3)
    return (tables if usual else None), (sampling if sampling in (0, 1, 2) else None)


def _exif(picture: Opened, name: str) -> tuple[int, bytes | None, list[str]]:
    """How the picture has to be turned, 1 to 8 as EXIF counts, what is kept of its EXIF, and what
    is to be said of it."""
    raw = picture.info.get("exif", b"")
    if len(raw) > MOST_EXIF:
        return 1, None, [f"has {len(raw)} bytes of EXIF, which were left unread"]
    _require_tags(io.BytesIO(raw.removeprefix(b"Exif\0\0")), name)
    found = Image.Exif()
    try:
        if isinstance(picture, TiffImagePlugin.TiffImageFile):
            found = picture.getexif()  # of which Pillow has settled the orientation
        elif raw:
            found.load(raw)
        turn = found.get(ORIENTATION, 1)
        kept = kept_exif(found)
    except Exception:  # as above
        return 1, None, ["has EXIF that is damaged, and was left out"]
    if type(turn) is not int or not 1 <= turn <= 8:
        said = _printable(str(turn))[:20]
        return 1, kept, [f"says by EXIF that it is turned in way {said}, which there is not"]
    return turn, kept, []


def _to_rgb(
    picture: Opened, name: str
) -> tuple[Callable[[Image.Image], Strip], bytes | None, list[str]]:
    """What brings rows of a picture to RGB and opacity; the profile they then have; and what is to
    be said of it."""
    _require_mode(picture, name)
    profile, space, notes = _profile(picture)
    if picture.mode == "CMYK":
        how = "by its profile" if profile else "without a profile, so roughly"
        notes.append(f"has a printer's colours (CMYK), which were brought to sRGB {how}")
    elif space == "L":
        notes.append("is grey with a profile, which was brought to sRGB")
    elif profile is not None and not leads_back(profile):
        notes.append("has a colour profile that leads one way only, which was brought to sRGB")
    else:
        return _split, profile, notes
    if profile is None:
        return _split, srgb_profile(), notes
    transform = srgb_transform(profile, space)

    def strip(rows: Image.Image) -> Strip:
        colours, alpha = _split(rows)
        brought = ImageCms.applyTransform(colours.convert(space), transform)
        assert brought is not None  # it is not done in place
        return brought, alpha

    return strip, srgb_profile(), notes


def _require_mode(picture: Opened, name: str) -> None:
    """Raise InputError unless a picture's numbers are such as can be brought to 8 bits of RGB."""
    if picture.mode not in _READ_MODES:
        raise InputError(
            f"{name}: has colours as {_printable(picture.mode)}; save it as RGB of 8 or 16 bits"
        )
    if picture.mode == "I":
        extrema: Any = picture.getextrema()
        if extrema[0] < 0 or extrema[1] >= 2**16:
            raise InputError(f"{name}: has more than 16 bits a channel; save it with 8 or 16")


def _profile(picture: Opened) -> tuple[bytes | None, str, list[str]]:
    """A picture's ICC profile, where it is sound and of its own kind of numbers; and their kind."""
    profile = picture.info.get("icc_profile")
    grey = picture.mode in ("1", "L", "LA", "La", *_DEEP_GREY)
    wanted = "L" if grey else "CMYK" if picture.mode == "CMYK" else "RGB"
    if not profile:
        return None, "RGB", []
    space = space_of(profile)
    if space == wanted or (space == "RGB" and grey):  # greys of RGB, as some programs write them
        return profile, space, []
    what = "damaged" if space is None else f"of {space} in place of {wanted}"
    return None, "RGB", [f"has a colour profile that is {what}, which was left out"]


def _split(rows: Image.Image) -> Strip:
    """Rows as grey, RGB or CMYK of 8 bits, and their opacity where there is any."""
    mode = rows.mode
    if mode in _DEEP_GREY:
        deep = np.asarray(rows).astype(np.int64)
        return Image.fromarray(((deep * 255 + 2**15 - 1) // (2**16 - 1)).astype(np.uint8)), None
    if mode in _SEEN_THROUGH or "transparency" in rows.info:
        clear = rows.convert("RGBA")
        return clear.convert("RGB"), clear.getchannel("A")
    return rows.convert(mode if mode in ("L", "CMYK") else "RGB"), None


def _upright(
    picture: Image.Image, strips: Callable[[Image.Image], Strip], turn: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Pixels (H, W, 3) and opacity (H, W), turned upright, of a picture that is loaded: some rows
    at a time, so that there are never more than two copies of it."""
    width, height = picture.size
    lying = (height, width) if turn < 5 else (width, height)
    pixels, alpha = np.empty((*lying, 3), np.uint8), None
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        place = slice(top, min(height, top + rows))
        colours, opaque = strips(picture.crop((0, place.start, width, place.stop)))
        as_stored(pixels, turn)[place] = np.asarray(colours.convert("RGB"))
        if opaque is not None:
            alpha = np.empty(lying, np.uint8) if alpha is None else alpha
            as_stored(alpha, turn)[place] = np.asarray(opaque)
    if alpha is not None and alpha.min() == 255:
        alpha = None
    for array in (pixels, alpha):
        if array is not None:
            array.flags.writeable = False
    return pixels, alpha


def as_stored(upright: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """A view of an upright picture (H, W, ...) as EXIF's orientation `turn`, 1 to 8, says that the
    camera stored it (EXIF 2.32, tag 0x0112)."""
    swapped = upright.swapaxes(0, 1) if turn >= 5 else upright
    down = turn in (3, 4, 6, 7)
    across = turn in (2, 3, 7, 8)
    return swapped[:: -1 if down else 1, :: -1 if across else 1]


def _printable(text: object) -> str:
    """On one line, short and without control characters."""
    words = re.sub(r"\s+", " ", str(text))
    return "".join(letter for letter in words if letter.isprintable())[:100]
