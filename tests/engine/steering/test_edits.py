"""Edits as they are written, and what they do to each other."""

from __future__ import annotations

import re

import numpy as np
import pytest

from styleatlas.engine.editor import Editor
from styleatlas.engine.steering.direction import Direction
from styleatlas.engine.steering.edits import MAX_WEIGHT, Edit, as_meant, conflicts, meant_as_one
from styleatlas.store.atlas import Atlas
from styleatlas.store.bank import PromptBank
from styleatlas.store.errors import OptionError, PromptError
from styleatlas.store.fingerprint import Fingerprint, ModelIdentity
from styleatlas.store.layout import StyleLayout

from ...near import assert_near


@pytest.mark.parametrize(
    ("text", "edit"),
    [
        ("a face -> a sad face", Edit("a face", "a sad face")),
        ("a face→a sad face : 1.5", Edit("a face", "a sad face", 1.5)),
        ("a face --> a sad face", Edit("a face", "a sad face")),
        ("a face -> a face in 16:9", Edit("a face", "a face in 16:9")),
        ("a face in 4:3 -> a face in 16:9 : -.5", Edit("a face in 4:3", "a face in 16:9", -0.5)),
        ("a face -> a cat:2 : 1", Edit("a face", "a cat:2")),
        ("art: a face -> art: a cat", Edit("art: a face", "art: a cat")),
        ("  a face -> a sad face  : -2 ", Edit("a face", "a sad face", -2)),
        ("a -> b : 1e-3", Edit("a", "b", 0.001)),
        (f"a -> b : {MAX_WEIGHT}", Edit("a", "b", MAX_WEIGHT)),
        ("a > b - c -> d : 2", Edit("a > b - c", "d", 2)),
        ("art: a face -> art: a cat : 2", Edit("art: a face", "art: a cat", 2)),
        ("a -> b : c : 0.5", Edit("a", "b : c", 0.5)),
        (
            "ein Gesicht -> ein Gesicht\nmit Brille : 2",
            Edit("ein Gesicht", "ein Gesicht mit Brille", 2),
        ),
    ],
)
def test_edit_is_read_as_it_is_written(text, edit):
    assert Edit.parse(text) == edit


@pytest.mark.parametrize(
    "text", ["", "a face", "->", "a ->", "-> b", "  -> b", "a ->  : 2", "a => b"]
)
def test_what_is_no_edit_shows_how_to_write_one(text):
    with pytest.raises(OptionError) as caught:
        Edit.parse(text)
    assert repr(text) in str(caught.value)
    example = str(caught.value).split("such as ")[1].strip("'")
    assert Edit.parse(example) == Edit("a face", "a sad face", 1.5)


@pytest.mark.parametrize("text", ["a -> b : much", "a -> b : 1,5", "art : a -> art : b"])
def test_what_is_no_number_after_the_colon_is_refused(text):
    with pytest.raises(OptionError, match="is no weight; write a number after the colon, or leave"):
        Edit.parse(text)


@pytest.mark.parametrize(
    "text", ["a->b:2", "a -> b: 2", "a -> b :-1.5", "a -> b at 10:1.5", "a -> b:1e-3", "a -> b:"]
)
def test_a_weight_that_was_written_without_spaces_is_refused_with_the_mend(text):
    """It was a weight once, so it must not turn into a part of the prompt without a word."""
    with pytest.raises(OptionError, match="may be meant as a weight; write a weight as ' : 2', wi"):
        Edit.parse(text)


@pytest.mark.parametrize("text", ["a face:1 -> b : 2", "a : 1 -> b", "a:.5 -> b", "a: -> b"])
def test_a_weight_left_of_the_arrow_is_refused(text):
    with pytest.raises(OptionError, match="has a weight left of the arrow; write it at the end"):
        Edit.parse(text)


@pytest.mark.parametrize("text", ["a -> b -> c", "a → b -> c : 2", "a -> b -> c -> d"])
def test_a_second_arrow_is_refused(text):
    arrows = text.count("->") + text.count("→")
    with pytest.raises(OptionError, match=f"holds {arrows} arrows, .* write each edit by itself"):
        Edit.parse(text)


