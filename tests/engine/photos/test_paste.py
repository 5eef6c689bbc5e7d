"""What goes back into a photo, where, and that all else stays."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from styleatlas.engine.photos.paste import Pasted, alike, backdrop_light, changed, paste
from styleatlas.store.errors import OptionError
from tests.near import assert_near, assert_pixels_near


def square(x: float, y: float, side: float, degrees: float = 0.0) -> NDArray[np.float64]:
    """A crop around (x, y), turned clockwise as it is seen."""
    angle = math.radians(degrees)
    across = np.array([math.cos(angle), math.sin(angle)]) * side / 2
    down = np.array([-across[1], across[0]])
    corners = (-across - down, -across + down, across + down, across - down)
    return np.array([x, y]) + np.array(corners)


def textured(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def grey(size: int, level: float = 0.0) -> Tensor:
    return torch.full((3, size, size), level)


def with_disc(size: int, x: float, y: float, radius: float, by: float) -> Tensor:
    """A grey render with a lighter disc, its middle and radius in shares of the side."""
    middle = (torch.arange(size) + 0.5) / size
    far = torch.hypot(middle[None, :] - x, middle[:, None] - y)
    return grey(size) + by * (1 - (far / radius).clamp(0, 1)) ** 0.5


def stripes(size: int, turned: bool) -> Tensor:
    line = torch.sin(torch.arange(size) * (2 * math.pi * 16 / size)) * 0.5
    plane = line[None, :] if turned else line[:, None]
    return plane.expand(3, size, size).clone()


def full_mask(pasted: Pasted) -> NDArray[np.float32]:
    left, top, right, bottom = pasted.box
    mask = np.zeros(pasted.photo.shape[:2], np.float32)
    mask[top:bottom, left:right] = pasted.mask
    return mask


@given(
    x=st.floats(-40, 160),
    y=st.floats(-40, 140),
    side=st.floats(1, 150),
    degrees=st.floats(-180, 180),
    size=st.sampled_from([1, 7, 32, 65]),
    seed=st.integers(0, 99),
)
def test_outside_of_the_mask_the_photo_stays_bit_for_bit(
    x: float, y: float, side: float, degrees: float, size: int, seed: int
) -> None:
    photo = textured(97, 121, seed)
    before = photo.copy()
    noise = torch.Generator().manual_seed(seed)
    inversion, edit = (torch.rand(3, size, size, generator=noise) * 2.4 - 1.2 for _ in range(2))
    pasted = paste(photo, square(x, y, side, degrees), inversion, edit)
    assert np.array_equal(photo, before)
    assert pasted.photo.shape == photo.shape and pasted.photo.dtype == np.uint8
    mask = full_mask(pasted)
    assert mask.min() >= 0 and mask.max() <= 1
    assert np.array_equal(pasted.photo[mask == 0], photo[mask == 0])


@pytest.mark.parametrize("size", [1, 33, 64, 300])
def test_nothing_changes_where_the_edit_is_the_inversion(size: int) -> None:
    photo = textured(90, 110)
    render = torch.rand(3, size, size) * 2 - 1
    pasted = paste(photo, square(50, 40, 70, 20), render, render.clone())
    assert np.array_equal(pasted.photo, photo)
    assert pasted.photo is not photo and pasted.box == (0, 0, 0, 0) and not pasted.mask.size


@pytest.mark.parametrize("degrees", [0, 17, -90, 180])
@pytest.mark.parametrize(("side", "size"), [(200, 64), (200, 200), (200, 512), (77.3, 301)])
def test_a_change_lands_where_it_is_in_a_turned_crop(
    degrees: float, side: float, size: int
) -> None:
    photo = np.full((321, 355, 3), 100, np.uint8)
    crop = square(180.3, 160.8, side, degrees)
    pasted = paste(photo, crop, grey(size), with_disc(size, 0.65, 0.4, 0.15, 0.4))
    moved = pasted.photo[..., 0].astype(float) - 100
    y, x = np.mgrid[:321, :355] + 0.5
    found = np.array([(moved * x).sum(), (moved * y).sum()]) / moved.sum()
    wanted = crop[0] + 0.65 * (crop[3] - crop[0]) + 0.4 * (crop[1] - crop[0])
    assert np.hypot(*(found - wanted)) < 0.005 * side
    # Of the volume under (1 - r)^.5, 8 pi / 15 of its radius squared.
    volume = 0.4 * 127.5 * 8 * math.pi / 15 * (0.15 * side) ** 2
    assert moved.sum() == pytest.approx(volume, rel=0.04)


def test_over_the_same_things_the_photo_keeps_its_own_detail() -> None:
    photo = textured(128, 128) // 2 + 60
    crop = square(64, 64, 128)
    lighter = stripes(128, False) + 0.2 * (with_disc(128, 0.5, 0.5, 0.3, 1.0) > 0)
    pasted = paste(photo, crop, stripes(128, False), lighter)
    step = pasted.photo[50:78, 50:78].astype(int) - photo[50:78, 50:78]
    assert np.abs(step - 0.2 * 127.5).max() <= 1
    assert pasted.kept > 0.5


def test_other_things_replace_what_was_there_in_the_photos_colours() -> None:
    size = 256
    old, new = stripes(size, False), stripes(size, True)
    far = with_disc(size, 0.5, 0.5, 0.3, 1.0) > 0
    edit = torch.where(far, new, old)
    shift = torch.tensor([20.0, -10.0, 5.0])[:, None, None]
    photo = ((old + 1) * 127.5 + shift).round().to(torch.uint8).permute(1, 2, 0).numpy()
    pasted = paste(photo, square(128, 128, size), old, edit)
    wanted = ((new + 1) * 127.5 + shift).permute(1, 2, 0).numpy()
    middle = (slice(96, 160), slice(96, 160))
    assert np.abs(pasted.photo[middle] - wanted[middle]).max() < 2
    assert pasted.kept < 0.8


def test_what_was_before_other_things_does_not_tint_them() -> None:
    size = 256
    old, new = stripes(size, False), stripes(size, True)
    far = with_disc(size, 0.5, 0.5, 0.3, 1.0) > 0
    seen = old + torch.where(far, 0.4, 0.0)  # what the inversion missed goes with what was there
    photo = ((seen + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    pasted = paste(photo, square(128, 128, size), old, torch.where(far, new, old))
    wanted = ((new + 1) * 127.5).permute(1, 2, 0).numpy()
    middle = (slice(96, 160), slice(96, 160))
    assert np.abs(pasted.photo[middle] - wanted[middle]).mean() < 4  # of 51


def test_a_render_finer_than_the_photo_is_averaged_not_picked_from() -> None:
    photo = np.full((100, 100, 3), 100, np.uint8)
    fine = grey(512)
    fine[:, :, ::4] = fine[:, :, 1::4] = 0.6  # on average .3 more
    pasted = paste(photo, square(50, 50, 61, 8), grey(512), fine)
    middle = pasted.photo[40:60, 40:60].astype(int) - 100
    assert np.abs(middle - 0.3 * 127.5).max() <= 3


def test_a_grey_photo_takes_a_grey_change_and_no_colour() -> None:
    photo = np.full((100, 100, 3), 90, np.uint8)
    edit = with_disc(64, 0.5, 0.5, 0.45, 0.6) - 0.5
    pasted = paste(photo, square(50, 50, 80, 30), grey(64, -0.5), edit)
    assert np.ptp(pasted.photo.astype(int), axis=2).max() == 0
    assert_pixels_near(pasted.photo[50, 50], np.full(3, 166, np.uint8))  # .6 x 127.5 more
    assert pasted.photo.min() >= 88  # bicubic samples swing a little beside the disc


def test_only_the_users_mask_may_change() -> None:
    photo = textured(100, 120)
    crop, edit = square(60, 50, 90, 10), with_disc(64, 0.5, 0.5, 0.4, 0.8)
    free = paste(photo, crop, grey(64), edit)
    only = np.zeros((100, 120), np.uint8)
    only[:, :60] = 255
    pasted = paste(photo, crop, grey(64), edit, only)
    assert np.array_equal(pasted.photo[:, 60:], photo[:, 60:])
    assert np.array_equal(pasted.photo[:, :60], free.photo[:, :60])
    assert not full_mask(pasted)[:, 60:].any() and full_mask(pasted)[:, :60].any()
    half = paste(photo, crop, grey(64), edit, np.full((100, 120), 51, np.uint8))
    assert_near(full_mask(half), full_mask(free) * 0.2, 1e-6)


def test_the_change_fades_at_the_edge_of_the_crop_but_not_at_that_of_the_photo() -> None:
    photo = np.full((80, 120, 3), 90, np.uint8)
    # Its left, upper and lower edges are the photo's; its right one lies in the middle.
    old = stripes(64, False)
    pasted = paste(photo, square(40, 40, 80), old, old + 0.16)
    moved = pasted.photo[..., 0].astype(int) - 90
    assert (moved[:, 0] == 20).all() and (moved[[0, -1], :70] == 20).all()
    assert (moved[:, 80:] == 0).all() and moved[:, 79].max() <= 2
    assert (np.diff(moved[40]) <= 0).all()
    assert pasted.cut == pytest.approx(0.08, abs=1e-3)


def test_cut_tells_what_the_edit_changed_along_edges_that_lie_in_the_photo() -> None:
    photo, old = textured(80, 120), stripes(64, False)
    right = old.clone()
    right[:, :, 32:] += 0.4
    inside = square(60, 40, 60)
    assert paste(photo, inside, grey(64), with_disc(64, 0.5, 0.5, 0.3, 0.8)).cut == 0
    # Half of the upper and lower sides, all of the right one: 127 of 252 cells.
    assert paste(photo, inside, old, right).cut == pytest.approx(0.2 * 127 / 252, abs=1e-3)
    assert paste(photo[:, :80], square(40, 40, 80), old, right).cut == 0
    # Beyond the photo nothing is seen: what is left are half of the two long sides, unchanged.
    beyond = paste(photo, square(120, 40, 60), old, right)
    assert beyond.cut == 0 and beyond.mask.size


def test_a_crop_beyond_the_photo_changes_what_is_in_it() -> None:
    photo = textured(60, 80)
    edit = with_disc(64, 0.75, 0.75, 0.2, 0.2)
    pasted = paste(photo, square(0, 0, 80), grey(64), edit)
    assert pasted.box[:2] != (0, 0) or pasted.mask.any()
    assert (pasted.photo[20, 20].astype(int) >= photo[20, 20]).all()
    assert not np.array_equal(pasted.photo, photo)
    for x, y in ((-200, 0), (0, 400), (1e9, -1e9)):
        away = paste(photo, square(x, y, 80), grey(64), edit)
        assert np.array_equal(away.photo, photo) and away.box == (0, 0, 0, 0)


def test_a_crop_far_larger_than_the_photo_and_one_of_a_pixel() -> None:
    photo = np.full((30, 40, 3), 90, np.uint8)
    huge = paste(photo, square(20, 15, 319), grey(64), grey(64, 0.2))
    assert np.abs(huge.photo - 115.5).max() <= 1
    old = stripes(64, False)
    tiny = paste(photo, square(20.5, 15.5, 1), old, old + 0.16)
    assert tiny.photo[15, 20, 0] > 90 and (tiny.photo != photo).any(2).sum() == 1


@pytest.mark.parametrize("degrees", [0, 25, 90])
@pytest.mark.parametrize("size", [(64, 32), (300, 450)])
def test_renders_that_are_not_square_go_where_they_were_cut_out(
    degrees: float, size: tuple[int, int]
) -> None:
    photo = np.full((300, 320, 3), 100, np.uint8)
    shape = np.array([size[1], size[0]]) * 160 / max(size)
    across, down = (square(0, 0, 1, degrees)[i] - square(0, 0, 1, degrees)[0] for i in (3, 1))
    crop = np.array([160.0, 150.0]) + square(0, 0, 1) * shape @ np.stack([across, down])
    edit = torch.nn.functional.interpolate(
        with_disc(512, 0.6, 0.45, 0.12, 0.4)[None], size, mode="area"
    )[0]
    pasted = paste(photo, crop, torch.zeros(3, *size), edit)
    moved = pasted.photo[..., 0].astype(float) - 100
    y, x = np.mgrid[:300, :320] + 0.5
    found = np.array([(moved * x).sum(), (moved * y).sum()]) / moved.sum()
    wanted = crop[0] + 0.6 * (crop[3] - crop[0]) + 0.45 * (crop[1] - crop[0])
    assert np.hypot(*(found - wanted)) < 1
    volume = 0.4 * 127.5 * 8 * math.pi / 15 * 0.12**2 * shape.prod()
    assert moved.sum() == pytest.approx(volume, rel=0.05)


def test_a_picture_of_nearly_the_generators_shape_is_pasted_into_whole() -> None:
    photo = textured(100, 101)
    whole = np.array([[0, 0], [0, 100], [101, 100], [101, 0]], float)
    pasted = paste(photo, whole, grey(64), grey(64, 0.1))
    assert pasted.box == (0, 0, 101, 100) and bool((pasted.mask > 0.99).all())


def test_another_light_on_a_wall_beyond_the_crop_stays_the_photos() -> None:
    size = 128
    wall, head = grey(size), with_disc(size, 0.5, 0.5, 0.25, 1.0) > 0
    old = torch.where(head, stripes(size, False), wall)
    new = torch.where(head, stripes(size, True), wall - 0.35)
    photo = np.full((200, 200, 3), 140, np.uint8)
    middle = square(100, 100, size)
    light = backdrop_light((old + 1) * 127.5, (new + 1) * 127.5, (True,) * 4)
    assert_near(light[:, :20], torch.full((3, 20, size), -0.35 * 127.5), 0.01)
    assert light[:, 64, 64].abs().max() < 15  # of 45
    pasted = paste(photo, middle, old, new)
    assert pasted.cut < 0.01
    corner = pasted.photo[36:60, 36:60].astype(int)
    assert np.abs(corner - 140).max() <= 1
    assert np.abs(pasted.photo[90:110, 90:110].astype(int) - 140).max() > 30
    # Where no side lies in the photo it is as it is drawn: the wall ends with the photo.
    whole = paste(photo[36:164, 36:164], square(64, 64, size), old, new)
    assert np.abs(whole.photo[:20].astype(int) - (140 - 0.35 * 127.5)).max() < 2


def test_the_light_of_what_is_not_smooth_or_not_even_is_the_edits() -> None:
    old = (stripes(128, False) + 1) * 127.5  # hair, recoloured
    assert not backdrop_light(old, old - 40, (True,) * 4).any()
    plain = torch.full((3, 128, 128), 100.0)
    slope = 60 * torch.arange(128) / 16 % 60  # another pattern on the wall
    assert not backdrop_light(plain, plain + slope, (True,) * 4)[:, :, 40:90].mean() > 20
    blush = plain + 100 * with_disc(128, 0.5, 0.5, 0.2, 0.3)[:1]
    assert not backdrop_light(plain, blush, (True,) * 4).any()  # nothing differs at the edges
    assert not backdrop_light(plain, plain - 40, (False,) * 4).any()


def test_bands_of_rows_are_one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    photo, crop = textured(150, 140), square(70, 75, 120, 33)
    inversion, edit = stripes(96, False), with_disc(96, 0.5, 0.5, 0.4, 0.8)
    whole = paste(photo, crop, inversion, edit)
    monkeypatch.setattr("styleatlas.engine.photos.paste._BAND_PIXELS", 1000)
    assert_pixels_near(paste(photo, crop, inversion, edit).photo, whole.photo)


def test_channels_of_renders_are_grey_rgb_or_transparent() -> None:
    photo, crop = textured(90, 90), square(45, 45, 80)
    old, new = grey(64), with_disc(64, 0.5, 0.5, 0.3, 0.6)
    rgb = paste(photo, crop, old, new)
    assert_pixels_near(paste(photo, crop, old[:1], new[:1]).photo, rgb.photo)
    opaque = torch.ones(1, 64, 64)
    over = paste(photo, crop, torch.cat([old, opaque]), torch.cat([new, opaque]))
    assert_pixels_near(over.photo, rgb.photo)


def test_a_small_change_everywhere_is_left_out_beside_a_large_one() -> None:
    old = torch.full((3, 64, 64), 100.0)
    assert not changed(old, old + 5).any()
    assert bool((changed(old, old + 8) == 1).all())
    new = old + 8
    new[:, 20:44, 20:44] = 200
    mask = changed(old, new)[0]
    assert mask[32, 32] == 1 and not mask[:8].any()
    assert bool(((mask > 0.2) & (mask < 0.8)).any())


def test_a_hole_in_what_changed_is_closed() -> None:
    old = torch.full((3, 256, 256), 100.0)
    new = old.clone()
    new[:, 60:196, 60:196] = 200
    new[:, 116:140, 116:140] = 100
    assert bool((changed(old, new)[0, 80:176, 80:176] > 0.99).all())


def test_light_and_tint_are_alike_and_other_lines_and_colours_are_not() -> None:
    old = (stripes(128, False) + 1) * 127.5
    assert_near(alike(old, old + 25), torch.ones(1, 128, 128), 1e-4)
    assert not alike(torch.full_like(old, 20), torch.full_like(old, 120)).any()
    assert alike(old, (stripes(128, True) + 1) * 127.5)[0, 20:-20, 20:-20].max() < 0.05


def test_beside_other_things_nothing_counts_as_alike() -> None:
    old = (stripes(256, False) + 1) * 127.5
    new = old.clone()
    new[:, :, 128:] = ((stripes(256, True) + 1) * 127.5)[:, :, 128:]
    found = alike(old, new)[0, 20:-20]
    assert found[:, 126:].max() < 0.25 and found[:, :113].min() > 0.999


def test_wrong_input_is_named() -> None:
    photo, crop, render = textured(40, 40), square(20, 20, 30), grey(16)
    wrong = [
        ((photo[..., 0], crop, render, render), "picture: has shape"),
        ((photo.astype(np.float32), crop, render, render), "picture: is of float32"),
        ((photo, crop[:3], render, render), "crop: has no four corners"),
        ((photo, crop * np.nan, render, render), "crop: has no four corners"),
        ((photo, crop * 1e300, render, render), "crop: has sides of 3e[+]301 pixels, more than 8"),
        ((photo, crop * 11, render, render), "crop: has sides of 330 pixels, more than 8 times"),
        ((photo, crop * [1, 2], render, render), "crop: is no rectangle of a pixel or more"),
        ((photo, crop * [1, 1.03], render, render), "of the renders' shape, 16 x 16"),
        ((photo, crop[::-1].copy(), render, render), "crop: is no rectangle"),
        ((photo, crop + np.eye(4, 2), render, render), "crop: is no rectangle"),
        ((photo, crop * 0.01, render, render), "crop: is no rectangle of a pixel"),
        ((photo, crop, render[:2], render), "images: have shape"),
        ((photo, crop, render[0], render), "inversion: has shape"),
        ((photo, crop, render[:, :8], render[:, :8]), "renders' shape, 16 x 8"),
        ((photo, crop, render, grey(32)), "edit: is of 32 x 32 pixels, the inversion of 16 x 16"),
        ((photo, crop, render, render * math.nan), "edit: has values that are not finite"),
        ((photo, crop, render, render, np.ones((40, 41), np.uint8)), r"mask: has shape \(40, 41\)"),
        ((photo, crop, render, render, np.ones((40, 40), bool)), "mask: is of bool"),
    ]
    for arguments, message in wrong:
        with pytest.raises(OptionError, match=message):
            paste(*arguments)  # type: ignore[arg-type]
