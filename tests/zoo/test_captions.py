"""The captions that the embedded CLIP learns from: what they state, and what they must not hold."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

PROMPTS = Path(__file__).resolve().parents[2] / "benchmarks" / "prompts"


def lines_of(name: str) -> list[str]:
    lines = (PROMPTS / name).read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def targets_of(name: str) -> list[str]:
    return [edit["target"] for edit in json.loads((PROMPTS / name).read_text("utf-8"))["edits"]]


@pytest.fixture(scope="module")
def captions():
    """30,000 captions of all kinds, as training draws them."""
    from avatars import ATTRIBUTES
    from captions import draw_caption
    from train_clip import NOTHING
    from wordings import draw_wording, wording_of

    random.seed(7)
    texts = [draw_wording(NOTHING)[0] for _ in range(20_000)]
    texts += [draw_caption()[0] for _ in range(5_000)]
    values = [(a, v) for a, values in ATTRIBUTES.items() for v in values]
    return texts + [wording_of(*random.choice(values)) for _ in range(5_000)]


def test_every_held_out_prompt_has_its_characteristic_phrase():
    phrases = lines_of("held_out_phrases.txt")
    targets = [*targets_of("wordings.json"), *targets_of("new_words.json")]
    assert len(targets) == len(phrases) >= 50
    for target, phrase in zip(targets, phrases, strict=True):
        assert phrase in target


def test_no_caption_holds_a_held_out_wording(captions):
    from captions import PHRASES, bank_texts
    from wordings import DATA

    def texts(value):
        if isinstance(value, str):
            return [value]
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        return [text for part in parts for text in texts(part)]

    known = [*texts(DATA), *(phrase.text for phrase in PHRASES), *bank_texts(), *captions]
    assert len(set(captions)) > 20_000
    for phrase in lines_of("held_out_phrases.txt"):
        assert not any(phrase in text.lower() for text in known), phrase


def test_words_that_mean_nothing_are_none_that_mean_something_or_are_reported(captions):
    from wordings import meaningless_words

    words = set(meaningless_words())
    assert len(words) > 10_000 and {"government", "coffee", "station"} <= words
    stating = "bald hair blonde ginger glasses beard smile yelling wink shirt orange background"
    assert not words & set(stating.split())
    reported = re.findall(r"[a-z]{3,}", " ".join(lines_of("nonsense.txt")).lower())
    assert not words & set(reported)


@pytest.mark.parametrize(
    ("attribute", "value", "part"),
    [
        ("hair colour", "red", "ginger"),
        ("clothes", "black", "tee"),
        ("mouth", "open", "yelling loudly"),
        ("background", "pink", "in front of a pink wall"),
        ("mouth", "smiling", "make him smile"),
    ],
)
def test_a_value_is_worded_as_people_say_it(attribute, value, part):
    from wordings import wording_of

    random.seed(3)
    assert any(part in wording_of(attribute, value) for _ in range(1500))


def test_a_caption_is_true_of_whom_it_states_and_one_that_states_nothing_of_everybody():
    import torch
    from avatars import code, column, draw_labels
    from captions import holds
    from wordings import draw_wording

    random.seed(5)
    labels = draw_labels(2000, torch.Generator().manual_seed(5))
    empty = stated = 0
    for _ in range(500):
        text, phrases, _ = draw_wording(0.3)
        true = holds(phrases, labels)
        if not phrases:
            empty += 1
            assert true.all(), text
            continue
        stated += 1
        for phrase in phrases:
            allowed = torch.tensor([code(phrase.attribute, value) for value in phrase.values])
            shown = labels[true][:, column(phrase.attribute)]
            assert torch.isin(shown, allowed).all(), text
    assert empty > 100 and stated > 250
    assert any(holds(draw_wording(0)[1], labels).any() for _ in range(5))


def test_an_age_and_a_gender_state_nothing():
    from wordings import PEOPLE, _filled

    for noun in ("man", "woman", "girl", "boy", "guy", "lady"):
        assert noun in PEOPLE["nouns"]
    assert {"old", "young"} <= set(PEOPLE["plain"])
    assert _filled("a old man") == "an old man"
