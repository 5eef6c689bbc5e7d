"""Where crops lie, against places that are known, and what they show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from styleatlas.engine.models.landmarks import Face, load_face_finder
from styleatlas.engine.models.load import load_generator
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.engine.photos.align import (
    align_box,
    align_faces,
    align_whole,
    crop,
    crop_to_photo,
    face_quad,
    laid_back,
)
from styleatlas.engine.photos.colour import to_srgb
from styleatlas.engine.photos.resample import inverse, moved
from styleatlas.store.errors import InputError, OptionError

from ... import photo_files as files

POINTS = np.array([[40.0, 50], [60, 50], [50, 60], [42, 74], [58, 74]])
SIZE = (64, 64)


def turn(angle: float, scale: float, shift: tuple[float, float]) -> NDArray[np.float64]:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def square(middle: tuple[float, float], side: float, angle: float = 0.0) -> NDArray[np.float64]:
    half = side / 2
    corners = np.array([[-half, -half], [-half, half], [half, half], [half, -half]])
    return moved(corners, turn(angle, 1, middle))


class Found:
    """A face finder that finds these faces."""

    name, identity = "found", None

    def __init__(self, *points: NDArray[np.float64]) -> None:
        self.points, self.seen = points, []

    def find(self, pictures):
        self.seen += list(pictures)
        return [[Face(np.array([0.0, 0, 1, 1]), points, 0.9) for points in self.points]]


# Where faces lie


def test_face_by_hand():
    """Eyes 20 apart, the mouth 24 below them: half a side is 1.8 x 24."""
    expected = [[6.8, 9.2], [6.8, 95.6], [93.2, 95.6], [93.2, 9.2]]
    assert np.allclose(face_quad(POINTS), expected)


def test_wide_face_by_hand():
    """Eyes 20 apart, the mouth 10 below them: half a side is 2 x 20."""
    points = POINTS.copy()
    points[3:, 1] = 60
    expected = [[10, 11], [10, 91], [90, 91], [90, 11]]
    assert np.allclose(face_quad(points), expected)


@given(st.floats(-3.1, 3.1), st.floats(0.2, 20), st.floats(-99, 999), st.floats(-99, 999))
def test_turned_and_scaled_face_is_cropped_turned_and_scaled(angle, scale, x, y):
    points = POINTS + np.array([[0, 0], [1, 3], [0, 0], [2, 1], [-1, 2]])
    to = turn(angle, scale, (x, y))
    assert np.allclose(face_quad(moved(points, to)), moved(face_quad(points), to), atol=1e-6)


@pytest.mark.parametrize("points", [np.full((5, 2), 7.0), np.full((5, 2), np.nan)])
def test_face_in_one_place(points):
    with pytest.raises(OptionError, match="eyes and mouth lie in one place"):
        face_quad(points)


def test_faces_are_counted_from_the_largest(make_photo):
    photo = make_photo(files.PICTURE)
    small = moved(POINTS, turn(0, 0.5, (0, 0)))
    finder = Found(POINTS, small)
    every = align_faces(photo, finder, "all")
    assert [one.place for one in every] == ["face 1", "face 2"]
    assert np.allclose(every[1].quad, face_quad(small)) and every[1].face.points is small
    assert np.allclose(align_faces(photo, finder)[0].quad, face_quad(POINTS))
    assert np.allclose(align_faces(photo, finder, 2)[0].quad, face_quad(small))
    with pytest.raises(InputError, match=r"^me\.png: 2 faces were found in it, and face 3 asked"):
        align_faces(photo, finder, 3)
    for odd in (0, True, "both"):
        with pytest.raises(OptionError, match="give its number from 1"):
            align_faces(photo, finder, odd)


def test_no_face_tells_how_to_go_on(make_photo):
    with pytest.raises(
        InputError, match=r"^me\.png: no face .* --align none, or .* --align box X,Y,SIZE$"
    ):
        align_faces(make_photo(files.PICTURE), Found())


def test_faces_are_looked_for_over_white(make_photo):
    alpha, finder = np.zeros((24, 32), np.uint8), Found(POINTS)
    align_faces(make_photo(files.PICTURE, alpha=alpha), finder)
    assert (finder.seen[0] == 255).all()


def test_whole_picture_of_the_right_shape(make_photo):
    photo = make_photo(np.zeros((100, 101, 3), np.uint8))
    expected = [[0, 0], [0, 100], [101, 100], [101, 0]]
    assert align_whole(photo, SIZE).quad.tolist() == expected
    assert align_whole(make_photo(np.zeros((64, 32, 3), np.uint8)), (1024, 512)).face is None


def test_whole_picture_of_another_shape_names_a_part_that_serves(make_photo):
    photo = make_photo(np.zeros((100, 160, 3), np.uint8))
    with pytest.raises(InputError, match=r"is 160 x 100, .* --align box 30,0,100$"):
        align_whole(photo, SIZE)
    box = align_box(photo, 30, 0, 100, SIZE)
    assert box.quad.tolist() == [[30, 0], [30, 100], [130, 100], [130, 0]]
    with pytest.raises(InputError, match=r"--align box 55,0,50$"):
        align_whole(photo, (1024, 512))


def test_box_is_as_high_as_the_generator_wants(make_photo):
    photo = make_photo(np.zeros((100, 160, 3), np.uint8))
    box = align_box(photo, 10.5, -4, 20, (1024, 512))
    assert box.quad.tolist() == [[10.5, -4], [10.5, 36], [30.5, 36], [30.5, -4]]
    assert box.place == "box 10.5,-4,20"


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((0, 0, 0.5), "is of no size that fits"),
        ((0, 0, 321), "is of no size that fits"),
        ((0, 0, float("nan")), "is of no size that fits"),
        ((150, 0, 40), "its middle lies outside"),
        ((float("inf"), 0, 40), "its middle lies outside"),
        (("1", 0, 40), "give a number"),
    ],
)
def test_box_that_is_none(make_photo, box, message):
    with pytest.raises(OptionError, match=f"^align box.*{message}"):
        align_box(make_photo(np.zeros((100, 160, 3), np.uint8)), *box, SIZE)


# What crops show


def spots(size: tuple[int, int], places: NDArray[np.float64], wide: float) -> NDArray[np.uint8]:
    """Soft white spots on black, around these places."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    bright = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * wide**2)) for px, py in places)
    return np.repeat(np.rint(255 * np.minimum(bright, 1))[..., None], 3, 2).astype(np.uint8)


