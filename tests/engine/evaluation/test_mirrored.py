"""How unlike images and mirror images are read: counted by readers and finders that are wrong in a
known way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from styleatlas.engine.evaluation.mirrored import mirror_differences, mirrored_distance
from styleatlas.engine.models.landmarks import Face
from styleatlas.store.errors import OptionError
from styleatlas.store.fingerprint import ModelIdentity

IDENTITY = ModelIdentity("halves", "0" * 64, {"side": 4})


class Halves:
    """Reads the means of an image's two halves: which is brighter, and the left one's times 100."""

    name, identity = "halves", IDENTITY

    def __init__(self):
        self.readings = {"brighter": ("left", "right"), "left": ("percent",)}

    def read(self, images):
        left, right = (half.mean((1, 2, 3)) for half in images.chunk(2, 3))
        return {"brighter": torch.stack([left, right], 1).softmax(1), "left": 100 * left[:, None]}


def test_flips_and_differences():
    images = torch.zeros(70, 3, 4, 4)
    images[:28, :, :, :2] = 0.5  # of the others the halves are equal, and the first is chosen
    found = mirror_differences(Halves(), images)
    assert found.keys() == {"brighter", "left"}
    assert found["brighter"] == pytest.approx(28 / 70)
    assert found["left"] == pytest.approx(50 * 28 / 70)


class Corner:
    """Finds a face by the brightest pixel, its left eye; all else stands a known way from there.

    Args:
        error: how much too far to the right it puts all points, in pixels.
    """

    name, identity = "corner", IDENTITY

    def __init__(self, error):
        self.error = error

    def find(self, pictures):
        return [self._faces(picture) for picture in pictures]

    def _faces(self, picture):
        if not picture.any():
            return []
        # Both eyes are bright, so that the face is the same in the mirror.
        x = np.sort(np.argwhere(picture[..., 0] == 255)[:, 1])
        y = np.argwhere(picture[..., 0] == 255)[0, 0]
        left, right, middle = x[0], x[1], (x[0] + x[1]) / 2
        points = np.array([[left, y], [right, y], [middle, y + 3], [left, y + 6], [right, y + 6]])
        points = points + 0.5 + [self.error, 0]
        large = Face(np.array([0.0, 0, 9, 9]), points, 0.9)
        return [large, Face(np.array([0.0, 0, 1, 1]), points * 0, 0.9)]


def eyes(width, left, right):
    picture = np.zeros((12, width, 3), np.uint8)
    picture[4, [left, right]] = 255
    return picture


def test_points_of_a_finder_that_is_right_are_the_same_in_the_mirror():
    assert mirrored_distance(Corner(0), [eyes(20, 3, 11), eyes(33, 20, 24)]) == (0, 1)


def test_an_error_to_one_side_counts_twice():
    distance, share = mirrored_distance(Corner(0.5), [eyes(20, 3, 11), eyes(33, 20, 24)])
    assert distance == pytest.approx((1 / 8 + 1 / 4) / 2)
    assert share == 1


def test_pictures_without_a_face_are_left_out():
    distance, share = mirrored_distance(Corner(0.5), [eyes(20, 3, 11), np.zeros((9, 9, 3), "u1")])
    assert distance == pytest.approx(1 / 8)
    assert share == 0.5
    distance, share = mirrored_distance(Corner(0), [np.zeros((9, 9, 3), "u1")])
    assert math.isnan(distance) and share == 0


def test_nothing_to_look_at():
    with pytest.raises(OptionError, match="no images"):
        mirror_differences(Halves(), torch.zeros(0, 3, 4, 4))
    with pytest.raises(OptionError, match="no pictures"):
        mirrored_distance(Corner(0), [])
