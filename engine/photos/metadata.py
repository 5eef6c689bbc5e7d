"""What is said of a photo beside its pixels: what is kept of it, and the mark of an edit.

EXIF is not copied but made anew of the tags below, so that nothing rides along that nobody looked
at: no place (GPS), no thumbnail of the unedited photo, no maker's note, no serial number. XMP,
IPTC, Photoshop's blocks and signed histories (C2PA) are left out altogether.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal

from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from ...store.version import LIBRARY

Kind = Literal["text", "number", "ratio", "signed"]

ORIENTATION = 0x0112
SOFTWARE = 0x0131
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _INCH = 0x011A, 0x011B, 0x0128, 2
_EXIF_IFD = 0x8769
MOST_EXIF = 2**20
"""Bytes of EXIF that are looked at: a JPEG's segment holds 64 KiB, and makers use several."""
_LONGEST_TEXT, _MOST_NUMBERS = 1000, 4

_DESCRIPTION: Mapping[int, Kind] = {
    0x010E: "text",  # description
    0x010F: "text",  # make
    0x0110: "text",  # model
    SOFTWARE: "text",
    0x0132: "text",  # when it was changed
    0x013B: "text",  # artist
    0x8298: "text",  # copyright
}
_EXPOSURE: Mapping[int, Kind] = {
    0x829A: "ratio",  # exposure time
    0x829D: "ratio",  # f-number
    0x8822: "number",  # programme
    0x8827: "number",  # ISO
    0x9003: "text",  # when it was taken
    0x9004: "text",  # when it was made digital
    0x9010: "text",  # offsets of these times
    0x9011: "text",
    0x9012: "text",
    0x9201: "signed",  # shutter speed
    0x9202: "ratio",  # aperture
    0x9203: "signed",  # brightness
    0x9204: "signed",  # exposure bias
    0x9205: "ratio",  # largest aperture
    0x9206: "ratio",  # distance
    0x9207: "number",  # metering
    0x9208: "number",  # light source
    0x9209: "number",  # flash
    0x920A: "ratio",  # focal length
    0x9290: "text",  # fractions of these times
    0x9291: "text",
    0x9292: "text",
    0xA402: "number",  # exposure mode
    0xA403: "number",  # white balance
    0xA405: "number",  # focal length of 35 mm film
    0xA406: "number",  # scene
    0xA432: "ratio",  # lens
    0xA433: "text",
    0xA434: "text",
}

DIGITAL_SOURCE = (
    "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
)
"""IPTC's word for a photo of which a part was made by a model that was trained on others."""
XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE}"
    xmp:CreatorTool="{LIBRARY}"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>""".encode()
"""The mark of an edit, as XMP."""


def kept_exif(found: Image.Exif) -> bytes | None:
    """What is kept of a photo's EXIF, anew as bytes; None where that is nothing."""
    kept = Image.Exif()
    for tag, value in _sound(found, _DESCRIPTION).items():
        kept[tag] = value
    exposure = _sound(found.get_ifd(_EXIF_IFD), _EXPOSURE)
    if exposure:
        kept[_EXIF_IFD] = exposure
    return kept.tobytes() if len(kept) else None


def written_exif(
    kept: bytes | None, dpi: tuple[float, float] | None, *, marked: bool
) -> bytes | None:
    """The EXIF of an edited photo: what was kept, its resolution, and what edited it if `marked`;
    None where that is nothing."""
    exif = Image.Exif()
    if kept is not None:
        exif.load(kept)
    if dpi is not None:
        exif[_X_RESOLUTION], exif[_Y_RESOLUTION] = dpi
        exif[_RESOLUTION_UNIT] = _INCH
    if marked:
        exif[SOFTWARE] = LIBRARY
    return exif.tobytes() if len(exif) else None


def sound_dpi(value: object) -> tuple[float, float] | None:
    """Pixels an inch as Pillow tells them, where they are two numbers from 1 to 100,000."""
    if not isinstance(value, tuple) or len(value) != 2:
        return None
    try:
        across, down = float(value[0]), float(value[1])
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    if not (1 <= across <= 1e5 and 1 <= down <= 1e5):
        return None
    return round(across, 2), round(down, 2)  # PNG, which counts by the metre, makes 299.9994 of 300


def _sound(found: Mapping[int, Any], kinds: Mapping[int, Kind]) -> dict[int, Any]:
    """Those values that are of their tag's kind."""
    sound = {}
    for tag, kind in kinds.items():
        value = found.get(tag)
        if kind == "text":
            text = _text(value)
            if text:
                sound[tag] = text
        elif value is not None:
            numbers = value if isinstance(value, tuple) else (value,)
            if 0 < len(numbers) <= _MOST_NUMBERS and all(_fits(n, kind) for n in numbers):
                sound[tag] = value
    return sound


def _text(value: object) -> str:
    """A text on one line, without control characters."""
    if not isinstance(value, str):
        return ""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", value[:_LONGEST_TEXT]).strip()


def _fits(value: object, kind: Kind) -> bool:
    if kind == "number":
        return type(value) is int and 0 <= value < 2**16
    if isinstance(value, bool) or not isinstance(value, int | float | IFDRational):
        return False
    number = float(value)  # NaN where it is something by nothing
    return math.isfinite(number) and abs(number) < 2**31 and (kind == "signed" or number >= 0)
