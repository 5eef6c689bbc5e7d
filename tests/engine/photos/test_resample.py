"""Resampling along affine maps, against pictures whose value at any place is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from styleatlas.engine.photos.resample import inverse, mirrored, moved, resampled


def waves(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """A smooth picture, its periods some 100 pixels long."""
    parts = (np.sin(x / 17 + y / 31), np.cos(x / 23 - y / 19), np.sin(y / 13))
    return 127.5 + 100 * np.stack(parts, -1)


def drawn(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width] + 0.5
    return np.rint(waves(x, y)).astype(np.uint8)


@pytest.mark.parametrize("scale", [0.3, 0.97, 1.0, 1.4, 2.0, 3.7])
@pytest.mark.parametrize("angle", [0.0, 0.4, 2.5])
def test_every_pixel_shows_the_place_that_the_map_names(scale, angle):
    source = drawn(420, 400)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([201.3, 207.8])
    size = (60, 56)
    affine = np.column_stack([matrix, middle - matrix @ [28, 30]])
    result = resampled(source, affine, size)
    y, x = np.mgrid[:60, :56] + 0.5
    places = moved(np.stack([x.ravel(), y.ravel()], 1), affine)
    expected = waves(places[:, 0], places[:, 1]).reshape(60, 56, 3)
    inside = (places > 0).all(1) & (places < [400, 420]).all(1)
    error = np.abs(result - expected).reshape(-1, 3)[inside]
    assert inside.mean() > 0.9 and error.max() < (2.5 if scale > 2 else 1.6)


def test_same_grid_is_the_same_picture():
    source = drawn(40, 50)
    assert np.array_equal(resampled(source, np.eye(2, 3), (40, 50)), source)


def test_what_is_finer_than_a_pixel_is_averaged_not_sampled():
    """A board of single black and white pixels, reduced, is grey."""
    board = np.repeat((np.indices((200, 200)).sum(0) % 2 * 255)[..., None], 3, 2).astype(np.uint8)
    affine = np.array([[5.3, 0.4, 10.1], [-0.4, 5.3, 20.7]])
    result = resampled(board, affine, (30, 30))
    assert np.abs(result.astype(int) - 127).max() < 12


def test_beyond_the_edge_is_mirrored():
    source = drawn(30, 20)
    result = resampled(source, np.array([[1.0, 0, -25], [0, 1.0, -30]]), (90, 70))
    tall = np.concatenate([source[::-1], source, source[::-1]])  # from row -30 on
    wide = np.concatenate([tall, tall[:, ::-1], tall, tall[:, ::-1], tall], 1)  # from -40 on
    assert np.array_equal(result, wide[:, 15:85])


def test_mirrored_repeats_the_edge_once():
    assert mirrored(-4, 8, 3).tolist() == [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1]


@given(st.floats(-3, 3), st.floats(0.1, 9), st.floats(-500, 500), st.floats(-500, 500))
def test_inverse_leads_back(angle, scale, x, y):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    affine = np.array([[c, -s, x], [s, c, y]])
    points = np.array([[0.0, 0], [1024, 3], [-20, 700.5]])
    assert np.allclose(moved(moved(points, affine), inverse(affine)), points, atol=1e-7)