def test_prompts_are_kept_on_one_line_and_without_what_a_terminal_obeys():
    assert Edit(" a\tface\n", "a\u2028sad   face") == Edit("a face", "a sad face")
    for text in ("a \x07 face", "a \x1b[2J face", "a \u202e face", "a \ud800 face"):
        with pytest.raises(PromptError, match="holds control characters; remove them") as caught:
            Edit("a face", text)
        assert str(caught.value).isprintable()
    emoji = "a face \N{WOMAN}\u200d\N{ROCKET}"
    assert Edit("a face", emoji).target == emoji


@pytest.mark.parametrize("weight", ["0", "-0.0", "nan", "inf", "-inf", "20.5", "-21", "1e300"])
def test_weights_that_lead_nowhere_or_too_far_are_refused(weight):
    message = re.escape(f"weight {float(weight):g}: must lie between -20 and 20 and not be 0")
    with pytest.raises(OptionError, match=message):
        Edit.parse(f"a -> b : {weight}")
    with pytest.raises(OptionError, match=message):
        Edit("a", "b", float(weight))


def test_long_text_that_is_no_edit_is_not_repeated_in_full():
    with pytest.raises(OptionError) as caught:
        Edit.parse("x" * 10_000)
    assert len(str(caught.value)) < 300


def test_negative_weight_swaps_the_prompts():
    assert Edit("a", "b", -1.5).forward() == Edit("b", "a", 1.5)
    assert Edit("a", "b", 1.5).forward() == Edit("a", "b", 1.5)


def test_negative_weight_is_exactly_the_opposite_step(countable_atlas, generator, encoder):
    editor = Editor(countable_atlas, generator, encoder)
    there, back = (Edit("a picture", "a picture channel7", weight) for weight in (2, -2))
    (forth,), weights = editor.directions([there])
    (reverse,), same = editor.directions([back])
    assert weights == same == [2]
    assert_near(reverse.delta(2), -forth.delta(2))


STD = np.array([0.5, 2.0, 1.0, 0.0])


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    """Channel k moves the embedding along axis k, by 0.1 a sigma; the last one never varies."""
    return Atlas(
        layout=StyleLayout.of([("b4.conv1", "conv", 4, 4)]),
        style_mean=np.zeros(4),
        style_std=STD,
        channels=np.arange(4),
        rows=np.eye(4),
        consistency=np.ones(4),
        strength=np.ones(4),
        images=np.full(4, 9),
        prompts=PromptBank((), np.zeros((0, 4))),
        fingerprint=Fingerprint(
            ModelIdentity("g", "a" * 64, {}), ModelIdentity("c", "b" * 64, {}), {"strength": 5.0}
        ),
        created="2026-11-22T05:40:00+00:00",
        library="styleatlas 0.1.0",
    )


def edit(target: str, axis: int, *sigmas: float) -> Direction:
    """Along an axis, by so many sigma of each channel."""
    channels = np.flatnonzero(sigmas)
    return Direction(
        neutral="a face",
        target=target,
        text=np.eye(4, dtype=np.float32)[axis],
        channels=channels,
        scores=np.ones(len(channels), np.float32),
        steps=(np.array(sigmas)[channels] * STD[channels]).astype(np.float32),
        beta=0.1,
        size=4,
    )


def said(atlas: Atlas, *directions: Direction) -> list[str]:
    return [str(conflict) for conflict in conflicts(atlas, directions)]


def test_edit_that_does_all_of_another_contains_it(atlas):
    hat, both = edit("hat", 0, 1), edit("hat and beard", 1, 1, 1)
    assert said(atlas, hat, both) == [
        '"hat and beard" contains 100% of "hat" (cosine of their steps 0.71)'
    ]


def test_identical_edits_contain_each_other(atlas):
    found = conflicts(atlas, [edit("hat", 0, 1, 0.5), edit("cap", 0, 1, 0.5)])
    assert [(x.edit, x.other) for x in found] == [("hat", "cap"), ("cap", "hat")]
    assert [x.share for x in found] == pytest.approx([1, 1])
    assert [x.style_cosine for x in found] == pytest.approx([1, 1])