def centre(
    picture: NDArray[np.uint8], near: NDArray[np.float64], radius: float = 9.0
) -> NDArray[np.float64]:
    """Of what is bright within some pixels of a place."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    weight = picture[..., 0] * ((x - near[0]) ** 2 + (y - near[1]) ** 2 < radius**2)
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("side", [40.0, 128.0, 300.0, 900.0])
@pytest.mark.parametrize("angle", [0.0, 0.5, -2.0])
def test_marks_come_where_the_map_says_and_back(make_photo, side, angle):
    """Both ways within .1 pixel, of the crop's or of the photo's, whichever is larger."""
    size = (128, 128)
    quad = square((260.3, 241.9), side, angle)
    to_photo = crop_to_photo(quad, size)
    marks = np.array([[30.0, 40], [90, 35], [64, 64], [40, 100], [101, 88]])
    pixel = max(1, side / 128)
    canvas = (480, 520) if side < 500 else (1400, 1420)
    shift = np.array([0, 0]) if side < 500 else np.array([450, 460])
    quad, to_photo[:, 2] = quad + shift, to_photo[:, 2] + shift
    photo = make_photo(spots(canvas, moved(marks, to_photo), 3 * side / 128))
    cut = crop(photo, quad, size)
    for mark in marks:
        assert np.abs(centre(cut, mark) - mark).max() < 0.1
    laid = laid_back(cut, quad, photo.shape)
    part = photo.pixels[laid.rows, laid.columns]
    for mark in moved(marks, to_photo) - [laid.columns.start, laid.rows.start]:
        near = 9 * side / 128  # as many of the photo's as the crop's
        moves = centre(laid.pixels, mark, near) - centre(part, mark, near)
        assert np.abs(moves).max() < 0.1 * pixel


def test_corners_of_the_crop_are_those_of_the_quadrilateral():
    quad = square((50, 60), 30, 0.3)
    corners = np.array([[0.0, 0], [0, 8], [8, 8], [8, 0]])
    assert np.allclose(moved(corners, crop_to_photo(quad, (8, 8))), quad)
    assert np.allclose(moved(quad, inverse(crop_to_photo(quad, (8, 8)))), corners)


def test_crop_on_the_pixels_is_exact_and_lies_back_exactly(make_photo):
    pixels = np.random.default_rng(0).integers(0, 256, (90, 80, 3), np.uint8)
    photo = make_photo(pixels)
    quad = align_box(photo, 10, 20, 64, SIZE).quad
    cut = crop(photo, quad, SIZE)
    assert np.array_equal(cut, pixels[20:84, 10:74])
    laid = laid_back(cut, quad, photo.shape)
    assert (laid.rows, laid.columns) == (slice(20, 84), slice(10, 74))
    assert np.array_equal(laid.pixels, cut) and laid.inside.all()


def test_crop_beyond_the_edge_is_mirrored_there_and_blurred_outward(make_photo):
    """Stripes of 4 pixels: sharp in the photo, ever less so the farther outside."""
    stripes = np.broadcast_to((np.arange(200) // 4 % 2 * 255)[:, None, None], (200, 200, 3))
    photo = make_photo(stripes.astype(np.uint8))
    size = (128, 128)
    cut = crop(photo, align_box(photo, 100, 36, 128, size).quad, size)
    inside, near, far = cut[:, :100], cut[20:-20, 101:103], cut[20:-20, 112:]
    assert np.array_equal(inside, photo.pixels[36:164, 100:])
    assert np.ptp(near) > 150 and np.ptp(far) < 40
    ramp = np.broadcast_to(np.arange(200.0)[None, :, None], (200, 200, 3)).astype(np.uint8)
    mirrored = crop(make_photo(ramp), align_box(photo, 100, 36, 128, size).quad, size)
    assert np.abs(mirrored[64, 110:120, 0] - np.arange(189.0, 179, -1)).max() < 2


def test_crop_around_the_whole_photo(make_photo):
    photo = make_photo(files.PICTURE)
    cut = crop(photo, square((16, 12), 64), SIZE)
    assert np.array_equal(cut[20:44, 16:48], files.PICTURE)


def test_crop_is_in_srgb_and_over_white(make_photo):
    pixels = np.full((64, 64, 3), [200, 90, 60], np.uint8)
    profile, alpha = files.rgb_profile(), np.full((64, 64), 255, np.uint8)
    alpha[:, :32] = 0
    cut = crop(make_photo(pixels, profile=profile, alpha=alpha), square((32, 32), 64), SIZE)
    assert np.array_equal(cut[:, 40:], to_srgb(pixels, profile)[:, 40:])
    assert np.abs(cut[:, :20].astype(int) - 255).max() <= 1
    assert np.abs(cut[:, 40:].astype(int) - pixels[:, 40:]).max() > 5


def test_part_of_a_crop_that_lies_in_the_photo_is_laid_back(make_photo):
    photo = make_photo(files.PICTURE)
    quad = square((30, 2), 20, 0.2)
    laid = laid_back(np.zeros((*SIZE, 3), np.uint8), quad, photo.shape)
    assert laid.columns.stop == 32 and laid.rows.start == 0
    assert laid.pixels.shape[:2] == laid.inside.shape
    assert laid.inside.shape == (
        laid.rows.stop - laid.rows.start,
        laid.columns.stop - laid.columns.start,
    )
    with pytest.raises(OptionError, match="lies outside of the photo"):
        laid_back(np.zeros((*SIZE, 3), np.uint8), square((-40, 2), 20), photo.shape)


@pytest.mark.faces
@pytest.mark.parametrize("seed", range(1, 7))
def test_generated_face_is_found_in_a_larger_picture_and_cut_out_as_it_was(make_photo, seed):
    """The generator draws faces in FFHQ's place, so that the crop is what was drawn: the corners
    within 4 % of its side, and within 2 % of where they are in the picture as it was drawn."""
    cpu = torch.device("cpu")
    generator = load_generator("faces", cpu)
    drawn = to_bytes(generator.render(styles_from_seeds(generator, [seed], truncation=0.6)))
    face = drawn[0].numpy()
    finder = load_face_finder(cpu)
    (alone,) = align_faces(make_photo(face), finder)
    angle, scale = 0.15 * (seed - 3.5), 0.2 + 0.05 * seed
    to_canvas = turn(angle, scale, (0, 0))
    to_canvas[:, 2] = np.array([500, 420]) - moved(np.array([[512.0, 512]]), to_canvas)[0]
    drawn_at = moved(np.array([[0.0, 0], [0, 1024], [1024, 1024], [1024, 0]]), to_canvas)
    canvas = np.full((900, 1000, 3), 110, np.uint8)
    laid = laid_back(face, drawn_at, (900, 1000))
    canvas[laid.rows, laid.columns][laid.inside] = laid.pixels[laid.inside]
    (found,) = align_faces(make_photo(canvas), finder)
    side = 1024 * scale
    for expected, share in ((moved(alone.quad, to_canvas), 0.02), (drawn_at, 0.04)):
        assert np.linalg.norm(found.quad - expected, axis=1).max() < share * side
