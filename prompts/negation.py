"""Prompts that say what is not there, read before CLIP reads them.

CLIP takes "a person without glasses" for a person with glasses: it minds the noun and hardly the
word before it. So a prompt is told apart by rules of the language into what it says and what it
says is missing. The rules are English; all their words stand in `wording/english.json`.

- "without X or Y", "no X", "not wearing X", "no longer X", "take X off", "remove X", "hatless" and
  "unsmiling" say that something is missing; it goes on to the end of the clause.
- "not without X" and "not unsmiling" say that it is there; "without no X" says once that it is not.
- What only looks like it, as "no-nonsense" and "not only", is left as it stands, and so is what
  stands in quotation marks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

_QUOTES = {'"': '"', "“": "”", "«": "»", "„": "“"}
_TOKENS = re.compile(r"\"[^\"]*\"|“[^”]*”|«[^»]*»|„[^“]*“|[^\s,;:.!?\"“«„]+|\S")
_STOPS = set(",;:.!?")
_ONE = ("no", "zero")  # which negate the next noun alone: "no hat and a beard"
_AWAY = 8  # words that may stand between "take" and "off"


@dataclass(frozen=True)
class Thing:
    """What a prompt says is missing: a noun, "glasses", or else a state, "smiling"."""

    name: str
    noun: bool = True


@dataclass(frozen=True)
class Reading:
    """A prompt told apart.

    Args:
        plain: what it says, without what it negates; empty where nothing else is said.
        lacks: what it says is missing.
    """

    plain: str
    lacks: tuple[Thing, ...]


def read_prompt(prompt: str) -> Reading:
    """What a prompt says, and what it says is missing. A prompt in quotation marks is what stands
    between them, and nothing is read into it."""
    text = " ".join(prompt.split())
    if _quoted(text):
        return Reading(text[1:-1].strip(), ())
    words = _Words(text.replace("\u2019", "'"))
    while words.left:
        words.read_on()
    if not words.changed:
        return Reading(text, ())
    plain = _tidied(words.said)
    return Reading(plain if content(plain, people=True) else "", tuple(dict.fromkeys(words.lacks)))


def literal(prompt: str) -> str:
    """A prompt written so that nothing is read into it: in quotation marks, where something would
    be."""
    text = " ".join(prompt.split())
    return prompt if read_prompt(prompt) == Reading(text, ()) else f'"{text}"'


def with_thing(plain: str, thing: Thing) -> str:
    """The prompt that says of a plain one that the thing is there."""
    if thing.noun:
        return f"{plain} with {thing.name}"
    article = re.match(r"(?:an?|the) ", plain, re.IGNORECASE)
    if article is None or " " in thing.name:
        return f"{plain}, {thing.name}"
    return _articled(f"{article[0]}{thing.name} {plain[article.end() :]}")


def content(prompt: str, people: bool = False) -> set[str]:
    """The words of a prompt that say something of an image, or also those for people."""
    rules = _rules()
    little = rules["little"] if people else (*rules["little"], *rules["people"])
    return {word for word in _lower(prompt) if word not in little and word not in _STOPS}


class _Words:
    """The words of a prompt, read from the first to the last.

    Args:
        said: those that stay.
        lacks: what is said to be missing.
        changed: whether anything was read that the words do not say to CLIP.
    """

    def __init__(self, text: str) -> None:
        rules = _rules()
        tokens = (rules["contractions"].get(t.lower(), t) for t in _TOKENS.findall(text))
        self._words = [
            w for token in tokens for w in (token.split(" ") if _open(token) else [token])
        ]
        self._low = [word.lower() for word in self._words]
        self._at = 0
        self.said: list[str] = []
        self.lacks: list[Thing] = []
        self.changed = False

    @property
    def left(self) -> bool:
        return self._at < len(self._words)

    def read_on(self) -> None:
        """Reads the next phrase: one that is left as it is, one that takes something away, or a
        word."""
        rules = _rules()
        if length := self._phrase("whole"):
            self._say(length)
        elif length := self._phrase("removals"):
            self._take(self._at + length, noun=True, over_and=True)
        elif end := self._parted():
            start = self._at + 1
            self._lack(self._low[start:end], self._words[start:end], noun=True)
            self._at = end + 1
        elif length := self._phrase("negations"):
            self._negate(length)
        elif self._low[self._at] in rules["without"] or self._low[self._at] in rules["opposite"]:
            self.lacks.append(_one_word(self._low[self._at]))
            if self.said and self.said[-1] == ",":  # "a tall, hatless man"
                self.said.pop()
            self._at, self.changed = self._at + 1, True
        else:
            self._say(1)

    def _say(self, count: int) -> None:
        self.said += self._words[self._at : self._at + count]
        self._at += count

    def _phrase(self, name: str, at: int | None = None) -> int:
        """How many words from here on are a phrase of the rules, the longest; 0 if none."""
        at = self._at if at is None else at
        for phrase in _phrases(name):
            if tuple(self._low[at : at + len(phrase)]) == phrase:
                return len(phrase)
        return 0

    def _parted(self) -> int:
        """Where "off" stands of "take X off"; 0 if that is not what is said."""
        lasts = _rules()["parted"].get(self._low[self._at], ())
        for at in range(self._at + 2, min(self._at + _AWAY, len(self._low))):
            if self._low[at] in lasts:
                return at
            if self._low[at] in _STOPS:
                break
        return 0

    def _negate(self, length: int) -> None:
        """Reads a negation of so many words and what it takes away."""
        rules = _rules()
        negation, at = self._low[self._at], self._at + length
        if negation in ("not", "never") and at < len(self._low):
            twice = self._low[at] in rules["without"] or self._low[at] in rules["opposite"]
            if twice or (self._phrase("negations", at) and self._low[at] != "no"):
                self._affirm(at, twice)
                return
        carried = at
        while carried < len(self._low) and self._low[carried] in rules["carried"]:
            carried += 1
        state = negation in ("not", "never") or self._low[self._at : at] == ["no", "longer"]
        while self.said and self.said[-1].lower() in rules["before"]:
            self.said.pop()
        self._take(carried, noun=not state or carried > at, over_and=negation not in _ONE)

    def _affirm(self, at: int, one_word: bool) -> None:
        """Reads what is not missing: "not without X", "not unsmiling"."""
        if one_word:
            thing = _one_word(self._low[at])
            if thing.noun:
                self.said.append("with")
            self.said += thing.name.split(" ")
            self._at = at + 1
        else:
            self.said.append("with")
            self._at = at + self._phrase("negations", at)
        self.changed = True

    def _take(self, start: int, noun: bool, over_and: bool) -> None:
        """Reads what is missing, from `start` to the end of the clause, which for some negations
        goes on over an "and"."""
        end = start
        while end < len(self._words) and not self._ends(start, end, over_and):
            end += 3 if self._place(end) else 1
        if end == start:  # a negation of nothing
            self._say(max(start - self._at, 1))
            return
        self._lack(self._low[start:end], self._words[start:end], noun)
        joined = self._low[end : end + 1] in (["and"], ["but"])
        self._at = end + joined
        if joined and noun and self.said and not self._verb(end + 1):
            self.said.append("with")  # "a girl with no hat and a smile"

    def _ends(self, start: int, at: int, over_and: bool) -> bool:
        """Whether the clause that began at `start` ends at a word."""
        rules, word = _rules(), self._low[at]
        if word == ",":
            rest = self._low[at + 1 :]
            listed = rest[: next((i for i, w in enumerate(rest) if w in _STOPS), len(rest))]
            return at == start or not {"or", "nor"} & set(listed[:4])
        if word in _STOPS or (word in rules["ends"] and not self._place(at)):
            return True
        return word == "and" and (not over_and or self._verb(at + 1))

    def _verb(self, at: int) -> bool:
        """Whether a word begins another thing that is said of the image."""
        word = self._low[at] if at < len(self._low) else ""
        return word in _rules()["going_on"] or word.endswith("ing")

    def _place(self, at: int) -> bool:
        """Whether "on the head" or the like stands there."""
        rules, three = _rules(), self._low[at : at + 3]
        return (
            len(three) == 3
            and three[0] in ("on", "over", "around", "in", "across")
            and three[1] in rules["determiners"]
            and three[2] in rules["places"]
        )

    def _lack(self, low: list[str], words: list[str], noun: bool) -> None:
        """Takes note of what is missing, one thing or several."""
        determiners = _rules()["determiners"]
        names: list[list[str]] = [[]]
        for known, word in zip(low, words, strict=True):
            if known in ("or", "nor", "and", ","):
                names.append([])
            elif names[-1] or known not in determiners:
                names[-1].append(_ANYTHING.get(known, word))
        self.lacks += [Thing(" ".join(name), noun) for name in names if name]
        self.changed = True


_ANYTHING = {"anything": "something", "anyone": "someone", "anybody": "somebody"}


def _one_word(word: str) -> Thing:
    """What a word such as "hatless" says is missing."""
    rules = _rules()
    if word in rules["without"]:
        return Thing(rules["without"][word])
    return Thing(rules["opposite"][word], noun=False)


def _tidied(words: list[str]) -> str:
    """A prompt of the words that are left, without what led to those that are not."""
    loose = {"and", "or", "but", "with", ",", ";", "."}
    kept: list[str] = []
    for word in words:
        if word.lower() in loose and (not kept or kept[-1].lower() in loose):
            continue
        kept.append(word)
    while kept and kept[-1].lower() in loose:
        kept.pop()
    return _articled(re.sub(r" ([,;:.!?])", r"\1", " ".join(kept)))


def _articled(text: str) -> str:
    """With "an" before vowels and "a" before others."""
    text = re.sub(r"\b([Aa])n? (?=[aeiouAEIOU])", r"\1n ", text)
    return re.sub(r"\b([Aa])n (?=[^aeiouAEIOU\s])", r"\1 ", text)


def _lower(text: str) -> list[str]:
    return [word.lower() for word in _TOKENS.findall(text)]


def _quoted(text: str) -> bool:
    """Whether a text stands in quotation marks as a whole."""
    if len(text) < 2 or _QUOTES.get(text[0]) != text[-1]:
        return False
    inside = text[1:-1]
    return not {text[0], text[-1]} & set(inside) or _quoted(inside)


def _open(token: str) -> bool:
    """Whether a token is not in quotation marks."""
    return token[0] not in _QUOTES or len(token) == 1


@cache
def _rules() -> dict[str, Any]:
    file = resources.files(__package__) / "wording" / "english.json"
    rules: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return rules


@cache
def _phrases(name: str) -> list[tuple[str, ...]]:
    """The phrases of a list of the rules, as words, the longest first."""
    phrases: Iterable[str] = _rules()[name]
    return sorted((tuple(phrase.split(" ")) for phrase in phrases), key=len, reverse=True)
