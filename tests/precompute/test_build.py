from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pytest

from styleatlas import __version__
from styleatlas.precompute.build import precompute
from styleatlas.precompute.executors import open_executor
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.prompts.sets import PromptSet
from styleatlas.store.atlas import Atlas
from styleatlas.store.errors import OptionError, PromptError

from ..near import assert_near

ARRAYS = ("style_mean", "style_std", "channels", "rows", "consistency", "strength", "images")
METHODS = ("screened", "sweep", "jacobian", "reference-tensorflow", "reference-torch")
PHRASES = tuple(f"word{i}" for i in range(9))


@pytest.mark.parametrize("method", METHODS)
def test_same_settings_give_the_same_arrays_bit_for_bit(draw, make_generator, make_encoder, method):
    one, other = (draw(make_generator(), make_encoder(), table=method, seed=7) for _ in range(2))
    assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ARRAYS)
    assert np.array_equal(one.prompts.embeddings, other.prompts.embeddings)


def test_another_seed_draws_other_images(draw, countable_atlas, generator, encoder):
    other = draw(generator, encoder, seed=1)
    row = other.row_of(generator.GATED)
    assert other.consistency[row] != pytest.approx(countable_atlas.consistency[row], abs=1e-3)
    assert not np.isclose(other.style_mean, countable_atlas.style_mean, atol=1e-6).any()


def test_atlas_remembers_what_it_was_drawn_with(countable_atlas, generator, encoder):
    origin = countable_atlas.fingerprint
    assert (origin.generator, origin.clip) == (generator.identity, encoder.identity)
    assert origin.settings == {
        "table": "sweep",
        "images": 24,
        "probes": None,
        "strength": 5.0,
        "truncation": 0.7,
        "statistics": 500,
        "seed": 0,
        "label": None,
        "refit": None,
        "precision": "float32",
        "clip_precision": "float32",
        "templates": ["{}", "look at {}"],
    }
    assert countable_atlas.layout == generator.layout
    assert countable_atlas.library == f"styleatlas {__version__}"


def test_atlas_tells_when_it_was_drawn(draw, generator, encoder):
    before = datetime.now(timezone.utc).replace(microsecond=0)
    atlas = draw(generator, encoder, images=1)
    assert before <= datetime.fromisoformat(atlas.created) <= datetime.now(timezone.utc)


def test_drawn_atlas_can_be_written_and_read(countable_atlas, countable_path):
    read = Atlas.open(countable_path)
    assert all(np.array_equal(getattr(read, n), getattr(countable_atlas, n)) for n in ARRAYS)
    assert read.prompts.texts == countable_atlas.prompts.texts


def test_bank_holds_the_phrases_in_all_templates(countable_atlas, encoder):
    sentences = encoder.texts(["something else", "look at something else"]).numpy()
    known = sentences.sum(0) / np.linalg.norm(sentences.sum(0))
    assert countable_atlas.prompts.find("something else") == pytest.approx(known, abs=1e-6)
    assert len(countable_atlas.prompts) == 4


def test_no_phrases_give_an_empty_bank_of_the_width_of_clip(draw, generator, encoder):
    atlas = draw(generator, encoder, phrases=(), images=1)
    assert (len(atlas.prompts), atlas.prompts.width) == (0, encoder.width)


@pytest.mark.parametrize(
    ("phrase", "message"),
    [
        ("so many words that no context of twelve could hold them", "takes 13 tokens of the 12"),
        ("  ", "prompt: is empty"),
        ("a\0face", "holds control characters"),
    ],
)
def test_phrase_that_clip_cannot_read_fails_before_any_render(
    draw, generator, encoder, phrase, message
):
    with pytest.raises(PromptError, match=message):
        draw(generator, encoder, phrases=("a picture", phrase))
    assert generator.images_rendered == 0


def test_sweep_renders_two_images_a_pair_and_reports_every_block(generator, encoder):
    calls = []
    prompts = PromptSet((), ("{}",))
    settings = PrecomputeSettings(images=40, table="sweep", statistics=2, samples=0)
    precompute(generator, encoder, prompts, settings, calls.append)
    assert [call.renders for call in calls] == [0, 384, 768, 960]
    assert generator.images_rendered == 960 == 2 * 12 * 40
    assert {call.of_renders for call in calls} == {960}
    assert [call.last and call.last.count for call in calls] == [None, 16, 16, 8]
    assert {(call.resumed, call.resumed_renders) for call in calls} == {(0, 0)}


@pytest.mark.parametrize("method", METHODS)
def test_run_in_memory_ends_with_all_blocks_and_renders_done(generator, encoder, method):
    calls = []
    settings = PrecomputeSettings(images=20, table=method, statistics=2, samples=0)
    precompute(generator, encoder, PromptSet((), ("{}",)), settings, calls.append)
    last = calls[-1]
    assert last.renders == last.of_renders > 0
    assert last.blocks == last.of_blocks
    assert len(calls) == last.of_blocks, "the start, and each block but that of the prompts"


# Executors


def test_other_processes_without_sources_are_refused(generator, encoder):
    settings = PrecomputeSettings(images=1, table="sweep", statistics=2, samples=0)
    prompts = PromptSet((), ("{}",))
    with (
        open_executor(2, None, "cpu") as executor,
        pytest.raises(OptionError, match="need sources"),
    ):
        precompute(generator, encoder, prompts, settings, lambda progress: None, None, executor)
    assert generator.images_rendered == 0


def test_executor_of_this_process_needs_no_sources(generator, encoder, countable_atlas):
    settings = PrecomputeSettings(images=24, table="sweep", statistics=500, samples=0)
    prompts = PromptSet((), ("{}",))
    with open_executor(1, None, None) as executor:
        atlas = precompute(
            generator, encoder, prompts, settings, lambda progress: None, None, executor
        )
    for name in ARRAYS:
        assert_near(getattr(atlas, name), getattr(countable_atlas, name))
