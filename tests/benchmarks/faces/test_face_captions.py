"""The captions that the joint encoder of faces learns from, and what they state."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks" / "faces"))

from face_captions import DATA, Caption, Phrase, Writer, truth

from styleatlas.prompts.sets import SAID_OF_READINGS

ATTRIBUTES = {
    "smile": ("not", "smiling"),
    "glasses": ("none", "glasses", "sunglasses"),
    "gender": ("man", "woman"),
    "beard": ("beard", "none"),
}


@pytest.fixture(scope="module")
def captions() -> list[Caption]:
    random.seed(7)
    writer = Writer(ATTRIBUTES)
    return [writer.draw() for _ in range(5_000)]


def test_a_caption_is_as_likely_as_the_product_of_what_it_states():
    read = {
        "smile": torch.tensor([[0.1, 0.9], [0.8, 0.2]]),
        "glasses": torch.tensor([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]]),
    }
    smiling = Phrase("smile", ("smiling",))
    bare = Phrase("glasses", ("glasses", "sunglasses"), absent=True)
    assert truth(Caption("", (smiling,)), read, ATTRIBUTES).tolist() == pytest.approx([0.9, 0.2])
    both = truth(Caption("", (smiling, bare)), read, ATTRIBUTES)
    assert both.tolist() == pytest.approx([0.9 * 0.5, 0.2])
    assert truth(Caption("a face", ()), read, ATTRIBUTES).tolist() == [1.0, 1.0]


def test_what_is_said_not_to_be_there_is_stated_as_absent(captions):
    absent = [p for c in captions for p in c.phrases if p.absent]
    assert len(absent) > 50
    for caption in captions:
        words = caption.text.split()
        if any(p.absent for p in caption.phrases):
            assert {"without", "not"} & set(words), caption.text
        if "without" in words:
            assert any(p.absent for p in caption.phrases), caption.text


def test_no_caption_states_two_genders(captions):
    for caption in captions:
        assert sum(p.attribute == "gender" for p in caption.phrases) <= 1, caption.text


def test_attributes_that_no_reader_tells_state_nothing(captions):
    hair = [c for c in captions if "blond hair" in c.text or "a hat" in c.text]
    assert hair
    assert {p.attribute for c in captions for p in c.phrases} == set(ATTRIBUTES)


def test_blanks_are_filled(captions):
    assert not [c.text for c in captions if "{" in c.text or "/" in c.text]


def test_a_wording_of_a_value_states_this_value_and_nothing_else():
    random.seed(7)
    writer = Writer(ATTRIBUTES)
    for _ in range(200):
        for name, values in ATTRIBUTES.items():
            for caption, value in zip(writer.wordings(name), values, strict=True):
                (phrase,) = caption.phrases
                assert phrase.attribute == name and value in phrase.values and not phrase.absent


def test_plain_texts_are_those_that_people_write():
    writer = Writer(ATTRIBUTES)
    assert writer.plainest("smile", "smiling") == "a smiling face"
    assert writer.plainest("gender", "woman") == "a woman"
    assert writer.plainest("beard", "beard") == "a bearded face"


def test_a_third_of_captions_state_nothing_and_some_four_things(captions):
    none = sum(not c.phrases for c in captions) / len(captions)
    assert 0.27 < none < 0.4
    assert any(len(c.phrases) >= 4 for c in captions)


def test_every_value_has_sayings_of_a_known_kind():
    kinds = {"is", "has", "wears", "verbs", "at", "people", "says"}
    for name, values in DATA["attributes"].items():
        for value, sayings in values.items():
            assert set(sayings) <= kinds and any(sayings.values()), (name, value)


def test_vocabulary_says_one_thing_a_phrase_and_names_what_networks_read():
    attributes = {**ATTRIBUTES, "age": ("child", "young", "middle", "old")}
    phrases = Writer(attributes).vocabulary()
    assert len(set(phrases)) == len(phrases) and "a face" in phrases
    assert {"a smiling face", "an old face", "a woman", "a face that smiles"} <= set(phrases)
    assert not [phrase for phrase in phrases if set("{}/") & set(phrase)]
    for feature in ("age", "gender", "expression"):
        assert set(SAID_OF_READINGS[feature]) & set(phrases)
