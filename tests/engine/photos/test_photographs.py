"""Edits of parts of photos go back in the photo's own colours, one after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from styleatlas.engine.photos.align import Alignment
from styleatlas.engine.photos.colour import from_srgb
from styleatlas.engine.photos.cuts import Cut
from styleatlas.engine.photos.photographs import EditedCut, put_back
from styleatlas.store.errors import OptionError

from ... import photo_files as files

SIDE = 64


def plain(level: float) -> torch.Tensor:
    """A render of this level, of 255, reddish."""
    colour = torch.tensor([level, 0.8 * level, 0.5 * level])
    return (colour / 127.5 - 1)[:, None, None].expand(3, SIDE, SIDE)


def at(photo, x: float, y: float, side: float, before: float, after: float) -> EditedCut:
    quad = np.array([[x, y], [x, y + side], [x + side, y + side], [x + side, y]], float)
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    return EditedCut(Cut(photo, Alignment(quad, "box"), pixels, "me"), plain(before), plain(after))


def levels(level: float) -> np.ndarray:
    return np.rint([level, 0.8 * level, 0.5 * level]).astype(np.uint8)


def test_an_edit_is_brought_into_the_photos_profile(make_photo):
    profile = files.rgb_profile()
    before, after = (from_srgb(levels(v)[None, None], profile)[0, 0] for v in (100, 140))
    photo = make_photo(np.broadcast_to(before, (SIDE, SIDE, 3)).copy(), profile=profile)
    made = at(photo, 0, 0, SIDE, 100, 140).pasted()
    assert np.abs(made.photo.astype(int) - after).max() <= 1
    assert np.abs(made.photo.astype(int) - levels(140)).max() > 2  # as it would be in sRGB


def test_what_is_not_opaque_is_edited_as_it_is_seen(make_photo):
    alpha = np.full((SIDE, SIDE), 255, np.uint8)
    alpha[:20], alpha[20:40] = 0, 128
    pixels = np.broadcast_to(levels(100), (SIDE, SIDE, 3)).copy()
    pixels[:20] = 0  # what nobody sees
    photo = make_photo(pixels, alpha=alpha)
    opaque = at(replace(photo, pixels=np.broadcast_to(levels(100), pixels.shape), alpha=None),
                0, 0, SIDE, 100, 140).pasted()  # fmt: skip
    made = at(photo, 0, 0, SIDE, 100, 140).pasted()
    assert np.array_equal(made.photo[:20], pixels[:20])
    assert np.array_equal(made.photo[50:], opaque.photo[50:])
    assert (made.photo[20:40].astype(int) > pixels[20:40]).all()


def test_edits_of_several_parts_go_into_one_photo(make_photo):
    photo = make_photo(np.broadcast_to(levels(100), (120, 200, 3)).copy())
    edits = [at(photo, 5, 5, 90, 100, 150), at(photo, 60, 20, 90, 100, 60)]
    pixels, made = put_back(edits)
    alone = [one.pasted() for one in edits]
    boxes = [np.s_[one.box[1] : one.box[3], one.box[0] : one.box[2]] for one in made]
    assert np.array_equal(pixels[:, :50], alone[0].photo[:, :50])
    assert np.array_equal(pixels[:, 110:], alone[1].photo[:, 110:])
    untouched = np.ones((120, 200), bool)
    for box in boxes:
        untouched[box] = False
    assert untouched.any() and np.array_equal(pixels[untouched], photo.pixels[untouched])
    only = np.zeros((120, 200), np.uint8)
    only[:, :60] = 255
    masked, _ = put_back(edits, only)
    assert np.array_equal(masked[:, 60:], photo.pixels[:, 60:])
    assert np.array_equal(masked[:, :50], pixels[:, :50])


def test_parts_of_several_photos_do_not_go_into_one(make_photo):
    one, other = (make_photo(np.zeros((80, 80, 3), np.uint8)) for _ in range(2))
    with pytest.raises(OptionError, match="photos: are 2"):
        put_back([at(one, 0, 0, 70, 10, 90), at(other, 0, 0, 70, 10, 90)])
    with pytest.raises(OptionError, match="photos: are 0"):
        put_back([])
