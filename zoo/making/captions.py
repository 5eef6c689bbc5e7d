"""What people call the attributes of an avatar, and which avatars a phrase is true of.

A `Phrase` states a set of values of one attribute. Captions join phrases; a caption is true of an
avatar when every phrase in it is. The prompt bank of the embedded pair lists the same wordings.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from avatars import ATTRIBUTES, by_attribute, code, column, visible
from torch import Tensor

from styleatlas.store.registry import EMBEDDED


@dataclass(frozen=True)
class Phrase:
    """`adjective` phrases stand before a noun ("bald"), the others after "with"."""

    text: str
    attribute: str
    values: tuple[str, ...]
    adjective: bool = False

    def holds(self, labels: Tensor) -> Tensor:
        """labels (n, attributes) -> (n,) bool."""
        wanted = torch.tensor([code(self.attribute, value) for value in self.values])
        i = column(self.attribute)
        return torch.isin(labels[:, i], wanted) & visible(labels)[:, i]


def _phrases() -> list[Phrase]:
    nouns: dict[tuple[str, tuple[str, ...]], list[str]] = {
        ("hair", ("bald",)): ["a bald head", "no hair", "a shaved head", "a shiny bald head"],
        ("hair", ("short",)): ["short hair", "a short haircut", "cropped hair", "a crew cut"],
        ("hair", ("long",)): ["long hair", "long straight hair", "shoulder-length hair", "flowing hair"],
        ("hair", ("afro",)): ["an afro", "curly hair", "big curly hair", "frizzy hair", "big hair"],
        ("hair", ("bun",)): ["a bun", "a hair bun", "hair tied up", "a top knot", "hair in a bun"],
        ("hair", ("hat",)): ["a hat", "a red hat", "a sun hat", "a wide-brimmed hat", "a summer hat"],
        ("hair", ("turban",)): ["a turban", "a red turban", "a wrapped turban", "a head wrap"],
        ("hair", ("hat", "turban")): ["headwear", "a covered head", "something on the head"],
        ("hair", ("short", "long", "afro", "bun")): ["hair", "a full head of hair", "visible hair"],
        ("skin", ("light",)): ["light skin", "pale skin", "fair skin", "white skin", "a pale face"],
        ("skin", ("tan",)): ["tan skin", "tanned skin", "brown skin", "olive skin", "a tanned face"],
        ("skin", ("dark",)): ["dark skin", "black skin", "dark brown skin", "deep skin", "a dark face"],
        ("glasses", ("none",)): ["no glasses", "bare eyes", "nothing on the eyes", "no eyewear"],
        ("glasses", ("round", "square")): [
            "glasses", "spectacles", "reading glasses", "clear glasses", "eyeglasses",
        ],
        ("glasses", ("round",)): ["round glasses", "circular glasses", "round spectacles"],
        ("glasses", ("square",)): ["square glasses", "rectangular glasses", "thick glasses"],
        ("glasses", ("sunglasses",)): ["sunglasses", "dark glasses", "shades", "black sunglasses"],
        ("facial hair", ("none",)): ["no beard", "no facial hair", "a clean shave", "a smooth chin"],
        ("facial hair", ("moustache",)): ["a moustache", "a mustache", "a thick moustache"],
        ("facial hair", ("beard",)): ["a beard", "a full beard", "a thick beard", "a bushy beard"],
        ("facial hair", ("moustache", "beard")): ["facial hair", "whiskers"],
        ("mouth", ("smiling",)): ["a smile", "a big smile", "a happy mouth", "a grin", "a laugh"],
        ("mouth", ("serious",)): ["a serious mouth", "a straight mouth", "a neutral expression", "a closed mouth"],
        ("mouth", ("sad",)): ["a sad mouth", "a frown", "a sad expression", "a small frown"],
        ("mouth", ("open",)): ["an open mouth", "a wide open mouth", "a scream", "a shocked mouth"],
        ("eyes", ("open",)): ["open eyes", "normal eyes", "plain eyes", "small eyes"],
        ("eyes", ("happy",)): ["closed eyes", "happy eyes", "laughing eyes", "shut eyes"],
        ("eyes", ("surprised",)): ["surprised eyes", "wide eyes", "big round eyes", "staring eyes"],
        ("eyes", ("wink",)): ["a wink", "a winking eye", "one eye closed"],
        ("clothes", ("white",)): ["a white shirt", "white clothes", "a white t-shirt"],
        ("clothes", ("black",)): ["a black shirt", "black clothes", "a dark shirt"],
        ("clothes", ("green",)): ["a green shirt", "green clothes", "a green t-shirt"],
        ("clothes", ("orange",)): ["an orange shirt", "orange clothes", "an orange t-shirt"],
    }  # fmt: skip
    adjectives: dict[tuple[str, tuple[str, ...]], list[str]] = {
        ("hair", ("bald",)): ["bald", "hairless"],
        ("hair", ("long",)): ["long-haired"],
        ("hair", ("short",)): ["short-haired"],
        ("hair", ("afro",)): ["curly-haired"],
        ("skin", ("light",)): ["light-skinned", "pale", "fair-skinned"],
        ("skin", ("tan",)): ["tanned", "brown-skinned"],
        ("skin", ("dark",)): ["dark-skinned"],
        ("facial hair", ("none",)): ["clean-shaven", "beardless", "shaved"],
        ("facial hair", ("beard",)): ["bearded"],
        ("facial hair", ("moustache",)): ["moustached"],
        ("glasses", ("round", "square")): ["bespectacled"],
        ("mouth", ("smiling",)): ["smiling", "happy", "cheerful", "laughing", "grinning"],
        ("mouth", ("serious",)): ["serious", "neutral", "calm"],
        ("mouth", ("sad",)): ["sad", "unhappy", "frowning", "gloomy"],
        ("mouth", ("open",)): ["screaming", "shouting", "shocked"],
        ("eyes", ("surprised",)): ["surprised", "wide-eyed", "startled"],
        ("eyes", ("wink",)): ["winking"],
    }
    hair_colours = {
        "black": ["black", "dark"],
        "brown": ["brown", "brunette", "chestnut"],
        "blonde": ["blonde", "blond", "golden", "yellow"],
        "red": ["red", "ginger", "orange"],
        "grey": ["grey", "gray", "white", "silver"],
        "purple": ["purple", "violet", "dyed purple"],
    }
    backgrounds = {
        "blue": ["blue", "sky blue"],
        "green": ["green", "mint green"],
        "pink": ["pink", "rosy"],
        "yellow": ["yellow", "pale yellow"],
        "grey": ["grey", "gray"],
    }
    phrases = [Phrase(t, a, v) for (a, v), texts in nouns.items() for t in texts]
    phrases += [Phrase(t, a, v, True) for (a, v), texts in adjectives.items() for t in texts]
    for value, words in hair_colours.items():
        phrases += [Phrase(f"{w} hair", "hair colour", (value,)) for w in words]
        phrases += [Phrase(f"{w}-haired", "hair colour", (value,), True) for w in words[:1]]
    for value, words in backgrounds.items():
        for word in words:
            phrases += [Phrase(f"a {word} background", "background", (value,))]
            phrases += [Phrase(f"a {word} backdrop", "background", (value,))]
    return phrases


PHRASES = _phrases()
# The phrases that name one value alone.
SINGLE: dict[tuple[str, str], list[Phrase]] = {
    (a, v): [p for p in PHRASES if p.attribute == a and p.values == (v,)]
    for a, values in ATTRIBUTES.items()
    for v in values
}
NOUNS = (
    "face",
    "person",
    "avatar",
    "portrait",
    "character",
    "head",
    "man",
    "woman",
    "cartoon face",
)
WEARABLE = frozenset({"glasses", "clothes"})


def _with(phrase: Phrase) -> str:
    wearable = phrase.attribute in WEARABLE or phrase.values in (("hat",), ("turban",))
    negated = phrase.text.startswith(("no ", "nothing"))
    return "wearing" if wearable and not negated and random.random() < 0.4 else "with"


def compose(phrases: list[Phrase], noun: str, template: str) -> str:
    """Joins phrases into a caption: "a photo of a bald face with glasses and a beard"."""
    adjectives = [p.text for p in phrases if p.adjective]
    rest = [p for p in phrases if not p.adjective]
    words = " ".join([*adjectives, noun])
    text = ("an " if words[0] in "aeiou" else "a ") + words
    if rest:
        text += f" {_with(rest[0])} " + " and ".join(p.text for p in rest)
    return template.format(text)


# Small features need more of the loss than colours, which are learned in minutes.
ATTRIBUTE_WEIGHT = {
    "hair": 1.0,
    "hair colour": 1.5,
    "skin": 1.0,
    "glasses": 1.5,
    "facial hair": 1.5,
    "mouth": 4.0,
    "eyes": 3.0,
    "clothes": 1.5,
    "background": 1.0,
}
_BY_ATTRIBUTE = {a: [p for p in PHRASES if p.attribute == a] for a in ATTRIBUTES}


def draw_caption() -> tuple[str, list[Phrase]]:
    """A random caption and the phrases it states (none at all for a neutral one)."""
    count = random.choices((0, 1, 2, 3), (0.03, 0.57, 0.25, 0.15))[0]
    weights = dict(ATTRIBUTE_WEIGHT)
    chosen: list[Phrase] = []
    for _ in range(count):
        attribute = random.choices(list(weights), list(weights.values()))[0]
        del weights[attribute]
        chosen.append(random.choice(_BY_ATTRIBUTE[attribute]))
    template = random.choice(EMBEDDED.templates)
    if len(chosen) == 1 and random.random() < 0.35:
        return template.format(chosen[0].text), chosen
    return compose(chosen, random.choice(NOUNS), template), chosen


def holds(phrases: list[Phrase], labels: Tensor) -> Tensor:
    """Whether a caption of these phrases is true of each avatar: (n,) bool."""
    true = torch.ones(len(labels), dtype=torch.bool)
    for phrase in phrases:
        true &= phrase.holds(labels)
    return true


def zero_shot(
    embed: Callable[[list[str]], Tensor], vision: Tensor, labels: Tensor
) -> dict[str, float]:
    """Accuracy of "a face with ..." or "a ... face", by the first wording of each value.

    `embed` maps n texts to unit vectors (n, D); vision (n, D) unit embeddings of the avatars.
    """
    columns = []
    for name, values in ATTRIBUTES.items():
        texts = [compose([SINGLE[name, value][0]], "face", "{}") for value in values]
        columns.append((vision @ embed(texts).t()).argmax(1))
    return by_attribute(torch.stack(columns, 1) == labels, labels)


def bank_texts() -> list[str]:
    """The wordings of the embedded pair's prompt bank, neutral ones first."""
    texts = [f"a {noun}" if noun != "avatar" else "an avatar" for noun in NOUNS]
    for phrase in PHRASES:
        if phrase.adjective:
            article = "an" if phrase.text[0] in "aeiou" else "a"
            texts += [phrase.text, f"{article} {phrase.text} face"]
        else:
            texts += [phrase.text, f"a face with {phrase.text}"]
    return list(dict.fromkeys(texts))
