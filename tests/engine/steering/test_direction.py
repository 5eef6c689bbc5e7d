"""The direction rules on tables small enough to work out by hand."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

from styleatlas.engine.steering.direction import Choice, allowed_channels, find_direction, knee
from styleatlas.store.atlas import Atlas
from styleatlas.store.bank import PromptBank
from styleatlas.store.errors import DirectionError, LayoutError, OptionError
from styleatlas.store.fingerprint import Fingerprint, ModelIdentity
from styleatlas.store.layout import StyleLayout

from ...near import assert_near

TEXT = np.array([1, 0], np.float32)
# Channel 3 was not swept. The first coordinate is the score against TEXT.
CHANNELS = [0, 1, 2, 4, 5]
SCORES = [0.6, -0.28, 0.057, -0.8, 0.1]
STD = [2.0, 1.0, 5.0, 9.0, 0.5, 3.0]
IMAGES = 16


def table(rows: np.ndarray, consistency: list[float] | None = None) -> Atlas:
    return Atlas(
        layout=StyleLayout.of([("b4.conv1", "conv", 4, 4), ("b4.torgb", "rgb", 4, 2)]),
        style_mean=np.zeros(6),
        style_std=np.array(STD),
        channels=np.array(CHANNELS),
        rows=rows,
        consistency=np.array(consistency or [1.0] * 5),
        strength=np.ones(5),
        images=np.full(5, IMAGES),
        prompts=PromptBank((), np.zeros((0, rows.shape[1]))),
        fingerprint=Fingerprint(
            ModelIdentity("g", "a" * 64, {}), ModelIdentity("c", "b" * 64, {}), {}
        ),
        created="2026-11-22T05:40:00+00:00",
        library="styleatlas 0.1.0",
    )


def scoring(scores: list[float], consistency: list[float] | None = None) -> Atlas:
    first = np.array(scores)
    return table(np.column_stack([first, np.sqrt(1 - first**2)]), consistency)


@pytest.fixture
def atlas() -> Atlas:
    return scoring(SCORES)


def find(atlas: Atlas, kept: np.ndarray | None = None, text: np.ndarray = TEXT, **choice):
    return find_direction(
        atlas, text, neutral="a face", target="a hat", choice=Choice(**choice), kept=kept
    )


@pytest.mark.parametrize("beta", [0.05, 0.1, 0.25])
def test_paper_rule_is_the_formula_of_styleclip(beta):
    random = np.random.default_rng(0)
    rows = random.normal(size=(5, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    text = random.normal(size=8)
    text /= np.linalg.norm(text)
    atlas = table(rows, consistency=[0.9, 0.1, 0.3, 0.26, 0.6])
    direction = find(atlas, text=text.astype(np.float32), rule="paper", beta=beta)
    # Patashnik et al.: s' = s + alpha * (delta_s / max |delta_s|) * std, delta_s 0 below beta.
    relevance = np.zeros(6)
    relevance[CHANNELS] = rows @ text
    relevance[np.abs(relevance) < beta] = 0
    expected = 2.5 * relevance / np.abs(relevance).max() * STD
    assert direction.delta(2.5) == pytest.approx(expected, abs=1e-6)
    assert len(direction.channels) == np.count_nonzero(relevance) > 0


@pytest.mark.parametrize("rule", ["paper", "reliable"])
def test_channels_above_beta_move_by_relative_score_times_sigma_to_both_sides(atlas, rule):
    direction = find(atlas, rule=rule, beta=0.25)
    assert direction.channels.tolist() == [4, 0, 1]
    assert direction.scores == pytest.approx([-0.8, 0.6, -0.28])
    assert direction.steps == pytest.approx([-1 * 0.5, 0.75 * 2, -0.35 * 1])
    assert direction.delta(2.0) == pytest.approx([3, -0.7, 0, 0, -1, 0])
    assert direction.delta(-1.0) == pytest.approx([-1.5, 0.35, 0, 0, 0.5, 0])
    assert (direction.beta, direction.size) == (0.25, 6)
    assert (direction.neutral, direction.target) == ("a face", "a hat")


def test_reliable_rule_weighs_scores_by_what_other_images_would_repeat():
    consistency = [0.5, 0.9, 1.0, 0.3, 0.25]
    direction = find(scoring(SCORES, consistency), channels=4)
    squares = IMAGES * np.square(consistency)
    weighed = np.array(SCORES) * np.sqrt((squares - 1) / (squares - squares / IMAGES))
    order = np.argsort(-np.abs(weighed))[:4]
    assert direction.channels.tolist() == np.array(CHANNELS)[order].tolist()
    assert direction.channels[0] == 0, "by its score alone channel 4 would lead"
    assert direction.scores == pytest.approx(weighed[order])
    sigmas = weighed[order] / np.abs(weighed).max()
    assert direction.steps == pytest.approx(sigmas * np.array(STD)[direction.channels])


def test_reliable_rule_never_lets_a_dead_or_a_chance_channel_pass():
    """A quarter is the length of the mean of 16 unit deltas that have nothing in common."""
    consistency = [0.0, 1.0, 0.25, 0.2, 1.0]
    atlas = scoring([1.0, 0.3, -0.9, 0.8, 0.2], consistency)
    for choice in ({"beta": 1e-9}, {"beta": 0.1}, {"channels": 5}, {}):
        assert set(find(atlas, **choice).channels) <= {1, 5}, choice
    assert find(atlas, beta=0.25, rule="paper").channels.tolist() == [0, 2, 4, 1]


def test_table_of_chance_alone_has_no_direction():
    with pytest.raises(DirectionError, match='answers to "a face" -> "a hat"; word it otherwise'):
        find(scoring(SCORES, [0.0, 0.25, 0.2, 0.1, 0.24]), beta=1e-9)


def test_the_other_way_round_is_the_opposite_step(atlas):
    there, back = find(atlas, beta=0.25), find(atlas, text=-TEXT, beta=0.25)
    assert_near(back.delta(1.0), -there.delta(1.0))


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ([0.7], 1),
        ([1, 0.9, 0.1, 0.05, 0.01], 3),
        ([1, 0.1, 0.09, 0.08, 0.07, 0.06, 0.05], 2),
        ([1, 0.95, 0.9, 0.85, 0.2, 0.15, 0.12, 0.1, 0.08, 0.06], 5),
        (1 / np.arange(1, 101), 10),
    ],
)
def test_knee_is_where_the_scores_stop_falling_fast(sizes, count):
    assert knee(np.array(sizes)) == count
    assert knee(0.01 * np.array(sizes)) == count, "whatever the unit"


def test_without_a_number_beta_is_the_knee_of_the_scores():
    direction = find(scoring([0.02, -0.9, 0.03, 0.8, 0.1]))
    assert direction.channels.tolist() == [1, 4, 5]
    assert direction.beta == pytest.approx(0.1)


def test_equal_scores_stand_or_fall_together():
    assert find(scoring([0.5, -0.5, 0.5, 0.5, -0.5])).channels.tolist() == CHANNELS


@pytest.mark.parametrize(
    ("count", "least"), [(1, 0.8), (2, 0.6), (4, 0.1), (5, 0.057), (99, 0.057)]
)
def test_channels_takes_that_many_of_the_best_and_tells_the_beta_it_came_to(atlas, count, least):
    direction = find(atlas, channels=count)
    assert len(direction.channels) == min(count, 5)
    assert direction.beta == pytest.approx(least)
    assert_near(direction.delta(1), find(atlas, beta=least - 0.001).delta(1))


def test_channels_takes_no_more_than_that_many_of_equal_scores():
    assert find(scoring([0.5, -0.5, 0.5, 0.5, 0.1]), channels=2).channels.tolist() == [0, 1]


def test_score_of_exactly_beta_passes():
    halves = scoring([0.5, -0.5, 0.25, 0.0, 0.0])
    assert find(halves, beta=0.5).channels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("layers", "channels"),
    [
        (("conv",), [0, 1, 2]),
        (("rgb",), [4, 5]),
        (("b4.torgb",), [4, 5]),
        (("*.conv?",), [0, 1, 2]),
        (("b4.conv1", "rgb"), [4, 0, 1, 5, 2]),
    ],
)
def test_layers_leave_the_others_alone(atlas, layers, channels):
    direction = find(atlas, channels=9, layers=layers)
    assert direction.channels.tolist() == channels
    best = pytest.approx(STD[channels[0]])
    assert np.abs(direction.steps[0]) == best, "the best that may move moves a sigma"


@pytest.mark.parametrize("rule", ["paper", "reliable"])
def test_excluded_channels_never_move(atlas, rule):
    exclude = ("b4.torgb:0", "b4.conv1:1", "b4.conv1:3")
    direction = find(atlas, channels=9, exclude=exclude, rule=rule)
    assert direction.channels.tolist() == [0, 5, 2]
    assert direction.steps[0] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (
            {"layers": ("b8.*",)},
            r"layer 'b8\.\*': .* did you mean 'b4\.torgb'\? .* b4\.conv1, b4\.torgb",
        ),
        ({"layers": ("conv", "input")}, "layer 'input': this generator has none"),
        ({"exclude": ("b4.rgb:0",)}, r"layer 'b4\.rgb': .*did you mean 'b4\.torgb'"),
        ({"exclude": ("b4.torgb:2",)}, r"'b4\.torgb:2'.*b4\.torgb go from 0 to 1"),
        ({"exclude": ("b4.torgb",)}, r"layer:number, such as b4\.torgb:1"),
    ],
)
def test_layers_and_channels_that_are_not_there_are_refused_naming_those_that_are(
    atlas, choice, message
):
    with pytest.raises(LayoutError, match=message):
        find(atlas, **choice)


def test_nothing_left_to_move_says_to_allow_more(atlas):
    exclude = ("b4.torgb:0", "b4.torgb:1")
    with pytest.raises(DirectionError, match=r"no channel .* or allow more layers"):
        find(atlas, layers=("rgb",), exclude=exclude)


# With a cosine of 0.6 to the prompt that is kept, (0.8, -0.6, 0) is left of the first axis.
AXIS = np.array([1, 0, 0], np.float32)
KEPT = np.array([[0.6, 0.8, 0]], np.float32)
LEFT = np.array([0.8, -0.6, 0], np.float32)
ROWS = np.array(
    [
        [1.0, 0.0, 0.0],  # 0.8 of what is left, 0.6 of what is kept
        [0.6, 0.8, 0.0],  # what is kept itself
        [0.8, -0.6, 0.0],  # what is left itself
        [-0.6, 0.0, 0.8],  # -0.48 and -0.36
        [0.5, 0.2, np.sqrt(0.71)],  # 0.28 and 0.46: drags
    ]
)


def test_keep_moves_channels_by_what_is_left_of_the_text():
    direction = find(table(ROWS), KEPT, AXIS, channels=9, keep=("bald",))
    assert direction.channels.tolist() == [2, 0, 4]
    assert direction.scores == pytest.approx([1, 0.8, -0.48])
    assert direction.steps == pytest.approx([5, 0.8 * 2, -0.48 * 0.5])
    assert direction.keep == ("bald",)
    projected = find(table(ROWS), None, LEFT, channels=9, exclude=("b4.torgb:1",))
    assert np.allclose(direction.delta(1), projected.delta(1), atol=1e-6)


def test_channel_that_drags_along_what_is_kept_is_excluded():
    """Channel 5 has a score of 0.28 for what is left, but answers more to what is kept."""
    assert 5 in find(table(ROWS), None, LEFT, channels=9).channels
    assert 5 not in find(table(ROWS), KEPT, AXIS, channels=9).channels


def test_the_text_direction_of_an_edit_that_keeps_is_that_of_its_prompts():
    assert np.array_equal(find(table(ROWS), KEPT, AXIS, channels=9).text, AXIS)


def test_keeping_the_same_thing_twice_or_its_opposite_is_keeping_it():
    once = find(table(ROWS), KEPT, AXIS, beta=0.1).delta(1)
    for kept in (np.repeat(KEPT, 2, 0), -KEPT, np.concatenate([KEPT, -KEPT])):
        assert np.allclose(find(table(ROWS), kept, AXIS, beta=0.1).delta(1), once, atol=1e-6)


@pytest.mark.parametrize(
    "kept",
    [
        [[1, 0, 0]],
        [[-1, 0, 0]],
        [[np.sqrt(1 - 0.09**2), 0.09, 0]],
        [[0.6, 0.8, 0], [0.6, -0.8, 0]],
    ],
)
def test_keeping_what_the_edit_is_about_is_refused(kept):
    with pytest.raises(OptionError, match=r"keep: says what the edit is about.*something else"):
        find(table(ROWS), np.array(kept, np.float32), AXIS, keep=("a hat",))


def test_nothing_above_beta_tells_the_best_score_its_channel_and_a_beta_that_works(atlas):
    with pytest.raises(DirectionError) as caught:
        find(atlas, beta=0.9)
    assert str(caught.value) == (
        'no channel passes beta 0.9 for "a face" -> "a hat": the best score is 0.800 '
        "(b4.torgb:0); --beta 0.05 would let 5 channels through"
    )
    beta, count = re.search(r"--beta (\S+) would let (\d+)", str(caught.value)).groups()
    assert len(find(atlas, beta=float(beta)).channels) == int(count)


def test_nothing_above_beta_counts_only_the_layers_asked_for(atlas):
    with pytest.raises(DirectionError, match=r"the best score is 0\.600 \(b4\.conv1:0\)"):
        find(atlas, beta=0.7, layers=("conv",))


def test_pair_of_prompts_that_hardly_any_channel_answers_to_is_to_be_worded_otherwise():
    with pytest.raises(DirectionError, match=r"best score is 0\.004 .*; word it otherwise$"):
        find(scoring([0.004] * 5), beta=0.1)
    with pytest.raises(DirectionError, match='answers to "a face" -> "a hat"; word it otherwise'):
        find(scoring([0.0] * 5), channels=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "best"}, "rule 'best': is unknown; use one of reliable, paper"),
        ({"beta": 0.1, "channels": 2}, "beta and channels: exclude each other; give one of them"),
        ({"beta": 0.0}, r"beta 0: must lie between 0 and 1; 0\.1 to 0\.3 is usual"),
        ({"beta": 1.0}, "beta 1: must lie between 0 and 1"),
        ({"beta": -0.2}, r"beta -0\.2: must lie between 0 and 1"),
        ({"beta": float("nan")}, "beta nan: must lie between 0 and 1"),
        ({"channels": 0}, "channels 0: must be at least 1"),
        ({"channels": -3}, "channels -3: must be at least 1"),
    ],
)
def test_impossible_choices_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        Choice(**options)


def test_input_of_stylegan3_moves_only_where_it_is_asked_for():
    layout = StyleLayout.of(
        [("input", "input", 36, 4), ("L0", "conv", 36, 3), ("rgb", "rgb", 36, 2)]
    )
    atlas = SimpleNamespace(layout=layout)
    assert allowed_channels(atlas, Choice()).tolist() == [False] * 4 + [True] * 5
    assert allowed_channels(atlas, Choice(layers=("input",))).tolist() == [True] * 4 + [False] * 5
