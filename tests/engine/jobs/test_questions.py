"""What samples answer: of prompts, of channels, and of what else an edit moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from styleatlas.engine.editor import Editor, load
from styleatlas.engine.jobs.questions import (
    SHOWN,
    ask_samples,
    channel_records,
    entangled_records,
)
from styleatlas.engine.jobs.sample_sheet import draw_samples
from styleatlas.engine.steering.direction import Choice
from styleatlas.engine.steering.sampled import foretold_shift
from styleatlas.store.errors import FingerprintError, OptionError, OutputError, PromptError
from styleatlas.store.queries import expected_shift

from ...near import assert_near

FACE, HAT, BALD, GIRAFFE = "a face", "a face with a hat", "a bald face", "a giraffe"


@pytest.fixture(scope="module")
def editor() -> Editor:
    return load("avatars", device="cpu")


def test_samples_say_who_has_a_thing_and_where_its_direction_comes_from(editor):
    record = ask_samples(editor.atlas, editor.texts, FACE, BALD).record
    evidence, direction = editor.evidence(FACE, BALD), editor.direction(FACE, BALD)
    assert record["kind"] == evidence.kind == "two-state"
    assert record["share"] == round(evidence.share, 4)
    assert record["separation"] == round(evidence.separation, 4)
    assert (record["source"], record["channels"]) == ("samples", len(direction.channels))
    assert record["held"] == list(direction.held)
    assert record["samples"] == len(editor.atlas.samples)
    far, near = editor.samples.scores(editor.difference(direction))
    assert record["there"] == (far >= evidence.far.there).sum()
    assert record["near_there"] == (near >= evidence.near.there).sum()
    assert abs(record["there"] / record["samples"] - evidence.share) < 0.02


def test_of_an_unknown_prompt_nothing_is_told_as_if_it_were_known(editor):
    asked = ask_samples(editor.atlas, editor.texts, FACE, GIRAFFE)
    assert (asked.record["kind"], asked.record["source"]) == ("unknown", "samples")
    names = ("share", "separation", "there", "near_there")
    assert [asked.record[name] for name in names] == [None] * 4
    labels = [label for label, _ in asked.rows]
    assert labels[0].endswith("unknown") and not any("has it" in label for label in labels)


def test_rows_are_of_those_that_have_it_most_in_the_middle_and_least(editor):
    asked = ask_samples(editor.atlas, editor.texts, FACE, HAT)
    scores, _ = editor.samples.scores(editor.difference(editor.direction(FACE, HAT)))
    (_, most), (_, middle), (_, least) = asked.rows
    assert len(most) == len(middle) == len(least) == SHOWN
    assert scores[most].min() == np.sort(scores)[-SHOWN]
    assert scores[least].max() == np.sort(scores)[SHOWN - 1]
    there = editor.evidence(FACE, HAT).far.there
    have = scores[scores >= there]
    assert scores[middle].min() <= np.median(have) <= scores[middle].max()


def test_sheet_shows_samples_as_they_were_drawn(editor, tmp_path):
    asked = ask_samples(editor.atlas, editor.texts, FACE, HAT)
    path = tmp_path / "hats.png"
    draw_samples(editor.generator, editor.atlas, HAT, asked, path)
    with Image.open(path) as picture:
        assert picture.height == 3 * 128 and picture.width > SHOWN * 128
    first = asked.rows[0][1]
    styles = torch.from_numpy(asked.samples.styles_of(first))
    seen = editor.texts.encoder.images(editor.generator.render(styles)).numpy()
    assert_near(seen, asked.samples.embedding[first].astype(np.float32), share=0.05)


def test_row_of_few_samples_is_filled_with_white(editor, tmp_path):
    asked = ask_samples(editor.atlas, editor.texts, FACE, HAT)
    label, numbers = asked.rows[0]
    few = replace(asked, rows=((label, numbers[:1]), asked.rows[1]))
    path = tmp_path / "few.png"
    draw_samples(editor.generator, editor.atlas, HAT, few, path)
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    assert (pixels[:128, -7 * 128 :] == 255).all() and (pixels[128:, -128:] != 255).any()


def test_sheet_is_refused_by_another_generator_and_to_another_file(editor, generator, tmp_path):
    asked = ask_samples(editor.atlas, editor.texts, FACE, HAT)
    with pytest.raises(FingerprintError):
        draw_samples(generator, editor.atlas, HAT, asked, tmp_path / "a.png")
    with pytest.raises(OutputError):
        draw_samples(editor.generator, editor.atlas, HAT, asked, tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())


def test_channels_tell_the_step_of_the_samples_in_sigma(editor):
    records = channel_records(editor.atlas, editor.texts, FACE, BALD, 200)
    text = editor.texts.direction(FACE, BALD)
    table = editor.atlas.query_channels(text, top=200)
    assert [{k: v for k, v in r.items() if k != "step"} for r in records] == table
    delta = editor.direction(FACE, BALD).delta(1.0)
    at = [editor.atlas.layout.parse(record["channel"]) for record in records]
    steps = np.array([record["step"] for record in records])
    wanted = (delta[at] / editor.samples.style_std[at]).astype(np.float64)
    assert_near(steps, wanted, share=1e-3)
    assert (steps == 0).any() and (np.abs(steps) > 1).any()
    unknown = channel_records(editor.atlas, editor.texts, FACE, GIRAFFE, 3)
    assert [record["step"] for record in unknown] == [None] * 3


def test_atlas_without_samples_answers_by_its_table_as_ever(countable_atlas, generator, encoder):
    editor = Editor(countable_atlas, generator, encoder)
    pair = ("a picture", "a picture channel7")
    text = editor.texts.direction(*pair)
    assert channel_records(countable_atlas, editor.texts, *pair, 3) == (
        countable_atlas.query_channels(text, top=3)
    )
    step = editor.direction(*pair).delta(1.0)
    assert entangled_records(countable_atlas, editor.texts, *pair, 3) == [
        {"source": "table", **record} for record in countable_atlas.query_entangled(step, text, 3)
    ]
    for ask in (editor.evidence, lambda *pair: ask_samples(countable_atlas, editor.texts, *pair)):
        with pytest.raises(
            OptionError, match=r"holds none; draw some with `styleatlas precompute "
        ):
            ask(*pair)


def test_entangled_is_told_by_samples_of_their_direction_and_by_the_table_of_its_own(editor):
    by_samples = entangled_records(editor.atlas, editor.texts, FACE, BALD, 5)
    assert {record["source"] for record in by_samples} == {"samples"}
    bare = replace(editor.atlas, samples=None)
    by_table = entangled_records(bare, editor.texts, FACE, BALD, 5)
    assert {record["source"] for record in by_table} == {"table"}
    direction = editor.direction(FACE, BALD, Choice(source="table"))
    known = editor.atlas.query_entangled(direction.delta(1.0), direction.text, 5)
    assert [{k: v for k, v in r.items() if k != "source"} for r in by_table] == known


@pytest.mark.parametrize("target", [HAT, BALD, "a sad face", "closed eyes"])
def test_samples_foretell_what_their_step_does_better_than_the_table(editor, target):
    step = editor.direction(FACE, target).delta(1.0)
    subject = editor.subject(seeds=range(900, 924))
    after = editor.generator.render(subject.styles + torch.from_numpy(step))
    see = editor.texts.encoder.images
    moved = (see(after) - see(subject.images)).mean(0).numpy()

    def cosine(shift: np.ndarray) -> float:
        return float(shift @ moved / np.linalg.norm(shift) / np.linalg.norm(moved))

    foretold = foretold_shift(editor.samples, step)
    assert cosine(foretold) > 0.85
    assert cosine(foretold) > cosine(expected_shift(editor.atlas, step)) + 0.05


def test_nothing_is_foretold_of_styles_that_are_not_affine(editor):
    samples = editor.atlas.samples
    numbers = np.arange(60)
    kept = {name: getattr(samples, name)[:60] for name in ("w", "label", "embedding", "pulled")}
    styles = samples.styles_of(numbers).astype(np.float16)
    bound = replace(samples, **kept, styles=styles, weight=None, bias=None)
    assert_near(bound.styles_of(numbers[3:5]), styles[3:5].astype(np.float32))
    known = Editor(replace(editor.atlas, samples=bound), editor.generator, editor.texts.encoder)
    assert foretold_shift(known.samples, np.zeros(editor.atlas.layout.size, np.float32)) is None


def test_evidence_refuses_prompts_that_mean_the_same(editor):
    with pytest.raises(PromptError, match="is the neutral prompt itself"):
        editor.evidence(FACE, "A  face")
    assert editor.evidence(FACE, HAT).kind == "two-state"
    assert editor.direction(FACE, HAT, Choice()).evidence == editor.evidence(FACE, HAT)
