from __future__ import annotations

import numpy as np
import pytest

from styleatlas.prompts.embed import build_bank, embed_prompts
from styleatlas.prompts.sets import (
    AVATAR_TEMPLATES,
    GENERAL_TEMPLATES,
    prompt_set,
    read_vocabulary,
)
from styleatlas.store.bank import normalise_prompt
from styleatlas.store.errors import PromptError


def encode(sentences: list[str]) -> np.ndarray:
    """Unit vectors that tell sentences of other lengths apart."""
    angles = np.array([len(sentence) / 10 for sentence in sentences])
    return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


def test_prompt_is_the_unit_mean_of_its_templates():
    (row,) = embed_prompts(["a hat"], ["{}", "a photo of {}"], encode)
    angle = (5 + 16) / 2 / 10  # the mean of two unit vectors lies half way between them
    assert row == pytest.approx([np.cos(angle), np.sin(angle)])
    assert row.dtype == np.float32


def test_prompts_keep_their_order():
    rows = embed_prompts(["a hat", "a long beard"], ["{}"], encode)
    assert np.allclose(rows, encode(["a hat", "a long beard"]))


@pytest.mark.parametrize(("prompt", "message"), [(" ", "is empty"), ("a\0", "control characters")])
def test_what_is_no_prompt_is_refused_before_it_is_encoded(prompt, message):
    asked = []

    def never(sentences):
        asked.extend(sentences)
        return encode(sentences)

    with pytest.raises(PromptError, match=message):
        embed_prompts([prompt], ["{}"], never)
    assert asked == []


def test_bank_holds_phrases_and_embeddings():
    bank = build_bank(["a hat", "a long beard"], ["{}"], encode, 2)
    assert bank.texts == ("a hat", "a long beard")
    assert np.allclose(bank.find("A Hat"), encode(["a hat"])[0])


def test_bank_without_phrases_has_the_width_of_clip():
    bank = build_bank((), ["{}"], encode, 7)
    assert (len(bank), bank.width) == (0, 7)


def test_bank_refuses_a_phrase_that_occurs_twice():
    with pytest.raises(PromptError, match="'a hat': occurs twice"):
        build_bank(["a hat", " A  hat"], ["{}"], encode, 2)


def test_vocabulary_of_avatars_has_300_phrases_that_differ():
    phrases = prompt_set("avatars").phrases
    assert len(phrases) >= 300
    assert len({normalise_prompt(phrase) for phrase in phrases}) == len(phrases)
    assert not any(phrase.startswith("#") or phrase != phrase.strip() for phrase in phrases)
    assert phrases == read_vocabulary("avatars")


def test_domain_without_vocabulary_starts_from_an_empty_bank():
    unknown = prompt_set("horses")
    assert (unknown.phrases, unknown.templates) == ((), GENERAL_TEMPLATES)


@pytest.mark.parametrize("templates", [AVATAR_TEMPLATES, GENERAL_TEMPLATES])
def test_templates_take_one_phrase_and_differ(templates):
    assert templates[0] == "{}"
    assert len({template.format("a hat") for template in templates}) == len(templates)
    assert all(template.count("{}") == 1 for template in templates)
