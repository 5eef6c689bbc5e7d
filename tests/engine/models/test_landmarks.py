"""Finding faces: what is asked of pictures, and what is told of faces."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from styleatlas.engine.models.landmarks import (
    MOST_PIXELS,
    POINTS,
    Face,
    load_face_finder,
    require_picture,
)
from styleatlas.store.errors import CheckpointError, OptionError

CPU = torch.device("cpu")


def test_face_tells_its_size():
    points = np.array([[10.0, 10], [13, 14], [0, 0], [0, 0], [0, 0]])
    face = Face(np.array([1.0, 2, 11, 22]), points, 0.9)
    assert face.area == 200
    assert face.between_eyes == 5


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "is of float32; give uint8 arrays"),
        ([[1, 2]], "is of list; give uint8 arrays"),
        (np.zeros((4, 4), np.uint8), r"has shape \(4, 4\); give uint8 arrays"),
        (np.zeros((4, 4, 4), np.uint8), r"has shape \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"has shape \(0, 4, 3\)"),
    ],
)
def test_what_is_no_picture(picture, message):
    with pytest.raises(OptionError, match=message):
        require_picture(picture)


def test_picture_of_too_many_pixels():
    huge = np.broadcast_to(np.uint8(0), (MOST_PIXELS // 1024 + 1, 1024, 3))
    with pytest.raises(OptionError, match="more than 128 million; make it smaller"):
        require_picture(huge)


def test_weights_that_were_not_fetched(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("STYLEATLAS_MODELS", str(tmp_path))
    with pytest.raises(CheckpointError, match="mtcnn: not fetched yet"):
        load_face_finder(CPU)


def drawn(size=(400, 500), side=200.0, centre=(260.0, 190.0)):
    """A drawing of a face, shaded as a photograph is, and where its `POINTS` are."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    u, v = (x - centre[0]) / side, (y - centre[1]) / side
    value = np.full((*size, 3), [90.0, 110.0, 130.0])

    def spot(at, radii, colour, soft):
        inside = np.hypot((u - at[0]) / radii[0], (v - at[1]) / radii[1])
        share = 1 / (1 + np.exp((inside - 1) / soft))
        value[:] = value * (1 - share[..., None]) + np.array(colour) * share[..., None]

    spot((0, -0.12), (0.56, 0.72), (50, 35, 28), 0.03)  # hair
    spot((0, 0.0), (0.45, 0.62), (214, 168, 140), 0.03)  # face
    spot((-0.33, 0.1), (0.14, 0.4), (190, 140, 114), 0.3)
    for sign in (-1, 1):
        spot((0.19 * sign, -0.1), (0.13, 0.08), (190, 142, 118), 0.2)
        spot((0.19 * sign, -0.19), (0.12, 0.025), (70, 48, 36), 0.15)  # brow
        spot((0.19 * sign, -0.09), (0.085, 0.042), (240, 236, 232), 0.08)
        spot((0.19 * sign, -0.09), (0.04, 0.042), (60, 40, 30), 0.1)
    spot((0, 0.02), (0.04, 0.16), (228, 186, 160), 0.4)
    spot((0, 0.14), (0.075, 0.035), (176, 120, 98), 0.2)  # nose
    spot((0, 0.33), (0.16, 0.045), (164, 74, 74), 0.1)  # mouth
    shares = np.array([[-0.19, -0.09], [0.19, -0.09], [0, 0.13], [-0.15, 0.33], [0.15, 0.33]])
    return value.round().astype(np.uint8), shares * side + centre


@pytest.mark.faces
def test_face_is_found_once_where_it_is():
    picture, truth = drawn()
    other = np.full((300, 200, 3), 128, np.uint8)
    faces, none = load_face_finder(CPU).find([picture, other])
    assert none == []
    (face,) = faces
    assert face.points.shape == (len(POINTS), 2)
    assert np.linalg.norm(face.points - truth, axis=1).max() < 0.15 * 0.38 * 200
    assert face.score > 0.9


@pytest.mark.faces
def test_larger_faces_come_first():
    small, _ = drawn((300, 300), 120, (150, 150))
    large, _ = drawn((300, 300), 190, (150, 150))
    faces = load_face_finder(CPU).find([np.concatenate([small, large], 1)])[0]
    assert [face.box[0] > 300 for face in faces] == [True, False]
    assert faces[0].area > faces[1].area
