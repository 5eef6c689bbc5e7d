"""Pictures that try to harm their reader, and odd ones that have to be read all the same."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from styleatlas.engine.photos.read import read_photo

from .. import photo_files as files
from ..photo_files import PICTURE, chunk, picture, png, saved
from .pickle_attacks import Attack

ROWS = b"".join(b"\0" + row.tobytes() for row in PICTURE)  # of a PNG of RGB


def jpeg(**how: object) -> bytes:
    return saved(picture(), "JPEG", **how)


def sound(kind: str) -> bytes:
    """With a profile and EXIF, where the format holds them."""
    exif = files.exif({0x010F: "Maker", 0x0112: 6, 0x8769: {0x829A: 0.01}})
    beside = {"icc_profile": files.rgb_profile(), "exif": exif}
    return saved(picture(), kind, **({} if kind in ("BMP", "GIF") else beside))


def cut(kind: str) -> bytes:
    """Two thirds of a file of noise, of which each format needs all of its bytes."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    content = saved(Image.fromarray(noise), kind)
    return content[: len(content) * 2 // 3]


def jpeg_of_size(width: int, height: int) -> bytes:
    """A JPEG whose frame claims another size."""
    content = bytearray(jpeg())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def jpeg_of_scans(count: int) -> bytes:
    """A progressive JPEG of 16 million pixels whose last scan comes again and again."""
    content = saved(Image.new("L", (4096, 4096)), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * count + b"\xff\xd9"


def webp_of_size(width: int, height: int) -> bytes:
    """A WebP without loss whose head claims another size."""
    content = bytearray(saved(picture(), "WebP", lossless=True))
    start = content.index(b"VP8L") + 9
    (bits,) = struct.unpack_from("<I", content, start)
    bits = bits & ~(2**28 - 1) | (height - 1) << 14 | (width - 1)
    struct.pack_into("<I", content, start, bits)
    return bytes(content)


def patched(content: bytes, place: int, numbers: bytes) -> bytes:
    return content[:place] + numbers + content[place + len(numbers) :]


def tiff(*entries: tuple[int, int, int, int], after: bytes = b"", following: int = 0) -> bytes:
    """A little-endian TIFF of one directory: tag, type, count, value of each."""
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return head + table + struct.pack("<I", following) + after


def flat_tiff(width: int, height: int, bits: int, *more: tuple[int, int, int, int], kind: int = 1):
    """A grey one, uncompressed; kind is 1 for whole numbers, 2 for signed ones, 3 for floats."""
    entries = sorted(
        [
            (256, 4, 1, width),
            (257, 4, 1, height),
            (258, 3, 1, bits),
            (259, 3, 1, 1),
            (262, 3, 1, 1),
            (273, 4, 1, 8 + 2 + 12 * (9 + len(more)) + 4),
            (277, 3, 1, 1),
            (279, 4, 1, min(width * height * bits // 8, 2**31)),
            (339, 3, 1, kind),
            *more,
        ]
    )
    return tiff(*entries, after=bytes(min(width * height * bits // 8, 4096)))


def tiff_of_overlapping_tags() -> bytes:
    """30,000 tags, each all of the file."""
    many = [(1000 + n, 7, 360_000, 8) for n in range(30_000)]
    return flat_tiff(8, 8, 8, *many)


def exif_of_overlapping_tags(size: int, within: int | None = None) -> bytes:
    """EXIF of the same kind: 5,000 tags of `size` bytes each, all the same; in a directory that tag
    `within` names, if any."""
    many = [(1000 + n, 7, size, 8) for n in range(5000)]
    content = tiff(*many)
    if within is not None:
        first = tiff((within, 4, 1, 26))
        content = first + content[8:]
    return b"Exif\0\0" + content.ljust(size, b"\0")


def gif(*frames: Image.Image) -> bytes:
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=40)


def gif_of_frames(count: int) -> bytes:
    """A GIF of 32 x 24 whose last frame comes again and again."""
    two = gif(picture("P"), picture("P").transpose(Image.Transpose.FLIP_TOP_BOTTOM))
    last = two.rindex(b"\x21\xf9\x04")
    return two[:-1] + two[last:-1] * count + b";"


def gif_frame_beyond_its_screen() -> bytes:
    content = gif(picture("P"))
    frame = content.index(b"\x2c\0\0\0\0\x20\0\x18\0")
    return patched(content, frame + 5, struct.pack("<HH", 65535, 65535))


def inflated(name: bytes, head: bytes) -> bytes:
    """A PNG with a chunk of 300 MB in 300 kB."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(300)) + packer.flush()
    return png(32, 24, 8, 2, ROWS, chunk(name, head + packed))


def box_file(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + bytes(12)


NO_PICTURE = r"is no picture of a kind that is read; save it as JPEG or PNG \(JPEG, PNG, WebP"
DAMAGED = r"cannot be read as a picture \(.*\); it may be damaged: copy it anew, or save it again"
CLAIM = "has tags that claim more bytes than there are; save it again in another program"
LARGE = "(pixels, more than 128 million|more than 128 million pixels); make it smaller"

PHOTOS = {
    name: Attack(make, message, read_photo)
    for name, make, message in [
        (
            "PNG of 900 million pixels",
            lambda: png(30000, 30000, 8, 0, bytes(1000)),
            f"has 30000 x 30000 {LARGE}",
        ),
        (
            "JPEG of 4 billion pixels",
            lambda: jpeg_of_size(65500, 65500),
            f"has 65500 x 65500 {LARGE}",
        ),
        (
            "WebP of 268 million pixels",
            lambda: webp_of_size(16383, 16383),
            LARGE,
        ),
        (
            "TIFF of 3 billion pixels",
            lambda: flat_tiff(60000, 60000, 8),
            f"has 60000 x 60000 {LARGE}",
        ),
        (
            "BMP of 900 million pixels",
            lambda: patched(saved(picture(), "BMP"), 18, struct.pack("<ii", 30000, 30000)),
            f"has 30000 x 30000 {LARGE}",
        ),
        (
            "GIF of 4 billion pixels",
            lambda: patched(gif(picture("P")), 6, struct.pack("<HH", 65535, 65535)),
            f"has 65535 x 65535 {LARGE}",
        ),
        ("GIF whose frame is larger than its screen", gif_frame_beyond_its_screen, LARGE),
        (
            "JPEG of 1,100 scans",
            lambda: jpeg_of_scans(1100),
            r"has \d+ scans of 4096 x 4096 pixels, which would take too long to read",
        ),
        (
            "TIFF of one tile of a billion pixels",
            lambda: flat_tiff(8, 8, 8, (322, 4, 1, 2**15), (323, 4, 1, 2**15)),
            "has tiles of 1073741824 pixels for a picture of 8 x 8",
        ),
        ("TIFF with tags of 10 GB in 360 kB", tiff_of_overlapping_tags, CLAIM),
        (
            "JPEG with EXIF of 300 MB in 64 KiB",
            lambda: jpeg(exif=exif_of_overlapping_tags(60_000)),
            CLAIM,
        ),
        (
            "PNG with EXIF of 5 GB in a megabyte",
            lambda: saved(picture(), "PNG", exif=exif_of_overlapping_tags(10**6)),
            CLAIM,
        ),
        (
            "EXIF that claims in its second directory",
            lambda: saved(picture(), "WebP", exif=exif_of_overlapping_tags(60_000, 0x8769)),
            CLAIM,
        ),
        ("BigTIFF of 2^60 tags", lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60), CLAIM),
        ("PNG with a text of 300 MB in 300 kB", lambda: inflated(b"zTXt", b"a\0\0"), DAMAGED),
        ("PNG with a profile of 300 MB", lambda: inflated(b"iCCP", b"a\0\0"), DAMAGED),
        ("JPEG cut in the middle", lambda: cut("JPEG"), DAMAGED),
        ("JPEG cut before its last rows", lambda: jpeg()[:-30], DAMAGED),
        ("JPEG cut in its head", lambda: jpeg()[:100], DAMAGED),
        ("JPEG of three bytes", lambda: b"\xff\xd8\xff", DAMAGED),
        ("PNG cut in the middle", lambda: cut("PNG"), DAMAGED),
        (
            "PNG without pixels",
            lambda: png(32, 24, 8, 2, ROWS)[:33] + chunk(b"IEND"),
            DAMAGED,
        ),
        ("WebP cut in the middle", lambda: cut("WebP"), DAMAGED),
        ("TIFF cut in the middle", lambda: cut("TIFF"), DAMAGED),
        ("BMP cut in the middle", lambda: cut("BMP"), DAMAGED),
        ("GIF cut in the middle", lambda: cut("GIF"), DAMAGED),
        ("PNG of no width", lambda: png(0, 24, 8, 2, b""), "(has 0 x 24 pixels|cannot be read)"),
        ("JPEG of no height", lambda: jpeg_of_size(32, 0), "(has 32 x 0 pixels|cannot be read)"),
        ("empty picture", lambda: b"", "is empty; copy it anew"),
        ("text in place of a picture", lambda: b"a photo of me\n", NO_PICTURE),
        (
            "SVG that names a file",
            lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>',
            "is SVG, which is not read",
        ),
        (
            "XML with entities",
            lambda: b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
            "is XML or SVG, which is not read",
        ),
        ("PDF", lambda: b"%PDF-1.7\n", "is PDF, which is not read"),
        (
            "PostScript, which Pillow gives to Ghostscript",
            lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%ls) (w) file\n",
            "is PostScript, which is not read",
        ),
        ("Photoshop's own", lambda: b"8BPS\0\x01" + bytes(40), "is Photoshop, which is not read"),
        ("icon", lambda: saved(picture(), "ICO"), "is an icon, which is not read"),
        ("JPEG 2000", lambda: saved(picture(), "JPEG2000"), "is JPEG 2000, which is not read"),
        ("AVIF", lambda: box_file(b"avif"), "is AVIF, which is not read"),
        ("film", lambda: box_file(b"isom"), "is a film, which is not read"),
        ("zip in place of a picture", lambda: b"PK\x03\x04" + bytes(40), "is a zip file, which"),
        (
            "TIFF of floats",
            lambda: flat_tiff(8, 8, 32, kind=3),
            "has colours as F; save it as RGB of 8 or 16 bits",
        ),
        (
            "TIFF of Lab",
            lambda: saved(Image.new("LAB", (8, 8)), "TIFF"),
            "has colours as LAB; save it as RGB of 8 or 16 bits",
        ),
        (
            "TIFF of 32 bits",
            lambda: saved(Image.fromarray(np.full((8, 8), 2**20, np.int32)), "TIFF"),
            "has more than 16 bits a channel; save it with 8 or 16",
        ),
    ]
}


class Odd(NamedTuple):
    """A picture that is read: how large it is, and what is said of it."""

    make: Callable[[], bytes]
    size: tuple[int, int]
    notes: tuple[str, ...] = ()


LEFT_OUT = "has a colour profile that is damaged, which was left out"
DEEP = "has more than 8 bits a channel; 8 are kept"


def turned(way: object) -> bytes:
    return jpeg(exif=files.exif({0x0112: way}))


def deep_grey() -> bytes:
    grey = PICTURE[:, :, 0].astype(np.uint16) * 257
    return png(32, 24, 16, 0, files.deep_rows(grey))


def tiff_of_pages_in_a_circle() -> bytes:
    """Two pages, the second of which is followed by the first."""
    content = bytearray(saved(picture(), "TIFF", save_all=True, append_images=[picture()]))
    order = "<" if content[:2] == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", content, 4)
    place = first
    for _ in range(2):
        (count,) = struct.unpack_from(order + "H", content, place)
        link = place + 2 + 12 * count
        (place,) = struct.unpack_from(order + "I", content, link)
    struct.pack_into(order + "I", content, link, first)
    return bytes(content)


def with_opacity(mode: str) -> bytes:
    image = picture(mode)
    image.putalpha(Image.fromarray(PICTURE[:, :, 0]))
    return saved(image, "PNG")


ODD = {
    "one pixel": Odd(lambda: saved(picture(size=(1, 1)), "PNG"), (1, 1)),
    "one column of 70,000": Odd(lambda: saved(Image.new("RGB", (1, 70000)), "PNG"), (1, 70000)),
    "one row of 70,000": Odd(lambda: saved(Image.new("RGB", (70000, 1)), "PNG"), (70000, 1)),
    "black and white": Odd(lambda: saved(picture("1"), "PNG"), (32, 24)),
    "grey of 16 bits": Odd(deep_grey, (32, 24), (DEEP,)),
    "grey of 16 bits in TIFF": Odd(
        lambda: saved(Image.fromarray(PICTURE[:, :, 0].astype(np.uint16) * 257), "TIFF"),
        (32, 24),
        (DEEP,),
    ),
    "16 bits with a colour that is seen through": Odd(
        lambda: png(
            32,
            24,
            16,
            2,
            files.deep_rows(PICTURE.astype(np.uint16) * 257),
            chunk(b"tRNS", struct.pack(">3H", 5140, 0, 40000)),
        ),
        (32, 24),
        (DEEP, "has a colour that is seen through, which is opaque now"),
    ),
    "grey with opacity": Odd(lambda: with_opacity("L"), (32, 24)),
    "colours with opacity": Odd(lambda: with_opacity("RGB"), (32, 24)),
    "palette with opacity": Odd(
        lambda: saved(picture("P"), "PNG", transparency=bytes(range(256))), (32, 24)
    ),
    "printer's colours": Odd(
        lambda: saved(picture("CMYK"), "JPEG"),
        (32, 24),
        (
            "has a printer's colours (CMYK), which were brought to sRGB without a profile, so "
            "roughly",
        ),
    ),
    "printer's colours with a profile": Odd(
        lambda: saved(picture("CMYK"), "TIFF", icc_profile=files.cmyk_profile()),
        (32, 24),
        ("has a printer's colours (CMYK), which were brought to sRGB by its profile",),
    ),
    "video's colours": Odd(lambda: saved(picture("YCbCr"), "TIFF", compression="jpeg"), (32, 24)),
    "profile of rubbish": Odd(
        lambda: jpeg(icc_profile=bytes(range(256)) * 9), (32, 24), (LEFT_OUT,)
    ),
    "profile of 5 MB": Odd(
        lambda: jpeg(icc_profile=files.rgb_profile().ljust(5_000_000, b"\0")),
        (32, 24),
        (LEFT_OUT,),
    ),
    "profile of another kind of colours": Odd(
        lambda: saved(picture(), "PNG", icc_profile=files.cmyk_profile()),
        (32, 24),
        ("has a colour profile that is of CMYK in place of RGB, which was left out",),
    ),
    "EXIF of rubbish": Odd(
        lambda: saved(picture(), "PNG", exif=b"Exif\0\0rubbish that is none"),
        (32, 24),
        ("has EXIF that is damaged, and was left out",),
    ),
    "EXIF of 2 MB": Odd(
        lambda: saved(picture(), "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0" + bytes(2 * 2**20)),
        (32, 24),
        ("has 2097166 bytes of EXIF, which were left unread",),
    ),
    "EXIF of another size": Odd(
        lambda: jpeg(exif=files.exif({256: 9, 257: 9, 0x8769: {0xA002: 9, 0xA003: 9}})), (32, 24)
    ),
    "turned in way 0": Odd(
        lambda: turned(0),
        (32, 24),
        ("says by EXIF that it is turned in way 0, which there is not",),
    ),
    "turned in way 9": Odd(
        lambda: turned(9),
        (32, 24),
        ("says by EXIF that it is turned in way 9, which there is not",),
    ),
    "turned in no way that is a number": Odd(
        lambda: jpeg(exif=b"Exif\0\0" + tiff((0x0112, 2, 4, 0x00325B1B))),  # ESC [ 2
        (32, 24),
        ("says by EXIF that it is turned in way [2, which there is not",),
    ),
    "JPEG that another follows": Odd(lambda: jpeg() + jpeg_of_size(65500, 65500), (32, 24)),
    "JPEG with two tables of colours": Odd(
        lambda: jpeg(qtables=[[1] * 64, [2] * 64, [3] * 64]), (32, 24)
    ),
    "10,000 frames": Odd(
        lambda: gif_of_frames(10_000), (32, 24), ("holds several frames; the first is taken",)
    ),
    "pages in a circle": Odd(
        tiff_of_pages_in_a_circle, (32, 24), ("holds several pages; the first is taken",)
    ),
    "text of 900 kB": Odd(
        lambda: png(32, 24, 8, 2, ROWS, chunk(b"tEXt", b"a\0" + b"b" * 900_000)), (32, 24)
    ),
}
"""What a JPEG or another file may be, and still is a picture."""
