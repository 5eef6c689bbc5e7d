"""Masks as people paint them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from styleatlas.engine.photos.mask import read_mask
from styleatlas.store.errors import InputError

from ... import photo_files as files

GREY = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10


def test_a_grey_picture_is_taken_as_it_is(make_photo, tmp_path):
    photo = make_photo(np.zeros((4, 6, 3), np.uint8))
    for mode in ("L", "RGB"):
        Image.fromarray(GREY).convert(mode).save(tmp_path / "mask.png")
        assert np.array_equal(read_mask(tmp_path / "mask.png", photo), GREY)


def test_what_is_seen_through_may_not_change(make_photo, tmp_path):
    painted = Image.new("LA", (6, 4), (255, 0))
    painted.putpixel((2, 1), (255, 255))
    painted.putpixel((3, 1), (200, 128))
    painted.save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png", make_photo(np.zeros((4, 6, 3), np.uint8)))
    assert mask[1, 2] == 255 and mask[1, 3] == 100 and np.count_nonzero(mask) == 2


def test_it_is_turned_upright_and_has_to_be_of_the_photos_size(make_photo, tmp_path):
    lying = files.saved(Image.fromarray(GREY), "PNG", exif=files.exif({0x0112: 6}))
    (tmp_path / "mask.png").write_bytes(lying)
    upright = read_mask(tmp_path / "mask.png", make_photo(np.zeros((6, 4, 3), np.uint8)))
    assert np.array_equal(upright, np.rot90(GREY, -1))
    with pytest.raises(InputError, match=r"mask\.png: is 4 x 6, and me.png 6 x 4"):
        read_mask(tmp_path / "mask.png", make_photo(np.zeros((4, 6, 3), np.uint8)))
