"""Evaluations: what is tried, who judges, how it is counted, and what is written."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
import torch

from styleatlas import Atlas, Editor, load_encoder, load_generator
from styleatlas.commands import demo
from styleatlas.engine.evaluation.files import require_folder, write_evaluation
from styleatlas.engine.evaluation.judges import (
    AttributeJudge,
    ClipJudge,
    Look,
    feature_distance,
    judge_for,
    visible_attributes,
)
from styleatlas.engine.evaluation.page import evaluation_html
from styleatlas.engine.evaluation.run import evaluate
from styleatlas.engine.evaluation.samples import sample_strips
from styleatlas.engine.evaluation.scores import (
    Predictions,
    at_success,
    count_edit,
    interval,
    over_edits,
    resampled,
    share,
)
from styleatlas.engine.evaluation.suite import Suite, Trial, read_suite
from styleatlas.engine.evaluation.summary import evaluation_record, summary_text
from styleatlas.engine.evaluation.variants import random_rows, shuffled_rows
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.store.errors import FingerprintError, InputError, OptionError, OutputError
from styleatlas.store.registry import EMBEDDED

SEEDS = tuple(range(1, 71))  # more than a batch


def written(**changes):
    suite = {
        "neutral": "a face",
        "attributes": {
            "mouth": {"smiling": ["a smiling face"], "sad": ["a sad face", "a frown"]},
            "hat": {"none": ["no hat"], "hat": ["a hat"]},
        },
        "edits": [{"target": "a sad face", "attribute": "mouth", "values": ["sad"]}],
    }
    return suite | changes


def edit(**changes):
    return {"target": "sad", "attribute": "mouth", "values": ["sad"]} | changes


# --- what is tried ---


def test_suite_that_ships_names_a_phrase_of_the_bank_for_all_that_its_judge_sees():
    suite, bank = read_suite(EMBEDDED.suite), Atlas.open(EMBEDDED.atlas).prompts
    suite.require(AttributeJudge(EMBEDDED).attributes)
    texts = [*suite.all_phrases(), *(trial.target for trial in suite.trials)]
    assert all(bank.find(text) is not None for text in texts)
    assert len(suite.trials) == 20


def test_suite_that_ships_holds_no_edit_of_the_demonstration():
    assert not {trial.target for trial in read_suite(EMBEDDED.suite).trials} & set(demo.EDITS)


def test_edit_takes_the_neutral_of_the_file_or_its_own(tmp_path):
    path = tmp_path / "edits.json"
    keep = edit(neutral="a man", keep=["a hat"])
    path.write_text(json.dumps(written(edits=[edit(), keep])))
    first, second = read_suite(path).trials
    assert first == Trial("a face", "sad", "mouth", ("sad",))
    assert second == Trial("a man", "sad", "mouth", ("sad",), ("a hat",))


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ([], "the file: must be an object, not a list"),
        ({"neutral": "a face"}, "the file: lacks attributes, edits"),
        (written(judge="me"), "the file: has an unknown 'judge'; remove it"),
        (written(neutral=None), "neutral: must be a text, not null"),
        (written(neutral=""), "prompt: is empty"),
        (written(edits={}), "edits: must be a list, not an object"),
        (written(edits=[]), "edits: there are none; name at least one"),
        (written(edits=[edit(), edit()]), "edit 'sad': is there twice; remove one"),
        (written(edits=[edit(beta=1)]), "edit 1: has an unknown 'beta'; remove it"),
        (written(edits=[edit(values=[])]), "edit 1, values: must be a list of texts, at least one"),
        (written(edits=[edit(values=[3])]), "edit 1, values: must be a text, not a number"),
        (
            written(edits=[edit(attribute="nose")]),
            "unknown attribute 'nose'; use one of mouth",
        ),
        (written(edits=[edit(values=["red"])]), "has no value 'red'; use one of smiling, sad"),
        (written(edits=[edit(keep=["ears"])]), "keep 'ears' is no phrase of the attributes"),
        (written(attributes={"mouth": {"sad": ["sad"]}}), "'mouth': needs at least two values"),
        (written(attributes={"mouth": {"sad": "sad"}}), "'mouth', 'sad': must be a list of texts"),
    ],
)
def test_faulty_suite_is_refused_with_its_name_and_the_place(tmp_path, suite, message):
    path = tmp_path / "edits.json"
    path.write_text(json.dumps(suite))
    with pytest.raises(InputError) as refusal:
        read_suite(path)
    assert str(refusal.value).startswith("edits.json: ")
    assert message in str(refusal.value)


def test_file_that_is_no_json_or_not_there_is_refused(tmp_path):
    path = tmp_path / "edits.json"
    with pytest.raises(InputError, match=r"edits\.json: cannot be read \(No such file"):
        read_suite(path)
    path.write_text("{")
    with pytest.raises(InputError, match=r"edits\.json: is not valid JSON"):
        read_suite(path)
    path.write_bytes(b'"' + b" " * 2**22 + b'"')
    with pytest.raises(InputError, match="is larger than 4 MiB"):
        read_suite(path)


def test_judge_must_know_every_value_and_have_a_phrase_for_all_it_sees(tmp_path):
    path = tmp_path / "edits.json"
    path.write_text(json.dumps(written()))
    suite = read_suite(path)
    with pytest.raises(InputError, match="the judge knows no 'mouth' 'sad'; it knows smiling"):
        suite.require({"mouth": ["smiling"]})
    with pytest.raises(InputError, match="'hat' has no phrase for 'cap'"):
        suite.require({"mouth": ["smiling", "sad"], "hat": ["hat", "cap"]})


# --- how it is counted ---


def test_success_and_preservation_count_only_what_avatars_show():
    """Against the definition, written with the words of the judge instead of arrays."""
    random, attributes = np.random.default_rng(0), AttributeJudge(EMBEDDED).attributes
    before, after = (
        {name: [str(v) for v in random.choice(values, 300)] for name, values in attributes.items()}
        for _ in range(2)
    )

    def predictions(reading):
        values = [[v.index(x) for x in reading[name]] for name, v in attributes.items()]
        seen = [[name in visible_attributes(reading, i) for name in attributes] for i in range(300)]
        return Predictions(np.array(values, np.int16).T, np.array(seen))

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


# --- who judges ---


@pytest.fixture(scope="module")
def avatar_images():
    generator = load_generator(EMBEDDED.name, "cpu")
    with torch.inference_mode():
        return generator.render(styles_from_seeds(generator, range(1, 25), 0.7))


def test_avatar_judge_reads_what_the_embedded_judge_reads(avatar_images):
    look, reading = (
        AttributeJudge(EMBEDDED).look(avatar_images),
        AttributeJudge(EMBEDDED).read(avatar_images),
    )
    for column, (name, values) in enumerate(AttributeJudge(EMBEDDED).attributes.items()):
        assert [values[i] for i in look.predictions.values[:, column]] == reading[name]
        seen = [name in visible_attributes(reading, i) for i in range(24)]
        assert look.predictions.seen[:, column].tolist() == seen


def test_avatar_judge_refuses_other_images():
    with pytest.raises(OptionError, match="reads images of 3 x 64 x 64, not of 3 x 8 x 8"):
        AttributeJudge(EMBEDDED).look(torch.zeros(1, 3, 8, 8))


def test_clip_that_drew_the_atlas_is_no_judge():
    with pytest.raises(FingerprintError, match="is the CLIP that drew the atlas"):
        judge_for(str(EMBEDDED.clip), Atlas.open(EMBEDDED.atlas), read_suite(EMBEDDED.suite), "cpu")


def test_clip_tells_values_apart_by_the_mean_of_their_phrases(encoder):
    phrases = {
        "pixel": {"low": ("channel3", "channel4"), "high": ("channel5",)},
        "other": {"a": ("channel8",), "b": ("channel9",)},
    }
    judge = ClipJudge(encoder, Suite(phrases, (Trial("a", "b", "pixel", ("low",)),)))
    images = torch.zeros(3, 3, 8, 8)
    for image, pixel in enumerate((3, 4, 5)):
        images[image, 0].view(-1)[pixel] = 1.0
        images[image, 0].view(-1)[9 if image == 1 else 8] = 1.0
    look = judge.look(images)
    assert look.predictions.values.tolist() == [[0, 0], [0, 1], [1, 0]]
    assert look.predictions.seen.all()
    along = judge.direction("channel3", "channel5")
    assert (look.embeddings @ along)[2] > (look.embeddings @ along)[0]


def test_distance_is_nothing_of_the_same_and_of_embeddings_two_minus_twice_the_cosine():
    a = torch.nn.functional.normalize(torch.randn(5, 7, generator=torch.manual_seed(0)), dim=1)
    b = a.roll(1, 0)
    looks = [Look(Predictions(np.zeros(0), np.zeros(0)), (x[:, :, None, None],)) for x in (a, b)]
    np.testing.assert_allclose(feature_distance(looks[0], looks[0]), 0)
    np.testing.assert_allclose(feature_distance(*looks), 2 - 2 * (a * b).sum(1), rtol=1e-5)


# --- the ways ---


def test_shuffled_and_random_rows_leave_all_but_the_rows(countable_atlas):
    live = countable_atlas.consistency > 0
    assert not live.all()
    for table in (shuffled_rows(countable_atlas), random_rows(countable_atlas)):
        np.testing.assert_array_equal(table.consistency, countable_atlas.consistency)
        np.testing.assert_array_equal(table.strength, countable_atlas.strength)
        assert (table.rows[~live] == 0).all()
        assert (table.rows[live] != countable_atlas.rows[live]).any(1).mean() > 0.5
    shuffled = shuffled_rows(countable_atlas).rows[live]
    assert {row.tobytes() for row in shuffled} == {
        row.tobytes() for row in countable_atlas.rows[live]
    }


class PixelJudge:
    """Reads pixels 7 and 12 of the countable generator as low or high; 12 is hidden where 7 lies
    far down."""

    name = "pixels"
    attributes = {"seven": ("low", "high"), "twelve": ("low", "high")}  # noqa: RUF012
    looked = 0

    def look(self, images):
        self.looked += len(images)
        pixels = images[:, 0].flatten(1)[:, [7, 12]].numpy()
        seen = np.stack([pixels[:, 0] < np.inf, pixels[:, 0] > -0.8], 1)
        return Look(Predictions((pixels > (0.25, -0.2)).astype(np.int16), seen), (images,))

    def direction(self, neutral, target):
        return None


SUITE = Suite(
    {
        "seven": {"low": ("something else",), "high": ("a picture channel7",)},
        "twelve": {"low": ("something channel0",), "high": ("a picture channel12",)},
    },
    (
        Trial("a picture", "a picture channel7", "seven", ("high",)),
        Trial("a picture", "a picture channel12 channel12 channel7", "twelve", ("high",)),
    ),
)


@pytest.fixture(scope="module")
def countable(countable_atlas, make_generator, make_encoder):
    editor = Editor(countable_atlas, make_generator(), make_encoder())
    still = replace(
        countable_atlas,
        rows=np.zeros_like(countable_atlas.rows),
        consistency=np.zeros_like(countable_atlas.consistency),
    )
    reports = []
    evaluation = evaluate(
        editor, PixelJudge(), SUITE, SEEDS, 1.0, still, lambda *report: reports.append(report)
    )
    return evaluation, evaluation_record(evaluation), reports


def rows_of(record, way, alpha=None):
    return [row for row in record["edits"] if (row["way"], row["alpha"]) == (way, alpha)]


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
    assert {of for _, of in reports} == {len(SEEDS) * 2 * (columns + 1)}
    assert sum(edited for edited, _ in reports) == reports[0][1]


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


def test_seed_that_is_there_twice_is_refused(countable):
    with pytest.raises(OptionError, match="seeds: one is there twice"):
        evaluate(countable[0].editor, PixelJudge(), SUITE, (1, 2, 1))


# --- what is written ---


def test_files_hold_the_figures_and_every_sample_strip(countable, tmp_path):
    evaluation, record, _ = countable
    strips = sample_strips(evaluation)
    require_folder(tmp_path / "new" / "quality")
    write_evaluation(record, evaluation_html(record, strips), tmp_path / "new" / "quality")
    folder = tmp_path / "new" / "quality"
    assert {path.name for path in folder.iterdir()} == {
        "evaluation.json",
        "evaluation.csv",
        "index.html",
    }
    assert json.loads((folder / "evaluation.json").read_text()) == record
    with (folder / "evaluation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(way["points"]) for way in record["ways"]) * 2
    page = (folder / "index.html").read_text()
    assert page.count("data:image/png;base64,") == len(strips) == 2
    assert "default-src 'none'" in unescape(page)
    assert set(re.findall("https?:[^\"' ]*", page)) == {"http://www.w3.org/2000/svg"}


def test_strip_goes_from_the_worst_image_to_the_best(countable):
    evaluation, _, _ = countable
    outcome = evaluation.results[0].outcomes[0]
    counts = evaluation.tallies(outcome)
    for number, strip in enumerate(sample_strips(evaluation)):
        at = [SEEDS.index(seed) for seed in strip.seeds]
        assert len(at) == min(8, counts.absent[number].sum())
        assert counts.absent[number][at].all()
        assert list(strip.won) == sorted(strip.won)
        lacking = counts.absent[number]
        assert strip.won[0] == counts.won[number][lacking].all()
        np.testing.assert_allclose(strip.alphas, outcome.alphas[number, at])


def test_page_escapes_prompts_and_marks_misses(countable):
    _, record, _ = countable
    spoiled = json.loads(json.dumps(record))
    row = spoiled["edits"][0]
    row["target"], row["success"] = "<script>alert(1)</script>\x1b\ud800", 12.3
    spoiled["ways"][1]["way"] = "</svg><script>"
    page = evaluation_html(spoiled, sample_strips(countable[0]))
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "&lt;/svg&gt;&lt;script&gt;" in page
    assert "alert(1)&lt;/script&gt;\ufffd\ufffd" in page
    assert "<mark>12.3</mark>" in page


def test_text_names_every_way_with_its_interval(countable):
    _, record, _ = countable
    text = summary_text(record)
    for way in record["ways"]:
        assert f"\n{way['way']}  " in text
    assert "automatic" in text and " to " in text and "\nwith keep " in text


def test_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        require_folder(tmp_path / "file" / "quality")
    (tmp_path / "index.html").mkdir()
    with pytest.raises(OutputError, match="is a directory"):
        require_folder(tmp_path)


def test_evaluation_of_avatars_is_the_same_every_time(tmp_path):
    generator, encoder = load_generator(EMBEDDED.name, "cpu"), load_encoder(EMBEDDED.name, "cpu")
    editor = Editor(Atlas.open(EMBEDDED.atlas), generator, encoder)
    suite = read_suite(EMBEDDED.suite)
    suite = replace(suite, trials=suite.trials[10:11])
    first, second = (
        evaluation_record(evaluate(editor, AttributeJudge(EMBEDDED), suite, (3, 4, 5)))
        for _ in range(2)
    )
    assert first == second
    assert first["ways"][0]["points"][0]["success"]["value"] > 50
