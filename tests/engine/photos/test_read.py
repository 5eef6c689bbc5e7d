"""Pictures as people have them, each read into the numbers it shows."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from styleatlas.engine.photos import colour, formats
from styleatlas.engine.photos.read import as_stored, read_photo
from styleatlas.store.errors import InputError

from ... import photo_files as files
from ...photo_files import PICTURE, picture, saved

ORIENTATION, GPS = 0x0112, 0x8825


@pytest.fixture
def read(tmp_path):
    """Write bytes to a file and read it."""

    def read(content: bytes, name: str = "photo"):
        path = tmp_path / name
        path.write_bytes(content)
        return read_photo(path)

    return read


@pytest.mark.parametrize("kind", ["PNG", "WebP", "TIFF", "BMP"])
def test_own_numbers_without_loss(read, kind):
    photo = read(saved(picture(), kind, **({"lossless": True} if kind == "WebP" else {})))
    assert np.array_equal(photo.pixels, PICTURE)
    assert (photo.format, photo.alpha, photo.profile, photo.exif) == (kind, None, None, None)
    assert not photo.notes and photo.tables is None
    assert not photo.pixels.flags.writeable


def test_gif(read):
    few = picture().quantize(16)
    photo = read(saved(few, "GIF"))
    assert photo.format == "GIF" and np.array_equal(photo.pixels, np.asarray(few.convert("RGB")))


def test_jpeg_tells_its_tables_subsampling_and_resolution(read):
    content = saved(picture(), "JPEG", quality=83, subsampling=2, dpi=(300, 150))
    photo = read(content)
    with Image.open(io.BytesIO(content)) as opened:
        assert photo.tables == tuple(tuple(table) for table in opened.quantization.values())
        assert np.array_equal(photo.pixels, np.asarray(opened))
    assert (photo.subsampling, photo.dpi) == (2, (300, 150))


@pytest.mark.heic
def test_heic(read):
    import pillow_heif

    file = io.BytesIO()
    turned = files.exif({ORIENTATION: 6})
    pillow_heif.from_pillow(picture(size=(64, 48))).save(
        file, quality=100, chroma="444", exif=turned
    )
    photo = read(file.getvalue())
    assert photo.format == "HEIC"
    whole = np.asarray(picture(size=(64, 48)).transpose(Image.Transpose.ROTATE_270))
    assert photo.pixels.shape == (64, 48, 3)
    assert np.abs(photo.pixels.astype(int) - whole).mean() < 3


def test_heic_without_its_reader_tells_the_mend(read, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(InputError, match=r"is HEIC, .*pip install 'styleatlas\[photos\]'.* JPEG$"):
        read(b"\0\0\0\x18ftypheic" + b"\0" * 40)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WebP", "JPEG"])
def test_orientation_is_settled(read, turn, kind):
    """As Pillow's own transposition has it."""
    content = saved(
        picture(),
        kind,
        exif=files.exif({ORIENTATION: turn}),
        **({"lossless": True} if kind == "WebP" else {}),
    )
    with Image.open(io.BytesIO(content)) as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened))
    photo = read(content)
    assert photo.pixels.shape == ((24, 32, 3) if turn < 5 else (32, 24, 3))
    assert np.array_equal(photo.pixels, upright)
    assert photo.exif is None


def test_orientation_turns_opacity_and_resolution_too(read):
    image = picture("RGBA")
    image.putalpha(Image.fromarray(PICTURE[:, :, 0]))
    photo = read(saved(image, "PNG", exif=files.exif({ORIENTATION: 8}), dpi=(300, 100)))
    assert np.array_equal(photo.alpha, np.rot90(PICTURE[:, :, 0]))
    assert np.allclose(photo.dpi, (100, 300), atol=0.1)


def test_stored_form_is_a_view():
    upright = PICTURE.copy()
    as_stored(upright, 6)[:] = 0
    assert not upright.any()


def test_sixteen_bits_are_rounded(read):
    numbers = np.arange(0, 65536, 97, dtype=np.uint16)[None]
    photo = read(files.png(numbers.shape[1], 1, 16, 0, files.deep_rows(numbers)))
    assert np.array_equal(photo.pixels[0, :, 1], np.rint(numbers[0] / 257))
    assert photo.notes == ("has more than 8 bits a channel; 8 are kept",)


def test_sixteen_bits_of_colour(read):
    numbers = PICTURE.astype(np.uint16) * 257
    photo = read(files.png(32, 24, 16, 2, files.deep_rows(numbers)))
    assert np.array_equal(photo.pixels, PICTURE)
    assert photo.notes == ("has more than 8 bits a channel; 8 are kept",)


def test_opacity_is_kept_and_seen_over_white(read):
    image = picture("RGBA")
    image.putalpha(Image.fromarray(PICTURE[:, :, 0]))
    photo = read(saved(image, "PNG"))
    assert np.array_equal(photo.pixels, PICTURE)
    assert np.array_equal(photo.alpha, PICTURE[:, :, 0])
    opaque = PICTURE[:, :, :1] / 255.0
    assert np.abs(photo.seen() - (PICTURE * opaque + 255 * (1 - opaque))).max() <= 0.5


def test_opacity_that_hides_nothing_is_none(read):
    assert read(saved(picture("RGBA"), "PNG")).alpha is None


def test_profile_stays_and_pixels_are_their_own(read):
    profile = files.rgb_profile()
    photo = read(saved(picture(), "PNG", icc_profile=profile))
    assert photo.profile == profile and np.array_equal(photo.pixels, PICTURE)


