"""The direction rule on a table small enough to work out by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from styleatlas.engine.direction import KINDS, find_direction, relevance
from styleatlas.store.atlas import Atlas
from styleatlas.store.bank import PromptBank
from styleatlas.store.errors import DirectionError, OptionError
from styleatlas.store.fingerprint import Fingerprint, ModelIdentity
from styleatlas.store.layout import StyleLayout

TEXT = np.array([1, 0], np.float32)
# Channel 3 was not swept. The first coordinate is the score against TEXT.
CHANNELS = [0, 1, 2, 4, 5]
SCORES = [0.6, -0.28, 0.057, -0.8, 0.1]
STD = [2.0, 1.0, 5.0, 9.0, 0.5, 3.0]


def table(scores: list[float]) -> Atlas:
    first = np.array(scores)
    return Atlas(
        layout=StyleLayout.of([("b4.conv1", "conv", 4, 4), ("b4.torgb", "rgb", 4, 2)]),
        style_mean=np.zeros(6),
        style_std=np.array(STD),
        channels=np.array(CHANNELS),
        rows=np.column_stack([first, np.sqrt(1 - first**2)]),
        consistency=np.ones(5),
        strength=np.ones(5),
        images=np.ones(5, int),
        prompts=PromptBank((), np.zeros((0, 2))),
        fingerprint=Fingerprint(
            ModelIdentity("g", "a" * 64, {}), ModelIdentity("c", "b" * 64, {}), {}
        ),
        created="2026-11-22T05:40:00+00:00",
        library="styleatlas 0.1.0",
    )


@pytest.fixture
def atlas() -> Atlas:
    return table(SCORES)


def find(atlas: Atlas, **options):
    return find_direction(atlas, TEXT, neutral="a face", target="a hat", **options)


def test_relevance_is_the_cosine_of_row_and_text(atlas):
    assert relevance(atlas, TEXT) == pytest.approx(SCORES)


def test_channels_above_beta_move_by_relative_score_times_sigma_to_both_sides(atlas):
    direction = find(atlas, beta=0.25)
    assert direction.channels.tolist() == [4, 0, 1]
    assert direction.scores == pytest.approx([-0.8, 0.6, -0.28])
    assert direction.steps == pytest.approx([-1 * 0.5, 0.75 * 2, -0.35 * 1])
    assert direction.delta(2.0) == pytest.approx([3, -0.7, 0, 0, -1, 0])
    assert direction.delta(-1.0) == pytest.approx([-1.5, 0.35, 0, 0, 0.5, 0])
    assert (direction.beta, direction.size) == (0.25, 6)
    assert (direction.neutral, direction.target) == ("a face", "a hat")


def test_the_other_way_round_is_the_opposite_step(atlas):
    there = find(atlas, beta=0.25)
    back = find_direction(atlas, -TEXT, neutral="a hat", target="a face", beta=0.25)
    assert np.array_equal(back.delta(1.0), -there.delta(1.0))


@pytest.mark.parametrize(
    ("count", "least"), [(1, 0.8), (2, 0.6), (4, 0.1), (5, 0.057), (99, 0.057)]
)
def test_channels_takes_that_many_of_the_best_and_tells_the_beta_it_came_to(atlas, count, least):
    direction = find(atlas, channels=count)
    assert len(direction.channels) == min(count, 5)
    assert direction.beta == pytest.approx(least)
    assert np.array_equal(direction.delta(1), find(atlas, beta=least - 0.001).delta(1))


def test_score_of_exactly_beta_passes():
    halves = table([0.5, -0.5, 0.25, 0.0, 0.0])
    assert find(halves, beta=0.5).channels.tolist() == [0, 1]


def test_kinds_leave_the_other_layers_alone(atlas):
    conv = find(atlas, beta=0.25, kinds=KINDS["conv"])
    assert conv.channels.tolist() == [0, 1]
    assert conv.steps == pytest.approx([2, -0.28 / 0.6])
    assert find(atlas, channels=9, kinds=KINDS["rgb"]).channels.tolist() == [4, 5]


def test_nothing_above_beta_tells_the_best_score_its_channel_and_a_beta_that_works(atlas):
    with pytest.raises(DirectionError) as caught:
        find(atlas, beta=0.9)
    assert str(caught.value) == (
        'no channel passes beta 0.9 for "a face" -> "a hat": the best score is 0.800 '
        "(b4.torgb:0); --beta 0.05 would let 5 channels through"
    )
    beta, count = re.search(r"--beta (\S+) would let (\d+)", str(caught.value)).groups()
    assert len(find(atlas, beta=float(beta)).channels) == int(count)


def test_nothing_above_beta_counts_only_the_kinds_asked_for(atlas):
    with pytest.raises(DirectionError, match=r"the best score is 0\.600 \(b4\.conv1:0\)"):
        find(atlas, beta=0.7, kinds=KINDS["conv"])


def test_pair_of_prompts_that_no_channel_answers_to_is_to_be_worded_otherwise():
    still = table([0.0] * 5)
    with pytest.raises(DirectionError, match=r"best score is 0\.000 .*; word it otherwise$"):
        find(still, beta=0.1)
    with pytest.raises(DirectionError, match='answers to "a face" -> "a hat"; word it otherwise'):
        find(still, channels=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "beta and channels: give exactly one of them"),
        ({"beta": 0.1, "channels": 2}, "beta and channels: give exactly one of them"),
        ({"beta": 0.0}, r"beta 0: must lie between 0 and 1; 0\.1 to 0\.3 is usual"),
        ({"beta": 1.0}, "beta 1: must lie between 0 and 1"),
        ({"beta": -0.2}, r"beta -0\.2: must lie between 0 and 1"),
        ({"beta": float("nan")}, "beta nan: must lie between 0 and 1"),
        ({"channels": 0}, "channels 0: must be at least 1"),
    ],
)
def test_impossible_choices_are_refused(atlas, options, message):
    with pytest.raises(OptionError, match=message):
        find(atlas, **options)
