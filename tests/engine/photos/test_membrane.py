"""What is known is carried into the gaps as the equation says."""

import math

import numpy as np
import pytest

from styleatlas.engine.photos.membrane import membrane
from tests.near import assert_near


def dense(plane: np.ndarray, known: np.ndarray, reach: float) -> np.ndarray:
    """The same equation written out, a row a cell, and solved by elimination."""
    height, width = known.shape
    matrix, right = np.zeros((known.size, known.size)), np.zeros(known.size)
    for y in range(height):
        for x in range(width):
            row = y * width + x
            if known[y, x]:
                matrix[row, row], right[row] = 1, plane[y, x]
                continue
            for ny, nx in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= ny < height and 0 <= nx < width:
                    matrix[row, row] += 1
                    matrix[row, ny * width + nx] -= 1
            matrix[row, row] += 1 / reach**2
    return np.linalg.solve(matrix, right).reshape(height, width)


@pytest.mark.parametrize("reach", [2.0, 5.0, math.inf])
@pytest.mark.parametrize("shape", [(9, 14), (1, 7), (13, 5)])
def test_gaps_are_filled_as_a_dense_solve_fills_them(reach: float, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    known = rng.random(shape) < 0.3
    known[0, 0] = True
    values = rng.normal(0, 20, (2, *shape))
    found = membrane(values, known, reach, tolerance=1e-9)
    for plane, filled in zip(values, found, strict=True):
        assert_near(filled, dense(plane, known, reach), 1e-7)


def test_what_is_known_stays_as_it_is_whatever_stands_in_the_gaps() -> None:
    rng = np.random.default_rng(4)
    known, values = rng.random((20, 17)) < 0.5, rng.normal(size=(3, 20, 17))
    one = membrane(values, known, 4.0)
    assert np.array_equal(one[:, known], values[:, known])
    assert np.array_equal(one, membrane(np.where(known, values, 1e9), known, 4.0))


def test_without_a_screen_a_slope_goes_on_as_a_slope() -> None:
    slope = np.broadcast_to(np.arange(32.0), (1, 24, 32))
    known = np.ones((24, 32), bool)
    known[:, 5:27] = False
    assert_near(membrane(slope, known, math.inf, tolerance=1e-6), np.ascontiguousarray(slope), 1e-4)


def test_far_from_all_that_is_known_it_falls_by_e_over_the_reach() -> None:
    known = np.zeros((1, 200), bool)
    known[0, 0] = True
    found = membrane(np.full((1, 1, 200), 80.0), known, 20.0, tolerance=1e-9)[0, 0]
    assert found[20] / found[0] == pytest.approx(math.exp(-1), rel=2e-3)
    assert abs(found[-1]) < 0.02


def test_where_nothing_is_known_it_is_nought() -> None:
    assert not membrane(np.full((3, 6, 6), 7.0), np.zeros((6, 6), bool), 3.0).any()
