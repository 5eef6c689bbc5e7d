from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pytest

from styleatlas import __version__
from styleatlas.precompute.build import Settings, precompute
from styleatlas.prompts.sets import PromptSet
from styleatlas.store.atlas import Atlas
from styleatlas.store.errors import OptionError, PromptError

ARRAYS = ("style_mean", "style_std", "channels", "rows", "consistency", "strength", "images")


def test_same_settings_give_the_same_arrays_bit_for_bit(draw, make_generator, make_encoder):
    one, other = (draw(make_generator(), make_encoder(), seed=7) for _ in range(2))
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
        "method": "sweep",
        "images": 24,
        "strength": 5.0,
        "truncation": 0.7,
        "samples": 500,
        "seed": 0,
        "label": None,
        "templates": ["{}", "look at {}"],
    }
    assert countable_atlas.layout == generator.layout
    assert countable_atlas.library == f"styleatlas {__version__}"
    age = datetime.now(timezone.utc) - datetime.fromisoformat(countable_atlas.created)
    assert 0 <= age.total_seconds() < 600


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
    settings = Settings(images=3, samples=2)
    precompute(generator, encoder, prompts, settings, lambda *call: calls.append(call))
    assert calls == [(0, 36), (9, 36), (15, 36), (27, 36), (36, 36)]
    assert generator.images_rendered == 2 * 36


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images": 0}, "images 0: must lie between 1 and 100000"),
        ({"images": 100_001}, "images 100001: must lie between 1 and 100000"),
        ({"strength": 0.0}, "strength 0: must lie above 0 and up to 50 sigma"),
        ({"strength": 50.5}, r"strength 50\.5: must lie above 0"),
        ({"strength": float("nan")}, "strength nan: must lie above 0"),
        ({"seed": -1}, "seed -1: must lie between 0 and 4294967295"),
        ({"seed": 2**32}, "seed 4294967296: must lie between 0 and 4294967295"),
        ({"truncation": 2.1}, r"truncation 2\.1: must lie between 0 and 2"),
        ({"truncation": float("nan")}, "truncation nan: must lie between 0 and 2"),
        ({"samples": 1}, "samples 1: must be at least 2"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings, message):
    with pytest.raises(OptionError, match=message):
        Settings(**settings)
