"""Captions as people write them: what they say of an avatar, and words that say nothing of it.

`wordings.json` holds, for every value of every attribute (several joined by `|`), sayings by the
place that they take in a sentence:

    is       before a noun, or after "who is": "bald"
    has      after "with": "a beard"
    wears    after "with" or "wearing": "glasses"
    verbs    in three forms: "smile/smiles/smiling at me"
    at       behind a noun: "in front of a pink wall"
    says     a sentence: "{his} hair is red"
    orders   what to do: "dye {his} hair red"
    people   a noun for whoever has it: "redhead"

`frames` of an attribute are said of every word in `words`; of a word in `decoys`, for which no
value stands, they say nothing. Nouns for people, `plain` adjectives (ages, manners) and what is
said `aside` say nothing either, nor does any other English word, even in a colour that says
something `elsewhere`. `related` words are left out: it
is not clear whether they do.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from avatars import ATTRIBUTES
from captions import ATTRIBUTE_WEIGHT, Phrase

from styleatlas.store.registry import EMBEDDED

DATA = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
PROMPTS = Path(__file__).resolve().parents[2] / "benchmarks" / "prompts"
PRONOUNS = (  # he, him, his
    ("he", "him", "his"),
    ("she", "her", "her"),
    ("the guy", "the guy", "his"),
    ("my friend", "my friend", "her"),
    ("this person", "this person", "their"),
)
COMMON = 20_000  # English words, the most frequent first
LETTERS = 0.3  # of the words that mean nothing: no words at all


@dataclass(frozen=True)
class Saying:
    """What a text, in its place in a sentence, states: nothing, where it has no phrase."""

    kind: str
    text: str
    phrase: Phrase | None = None


def _sayings(attribute: str) -> dict[tuple[str, ...], list[Saying]]:
    """Of every set of values; of none, what only looks like a value."""
    data = DATA[attribute]
    found: dict[tuple[str, ...], list[Saying]] = {}

    def say(values: tuple[str, ...], kind: str, text: str) -> None:
        phrase = Phrase(text, attribute, values) if values else None
        found.setdefault(values, []).append(Saying(kind, text, phrase))

    worded = [((value,), words) for value, words in data.get("words", {}).items()]
    for values, words in [*worded, ((), data.get("decoys", []))]:
        for kind, frames in data.get("frames", {}).items():
            for text in (frame.replace("{}", word) for frame in frames for word in words):
                say(values, kind, text)
    for key, kinds in data.items():
        if key not in ("words", "decoys", "frames"):
            for kind, texts in kinds.items():
                for text in texts:
                    say(tuple(key.split("|")), kind, text)
    return found


class Caption(NamedTuple):
    """A text, the phrases that it states, and whether it states none since nobody knows its words
    (rather than since it tells of anybody)."""

    text: str
    phrases: list[Phrase]
    foreign: bool


SAYINGS = {attribute: _sayings(attribute) for attribute in ATTRIBUTES}
PEOPLE: dict[str, list[str]] = DATA["people"]
IN_A_ROW = ("is", "has", "wears", "verbs", "at")  # the kinds that a noun can have several of


@cache
def held_out() -> tuple[str, ...]:
    """What no caption may hold, since reporting asks for it."""
    lines = (PROMPTS / "held_out_phrases.txt").read_text("utf-8").splitlines()
    return tuple(line for line in lines if not line.startswith("#"))


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        value = value.values()
    if not isinstance(value, str):
        for part in value:
            yield from _texts(part)


@cache
def meaningless_words() -> tuple[str, ...]:
    """English words (open_clip's vocabulary has them) that say nothing of an avatar, without those
    by which it is reported whether such words are recognised."""
    known = set().union(*(_words(text) for text in _texts(DATA)))
    stems = {word[: max(4, len(word) - 2)] for word in known if len(word) >= 4}
    reported = _words((PROMPTS / "nonsense.txt").read_text("utf-8")) | _words(" ".join(held_out()))
    packed = files("open_clip").joinpath("bpe_simple_vocab_16e6.txt.gz").read_bytes()
    merges = gzip.decompress(packed).decode().splitlines()[1:48_895]
    whole = (merge.replace(" ", "")[:-4] for merge in merges if merge.endswith("</w>"))
    words = [word for word in whole if len(word) >= 3 and word.isascii() and word.isalpha()]
    out = known | reported
    return tuple(
        word
        for word in words[:COMMON]
        if word not in out and not any(word[:n] in stems for n in range(4, len(word) + 1))
    )


def _word() -> str:
    if random.random() < LETTERS:
        known = string.ascii_lowercase + (string.digits if random.random() < 0.2 else "")
        return "".join(random.choices(known, k=random.randint(2, 10)))
    return random.choice(meaningless_words())


def _noun() -> str:
    """ "guy", or "old guy"."""
    noun = random.choice(PEOPLE["nouns"])
    return f"{random.choice(PEOPLE['plain'])} {noun}" if random.random() < 0.2 else noun


def _who() -> str:
    if random.random() < 0.35:
        return random.choice(PEOPLE["names"])
    return f"{random.choice(('a', 'a', 'a', 'the', 'this', 'my', ''))} {_noun()}"


def _colour() -> str:
    """Of something else than what it says something of: "a golden key". Not those that people are
    said to be."""
    return random.choice(DATA["elsewhere"])


def _aside() -> str:
    return random.choice(PEOPLE["aside"])


def _verb(text: str, form: int) -> str:
    return re.sub(r"(\w+)/(\w+)/(\w+)", lambda found: found[form + 1], text)


def _behind(saying: Saying) -> str:
    """A saying as it stands behind a noun."""
    text = saying.text
    if saying.kind == "verbs":
        form = random.choice(("{2}", "{2}", "who {1}", "who is {2}", "{1}", "is {2}"))
        return form.format(*(_verb(text, i) for i in range(3)))
    frames = {
        "is": ("who is {}", "is {}", "who looks {}", "being {}"),
        "has": ("with {}", "with {}", "with {}", "who has {}", "has {}", "having {}"),
        "wears": (
            "with {}", "with {}", "wearing {}", "wearing {}", "in {}", "who wears {}", "wears {}",
            "with {} on", "who is wearing {}", "has {}", "who has {}", "has {} on",
        ),
        "at": ("{}", "{}", "{}", "who is {}", "is {}"),
    }  # fmt: skip
    return random.choice(frames[saying.kind]).replace("{}", text)


def describe(sayings: list[Saying]) -> str:
    """Somebody of whom all this is said: "a bald guy with glasses who smiles"."""
    before = [s for s in sayings if s.kind == "is" and random.random() < 0.7]
    behind = [_behind(s) for s in sayings if s not in before]
    if before:
        article = random.choice(("a", "a", "a", "the", "this", "my", ""))
        who = f"{article} {' '.join(s.text for s in before)} {_noun()}"
    else:
        who = _who()
    if behind and random.random() < 0.05:
        return f"{' and '.join(behind)}, {who}"
    joint = random.choice((" ", " and ", ", "))
    return f"{who} {joint.join(behind)}"


def tell(saying: Saying) -> str:
    """One thing said by itself: "give him a beard"."""
    text = saying.text
    has = (
        "{}", "{}", "give {him} {}", "give {him} {}", "add {}", "add {} to {him}", "{he} has {}",
        "let {him} have {}", "i want {}", "{} on {who}", "{he} got {}", "show {him} with {}",
    )  # fmt: skip
    wears = ("put {} on {him}", "put {} on {him}", "let {him} wear {}", "{he} wears {}", "in {}",
             "{he} is wearing {}", "make {him} wear {}", "wearing {}")  # fmt: skip
    frames = {
        "is": ("{}", "make {him} {}", "make {him} {}", "{he} is {}", "{he} looks {}", "{who}, {}"),
        "has": has,
        "wears": (*has, *wears, *wears),
        "at": ("{}", "{he} is {}", "put {him} {}", "show {him} {}", "{he} {}"),
        "says": ("{}",),
        "orders": ("{}", "{}", "{} please", "please {}", "can you {}"),
        "people": ("a {}", "a {}", "{}", "the {}", "a young {}", "{he} is a {}", "make {him} a {}"),
    }
    if saying.kind != "verbs":
        return random.choice(frames[saying.kind]).replace("{}", text)
    base, does, doing = (_verb(text, i) for i in range(3))
    told = (f"make {{him}} {base}", f"make {{him}} {base}", f"let {{him}} {base}", doing, base,
            f"{{he}} {does}", f"{{he}} is {doing}", f"{{who}} {does}")  # fmt: skip
    return random.choice(told)


def _nothing() -> str:
    """A text that states nothing of an avatar."""
    if random.random() < 0.3:
        return random.choice(("{who}", "{who}", "{who} {aside}", "show {who}", "{aside}"))
    if random.random() < 0.2:
        return "{w}"
    return random.choice((
        "{w}", "a {w}", "a {w}", "a {w} {w}", "{w} {w}", "{w} {w} {w}", "the {w} of {w}",
        "a {w} on a {w}", "a {w} in the {w}", "{w} and {w}", "how do i {w} my {w}", "{w} the {w}",
        "a {w} of {w} {w}", "the {w} {w}", "{w} at {w}", "what is the {w} of {w}", "a {w} {noun}",
        "{who} with a {w}", "{who} in a {w}", "give {him} a {w}", "make {him} {w}", "{he} {w}",
        "put a {w} on {him}", "{who} who {w} {w}", "{who} from {w}", "{his} {w} is {w}", "{w} is",
        "wearing a {w}", "in front of a {w}", "a {w} shirt", "a {w} background", "to {w} or to {w}",
        "a {colour} {w}", "{colour} {w}", "a {colour} {w} and a {w}", "the {colour} {w} {w}",
    ))  # fmt: skip


def _filled(text: str) -> str:
    """A text with its blanks filled, and the right article."""
    he, him, his = random.choice(PRONOUNS)
    text = text.replace("{he}", he).replace("{him}", him).replace("{his}", his)
    blanks = {"w": _word, "noun": _noun, "who": _who, "aside": _aside, "colour": _colour}
    text = re.sub(r"\{(\w+)\}", lambda found: blanks[found[1]](), text)
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", " ".join(text.split()))


def _chosen(attribute: str, kinds: tuple[str, ...] | None = None) -> Saying:
    groups = SAYINGS[attribute]
    values = random.choice([*groups, *(v for v in groups if len(v) == 1)])
    allowed = [s for s in groups[values] if kinds is None or s.kind in kinds]
    return random.choice(allowed) if allowed else _chosen(attribute, kinds)


def wording_of(attribute: str, value: str) -> str:
    """A text that states one value and nothing else."""
    saying = random.choice(SAYINGS[attribute][value,])
    alone = saying.kind not in IN_A_ROW or random.random() < 0.5
    text = _filled(tell(saying) if alone else describe([saying]))
    return wording_of(attribute, value) if _is_held_out(text) else text


def _is_held_out(text: str) -> bool:
    return any(phrase in text for phrase in held_out())


def draw_wording(nothing: float) -> Caption:
    """A random caption as people write them; in a share of `nothing` it states nothing at all."""
    sayings: list[Saying] = []
    foreign = False
    if random.random() < nothing:
        text = _nothing()
        foreign = "{w}" in text
    else:
        count = random.choices((1, 2, 3), (0.65, 0.25, 0.1))[0]
        weights = dict(ATTRIBUTE_WEIGHT)
        for _ in range(count):
            attribute = random.choices(list(weights), list(weights.values()))[0]
            del weights[attribute]
            sayings.append(_chosen(attribute, None if count == 1 else IN_A_ROW))
        alone = count == 1 and (sayings[0].kind not in IN_A_ROW or random.random() < 0.5)
        text = tell(sayings[0]) if alone else describe(sayings)
        extra = random.random()
        if extra < 0.1:
            text += " {aside}"
        elif extra < 0.18:
            text += random.choice((" in {w}", " with a {w}", " {w}", " and {w}"))
    text = random.choice((*EMBEDDED.templates, "{}", "{}")).format(_filled(text))
    if _is_held_out(text):
        return draw_wording(nothing)
    return Caption(text, [s.phrase for s in sayings if s.phrase is not None], foreign)