def test_profile_that_leads_one_way_ends_in_srgb(read):
    grey = Image.new("RGB", (4, 4), (128, 128, 128))
    photo = read(saved(grey, "PNG", icc_profile=files.scanner_profile()))
    # L* of half is 50, which sRGB writes as 119 (CIE 1976 and IEC 61966-2-1).
    assert np.abs(photo.pixels.astype(int) - 119).max() <= 2
    assert colour.space_of(photo.profile) == "RGB"
    assert photo.notes == (
        "has a colour profile that leads one way only, which was brought to sRGB",
    )


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_with_a_profile_ends_in_srgb(read, mode):
    """A quarter of linear light is 137 in sRGB (IEC 61966-2-1)."""
    grey = Image.new(mode, (4, 4), 64 if mode == "L" else (64, 99))
    photo = read(saved(grey, "PNG", icc_profile=files.grey_profile(1.0)))
    assert mode == "L" or (photo.alpha == 99).all()
    assert np.abs(photo.pixels.astype(int) - 137).max() <= 2
    assert photo.notes == ("is grey with a profile, which was brought to sRGB",)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_printers_colours_by_their_profile(read, kind):
    """Half of each ink but black: L* is 5/8 + of it, as the profile has it."""
    inks = Image.new("CMYK", (16, 16), (128, 128, 128, 0))
    photo = read(saved(inks, kind, icc_profile=files.cmyk_profile()))
    light = 100 * (1 - 3 * 128 / 255 / 8)
    linear = ((light + 16) / 116) ** 3
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(photo.pixels - expected).max() < 4
    assert colour.space_of(photo.profile) == "RGB"
    assert photo.notes == (
        "has a printer's colours (CMYK), which were brought to sRGB by its profile",
    )


def test_printers_colours_without_a_profile(read):
    photo = read(saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    assert np.abs(photo.pixels.astype(int) - [255, 0, 0]).max() <= 4
    assert photo.notes == (
        "has a printer's colours (CMYK), which were brought to sRGB without a profile, so roughly",
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WebP"])
def test_exif_is_kept_but_for_place_and_makers_note(read, kind):
    tags = {
        0x010F: "Maker",
        0x8298: "(c) somebody\n",
        0x8769: {0x829A: 0.004, 0x927C: b"note", 0x9003: "2026:11:28 10:00:00", 0xA431: "serial"},
        GPS: {1: "N", 2: (52.0, 31.0, 0.0)},
    }
    photo = read(saved(picture(), kind, exif=files.exif(tags)))
    kept = Image.Exif()
    kept.load(photo.exif)
    assert kept[0x010F] == "Maker" and kept[0x8298] == "(c) somebody"
    exposure = kept.get_ifd(0x8769)
    assert exposure[0x9003] == "2026:11:28 10:00:00" and float(exposure[0x829A]) == 0.004
    assert set(kept) == {0x010F, 0x8298, 0x8769} and set(exposure) == {0x829A, 0x9003}
    for hidden in (b"note", b"serial"):
        assert hidden not in photo.exif


def test_exif_whose_maker_miscounted(read):
    """What reaches beyond the end is left out, and the rest is kept."""
    content = files.exif(
        {0x010F: "Maker", 0x8769: {0x9003: "2026:11:28 10:00:00", 0x927C: b"n" * 9}}
    )
    at = content.index(b"\x92\x7c" if content[6:8] == b"MM" else b"\x7c\x92")
    order = "big" if content[6:8] == b"MM" else "little"
    spoilt = content[: at + 4] + (70_000).to_bytes(4, order) + content[at + 8 :]
    kept = Image.Exif()
    kept.load(read(saved(picture(), "JPEG", exif=spoilt)).exif)
    assert kept[0x010F] == "Maker" and 0x9003 in kept.get_ifd(0x8769)


def test_first_of_several_frames_and_pages(read):
    others = [Image.new("RGB", (32, 24), (n, 0, 0)) for n in range(3)]
    for kind in ("PNG", "WebP"):
        how = {"lossless": True} if kind == "WebP" else {}
        photo = read(saved(picture(), kind, save_all=True, append_images=others, **how))
        assert np.array_equal(photo.pixels, PICTURE)
        assert photo.notes == ("holds several frames; the first is taken",)
    photo = read(saved(picture(), "TIFF", save_all=True, append_images=others))
    assert np.array_equal(photo.pixels, PICTURE)
    assert photo.notes == ("holds several pages; the first is taken",)


def test_content_counts_not_the_name(read):
    assert read(saved(picture(), "JPEG"), "photo.png").format == "JPEG"


def test_strips_are_joined_without_a_seam(read, monkeypatch):
    monkeypatch.setattr("styleatlas.engine.photos.read._STRIP", 32 * 5)
    assert np.array_equal(read(saved(picture(), "PNG")).pixels, PICTURE)


def test_picture_at_the_limit_is_read_and_one_beyond_is_not(read, monkeypatch):
    monkeypatch.setattr("styleatlas.engine.photos.read.MOST_PIXELS", 32 * 24)
    content = saved(picture(), "PNG")
    assert read(content).shape == (24, 32)
    with pytest.raises(InputError, match=r"has 33 x 24 pixels, more than .*make it smaller"):
        read(saved(picture(size=(33, 24)), "PNG"))


def test_other_formats_of_pillows_are_not_opened(read):
    for kind in ("TGA", "PCX", "PPM", "ICO"):
        with pytest.raises(InputError, match=f"save it as JPEG or PNG .{formats.READ} are read.$"):
            read(saved(picture(), kind))


def test_nothing_of_a_warning_is_printed(read, recwarn):
    read(saved(picture("P"), "PNG", transparency=bytes(range(256))))
    read(saved(picture(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"))
    assert not recwarn.list