def test_opposite_edits_undo_each_other(atlas):
    back = Direction(**{**vars(edit("no hat", 0, -1)), "text": -np.eye(4, dtype=np.float32)[0]})
    assert said(atlas, edit("hat", 0, 1), back) == [
        '"hat" undoes 100% of "no hat" (cosine of their steps -1.00)',
        '"no hat" undoes 100% of "hat" (cosine of their steps -1.00)',
    ]


def test_independent_edits_say_nothing(atlas):
    assert said(atlas, edit("hat", 0, 1), edit("beard", 1, 0, 1), edit("smile", 2, 0, 0, 1)) == []
    assert said(atlas, edit("hat", 0, 1)) == said(atlas) == []


@pytest.mark.parametrize(("part", "speaks"), [(0.45, 0), (0.55, 1), (-0.15, 0), (-0.25, 1)])
def test_containing_half_or_undoing_a_fifth_is_a_conflict(atlas, part, speaks):
    found = conflicts(atlas, [edit("hat", 0, 1, part), edit("beard", 1, 0, 1)])
    assert len(found) == speaks
    assert [x.share for x in found] == pytest.approx([part] * speaks)


def test_edit_that_is_not_expected_to_move_is_not_compared(atlas):
    assert said(atlas, edit("hat", 0, 1), edit("still", 0, 0, 0, 0, 1)) == []
    assert said(atlas, edit("hat", 0, 1), edit("wrong way", 0, -1))[0].startswith('"wrong way"')


def test_prompts_that_say_the_same_conflict_on_a_real_table(countable_atlas, generator, encoder):
    editor = Editor(countable_atlas, generator, encoder)
    pairs = [("a picture", "a picture channel7"), ("a picture", "a picture channel12")]
    seven, twelve = (editor.direction(*pair) for pair in pairs)
    back = editor.direction(*reversed(pairs[0]))
    assert conflicts(countable_atlas, [seven, twelve]) == []
    assert [x.share for x in conflicts(countable_atlas, [seven, back])] == pytest.approx([-1, -1])


@pytest.mark.parametrize(
    ("neutral", "target", "meant"),
    [
        ("a face", "a person without glasses", [("a person with glasses", "a person")]),
        ("a face", "take the glasses off", [("a face with glasses", "a face")]),
        ("a face with a hat", "a hatless face", [("a face with a hat", "a face")]),
        ("a face", "not smiling", [("a smiling face", "a face")]),
        (
            "a bearded man with glasses",
            "a bearded man without glasses",
            [("a bearded man with glasses", "a bearded man")],
        ),
        (
            "a face",
            "a smiling man without a beard",
            [("a face", "a smiling man"), ("a smiling man with a beard", "a smiling man")],
        ),
        (
            "a face",
            "no hat, no glasses",
            [("a face with hat", "a face"), ("a face with glasses", "a face")],
        ),
        ("a face without glasses", "a face with glasses", [("a face", "a face with glasses")]),
        ("a face without a beard", "a face", [("a face", "a face with a beard")]),
        ("a face without a hat", "a person without a hat", [("a face", "a person")]),
        ("no glasses", "glasses", [("an image", "glasses")]),
        ("a face", '"a face without glasses"', [("a face", "a face without glasses")]),
        ("a face", "a face with a hat", [("a face", "a face with a hat")]),
    ],
)
def test_edit_leads_from_what_the_target_says_is_missing(neutral, target, meant):
    assert [(e.neutral, e.target) for e in as_meant(Edit(neutral, target))] == meant


def test_negative_weight_is_the_edit_the_other_way_round():
    there, back = Edit("a face", "a hat", -1.5), Edit("a hat", "a face", 1.5)
    assert as_meant(there) == as_meant(back) == (back,)


def test_pair_that_means_several_edits_is_no_single_one():
    with pytest.raises(OptionError, match="several things"):
        meant_as_one("a face", "no hat and no glasses")
    assert meant_as_one("a face", "no hat") == Edit("a face with hat", "a face")
