"""How readings of faces become probabilities, without any weights."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks" / "faces"))

import attributes


def test_calibrated_scores_are_right_as_often_as_they_say():
    chance = np.random.default_rng(0)
    logits = chance.normal(0, 3, (4_000, 1)).astype(np.float32) * [1, -1] + [0.5, -0.5]
    y = (chance.random(4_000) > attributes.softmax(logits)[:, 0]).astype(np.int64)
    scores = (logits / 5).astype(np.float32)
    scale, offsets = attributes.calibrated(scores, y)
    assert scale == pytest.approx(5, rel=0.1)
    likely = attributes.softmax(scale * scores + offsets)
    assert likely.max(1).mean() == pytest.approx((likely.argmax(1) == y).mean(), abs=0.02)


def test_years_at_a_bound_are_as_likely_on_either_side():
    likely = attributes.age_groups(np.array([36, 25, 80], np.float32))
    assert likely.sum(1) == pytest.approx(1)
    assert likely[0, 1] == pytest.approx(likely[0, 2], abs=1e-5)
    assert likely[1, 1] == pytest.approx(0.978, abs=1e-3)  # Phi(2.2) - Phi(-2.4)
    assert likely[2].argmax() == 3


def test_a_nose_right_of_the_jaws_middle_is_a_turn_to_the_right():
    marks = torch.full((1, 136), 0.5)
    marks[0, [4, 8]], marks[0, [28, 24]] = 0.1, 0.9  # x of the jaw's points 2, 4 and 14, 12
    marks[0, [60, 66]] = 0.7
    assert attributes._turns(marks) == pytest.approx(np.array([[1.0, 1.0]]))
