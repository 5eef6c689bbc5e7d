from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleatlas.store.bank import PromptBank, normalise_prompt
from styleatlas.store.errors import AtlasCorruptError, AtlasFormatError, PromptError

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


def test_centred_bank_holds_unit_directions_from_the_mean(make_atlas):
    bank = make_atlas(prompts=50).prompts
    centred = bank.centred()
    moved = bank.embeddings - bank.embeddings.mean(0)
    known = moved / np.linalg.norm(moved, axis=1)[:, None]
    assert np.allclose(centred.embeddings, known, atol=1e-6)
    assert centred.texts == bank.texts and np.array_equal(
        centred.find(bank.texts[7]), centred.embeddings[7]
    )
    assert not np.shares_memory(centred.embeddings, bank.embeddings)


def test_prompt_at_the_mean_of_its_bank_stays_where_it_is():
    bank = PromptBank(("a face",), EMBEDDINGS[:1])
    assert np.array_equal(bank.centred().embeddings, EMBEDDINGS[:1])


def test_centring_takes_memory_for_one_bank_more(make_atlas):
    bank = make_atlas(prompts=4000, width=512).prompts
    tracemalloc.start()
    try:
        bank.centred()
        assert tracemalloc.get_traced_memory()[1] < 1.2 * bank.embeddings.nbytes
    finally:
        tracemalloc.stop()


def test_only_texts_are_in_a_bank(bank):
    assert None not in bank and 3 not in bank
