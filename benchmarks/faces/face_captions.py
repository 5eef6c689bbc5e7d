"""Captions of faces as people write them, and of which faces they are true.

`face_captions.json` holds, for every value of every attribute (several joined by `|`), sayings by
the place that they take in a sentence:

    is       before a noun, or after "who is": "bald"
    has      after "with": "a beard"
    wears    after "with" or "wearing": "glasses"
    verbs    in three forms: "smile/smiles/smiling at me"
    at       behind a noun: "on a white background"
    people   a noun for whoever has it: "redhead"
    says     a text by itself: "dye {his} hair red"

Whatever is said of an attribute that no reader tells well enough states nothing, as do the nouns,
`plain` words and what is said `aside`, and any other English word. `negated` are the values that
are also said not to be there: "without a beard".
"""

from __future__ import annotations

import gzip
import json
import random
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

DATA = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
PRONOUNS = (("he", "him", "his"), ("she", "her", "her"), ("they", "them", "their"))
IN_A_ROW = ("is", "has", "wears", "verbs", "at", "people")
NOTHING = 0.3  # of the captions state nothing
NEGATED = 0.3  # of what can be said not to be there
GENDERED = 0.3  # of the nouns, where no other tells more
FILLED = 0.15  # of the captions that state something hold words that mean nothing, too
LETTERS = 0.3  # of the words that mean nothing: no words at all
FOREIGN = (
    "{w}", "a {w}", "a {w} {w}", "{w} {w} {w}", "a {w} on a {w}", "the {w}", "{w} and {w}",
    "a {w} {noun}", "a {noun} with a {w}", "give {him} a {w}",
)  # fmt: skip
COMMON = 20_000  # English words, the most frequent first

Attributes = Mapping[str, tuple[str, ...]]
"""What is told of a face, each with its values."""


@dataclass(frozen=True)
class Phrase:
    """A face's value of an attribute is one of these; with `absent`, none of them."""

    attribute: str
    values: tuple[str, ...]
    absent: bool = False


@dataclass(frozen=True)
class Saying:
    """A text, in its place in a sentence, and what it states: nothing, where it has no phrase."""

    kind: str
    text: str
    phrase: Phrase | None


@dataclass(frozen=True)
class Caption:
    """A text and what it states; `foreign` when it states nothing because nobody knows its words
    (rather than because it is true of anybody)."""

    text: str
    phrases: tuple[Phrase, ...]
    foreign: bool = False


