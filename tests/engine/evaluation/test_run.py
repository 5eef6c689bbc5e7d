"""What an evaluation finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from styleatlas import Editor
from styleatlas.engine.evaluation.run import evaluate
from styleatlas.engine.evaluation.suite import Trial
from styleatlas.engine.evaluation.variants import compared_variants
from styleatlas.store.errors import OptionError

from .pixels import SEEDS, SUITE, PixelJudge, rows_of


def test_default_edits_succeed_where_meaningless_tables_do_not(countable):
    _, record, _ = countable
    best = {way["way"]: way["points"][way["best"]] for way in record["ways"]}
    assert best["default"]["success"]["value"] > 75
    assert best["default"]["directional_similarity"] > 0.7
    for name in ("shuffled rows", "random rows"):
        assert best[name]["success"]["value"] < best["default"]["success"]["value"] - 30


def test_every_image_is_edited_in_every_way_as_the_editor_edits_it_alone(countable):
    evaluation, _, _ = countable
    judge, editor = PixelJudge(), evaluation.editor
    for result in (evaluation.results[0], evaluation.results[2]):
        outcome = result.outcomes[-1]
        for image in (0, 63, 64, 69):
            style = evaluation.styles[image : image + 1]
            edited = editor.apply(style, result.directions[1], outcome.alpha)
            seen = judge.look(edited.images).predictions
            assert outcome.predictions.values[1, image].tolist() == seen.values[0].tolist()
            assert outcome.alphas[1, image] == pytest.approx(edited.alphas[0, 0], rel=1e-4)
            shift = editor.measure(edited)[0]
            assert outcome.similarity[1, image] == pytest.approx(shift.similarity[0], abs=1e-4)


def test_edit_without_a_channel_counts_as_one_that_changes_nothing(countable):
    _, record, _ = countable
    for alpha in (1.0, 10.0):
        for row in rows_of(record, "reference", alpha):
            assert (row["success"], row["preservation"], row["channels"]) == (0, 100, 0)
            assert (row["mean_alpha"], row["pixel_difference"]) == (None, 0)


def test_report_adds_up_to_all_that_is_edited(countable):
    evaluation, _, reports = countable
    columns = sum(len(result.outcomes) for result in evaluation.results)
    everything = len(SEEDS) * 2 * (columns + 1)
    told = [report.record for report in reports]
    assert {record["of"] for record in told} == {everything}
    assert told[-1]["edits"] == everything
    done = [report.done for report in reports]
    assert done == sorted(done) and done[-1] == pytest.approx(reports[0].total)


def test_keep_holds_what_the_edit_would_change_beside(countable):
    evaluation, record, _ = countable
    keep = record["keep"]
    assert [trial.keep for trial in evaluation.keep.trials][1] == ("a picture channel7",)
    row = keep["edits"][-1]
    assert row["clip_drift_with"] < row["clip_drift_without"] / 2
    assert row["clip_shift_with"] < row["clip_shift_without"] / 2
    assert 0 < row["clip_shift_without"] <= row["clip_drift_without"]
    assert row["judge_drift_with"] < row["judge_drift_without"] / 2
    default = evaluation.results[0].outcomes[0].moves[1, :, 1]
    texts = evaluation.editor.texts.direction("a picture", "a picture channel7")
    result = evaluation.editor.apply(evaluation.styles, evaluation.results[0].directions[1])
    encoder, generator = evaluation.editor.texts.encoder, evaluation.editor.generator
    moved = encoder.images(result.images) - encoder.images(generator.render(result.before))
    np.testing.assert_allclose(default, moved.numpy() @ texts, atol=1e-4)


def test_explicit_keep_is_kept(countable_atlas, make_generator, make_encoder):
    trial = replace(SUITE.trials[0], keep=("something channel0",))
    editor = Editor(countable_atlas, make_generator(), make_encoder())
    evaluation = evaluate(editor, PixelJudge(), replace(SUITE, trials=(trial,)), (1, 2))
    assert evaluation.keep.trials[0].keep == ("something channel0",)
    assert evaluation.keep.result.directions[0].keep == ("something channel0",)


def test_edit_may_take_off_what_a_phrase_names(countable_atlas, make_generator, make_encoder):
    neutral, kept = "A picture  channel7", ("a picture channel7",)
    trial = Trial(neutral, "something else", "seven", ("low",), kept)
    editor = Editor(countable_atlas, make_generator(), make_encoder())
    suite = replace(SUITE, trials=(trial,))
    ways = compared_variants(editor)[:1]
    evaluation = evaluate(editor, PixelJudge(), suite, SEEDS, 1.0, variants=ways)
    outcome = evaluation.results[0].outcomes[0]
    assert evaluation.tallies(outcome).won.any()
    moved = np.abs(outcome.moves).max((0, 1))
    assert moved[suite.all_phrases().index("a picture channel7")] == 0
    assert moved[suite.all_phrases().index("something else")] > 0
    assert evaluation.keep.trials[0].keep == ()


def test_seed_that_is_there_twice_is_refused(countable):
    with pytest.raises(OptionError, match="seeds: one is there twice"):
        evaluate(countable[0].editor, PixelJudge(), SUITE, (1, 2, 1))
