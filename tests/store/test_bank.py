from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleatlas.store.bank import PromptBank, normalise_prompt
from styleatlas.store.errors import AtlasCorruptError, AtlasFormatError, OptionError, PromptError
from styleatlas.store.index import PromptIndex

TEXTS = ("a smiling face", "A face with an Afro", "grey hair")
EMBEDDINGS = np.eye(3, 4, dtype=np.float32)


@pytest.fixture
def bank() -> PromptBank:
    return PromptBank(TEXTS, EMBEDDINGS)


def test_prompts_are_found_whatever_their_case_and_spacing(bank):
    assert np.array_equal(bank.find("  a FACE\twith\nan  afro "), EMBEDDINGS[1])
    assert "GREY hair" in bank
    assert "gray hair" not in bank
    assert bank.find("gray hair") is None
    assert len(bank) == 3


@given(st.text(max_size=50))
def test_normalising_twice_is_normalising_once(text):
    try:
        once = normalise_prompt(text)
    except PromptError:
        return
    assert once == once.strip() and "  " not in once
    assert normalise_prompt(once) == once


@pytest.mark.parametrize("text", ["", "  \t\n"])
def test_empty_prompts_are_refused(text):
    with pytest.raises(PromptError, match="prompt: is empty"):
        normalise_prompt(text)


@pytest.mark.parametrize("text", ["a\0face", "a\x1b[31mface", "\x7f", "\ud800"])
def test_control_characters_are_refused(text):
    with pytest.raises(PromptError, match="holds control characters; remove them"):
        normalise_prompt(text)


def test_emoji_joined_by_invisible_characters_are_prompts():
    assert normalise_prompt("👩\u200d🦰") == "👩\u200d🦰"


def test_overlong_prompts_are_refused():
    with pytest.raises(PromptError, match="longer than 1024 bytes; shorten it"):
        normalise_prompt("ü" * 513)


def test_empty_bank_keeps_its_width():
    bank = PromptBank((), np.zeros((0, 4), np.float32))
    assert (len(bank), bank.width, bank.find("a face")) == (0, 4, None)


def test_repeated_prompts_are_refused():
    with pytest.raises(PromptError, match="prompt 'a smiling face': occurs twice"):
        PromptBank(("a smiling face", "grey hair", " A Smiling face"), EMBEDDINGS)


@pytest.mark.parametrize(
    ("embeddings", "error", "message"),
    [
        (EMBEDDINGS[:2], AtlasFormatError, r"has shape \(2, 4\), must have \(3, any\)"),
        (EMBEDDINGS[0], AtlasFormatError, r"has shape \(4,\)"),
        (np.zeros((3, 0)), AtlasFormatError, "width 0"),
        (EMBEDDINGS.astype(str), AtlasFormatError, "must be float32"),
        (EMBEDDINGS * [[1], [1.01], [1]], AtlasCorruptError, r"row 1 has length 1\.01"),
        (EMBEDDINGS * [[1], [0], [1]], AtlasCorruptError, "row 1 has length 0"),
        (EMBEDDINGS * [[1], [1], [np.nan]], AtlasCorruptError, "holds NaN or infinity"),
    ],
)
def test_unsound_embeddings_are_refused_by_place(embeddings, error, message):
    with pytest.raises(error, match="/prompts/embedding: .*" + message):
        PromptBank(TEXTS, embeddings)


def test_nearest_is_the_exact_inner_product(make_atlas):
    bank = make_atlas(prompts=50).prompts
    vectors = np.random.default_rng(1).normal(size=(4, bank.width)).astype(np.float32)
    scores, ids = PromptIndex(bank).nearest(vectors, 5)
    products = vectors @ bank.embeddings.T
    assert np.array_equal(ids, np.argsort(-products, axis=1)[:, :5])
    assert np.allclose(scores, -np.sort(-products, axis=1)[:, :5], atol=1e-6)


def test_nearest_returns_at_most_the_whole_bank(bank):
    scores, ids = PromptIndex(bank).nearest(EMBEDDINGS[:1], 99)
    assert scores.shape == ids.shape == (1, 3)
    assert ids[0, 0] == 0


def test_nearest_in_an_empty_bank_is_nothing():
    index = PromptIndex(PromptBank((), np.zeros((0, 4))))
    scores, ids = index.nearest(EMBEDDINGS[:2], 5)
    assert scores.shape == ids.shape == (2, 0)
    assert index.both_signs(EMBEDDINGS[0], 5) == ([], [])


def test_both_signs_finds_what_a_vector_points_to_and_away_from(bank):
    towards, away = PromptIndex(bank).both_signs([0.1, 0.8, -0.6, 0.0], 1)
    assert towards == [("A face with an Afro", pytest.approx(0.8))]
    assert away == [("grey hair", pytest.approx(-0.6))]


@pytest.mark.parametrize(
    ("vectors", "top", "message"),
    [
        (EMBEDDINGS, 0, "top 0: must be at least 1"),
        (EMBEDDINGS[0], 1, r"must have \(any, 4\)"),
        (EMBEDDINGS[:, :3], 1, r"must have \(any, 4\)"),
        (EMBEDDINGS * np.nan, 1, "NaN"),
    ],
)
def test_impossible_queries_are_refused(bank, vectors, top, message):
    with pytest.raises(OptionError, match=message):
        PromptIndex(bank).nearest(vectors, top)
