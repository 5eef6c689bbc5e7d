"""How edits are counted."""

from __future__ import annotations

import numpy as np
import pytest

from styleatlas.engine.evaluation.drawings import Drawings
from styleatlas.engine.evaluation.judges import AttributeJudge
from styleatlas.engine.evaluation.scores import (
    Predictions,
    at_success,
    count_edit,
    interval,
    is_hit,
    over_edits,
    resampled,
    share,
)
from styleatlas.store.registry import EMBEDDED


def visible_attributes(reading, i):
    """The rule in words: a covered or bald head has no hair colour of its own unless there is a
    beard, and sunglasses hide the eyes."""
    hidden = set()
    bare = reading["hair"][i] in ("bald", "hat", "turban")
    if bare and reading["facial hair"][i] != "beard":
        hidden.add("hair colour")
    if reading["glasses"][i] == "sunglasses":
        hidden.add("eyes")
    return set(reading) - hidden


def test_success_and_preservation_count_only_what_avatars_show():
    """Against the definition, written with the words of the judge instead of arrays."""
    random, attributes = np.random.default_rng(0), AttributeJudge(EMBEDDED).attributes
    before, after = (
        {name: [str(v) for v in random.choice(values, 300)] for name, values in attributes.items()}
        for _ in range(2)
    )

    drawings = Drawings(EMBEDDED.drawings)

    def predictions(reading):
        columns = [[v.index(x) for x in reading[name]] for name, v in attributes.items()]
        values = np.array(columns, np.int16).T
        return Predictions(values, drawings.visible(values))

    for target, wanted in (("hair colour", ("red", "grey")), ("eyes", ("wink",))):
        numbers = np.array([attributes[target].index(value) for value in wanted])
        at = list(attributes).index(target)
        counts = count_edit(predictions(before), predictions(after), at, numbers)
        absent = [
            before[target][i] not in wanted and target in visible_attributes(before, i)
            for i in range(300)
        ]
        assert counts.absent.tolist() == absent
        assert counts.won.tolist() == [
            lacking and after[target][i] in wanted for i, lacking in enumerate(absent)
        ]
        both = [
            visible_attributes(before, i) & visible_attributes(after, i) - {target}
            for i in range(300)
        ]
        assert counts.shown.tolist() == [
            len(both[i]) if lacking else 0 for i, lacking in enumerate(absent)
        ]
        assert counts.same.tolist() == [
            sum(before[name][i] == after[name][i] for name in both[i]) if lacking else 0
            for i, lacking in enumerate(absent)
        ]


def test_edit_is_fully_right_where_nothing_that_is_seen_changed_beside():
    before = Predictions(np.zeros((5, 3), np.int16), np.ones((5, 3), bool))
    values = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 0], [2, 0, 0]], np.int16)
    seen = np.ones((5, 3), bool)
    seen[3, 1] = False  # what the edit hides may be anything
    counts = count_edit(before, Predictions(values, seen), 0, np.array([1]))
    assert counts.right.tolist() == [True, False, False, True, False]


def test_hit_is_the_drawing_with_that_one_attribute_changed():
    """Somebody bald, whose hair has a colour once there is any, and what an edit may make of it."""
    drawings = Drawings(EMBEDDED.drawings)
    names = list(drawings.attributes)

    def person(**changes):
        wanted = {"hair": "bald", "glasses": "round"} | changes
        return [
            values.index(wanted[name]) if name in wanted else 0
            for name, values in drawings.attributes.items()
        ]

    def are_hits(before, afters, attribute, values):
        all_values = np.array([before, *afters])
        seen = drawings.visible(all_values)
        numbers = np.array([drawings.attributes[attribute].index(value) for value in values])
        one, others = Predictions(all_values[:1], seen[:1]), Predictions(all_values[1:], seen[1:])
        return is_hit(one, others, names.index(attribute), numbers).tolist()

    red = {"hair colour": "red"}
    afters = [
        person(hair="afro"),
        person(hair="afro", **red),  # newly shown: any colour will do
        person(hair="bun", **red),
        person(hair="hat"),
        person(hair="afro", glasses="none"),
    ]
    assert are_hits(person(), afters, "hair", ["afro", "bun"]) == [True, True, True, False, False]
    with_hair = person(hair="afro")
    afters = [person(hair="afro", **red), person(hair="hat", **red), person(hair="bun", **red)]
    assert are_hits(with_hair, afters, "hair colour", ["red"]) == [True, False, False]
    assert are_hits(with_hair, [person(hair="hat", **red)], "hair", ["hat"]) == [True]
    hidden = person(hair="afro", glasses="sunglasses", eyes="wink")
    assert are_hits(person(hair="afro"), [hidden], "eyes", ["wink"]) == [False]


def test_shares_are_of_each_edit_and_their_mean_leaves_out_the_unknown():
    hits = np.array([[1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]])
    of = np.array([[1, 1, 1, 1], [2, 1, 1, 0], [0, 0, 0, 0]])
    shares = share(np.array([[1.0, 1, 1, 1], [2, 0, 0, 2]]), hits, of)
    np.testing.assert_allclose(shares, [[50, 75, np.nan], [50, 50, np.nan]])
    np.testing.assert_allclose(over_edits(shares), [62.5, 50])


def test_resamples_begin_with_the_images_themselves_and_are_the_same_every_time():
    weights = resampled(30)
    assert weights.shape == (1001, 30)
    assert (weights[0] == 1).all() and (weights.sum(1) == 30).all()
    assert (weights[1:].std(1) > 0).all()
    np.testing.assert_array_equal(weights, resampled(30))


def test_interval_is_as_wide_as_that_of_a_share():
    """1.96 standard deviations to each side of a share of half of 400: 4.9 points of percent."""
    won = (np.arange(400) % 2)[None]
    found = interval(over_edits(share(resampled(400), won, np.ones_like(won))))
    assert found["value"] == 50
    assert found["low"] == pytest.approx(45.1, abs=0.8)
    assert found["high"] == pytest.approx(54.9, abs=0.8)


def test_there_is_no_interval_where_resamples_have_no_figure():
    figures = np.r_[80.0, np.full(940, 80.0), np.full(60, np.nan)]
    assert interval(figures) == {"value": 80.0, "low": None, "high": None}
    assert interval(np.full(1001, np.nan)) == {"value": None, "low": None, "high": None}


def test_preservation_is_read_off_the_curve_where_it_first_reaches_the_success():
    success = np.array([[20.0, 60, 50, 90]])
    preservation = np.array([[96.0, 80, 70, 40]])
    for level, expected in ((0, 100), (10, 98), (40, 88), (55, 82), (60, 80), (75, 51.25)):
        assert at_success(success, preservation, np.array([level])) == pytest.approx([expected])
    assert np.isnan(at_success(success, preservation, np.array([90.1])))