class Writer:
    """Draws captions by Python's `random`; only `attributes` mean anything in them, and `foreign`
    words nothing: by default all common English ones of which `face_captions.json` says nothing."""

    def __init__(self, attributes: Attributes, foreign: Sequence[str] | None = None) -> None:
        self.attributes = dict(attributes)
        self._groups = {name: self._sayings(name) for name in DATA["attributes"]}
        self._told = [name for name in self._groups if name in self.attributes]
        self._untold = [name for name in self._groups if name not in self.attributes]
        self._words = list(foreign or meaningless_words())

    def _sayings(self, attribute: str) -> dict[str, list[Saying]]:
        known = self.attributes.get(attribute)
        found: dict[str, list[Saying]] = {}
        for key, kinds in DATA["attributes"][attribute].items():
            values = tuple(key.split("|"))
            if known is not None and not set(values) <= set(known):
                continue
            phrase = Phrase(attribute, values) if known is not None else None
            found[key] = [Saying(kind, text, phrase) for kind in kinds for text in kinds[kind]]
        return found

    def draw(self) -> Caption:
        """A random caption, of the lengths that people write."""
        if random.random() < NOTHING:
            return self._nothing()
        count = random.choices((1, 2, 3, 4), (0.55, 0.25, 0.13, 0.07))[0]
        names = random.sample(self._told, min(count, len(self._told)))
        if count == 1 and random.random() < 0.4:
            return self._alone(
                self._chosen(names[0], ("says", "has", "wears", "is", "verbs", "at"))
            )
        if count > 1 and self._untold and random.random() < 0.1:
            names[-1] = random.choice(self._untold)
        return self._described([self._chosen(name, IN_A_ROW) for name in names])

    def wordings(self, attribute: str) -> list[Caption]:
        """One wording of each value of an attribute that states this alone."""
        return [self._of_value(attribute, value) for value in self.attributes[attribute]]

    def _of_value(self, attribute: str, value: str) -> Caption:
        exact = self._groups[attribute].get(value)
        # A value that is only ever said together with others: "young" of "child|young".
        groups = [g for key, g in self._groups[attribute].items() if value in key.split("|")]
        sayings = exact or random.choice(groups)
        saying = random.choice(sayings)
        if saying.kind == "says":
            return self._caption(saying.text, [saying.phrase])
        return self._described([saying], plain=True)

    def plainest(self, attribute: str, value: str) -> str:
        """The first wording of a value: "a bald face", "a face with glasses"."""
        keys = [key for key in self._groups[attribute] if value in key.split("|")]
        sayings = self._groups[attribute].get(value) or self._groups[attribute][keys[0]]
        first = next(s for s in sayings if s.kind in ("people", "is", "has", "wears", "at"))
        people = [s for s in sayings if s.kind == "people" and attribute == "gender"]
        frames = {"people": "a {}", "is": "a {} face", "at": "a face {}"}
        first = people[0] if people else first
        text = frames.get(first.kind, "a face with {}").replace("{}", first.text)
        return re.sub(r"\ba (?=[aeiou])", "an ", text.replace("{his}", "the"))

    def vocabulary(self) -> list[str]:
        """Phrases that state one thing each, and those that state nothing: what a bank holds."""
        found = [f"a {noun}" for noun in DATA["nouns"]]
        for name in self._told:
            for saying in (saying for group in self._groups[name].values() for saying in group):
                if saying.kind != "says":
                    found.append(_phrase(saying))
        texts = [re.sub(r"\ba (?=[aeiou])", "an ", x.replace("{his}", "the")) for x in found]
        return list(dict.fromkeys(texts))

    def _chosen(self, attribute: str, kinds: tuple[str, ...]) -> Saying:
        groups = self._groups[attribute]
        allowed: list[Saying] = []
        while not allowed:
            allowed = [s for s in random.choice(list(groups.values())) if s.kind in kinds]
        kind = random.choice([*{s.kind for s in allowed}])
        return random.choice([s for s in allowed if s.kind == kind])

    def _alone(self, saying: Saying) -> Caption:
        text, phrase = self._perhaps_negated(saying)
        if saying.kind == "verbs":
            text = random.choice(("make {him} ", "", "let {him} ")) + _form(text, 0)
        elif saying.kind == "is":
            text = random.choice(("{}", "{}", "make {him} {}", "{he} is {}")).replace("{}", text)
        elif saying.kind in ("has", "wears") and not text.startswith("without"):
            frames = ("{}", "{}", "give {him} {}", "{he} has {}", "add {}", "with {}")
            text = random.choice(frames).replace("{}", text)
        return self._caption(text, [phrase])

    def _described(self, sayings: list[Saying], plain: bool = False) -> Caption:
        """Somebody of whom all this is said: "a bald man with glasses who smiles"."""
        before: list[str] = []
        behind: list[str] = []
        phrases: list[Phrase | None] = []
        noun = ""
        for saying in sayings:
            text, phrase = (saying.text, saying.phrase) if plain else self._perhaps_negated(saying)
            phrases.append(phrase)
            if saying.kind == "people" and not noun:
                noun = text
            elif saying.kind == "people":
                behind.append(f"who is a {text}")
            elif saying.kind == "is" and random.random() < 0.75 and not text.startswith("not "):
                before.append(text)
            else:
                behind.append(_behind(saying.kind, text))
        if not noun and "gender" not in [s.phrase.attribute for s in sayings if s.phrase]:
            noun = random.choice(DATA["nouns"])
            if not plain and "gender" in self.attributes and random.random() < GENDERED:
                person = self._chosen("gender", ("people",))
                noun = person.text
                phrases.append(person.phrase)
        noun = noun or random.choice(DATA["nouns"])
        if random.random() < 0.08:
            before.insert(0, random.choice(DATA["plain"]))
        if not before and not plain and "gender" not in {p.attribute for p in phrases if p}:
            named = any(s.kind == "people" for s in sayings)
            who = f"a {noun}" if named or random.random() < 0.7 else random.choice(DATA["names"])
        else:
            random.shuffle(before)
            article = random.choice(("a", "a", "a", "a", "the", "this", ""))
            who = f"{article} {' '.join([*before, noun])}"
        random.shuffle(behind)
        joint = random.choice((" ", " and ", ", "))
        text = random.choice(DATA["templates"]).format(f"{who} {joint.join(behind)}")
        return self._caption(text, phrases)

    def _perhaps_negated(self, saying: Saying) -> tuple[str, Phrase | None]:
        phrase, text = saying.phrase, saying.text
        if phrase is None or text.startswith("no ") or random.random() >= NEGATED:
            return text, phrase
        can = DATA["negated"].get(phrase.attribute, ())
        if saying.kind in ("says", "people", "at") or not set(phrase.values) <= set(can):
            return text, phrase
        if saying.kind in ("has", "wears"):
            bare = re.sub(r"^(a|an) ", "any ", text) if random.random() < 0.2 else text
            text = f"without {bare}"
        elif saying.kind == "verbs":
            text = re.sub(r"(\w+)/(\w+)/(\w+)", r"not \1/does not \1/not \3", text)
        else:
            text = f"not {text}"
        return text, Phrase(phrase.attribute, phrase.values, absent=True)

    def _nothing(self) -> Caption:
        """A caption that is true of everybody, or of nobody knows what."""
        kind = random.random()
        if kind < 0.5:
            noun = random.choice(DATA["nouns"])
            who = random.choice((random.choice(DATA["names"]), *(f"a {noun}",) * 4))
            if random.random() < 0.15:
                who = f"a {random.choice(DATA['plain'])} {noun}"
            return self._caption(random.choice(DATA["templates"]).format(who), [])
        if kind < 0.65 and self._untold:
            saying = self._chosen(random.choice(self._untold), ("has", "wears", "is", "people"))
            return self._described([saying], plain=True)
        text = random.choice(FOREIGN)
        text = re.sub(r"\{w\}", lambda _: self._word(), text)
        return self._caption(text, [], foreign=True)

    def _caption(self, text: str, phrases: list[Phrase | None], foreign: bool = False) -> Caption:
        if random.random() < 0.08:
            text += f" {random.choice(DATA['aside'])}"
        elif phrases and random.random() < FILLED:
            words = random.choice((" {w}", " {w} {w}", " in {w}", " with a {w}", " and {w}"))
            text += re.sub(r"\{w\}", lambda _: self._word(), words)
        he, him, his = random.choice(PRONOUNS)
        text = text.replace("{he}", he).replace("{him}", him).replace("{his}", his)
        text = text.replace("{noun}", random.choice(DATA["nouns"]))
        text = re.sub(r"\ba (?=[aeiou])", "an ", " ".join(text.split()))
        return Caption(text, tuple(p for p in phrases if p is not None), foreign)

    def _word(self) -> str:
        if random.random() < LETTERS:
            return "".join(random.choices(string.ascii_lowercase, k=random.randint(2, 10)))
        return random.choice(self._words)


