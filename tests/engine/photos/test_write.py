"""Edited photos, as other programs then read them."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from styleatlas.engine.photos.metadata import DIGITAL_SOURCE
from styleatlas.engine.photos.read import read_photo
from styleatlas.engine.photos.write import own_suffix, require_photo_name, write_photo
from styleatlas.store.errors import OptionError, OutputError
from styleatlas.store.version import LIBRARY

from ... import photo_files as files
from ...photo_files import PICTURE, picture, saved

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
LOSSLESS = ["png", "webp", "tif"]
WITH_EXIF = [*LOSSLESS, "jpg"]
EDITED = np.flip(PICTURE, 0).copy()
TAGS = {
    0x010F: "Maker",
    0x0112: 6,
    0x8769: {0x829A: 0.004, 0x927C: b"makers note"},
    0x8825: {1: "N", 2: (52.0, 31.0, 0.0)},
}
XMP_OF_THE_PHOTO = b"<x:xmpmeta exif:GPSLatitude='52,31N'>thumbnail of the unedited</x:xmpmeta>"


@pytest.fixture
def read(tmp_path):
    def read(content: bytes):
        (tmp_path / "photo").write_bytes(content)
        return read_photo(tmp_path / "photo")

    return read


def exif_of(path) -> Image.Exif:
    return Image.open(io.BytesIO(path.read_bytes())).getexif()


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_pixels_and_profile_without_loss(read, tmp_path, suffix):
    photo = read(saved(picture(), "PNG", icc_profile=files.rgb_profile(), dpi=(300, 200)))
    path = tmp_path / f"edited.{suffix}"
    assert write_photo(photo, EDITED, path) == ()
    again = read_photo(path)
    assert np.array_equal(again.pixels, EDITED)
    assert again.profile == files.rgb_profile() and not again.notes
    if suffix != "webp":  # which keeps it in EXIF alone
        assert np.allclose(again.dpi, (300, 200), atol=0.1)
    assert exif_of(path)[0x011A] == 300 and exif_of(path)[0x011B] == 200


def test_jpeg_by_its_own_tables_and_subsampling(read, tmp_path):
    photo = read(saved(picture(), "JPEG", quality=61, subsampling=1, dpi=(240, 240)))
    write_photo(photo, EDITED, tmp_path / "edited.jpg")
    again = read_photo(tmp_path / "edited.jpg")
    assert (again.tables, again.subsampling) == (photo.tables, 1)
    assert again.dpi == (240, 240)
    assert np.array_equal(
        again.pixels, read(saved(Image.fromarray(EDITED), "JPEG", quality=61, subsampling=1)).pixels
    )


def test_untouched_jpeg_by_its_own_tables_hardly_changes(read, tmp_path):
    """In the mean by less than a tenth of a step, and half as much as by finer tables."""
    random = np.random.default_rng(0)
    blurred = Image.fromarray(random.integers(80, 170, (24, 32, 3), np.uint8)).resize((256, 192))
    photo = read(saved(blurred, "JPEG", quality=60, subsampling=0))
    changes = []
    for given in (photo, replace(photo, tables=None)):
        write_photo(given, photo.pixels, tmp_path / "edited.jpg")
        again = read_photo(tmp_path / "edited.jpg").pixels
        changes.append(np.abs(again.astype(int) - photo.pixels).mean())
    assert changes[0] < 0.1 and changes[0] < changes[1] / 2


def test_grey_jpeg_by_its_own_table(read, tmp_path):
    photo = read(saved(picture("L"), "JPEG", quality=61))
    write_photo(photo, photo.pixels, tmp_path / "edited.jpg")
    again = read_photo(tmp_path / "edited.jpg")
    assert again.tables == photo.tables and len(photo.tables) == 1
    assert np.abs(again.pixels.astype(int) - photo.pixels).mean() < 3


def test_other_photos_become_jpeg_of_high_quality(read, tmp_path):
    photo = read(saved(picture(), "PNG"))
    write_photo(photo, EDITED, tmp_path / "edited.jpg")
    again = read_photo(tmp_path / "edited.jpg")
    assert again.subsampling == 0 and np.abs(again.pixels.astype(int) - EDITED).max() < 8


@pytest.mark.parametrize("suffix", WITH_EXIF)
def test_orientation_is_settled_once(read, tmp_path, suffix):
    photo = read(saved(picture(), "JPEG", exif=files.exif(TAGS)))
    path = tmp_path / f"edited.{suffix}"
    write_photo(photo, photo.pixels, path)
    assert exif_of(path).get(0x0112, 1) == 1
    assert read_photo(path).shape == photo.shape == (32, 24)


@pytest.mark.parametrize("suffix", WITH_EXIF)
def test_exif_stays_without_place_and_makers_note(read, tmp_path, suffix):
    photo = read(saved(picture(), "JPEG", exif=files.exif(TAGS)))
    path = tmp_path / f"edited.{suffix}"
    write_photo(photo, photo.pixels, path)
    exif = exif_of(path)
    assert exif[0x010F] == "Maker" and float(exif.get_ifd(0x8769)[0x829A]) == 0.004
    assert 0x8825 not in exif and not exif.get_ifd(0x8825)
    assert 0x927C not in exif.get_ifd(0x8769)
    assert b"makers note" not in path.read_bytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "TIFF"])
@pytest.mark.parametrize("suffix", WITH_EXIF)
@pytest.mark.parametrize("marked", [True, False])
def test_nothing_of_the_photos_xmp_and_thumbnail_stays(read, tmp_path, kind, suffix, marked):
    how: dict[str, Any] = {"exif": with_thumbnail(TAGS)}
    if kind == "JPEG":
        content = b"http://ns.adobe.com/xap/1.0/\0" + XMP_OF_THE_PHOTO
        how["extra"] = b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content
    elif kind == "TIFF":
        how |= {"tiffinfo": {700: XMP_OF_THE_PHOTO, 34377: b"thumbnail of Photoshop"}}
    elif kind == "WebP":
        how |= {"xmp": XMP_OF_THE_PHOTO, "lossless": True}
    else:
        how["pnginfo"] = PngInfo()
        how["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP_OF_THE_PHOTO.decode())
        how["pnginfo"].add_text("Comment", "thumbnail in a text")
    content = saved(picture(), kind, **how)
    assert b"thumbnail" in content and b"GPSLatitude" in content
    path = tmp_path / f"edited.{suffix}"
    write_photo(read(content), read(content).pixels, path, marked=marked)
    written = path.read_bytes()
    for hidden in (b"thumbnail", b"GPS", b"52,31N"):
        assert hidden not in written


def with_thumbnail(tags) -> bytes:
    """EXIF whose second directory holds a small picture, as cameras write it."""
    made = bytearray(files.exif(tags))
    order = "little" if made[6:8] == b"II" else "big"
    tiff = made[6:]
    count = int.from_bytes(tiff[8:10], order)
    small = b"\xff\xd8 thumbnail \xff\xd9"
    start = len(tiff)
    tiff[10 + 12 * count : 14 + 12 * count] = start.to_bytes(4, order)
    entries = [(0x0201, start + 2 + 24 + 4), (0x0202, len(small))]
    tiff += len(entries).to_bytes(2, order)
    for tag, value in entries:
        tiff += tag.to_bytes(2, order) + (4).to_bytes(2, order)
        tiff += (1).to_bytes(4, order) + value.to_bytes(4, order)
    return bytes(made[:6] + tiff + bytes(4) + small)


@pytest.mark.parametrize("suffix", WITH_EXIF)
def test_edit_is_marked_unless_told_otherwise(read, tmp_path, suffix):
    photo = read(saved(picture(), "PNG", exif=files.exif({0x0131: "Camera 1.0"})))
    path = tmp_path / f"edited.{suffix}"
    write_photo(photo, EDITED, path)
    assert exif_of(path)[0x0131] == LIBRARY
    packet = re.search(rb"<x:xmpmeta.*</x:xmpmeta>", path.read_bytes(), re.DOTALL)[0]
    (described,) = ElementTree.fromstring(packet).iter(f"{{{RDF}}}Description")
    assert described.get(f"{{{IPTC}}}DigitalSourceType") == DIGITAL_SOURCE
    assert described.get("{http://ns.adobe.com/xap/1.0/}CreatorTool") == LIBRARY
    write_photo(photo, EDITED, path, marked=False)
    assert exif_of(path)[0x0131] == "Camera 1.0"
    assert b"styleatlas" not in path.read_bytes() and b"DigitalSource" not in path.read_bytes()


def test_mark_in_png_is_text_as_well(read, tmp_path):
    write_photo(read(saved(picture(), "PNG")), EDITED, tmp_path / "edited.png")
    with Image.open(tmp_path / "edited.png") as image:
        assert image.text["Software"] == LIBRARY


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_opacity_stays(read, tmp_path, suffix):
    """Colours under what is not seen as well."""
    image = picture("RGBA")
    image.putalpha(Image.fromarray(np.where(PICTURE[:, :, 0] > 60, PICTURE[:, :, 0], 0)))
    photo = read(saved(image, "PNG"))
    path = tmp_path / f"edited.{suffix}"
    assert write_photo(photo, EDITED, path) == ()
    again = read_photo(path)
    assert np.array_equal(again.alpha, photo.alpha)
    assert np.array_equal(again.pixels, EDITED)


def test_opacity_is_laid_over_white_in_jpeg_and_that_is_told(read, tmp_path):
    image = picture("RGBA")
    image.putalpha(Image.fromarray(np.zeros((24, 32), np.uint8)))
    said = write_photo(read(saved(image, "PNG")), EDITED, tmp_path / "edited.jpg")
    assert said == ("holds no opacity as JPEG; the photo was laid over white",)
    assert read_photo(tmp_path / "edited.jpg").pixels.min() > 250


@pytest.mark.heic
def test_heic(read, tmp_path):
    profile = files.rgb_profile()
    big = np.asarray(picture(size=(64, 48)))
    photo = read(saved(Image.fromarray(big), "PNG", icc_profile=profile, exif=files.exif(TAGS)))
    write_photo(photo, photo.pixels, tmp_path / "edited.heic")
    again = read_photo(tmp_path / "edited.heic")
    assert again.format == "HEIC" and again.shape == photo.shape and again.profile == profile
    assert np.abs(again.pixels.astype(int) - photo.pixels).mean() < 4
    assert DIGITAL_SOURCE.encode() in (tmp_path / "edited.heic").read_bytes()
    assert again.exif is not None and b"Maker" in again.exif and LIBRARY.encode() in again.exif


def test_heic_without_its_writer_tells_the_mend(read, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(OutputError, match=r"edited\.heic: .*pip install 'styleatlas\[photos\]'"):
        require_photo_name(tmp_path / "edited.heic")


@pytest.mark.parametrize("name", ["edited.gif", "edited.bmp", "edited", "edited.psd"])
def test_name_that_no_photo_is_written_by(read, tmp_path, name):
    photo = read(saved(picture(), "PNG"))
    with pytest.raises(OutputError, match=r"photos are written as .*; end the name in \.jpg, "):
        write_photo(photo, EDITED, tmp_path / name)


def test_own_format_by_name(read):
    for kind, suffix in {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "WebP": ".webp"}.items():
        assert own_suffix(read(saved(picture(), kind)).format) == suffix
    assert own_suffix(read(saved(picture(), "BMP")).format) == ".png"
    assert own_suffix(read(saved(picture("P"), "GIF")).format) == ".png"


def test_pixels_of_another_size(read, tmp_path):
    photo = read(saved(picture(), "PNG"))
    for pixels in (EDITED[1:], EDITED.astype(np.float32)):
        with pytest.raises(OptionError, match=r"give uint8 of shape \(24, 32, 3\)"):
            write_photo(photo, pixels, tmp_path / "edited.png")
    assert not (tmp_path / "edited.png").exists()


def test_photo_that_is_too_long_for_its_format(read, tmp_path):
    photo = read(saved(Image.new("L", (1, 16384)), "PNG"))
    with pytest.raises(OutputError, match=r"WebP holds at most 16383 .* 1 x 16384; name a \.png"):
        write_photo(photo, photo.pixels, tmp_path / "edited.webp")
    write_photo(photo, photo.pixels, tmp_path / "edited.png")


def test_file_is_replaced_as_a_whole_or_not_at_all(read, tmp_path, monkeypatch):
    path = tmp_path / "edited.jpg"
    path.write_bytes(b"before")
    photo = replace(read(saved(picture(), "JPEG")), tables=((1,) * 3,))  # which no JPEG has
    with pytest.raises(OutputError, match=re.escape(f"{path}: cannot be written as JPEG")):
        write_photo(photo, EDITED, path)
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir() if file.name != "photo"] == ["edited.jpg"]


def test_written_twice_is_written_alike(read, tmp_path):
    photo = read(saved(picture(), "JPEG", exif=files.exif(TAGS), icc_profile=files.rgb_profile()))
    for suffix in WITH_EXIF:
        paths = [tmp_path / f"{n}.{suffix}" for n in range(2)]
        for path in paths:
            write_photo(photo, photo.pixels, path)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        again = read_photo(paths[0])
        write_photo(again, again.pixels, paths[1])
        with Image.open(io.BytesIO(paths[1].read_bytes())) as image:
            assert image.getexif()[0x010F] == "Maker"
