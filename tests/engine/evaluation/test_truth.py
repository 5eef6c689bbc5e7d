"""What drawings tell of edits, beside what a judge reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from styleatlas import Atlas, Editor, load_encoder, load_generator
from styleatlas.engine.evaluation.judges import AttributeJudge
from styleatlas.engine.evaluation.page import evaluation_html
from styleatlas.engine.evaluation.run import evaluate
from styleatlas.engine.evaluation.samples import sample_strips
from styleatlas.engine.evaluation.suite import read_suite
from styleatlas.engine.evaluation.summary import evaluation_record, summary_text
from styleatlas.engine.evaluation.truth import MARGIN, leaked
from styleatlas.engine.evaluation.variants import DEFAULT, PAPER, Variant
from styleatlas.engine.models.subject import Subject
from styleatlas.engine.steering.direction import Choice
from styleatlas.store.registry import EMBEDDED

from ...near import assert_near
from .pixels import SEEDS

AVATARS = tuple(range(1, 31))


@pytest.fixture(scope="module")
def avatars():
    """Two edits by the table, one that goes well and one that spoils, by found alphas, and by the
    paper's rule at next to no alpha and at 20."""
    generator, encoder = load_generator(EMBEDDED.name, "cpu"), load_encoder(EMBEDDED.name, "cpu")
    editor = Editor(Atlas.open(EMBEDDED.atlas), generator, encoder)
    suite = read_suite(EMBEDDED.suite)
    chosen = [t for t in suite.trials if t.target in ("a sad face", "a face with pale skin")]
    suite = replace(suite, trials=tuple(sorted(chosen, key=lambda trial: trial.attribute)))
    paper = Variant(PAPER, editor, Choice(rule="paper", beta=0.1), (1e-6, 20.0))
    ways = [Variant(DEFAULT, editor, Choice(source="table")), paper]
    return evaluate(editor, AttributeJudge(EMBEDDED), suite, AVATARS, 0.7, variants=ways)


def test_edits_are_compared_with_drawings_as_each_would_be_alone(avatars):
    judge, result = AttributeJudge(EMBEDDED), avatars.results[0]
    outcome, counts = result.outcomes[0], avatars.tallies(result.outcomes[0])
    for number, direction in enumerate(result.directions):
        image = np.flatnonzero(counts.absent[number])[3]
        alone = Subject(avatars.editor.generator, avatars.styles[image : image + 1], psi=0.7)
        edit = avatars.editor.apply(alone, direction)
        start = judge.look(edit.images).predictions.values
        nearest = judge.drawings.nearest(edit.images, start)
        drawn = outcome.drawn
        assert drawn.predictions.values[number, image].tolist() == nearest.values[0].tolist()
        assert_near(drawn.distance[number, image], nearest.distance[0])


def test_images_that_have_the_attribute_count_for_nothing(avatars):
    for outcome in avatars.results[0].outcomes:
        absent, drawn = avatars.tallies(outcome).absent, avatars.drawn_tallies(outcome)
        assert not absent.all() and absent.any()
        for figure in (drawn.damaged, drawn.hit, drawn.leak):
            assert not figure[~absent].any()
        assert_near(outcome.drawn.distance[~absent], avatars_before(avatars)[~absent])


def avatars_before(evaluation):
    distance = evaluation.truth.drawn.distance
    return np.repeat(distance[None], len(evaluation.suite.trials), 0)


def test_edit_that_changes_nothing_hits_leaks_and_damages_nothing(avatars):
    outcome = avatars.results[1].outcomes[0]
    absent, drawn = avatars.tallies(outcome).absent, avatars.drawn_tallies(outcome)
    assert not drawn.hit.any()
    assert drawn.leak.max() < 1e-4
    usual = avatars_before(avatars) > avatars.truth.limit
    np.testing.assert_array_equal(drawn.damaged, absent & usual)


def test_edit_far_too_strong_damages_and_leaks_more_than_a_good_one(avatars):
    record = evaluation_record(avatars)
    (default,), (_, strong) = (way["points"] for way in record["ways"])
    assert strong["damaged"]["value"] > default["damaged"]["value"] + 20
    assert strong["leak"]["value"] > 2 * default["leak"]["value"]
    assert strong["hit"]["value"] < default["hit"]["value"]
    mood, skin = record["edits"][:2]
    assert (mood["attribute"], skin["attribute"]) == ("mouth", "skin")
    assert mood["hit"] > 50 > skin["hit"]
    assert skin["damaged"] > 50 > mood["damaged"]


def test_few_unedited_images_are_damaged(avatars):
    drawings = evaluation_record(avatars)["drawings"]
    assert 0 <= drawings["unedited_damaged"]["value"] <= 20
    assert drawings["distance"] < drawings["limit"]


def test_text_and_page_tell_what_a_person_sees(avatars):
    record = evaluation_record(avatars)
    text, page = summary_text(record), evaluation_html(record, sample_strips(avatars))
    for word in ("fully right %", "damaged %", "hit %", "leak"):
        assert word in text
    for word in ("Fully right", "Damaged", "Hit", "Leak"):
        assert word in page
    assert f"further than {MARGIN} from" in page


def test_without_drawings_nothing_is_told_of_them(countable):
    evaluation, record, _ = countable
    assert evaluation.truth is None and record["drawings"] is None
    for row in (*record["edits"], *record["ways"][0]["points"]):
        assert (row["damaged"], row["hit"], row["leak"]) == (None, None, None)
        assert row["fully_right"] is not None
    text, page = summary_text(record), evaluation_html(record, sample_strips(evaluation))
    assert "fully right" in text and "damaged" not in text and "leak" not in text
    assert "Fully right" in page and "Damaged" not in page
    counts = evaluation.tallies(evaluation.results[0].outcomes[0])
    right = counts.won & (counts.same == counts.shown)
    means = [100 * r[a].mean() for r, a in zip(right, counts.absent, strict=True)]
    figure = record["ways"][0]["points"][0]["fully_right"]
    assert figure["value"] == pytest.approx(np.mean(means), abs=0.01)
    assert figure["low"] <= figure["value"] <= figure["high"]
    assert len(counts.absent[0]) == len(SEEDS)


def test_leak_is_the_mean_change_outside_of_a_region():
    before, after = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    after[0, :, 0, 0] = 1.0  # half of the scale, inside
    after[0, 0, 3, 3] = 3.0  # outside, one channel, as far as the scale goes
    region = np.zeros((2, 4, 4), bool)
    region[0, 0] = True
    region[1] = True
    np.testing.assert_allclose(leaked(before, after, region), [0.5 / 3 / 12, 0], rtol=1e-6)
