"""What prompts say is missing is read before CLIP reads them."""

from __future__ import annotations

import pytest

from styleatlas.prompts.negation import Thing, content, literal, read_prompt, with_thing

READ = {
    "a person without glasses": ("a person", "glasses"),
    "A person without a beard": ("A person", "a beard"),
    "w/o glasses": ("", "glasses"),
    "take the glasses off": ("", "glasses"),
    "take off his glasses": ("", "glasses"),
    "remove the beard": ("", "beard"),
    "get rid of the hat": ("", "hat"),
    "lose the hat please": ("", "hat"),
    "no beard": ("", "beard"),
    "a face with no beard": ("a face", "beard"),
    "a man who isn't wearing a hat": ("a man", "a hat"),
    "a man who isn\u2019t wearing a hat": ("a man", "a hat"),
    "someone not wearing sunglasses": ("someone", "sunglasses"),
    "a woman who doesn't have long hair": ("a woman", "long hair"),
    "a man who no longer wears glasses": ("a man", "glasses"),
    "a hatless man": ("a man", "a hat"),
    "a tall, hatless man": ("a tall man", "a hat"),
    "a man, hatless, smiling": ("a man, smiling", "a hat"),
    "free of facial hair": ("", "facial hair"),
    # where it ends
    "a smiling man without a beard in a green shirt": ("a smiling man in a green shirt", "a beard"),
    "a man without a hat and smiling": ("a man smiling", "a hat"),
    "a person in a hat but without glasses": ("a person in a hat", "glasses"),
    "someone without hair on the head": ("someone", "hair on the head"),
    "a face without anything on the head": ("a face", "something on the head"),
    "take his hat off and put on glasses": ("put on glasses", "hat"),
    "a clean face, no makeup": ("a clean face", "makeup"),
    # several things at once
    "a man without glasses or a beard": ("a man", "glasses", "a beard"),
    "a man without glasses and a beard": ("a man", "glasses", "a beard"),
    "a man without a hat, glasses or a beard": ("a man", "a hat", "glasses", "a beard"),
    "a man with neither hat nor glasses": ("a man", "hat", "glasses"),
    "no glasses, no hat": ("", "glasses", "hat"),
    "a girl with no glasses and a big smile": ("a girl with a big smile", "glasses"),
    "a face with a beard and no hat": ("a face with a beard", "hat"),
    # twice
    "a face without no glasses": ("a face", "glasses"),
    "a man who is not wearing no hat": ("a man", "hat"),
}


@pytest.mark.parametrize("prompt", READ)
def test_what_is_missing_is_told_from_what_is_said(prompt):
    plain, *names = READ[prompt]
    found = read_prompt(prompt)
    assert found.plain == plain
    assert found.lacks == tuple(Thing(name) for name in names)


@pytest.mark.parametrize(
    ("prompt", "plain", "state"),
    [
        ("a man who is not smiling", "a man", "smiling"),
        ("a man no longer smiling", "a man", "smiling"),
        ("an unsmiling woman", "a woman", "smiling"),
    ],
)
def test_state_that_is_missing_is_no_noun(prompt, plain, state):
    assert read_prompt(prompt).lacks == (Thing(state, noun=False),)
    assert read_prompt(prompt).plain == plain


@pytest.mark.parametrize(
    ("prompt", "plain"),
    [
        ("a man not without a beard", "a man with a beard"),
        ("a man that is not unsmiling", "a man that is smiling"),
        ("a man who is not hatless", "a man who is with a hat"),
    ],
)
def test_two_negations_say_that_it_is_there(prompt, plain):
    found = read_prompt(prompt)
    assert (found.plain, found.lacks) == (plain, ())


@pytest.mark.parametrize(
    "prompt",
    [
        *("a no-nonsense man", "not only a hat", "nobody", "a bald man", "a face in 16:9", ""),
        *("a frowning, unhappy chap",),  # another word than "not happy": CLIP knows it
        *("without", "no", "a man of note", "a knotted tie", "an unusual face", "north"),
        'a shirt that says "no fear"',
    ],
)
def test_what_only_looks_like_it_is_left_as_it_is(prompt):
    found = read_prompt(prompt)
    assert (found.plain, found.lacks) == (prompt, ())
    assert literal(prompt) == prompt


@pytest.mark.parametrize("quoted", ['"a man without a hat"', "“a man without a hat”"])
def test_prompt_in_quotation_marks_is_what_stands_between_them(quoted):
    assert read_prompt(quoted) == read_prompt("“a man without a hat”")
    assert read_prompt(quoted).plain == "a man without a hat"


@pytest.mark.parametrize("prompt", ["a man without a hat", '"a hat"', 'say "no" to hats', "a hat"])
def test_literal_prompt_is_read_as_it_stands(prompt):
    assert read_prompt(literal(prompt)).plain == prompt
    assert read_prompt(literal(prompt)).lacks == ()


@pytest.mark.parametrize(
    ("plain", "thing", "prompt"),
    [
        ("a man", Thing("a hat"), "a man with a hat"),
        ("a man", Thing("smiling", noun=False), "a smiling man"),
        ("a man", Thing("open", noun=False), "an open man"),
        ("an old man", Thing("smiling", noun=False), "a smiling old man"),
        ("the man", Thing("smiling", noun=False), "the smiling man"),
        ("someone", Thing("smiling", noun=False), "someone, smiling"),
    ],
)
def test_prompt_that_says_the_thing_is_there(plain, thing, prompt):
    assert with_thing(plain, thing) == prompt


def test_words_for_people_say_nothing_of_an_image():
    assert content("a photo of a man, please") == set()
    assert content("a smiling man in a hat") == {"smiling", "in", "hat"}
