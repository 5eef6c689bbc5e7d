"""Pictures and colour profiles as people have them, made when tests run."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

PICTURE = (np.indices((24, 32)).sum(0)[..., None] * np.array([3, 4, 2]) + [0, 20, 90]).astype(
    np.uint8
)
"""(24, 32, 3), smooth, of no symmetry in its colours."""
D50 = (0.9642, 1.0, 0.8249)
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841))
"""X, Y and Z of its red, green and blue, adapted to D50 (Apple's profile of that name)."""


def picture(mode: str = "RGB", size: tuple[int, int] | None = None) -> Image.Image:
    """`PICTURE` in a mode of Pillow's; resized to (width, height) if asked."""
    made = Image.fromarray(PICTURE)
    return (made if size is None else made.resize(size)).convert(mode)


def saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def exif(tags: dict[int, Any]) -> bytes:
    made = Image.Exif()
    for tag, value in tags.items():
        made[tag] = value
    return made.tobytes()


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG by hand: colour 0 is grey, 2 RGB, 4 grey with opacity; `rows` as they are filtered."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def chunk(name: bytes, content: bytes = b"") -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def deep_rows(numbers: np.ndarray) -> bytes:
    """Rows (H, W, ...) of 16 bits, each unfiltered."""
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in numbers)


def profile(space: str, kind: str, tags: dict[str, bytes], connection: str = "XYZ ") -> bytes:
    """An ICC profile of version 2.1 (ICC.1:1998-09) of tags by name."""
    tags = {"wtpt": xyz(D50), **tags}
    table, content = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name.encode() + struct.pack(">II", start + len(content), len(value))
        content += value + b"\0" * (-len(value) % 4)
    head = struct.pack(">I4sI", start + len(content), b"", 0x02100000)
    head += f"{kind}{space}{connection}".encode() + struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    head += b"acsp" + b"\0" * 28 + struct.pack(">3i", *(round(v * 65536) for v in D50))
    return head.ljust(128, b"\0") + table + content


def xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))


def gamma(power: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(power * 256))


def lut(corners: np.ndarray) -> bytes:
    """A table of 8 bits (mft1) over 2 points a side: corners (2, ..., 2, 3), the first channel
    outermost."""
    inputs = corners.ndim - 1
    head = b"mft1\0\0\0\0" + bytes([inputs, 3, 2, 0])
    head += struct.pack(">9i", *(np.eye(3).ravel() * 65536).astype(int))
    straight = bytes(range(256))
    return head + straight * inputs + corners.astype(np.uint8).tobytes() + straight * 3


def rgb_profile(primaries: tuple[tuple[float, ...], ...] = DISPLAY_P3, power: float = 2.2) -> bytes:
    """A display's, by its primaries and one power: Display P3 but for its curve, if not told
    otherwise."""
    tags = {f"{c}XYZ": xyz(p) for c, p in zip("rgb", primaries, strict=True)}
    return profile("RGB ", "mntr", tags | {f"{c}TRC": gamma(power) for c in "rgb"})


def grey_profile(power: float = 1.0) -> bytes:
    return profile("GRAY", "mntr", {"kTRC": gamma(power)})


def cmyk_profile() -> bytes:
    """A press whose inks are neutral: L of Lab falls by an eighth with each of cyan, magenta and
    yellow, and to none with black."""
    inks = np.indices((2, 2, 2, 2))
    light = 255 * (1 - inks[:3].sum(0) / 8) * (1 - inks[3])
    lab = np.stack([light, np.full_like(light, 128), np.full_like(light, 128)], -1)
    return profile("CMYK", "prtr", {"A2B0": lut(lab)}, "Lab ")


def scanner_profile() -> bytes:
    """Of RGB, which leads out to Lab alone: greys as light as the mean of their three."""
    light = 255 * np.indices((2, 2, 2)).sum(0) / 3
    lab = np.stack([light, np.full_like(light, 128), np.full_like(light, 128)], -1)
    return profile("RGB ", "scnr", {"A2B0": lut(lab)}, "Lab ")
