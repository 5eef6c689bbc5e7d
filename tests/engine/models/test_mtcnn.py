"""MTCNN's cascade: what it makes of what its networks see, by networks that see exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from styleatlas.engine.models.mtcnn import Mtcnn, cut, framed, moved, squared, suppressed

CPU = torch.device("cpu")
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]])
PLACES = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]])
"""Of the five dots on a plate, the last in shares of its side."""


def plate(size, centre, side, turn=0.0):
    """A picture (height, width) of a grey plate with five dots, and where the dots are: (5, 2)."""
    height, width = size
    y, x = np.mgrid[:height, :width] + 0.5
    angle = math.radians(turn)
    across, along = (
        np.array([math.cos(angle), math.sin(angle)]),
        [-math.sin(angle), math.cos(angle)],
    )
    u = ((x - centre[0]) * across[0] + (y - centre[1]) * across[1]) / side + 0.5
    v = ((x - centre[0]) * along[0] + (y - centre[1]) * along[1]) / side + 0.5
    picture = np.zeros((height, width, 3), np.uint8)
    picture[(abs(u - 0.5) < 0.5) & (abs(v - 0.5) < 0.5)] = 128
    for colour, (p, q) in zip(COLOURS, PLACES, strict=True):
        picture[np.hypot(u - p, v - q) < 0.08] = colour
    shares = (PLACES - 0.5) * side
    return picture, np.array(centre) + shares[:, :1] * across + shares[:, 1:] * np.array(along)


class Proposals(torch.nn.Module):
    """Sees a plate where it fills most of a window."""

    side, stride = 12, 2

    def forward(self, images):
        shown = images[0].amax(0) > -0.9
        height, width = ((n - 12) // 2 + 1 for n in shown.shape)
        scores = torch.zeros(1, height, width)
        rows, columns = torch.nonzero(shown, as_tuple=True)
        if len(rows):
            sides = [int(places.max() - places.min()) + 1 for places in (rows, columns)]
            if 8 <= max(sides) <= 12:
                middles = [(int(at.max() + at.min()) + 1 - 12) // 4 for at in (rows, columns)]
                row, column = (
                    min(max(m, 0), n - 1) for m, n in zip(middles, (height, width), strict=True)
                )
                scores[0, row, column] = 0.9
        return scores, torch.zeros(1, 4, height, width)


class Passes(torch.nn.Module):
    side = 24

    def forward(self, windows):
        return torch.full((len(windows),), 0.9), torch.zeros(len(windows), 4)


class Points(torch.nn.Module):
    """Sees the middles of the dots, whatever grey they are mixed with, by their place: an eye is
    left because it is to the left."""

    side = 48

    def forward(self, windows):
        red, green, blue = ((windows + 1) / 2).double().unbind(1)
        weights = [
            red - torch.maximum(green, blue),
            green - torch.maximum(red, blue),
            blue - torch.maximum(red, green),
            torch.minimum(red, green) - blue,
            torch.minimum(green, blue) - red,
        ]
        steps = (torch.arange(48) + 0.5) / 48
        found = []
        for weight in weights:
            weight = weight.clamp(min=0)
            total = weight.sum((1, 2)) + 1e-9
            x, y = (
                (weight * steps).sum((1, 2)) / total,
                (weight * steps[:, None]).sum((1, 2)) / total,
            )
            found.append(torch.stack([x, y], 1))
        points = torch.stack(found, 1)  # (n, 5, 2)
        for one, other in ((0, 1), (3, 4)):
            wrong = points[:, one, 0] > points[:, other, 0]
            points[wrong] = points[wrong][:, [1, 0, 2, 3, 4] if one == 0 else [0, 1, 2, 4, 3]]
        return self.scores(points), torch.zeros(len(points), 4), points.float()

    def scores(self, points):
        return torch.ones(len(points))


def cascade():
    return Mtcnn((Proposals(), Passes(), Points()), CPU)


@pytest.mark.parametrize(
    ("size", "centre", "side", "turn"),
    [
        ((200, 300), (140, 90), 60, 0),
        ((200, 300), (140, 90), 60, 25),
        ((200, 300), (140, 90), 60, -40),
        ((120, 100), (50, 60), 60, 10),
        ((1800, 2500), (900, 700), 420, 15),
        ((4500, 3000), (1200, 2400), 1500, -5),
    ],
)
def test_points_are_where_they_are(size, centre, side, turn):
    picture, truth = plate(size, centre, side, turn)
    boxes, points, scores = cascade().find(picture)
    assert len(boxes) == len(scores) == 1
    assert points.shape == (1, 5, 2)
    assert np.abs(points[0].numpy() - truth).max() < 0.01 * side
    low, high = boxes[0, :2].numpy(), boxes[0, 2:].numpy()
    assert (low < truth).all() and (truth < high).all()


def test_last_look_is_at_the_face_turned_upright():
    seen = []

    class Levels(Points):
        def scores(self, points):
            down = points[:, 1, 1] - points[:, 0, 1]
            seen.append((down / (points[:, 1, 0] - points[:, 0, 0])).tolist())
            return super().scores(points)

    picture, _ = plate((200, 300), (140, 90), 60, 30)
    Mtcnn((Proposals(), Passes(), Levels()), CPU).find(picture)
    first, last = seen
    assert first == pytest.approx([math.tan(math.radians(30))], abs=0.02)
    assert last == pytest.approx([0, 0], abs=0.02)  # and its mirror image


def test_what_is_none_at_the_last_look_is_left_out():
    class TwoMinds(Points):
        looks = 0

        def scores(self, points):
            self.looks += 1
            return torch.full((len(points),), 1.0 if self.looks == 1 else 0.69)

    picture, _ = plate((200, 300), (140, 90), 60)
    boxes, points, scores = Mtcnn((Proposals(), Passes(), TwoMinds()), CPU).find(picture)
    assert (boxes.shape, points.shape, scores.shape) == ((0, 4), (0, 5, 2), (0,))


@pytest.mark.parametrize("size", [(200, 300), (5, 400), (1, 1)])
def test_no_face_in_a_black_picture(size):
    boxes, points, scores = cascade().find(np.zeros((*size, 3), np.uint8))
    assert (boxes.shape, points.shape, scores.shape) == ((0, 4), (0, 5, 2), (0,))


def test_picture_that_may_not_be_written_to_is_read_the_same():
    picture, _ = plate((200, 300), (140, 90), 60)
    wanted = cascade().find(picture)[1]
    picture.flags.writeable = False
    assert torch.equal(cascade().find(picture)[1], wanted)
    turned = np.asfortranarray(picture)
    assert torch.equal(cascade().find(turned)[1], wanted)


def overlap(a, b, of_smaller):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (min(areas) if of_smaller else sum(areas) - shared)


@pytest.mark.parametrize("of_smaller", [False, True])
def test_suppression_keeps_the_likelier_of_two(of_smaller):
    corners = torch.rand(60, 2) * 30
    boxes = torch.cat([corners, corners + 5 + torch.rand(60, 2) * 15], 1)
    scores = torch.rand(60)
    wanted = []
    for i in sorted(range(60), key=lambda i: -float(scores[i])):
        if all(overlap(boxes[i], boxes[j], of_smaller) <= 0.4 for j in wanted):
            wanted.append(i)
    assert suppressed(boxes, scores, 0.4, of_smaller=of_smaller).tolist() == wanted
    assert 5 < len(wanted) < 40


def test_nothing_is_suppressed_of_nothing():
    assert suppressed(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []


def test_sides_move_by_shares_of_their_box_and_no_further_than_all_of_it():
    boxes = torch.tensor([[10.0, 20, 30, 60]])
    moves = torch.tensor([[0.1, -0.25, 0.5, 9e9]])
    assert moved(boxes, moves).tolist() == [[12, 10, 40, 100]]


def test_boxes_are_squared_about_their_middles():
    assert squared(torch.tensor([[10.0, 20, 30, 60]])).tolist() == [[0, 20, 40, 60]]


@pytest.mark.parametrize(
    "corners", [(-3, -2, 4, 5), (2, 1, 5, 4), (4, 3, 12, 13), (20, 20, 23, 24)]
)
def test_cut_is_black_beyond_the_picture(corners):
    picture = torch.randint(1, 256, (3, 6, 7), dtype=torch.uint8)
    left, top, right, bottom = corners
    found = cut(picture, left, top, right, bottom)
    for row in range(top, bottom):
        for column in range(left, right):
            inside = 0 <= row < 6 and 0 <= column < 7
            wanted = picture[:, row, column] if inside else torch.zeros(3)
            assert found[:, row - top, column - left].tolist() == wanted.tolist()


def test_frame_that_lies_on_pixels_shows_them():
    """Turned by a right angle: x of the frame runs down the picture, y to the left."""
    picture = torch.randint(0, 256, (3, 40, 30), dtype=torch.uint8)
    frame = torch.tensor([[0.0, -16.0, 21.0], [16.0, 0.0, 9.0]])
    wanted = picture[:, 9:25, 5:21].float().flip(2).transpose(1, 2)
    torch.testing.assert_close(framed(picture, frame, 16)[0], wanted, rtol=0, atol=1e-3)


def test_frame_averages_what_it_shrinks():
    picture = torch.randint(0, 256, (3, 40, 40), dtype=torch.uint8)
    frame = torch.tensor([[32.0, 0.0, 4.0], [0.0, 32.0, 6.0]])
    small = Image.fromarray(picture[:, 6:38, 4:36].permute(1, 2, 0).numpy()).reduce(4)
    wanted = torch.from_numpy(np.array(small)).permute(2, 0, 1).float()
    assert float((framed(picture, frame, 8)[0] - wanted).abs().max()) <= 0.51
