"""Prompts taken apart into phrases: of a bank made by hand, and of the embedded one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from styleatlas import Atlas, load_encoder, load_generator
from styleatlas.engine.editor import Editor
from styleatlas.engine.evaluation.judges import AttributeJudge
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.engine.steering.decompose import MOST_PHRASES, decompose
from styleatlas.engine.steering.edits import Edit
from styleatlas.store.bank import PromptBank
from styleatlas.store.errors import PromptError
from styleatlas.store.registry import EMBEDDED

WIDTH = 40
NEUTRAL = np.eye(WIDTH, dtype=np.float32)[0]
COMPOSITE = "a sad face with an afro and a green shirt"


def turned(*axes: int, cosine: float = 0.5) -> np.ndarray:
    """A unit vector (D,) at a cosine to the neutral prompt, towards the sum of axes."""
    vector = np.eye(WIDTH)[list(axes)].sum(0)
    vector = np.sqrt(1 - cosine**2) * vector / np.linalg.norm(vector)
    vector[0] = cosine
    return vector.astype(np.float32)


def summed(weights: dict[str, float], bank: PromptBank) -> np.ndarray:
    """A target whose difference from the neutral prompt is a sum of those of phrases."""
    parts = [w * (bank.find(text).astype(np.float64) - NEUTRAL) for text, w in weights.items()]
    return NEUTRAL + np.sum(parts, 0)


@pytest.fixture(scope="module")
def bank() -> PromptBank:
    """Ten phrases, each an axis of its own, one that says three of them, and one that says next to
    nothing."""
    texts = [f"phrase {i}" for i in range(1, 11)]
    vectors = [turned(i) for i in range(1, 11)]
    texts += ["phrases 8 to 10", "hardly phrase 20"]
    vectors += [turned(8, 9, 10), turned(20, cosine=0.97)]
    return PromptBank(tuple(texts), np.stack(vectors))


def test_prompt_in_the_bank_is_itself(bank):
    said = decompose(bank, NEUTRAL, bank.find("phrase 3"))
    assert said.phrases == ("phrase 3",)
    assert said.weights == pytest.approx([1.0]) and said.left == pytest.approx(0, abs=1e-6)


def test_sum_of_phrases_is_found_with_its_weights_the_one_that_says_most_first(bank):
    weights = {"phrase 7": 0.9, "phrase 2": 0.6, "phrase 4": 0.4}
    said = decompose(bank, NEUTRAL, summed(weights, bank))
    assert said.phrases == tuple(weights)
    assert said.weights == pytest.approx(list(weights.values()), abs=1e-5)
    assert said.left == pytest.approx(0, abs=1e-5)


def test_what_no_phrase_says_is_left(bank):
    whole = summed({"phrase 7": 0.8}, bank)
    said = decompose(bank, NEUTRAL, whole + 0.6 * np.eye(WIDTH)[30])
    assert said.phrases == ("phrase 7",)
    length = np.linalg.norm(whole + 0.6 * np.eye(WIDTH)[30] - NEUTRAL)
    assert said.left == pytest.approx(0.6 / length, abs=1e-4)


def test_unrelated_prompt_leaves_all_of_it(bank):
    said = decompose(bank, NEUTRAL, turned(30, cosine=0.9))
    assert said.phrases == () and said.left == pytest.approx(1)


def test_phrase_that_would_count_below_nothing_ends_the_search(bank):
    # The third phrase would take back all of the first, and more.
    weights = {"phrase 8": 1.0, "phrase 9": 0.95, "phrase 10": -0.05}
    said = decompose(bank, NEUTRAL, summed(weights, bank))
    assert said.phrases == ("phrases 8 to 10", "phrase 8")
    assert (said.weights > 0).all() and said.left > 0.2


def test_opposite_of_a_phrase_is_not_said_by_it(bank):
    said = decompose(bank, NEUTRAL, summed({"phrase 3": -1.0}, bank))
    assert "phrase 3" not in said.phrases


def test_phrase_next_to_the_neutral_prompt_says_nothing(bank):
    said = decompose(bank, NEUTRAL, turned(20, cosine=0.9))
    assert said.phrases == ()


def test_no_more_phrases_are_taken_than_a_sentence_has(bank):
    said = decompose(bank, NEUTRAL, summed(dict.fromkeys(bank.texts[:7], 0.5), bank))
    assert len(said.phrases) == MOST_PHRASES and said.left > 0.3


def test_bank_without_phrases_says_nothing():
    empty = PromptBank((), np.zeros((0, WIDTH), np.float32))
    said = decompose(empty, NEUTRAL, turned(1))
    assert said.phrases == () and len(said.weights) == 0 and said.left == pytest.approx(1)


def test_prompt_that_says_what_the_neutral_one_does_has_nothing_to_spell(bank):
    said = decompose(bank, NEUTRAL, NEUTRAL)
    assert said.phrases == () and said.left == 0


# in the editor


@pytest.fixture(scope="module")
def avatars() -> Editor:
    atlas = Atlas.open(EMBEDDED.atlas)
    return Editor(atlas, load_generator("avatars", "cpu"), load_encoder("avatars", "cpu"))


def test_composite_prompt_is_taken_apart_into_what_it_names(avatars):
    parts = avatars.parts(Edit("a face", COMPOSITE, 1.5))
    assert len(parts) == 3
    for words in (("sad", "unhappy", "frown"), ("afro", "curly"), ("green shirt", "green clothes")):
        said = [part for part in parts if any(word in part.target for word in words)]
        assert len(said) == 1, (words, parts)
    assert {part.neutral for part in parts} == {"a face"}
    assert {part.weight for part in parts} == {1.5}
    assert all(part.target in avatars.atlas.prompts for part in parts)


@pytest.mark.parametrize(
    "edit",
    [
        Edit("a face", "a pirate"),
        Edit("a face", "a face with a moustache"),  # in the bank
        Edit("a face", "a very cheerful face"),  # a phrase says it alone, if at all
        Edit("a face", COMPOSITE, -1.0),  # back from it
        Edit("a face", "an old man"),  # phrases say it, but ones that no sample shows
    ],
    ids=lambda edit: f"{edit.target} {edit.weight:g}",
)
def test_edit_that_phrases_cannot_say_or_one_says_is_left_whole(avatars, edit):
    assert avatars.parts(edit) == (edit,)


def test_edit_to_the_same_words_is_refused_as_such(avatars, faces):
    with pytest.raises(PromptError, match="is the neutral prompt itself; say what differs"):
        avatars.edit(faces, neutral="an odd phrase", target="an odd  phrase", method="direction")


@pytest.fixture(scope="module")
def faces(avatars) -> torch.Tensor:
    return styles_from_seeds(avatars.generator, range(1, 21), 0.7)


def wanted(images: torch.Tensor) -> int:
    """How many avatars show all that the composite prompt names, by the judge."""
    read = AttributeJudge(EMBEDDED).read(images)
    seen = zip(read["mouth"], read["hair"], read["clothes"], strict=True)
    return sum(avatar == ("sad", "afro", "green") for avatar in seen)


def test_composite_prompt_brings_all_it_names_where_one_direction_does_not(avatars, faces):
    apart = avatars.edit(faces, neutral="a face", target=COMPOSITE, method="direction")
    assert len(apart.directions) == 3 and apart.alphas.shape == (20, 3)
    whole = avatars.apply(faces, avatars.direction("a face", COMPOSITE))
    assert wanted(apart.images) > 10 >= 4 >= wanted(whole.images)


def test_composite_prompt_with_a_given_alpha_is_one_direction(avatars, faces):
    (direction,) = avatars.edit(faces[:1], neutral="a face", target=COMPOSITE, alpha=3.0).directions
    assert direction.target == COMPOSITE
