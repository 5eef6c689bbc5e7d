"""Judges of edited faces, without any weights but where it is said."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks" / "faces"))

import attributes
import judges


def landmarks(**moved: float) -> np.ndarray:
    """A plain face in 68 points, framed: eyes at x -.5 and .5."""
    points = np.zeros((68, 2), np.float32)
    for middle, first in ((-0.5, 36), (0.5, 42)):
        around = [(-0.2, 0), (-0.1, -0.06), (0.1, -0.06), (0.2, 0), (0.1, 0.06), (-0.1, 0.06)]
        points[first : first + 6] = np.add(around, (middle, 0))
    points[0], points[16], points[30] = (-1.1, 0.1), (1.1, 0.1), (moved.get("nose", 0), 0.6)
    points[48], points[54] = (-0.45, 1.1), (0.45, 1.1)
    points[51], points[57] = (0, 1.05), (0, 1.15)
    points[62], points[66] = (0, 1.1), (0, 1.1 + moved.get("gap", 0))
    points[17:27, 1] = -0.35
    return points[None]


def test_landmarks_are_framed_by_the_eyes_wherever_the_face_is():
    plain = landmarks()
    moved = judges.framed(0.2 * plain + np.float32(0.4))
    assert judges.framed(plain) == pytest.approx(plain, abs=1e-6)
    assert moved == pytest.approx(plain, abs=1e-5)


def test_geometry_tells_open_mouths_and_turned_heads():
    plain, gaping, turned = (
        judges.geometry(landmarks(**moved))[0] for moved in ({}, {"gap": 0.45}, {"nose": -0.22})
    )
    # The gap over the mouth's width of .9, times 4.
    assert gaping - plain == pytest.approx([2, 0, 0, 0, 0, 0, 0, 0], abs=1e-5)
    assert turned[4:7] == pytest.approx([-1.1, -1.1, -0.4], abs=1e-5)
    assert plain[1] == pytest.approx(6 * 0.3 - 1.7, abs=1e-5)  # lids .12 apart, corners .4


def test_the_distance_from_unedited_pictures_is_one_for_them_and_tells_others():
    random = np.random.default_rng(0)
    mixed = random.normal(size=(8, 60))

    def drawn(count: int, spread: float) -> np.ndarray:
        main = spread * random.normal(size=(count, 8))
        return (main @ mixed + 0.1 * random.normal(size=(count, 60))).astype(np.float32)

    known = judges.usual(drawn(400, 1))
    fresh = known.distance(drawn(400, 1))
    assert fresh.mean() == pytest.approx(1, abs=0.1)
    assert (fresh > known.limit).mean() == pytest.approx(0.05, abs=0.03)
    assert (known.distance(drawn(100, 4)) > known.limit).mean() > 0.9
    # What unedited ones never show counts, however little they vary.
    assert (known.distance(drawn(100, 1) + random.normal(size=60)) > known.limit).all()


def test_of_two_values_one_is_kept_and_the_other_is_its_opposite():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 5)).astype(np.float32), np.arange(40) % 2
    weights, bias = attributes.solved([x], y, 2)
    half, start = judges.both(weights[:, :1], bias[:1])
    assert x @ half + start == pytest.approx(x @ weights + bias, abs=1e-3)


def test_an_attribute_is_learnt_where_each_value_has_labels_enough():
    rows = [{"eyes": "open"}] * 50 + [{"eyes": "closed"}] * (judges.FEWEST - 1)
    assert not judges.learnable("eyes", rows)
    assert judges.learnable("eyes", [*rows, {"eyes": "closed"}])


def test_no_judge_reads_the_network_that_labelled_its_attribute():
    of_judges = {"whole", "close", "eyes", "mouth", "person", "shape", "geometry"}
    assert {group for judged in judges.JUDGED.values() for group in judged.groups} == of_judges
    by_landmarks = {n for n, judged in attributes.ATTRIBUTES.items() if "jaw" in judged.groups}
    assert by_landmarks == {"turn"}
    for name in by_landmarks:
        assert not {"shape", "geometry"} & set(judges.JUDGED[name].groups)


@pytest.mark.faces
def test_judges_read_pictures_as_they_read_them_in_a_batch():
    from styleatlas import load_generator, styles_from_seeds

    generator = load_generator("faces", "cpu")
    images = generator.render(styles_from_seeds(generator, [2, 3], 0.7)).clamp(-1, 1)
    small = judges.F.adaptive_avg_pool2d(images, attributes.SIDE)
    reader = judges.Judges()
    read, alone = reader.read(small), reader.read(small[1:])
    names = reader.attributes
    seen = [{name: names[name][read.values[name][i]] for name in names} for i in range(2)]
    # Labelled by eye: 2 a young man with glasses who does not smile, 3 one who does.
    assert [s["glasses"] for s in seen] == ["glasses", "glasses"]
    assert [s["smile"] for s in seen] == ["not", "smiling"]
    assert [s["gender"] for s in seen] == ["man", "man"]
    assert alone.identity[0] == pytest.approx(read.identity[1], abs=1e-4)
    assert alone.damage[0] == pytest.approx(read.damage[1], abs=1e-3)
    assert (read.damage < reader.limit).all()
