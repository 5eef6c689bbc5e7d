"""Directions by samples, of the embedded pair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from styleatlas import Atlas, load_encoder, load_generator
from styleatlas.engine.editor import Editor
from styleatlas.engine.steering import sampled
from styleatlas.engine.steering.direction import Choice
from styleatlas.engine.steering.samples import SampleMap
from styleatlas.store.errors import DirectionError, OptionError
from styleatlas.store.registry import EMBEDDED

from ...near import assert_near

GLASSES = ("a face", "a face with glasses")
NONSENSE = ("a face", "a zombie")


@pytest.fixture(scope="module")
def models():
    return load_generator("avatars", "cpu"), load_encoder("avatars", "cpu")


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return Atlas.open(EMBEDDED.atlas)


@pytest.fixture(scope="module")
def editor(atlas, models) -> Editor:
    return Editor(atlas, *models)


def rarer(editor: Editor, count: int) -> Editor:
    """The same where so few of the samples have glasses, and none beside them."""
    samples, text = editor.atlas.samples, editor.difference(editor.direction(*GLASSES))
    assert samples is not None
    has = SampleMap(samples).posterior(text) > 0.5
    kept = np.sort(np.concatenate([np.flatnonzero(has)[:count], np.flatnonzero(~has)]))
    names = ("w", "label", "embedding")
    few = {name: getattr(samples, name)[kept] for name in names}
    fewer = replace(samples, **few, pulled=samples.pulled[:0])
    atlas = replace(editor.atlas, samples=fewer)
    return Editor(atlas, editor.generator, editor.texts.encoder)


def test_direction_of_what_samples_show_is_theirs(editor):
    found = editor.direction(*GLASSES)
    assert found.source == "samples" and found.levels_known
    assert found.evidence.kind == "two-state" and 0.3 < found.evidence.share < 0.5
    assert np.abs(found.scores).max() == pytest.approx(1)
    assert (np.diff(np.abs(found.scores)) <= 0).all(), "the strongest channel first"
    assert found.beta == pytest.approx(np.abs(found.scores).min())


def test_table_is_asked_where_the_choice_is_one_of_tables(editor):
    for choice in (Choice(source="table"), Choice(rule="paper", beta=0.1), Choice(beta=0.1)):
        found = editor.direction(*GLASSES, choice)
        assert found.source == "table" and found.evidence is None and not found.levels_known
    by_beta, by_table = (
        editor.direction(*GLASSES, Choice(beta=0.1, source=source)) for source in ("auto", "table")
    )
    assert_near(by_beta.delta(1), by_table.delta(1))


@pytest.mark.parametrize("source", ["auto", "samples"])
def test_what_samples_do_not_show_goes_along_what_varies_among_them_and_says_so(editor, source):
    found = editor.direction(*NONSENSE, Choice(source=source))
    assert found.source == "samples" and found.evidence.kind == "unknown"
    assert len(found.channels) > 0


def test_taking_a_thing_off_does_not_hold_on_to_its_being_away(editor):
    found = editor.direction("a face with glasses", "a face")
    assert "a face with nothing on the eyes" not in found.held


def test_samples_that_an_atlas_has_not_are_refused_with_the_mend(atlas, models):
    bare = Editor(replace(atlas, samples=None), *models)
    assert bare.direction(*GLASSES).source == "table"
    message = "source samples: this atlas has none; draw some with `styleatlas precompute"
    with pytest.raises(OptionError, match=message):
        bare.direction(*GLASSES, Choice(source="samples"))


@pytest.mark.parametrize("option", [{"rule": "paper"}, {"beta": 0.1}])
def test_options_of_the_table_beside_samples_are_refused(option):
    with pytest.raises(OptionError, match="source samples: rule and beta are the table's"):
        Choice(source="samples", **option)


def test_few_samples_are_drawn_towards_the_table(editor):
    few = rarer(editor, 20)
    found, own, table = (
        few.direction(*GLASSES, Choice(source=source)) for source in ("auto", "samples", "table")
    )
    assert found.source == "both" and found.evidence.kind == "rare" and found.levels_known
    delta, of_own, of_table = (x.delta(1).astype(np.float64) for x in (found, own, table))
    parts, residue, *_ = np.linalg.lstsq(np.stack([of_own, of_table], 1), delta, rcond=None)
    assert residue[0] < 1e-6 * (delta @ delta), "a mixture of both"
    count = found.evidence.share * len(few.atlas.samples)
    assert parts[0] == pytest.approx(count / (count + 40), rel=1e-3) and parts[1] > 0


def test_direction_without_a_table_to_draw_towards_stays(editor, monkeypatch):
    direction = editor.direction(*GLASSES)
    monkeypatch.setattr(sampled, "expected_shift", lambda atlas, step: -direction.text)
    assert sampled.with_table(direction, direction, editor.atlas) is direction


def test_layers_exclude_and_channels_bind_samples(editor):
    layout, free = editor.atlas.layout, editor.direction(*GLASSES)
    early = editor.direction(*GLASSES, Choice(layers=("b8.*", "b16.*")))
    assert early.source == "samples" and layout.matching(("b8.*", "b16.*"))[early.channels].all()
    without = editor.direction(*GLASSES, Choice(exclude=(layout.label(int(free.channels[0])),)))
    assert free.channels[0] not in without.channels and free.channels[1] in without.channels
    few = editor.direction(*GLASSES, Choice(channels=7))
    assert set(few.channels) == set(free.channels[:7])
    assert_near(few.delta(1)[few.channels], free.delta(1)[few.channels])


def test_no_channel_left_is_told_with_the_mend(editor):
    label = editor.atlas.layout.label
    all_of_b4 = tuple(
        label(int(c)) for c in np.flatnonzero(editor.atlas.layout.matching(("b4.*",)))
    )
    with pytest.raises(DirectionError, match=r"samples show no channel that .* allow more"):
        editor.direction(*GLASSES, Choice(layers=("b4.*",), exclude=all_of_b4, source="samples"))


def test_keep_is_held_by_the_direction_itself(editor):
    choice = Choice(keep=("a face with a beard",))
    found, free = editor.direction(*GLASSES, choice), editor.direction(*GLASSES)
    assert "a face with a beard" in found.held and found.keep == choice.keep
    assert not np.array_equal(found.delta(1), free.delta(1))
    assert editor._counter((found,)) == ()


def test_what_is_round_is_not_held_back_by_what_all_glasses_are(editor):
    found = editor.direction("a face", "a face with round glasses")
    assert not [name for name in found.held if "glasses" in name]


def test_map_of_an_atlas_has_the_phrases_of_its_bank(atlas):
    assert sampled.sample_map(replace(atlas, samples=None)) is None
    known = sampled.sample_map(atlas)
    assert known._phrases.embeddings.shape == atlas.prompts.embeddings.shape