def truth(caption: Caption, read: Mapping[str, Tensor], attributes: Attributes) -> Tensor:
    """How likely a caption is true of each of n faces, (n,), by the probabilities (n, values) of
    each attribute, as if these were independent."""
    likely = torch.ones(len(next(iter(read.values()))))
    for phrase in caption.phrases:
        columns = [attributes[phrase.attribute].index(value) for value in phrase.values]
        has = read[phrase.attribute][:, columns].sum(1)
        likely = likely * (1 - has if phrase.absent else has)
    return likely


def _form(text: str, form: int) -> str:
    """Of "smile/smiles/smiling at me", one form."""
    first, second, rest = text.split("/")
    third, *others = rest.split(" ", 2) if rest.startswith("not ") else rest.split(" ", 1)
    if third == "not":
        third, others = f"not {others[0]}", others[1:]
    return " ".join([(first, second, third)[form], *others])


def _phrase(saying: Saying) -> str:
    """A saying as a phrase of a bank."""
    frames = {"is": "a {} face", "people": "a {}", "wears": "a face wearing {}", "at": "a face {}"}
    if saying.kind == "verbs":
        return f"a face that {_form(saying.text, 1)}"
    return frames.get(saying.kind, "a face with {}").replace("{}", saying.text)


def _behind(kind: str, text: str) -> str:
    """A saying as it stands behind a noun."""
    if text.startswith("without "):
        return text
    if kind == "verbs":
        form = random.randrange(3)
        return (f"who will {_form(text, 0)}", f"who {_form(text, 1)}", _form(text, 2))[form]
    frames = {
        "is": ("who is {}", "who looks {}"),
        "has": ("with {}", "with {}", "with {}", "who has {}", "having {}"),
        "wears": ("with {}", "wearing {}", "wearing {}", "who wears {}", "in {}"),
        "at": ("{}", "{}", "who is {}"),
    }
    return random.choice(frames[kind]).replace("{}", text)


def meaningless_words() -> list[str]:
    """English words, of open_clip's vocabulary, of which `face_captions.json` says nothing."""
    known = set(re.findall(r"[a-z]+", json.dumps(DATA)))
    stems = {word[: max(4, len(word) - 2)] for word in known if len(word) >= 4}
    packed = files("open_clip").joinpath("bpe_simple_vocab_16e6.txt.gz").read_bytes()
    merges = gzip.decompress(packed).decode().splitlines()[1:48_895]
    whole = (merge.replace(" ", "")[:-4] for merge in merges if merge.endswith("</w>"))
    words = [word for word in whole if len(word) >= 3 and word.isascii() and word.isalpha()]
    return [
        word
        for word in words[:COMMON]
        if word not in known and not any(word[:n] in stems for n in range(4, len(word) + 1))
    ]
