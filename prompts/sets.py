"""The phrases and templates that belong to a domain.

A vocabulary is a text file in UTF-8: one phrase a line, `# comment` in a line of its own, blank
lines between groups.
"""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib.resources import files

from ..store.bank import normalise_prompt, one_line
from ..store.errors import PromptError
from ..store.registry import find_bundle

MAX_BYTES = 2**28  # of a user's file: four million phrases, the most an atlas holds, of 64 bytes

# A prompt is embedded in every template and averaged, which cancels what a wording adds (Radford
# et al. 2021, section 3.1.4).
GENERAL_TEMPLATES = (
    "{}",
    "a photo of {}",
    "a close-up photo of {}",
    "a blurry photo of {}",
    "a sharp photo of {}",
    "a bright photo of {}",
    "a dark photo of {}",
    "a black and white photo of {}",
    "a low-resolution image of {}",
    "a picture of {}",
    "a portrait of {}",
    "a drawing of {}",
    "a painting of {}",
    "a rendering of {}",
)


@dataclass(frozen=True)
class PromptSet:
    """Phrases to embed in an atlas and the templates to embed them in."""

    phrases: tuple[str, ...]
    templates: tuple[str, ...]

    def with_phrases(self, phrases: Iterable[str]) -> PromptSet:
        """The same set with those `phrases` added that it does not hold.

        Raises:
            PromptError: a phrase that cannot serve as a prompt.
        """
        known = {normalise_prompt(phrase) for phrase in self.phrases}
        return replace(self, phrases=(*self.phrases, *unknown(phrases, known)))


def prompt_set(domain: str) -> PromptSet:
    """The prompts of a domain: a registered bundle has its own; any other, of whatever name, the
    general."""
    bundle = find_bundle(domain)
    if bundle is None or bundle.vocabulary is None:
        general = files(__package__).joinpath("vocabularies/general.txt")
        return PromptSet(_phrases(general.read_text("utf-8")), GENERAL_TEMPLATES)
    return PromptSet(_phrases(bundle.vocabulary.read_text("utf-8")), bundle.templates)


def read_phrases(source: str) -> tuple[str, ...]:
    """The phrases of a user's vocabulary, in order, white space collapsed; repeats are kept.

    Args:
        source: the path of the file, or `-` for standard input.

    Raises:
        PromptError: it cannot be read, is larger than 256 MiB or not UTF-8, or a line that cannot
            serve as a prompt; names the file and the line.
    """
    name = "standard input" if source == "-" else source
    try:
        with nullcontext(sys.stdin.buffer) if source == "-" else open(source, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # a ValueError if the path holds NUL
        reason = getattr(error, "strerror", None) or error
        raise PromptError(f"{name}: cannot be read ({reason}); check the path") from error
    if len(data) > MAX_BYTES:
        raise PromptError(f"{name}: is larger than {MAX_BYTES // 2**20} MiB; split it")
    try:
        text = data.decode("utf-8-sig")  # some editors write a mark at the start
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PromptError(f"{name}, line {line}: is not UTF-8; save the file as UTF-8") from error
    phrases = []
    for number, phrase in _numbered(text):
        try:
            phrases.append(one_line("prompt", phrase))
        except PromptError as error:
            raise PromptError(f"{name}, line {number}: {error}") from error
    return tuple(phrases)


def unknown(phrases: Iterable[str], known: Container[str]) -> tuple[str, ...]:
    """Those phrases, each once, that `known`, of texts normalised or not, does not hold.

    Raises:
        PromptError: a phrase that cannot serve as a prompt.
    """
    once: dict[str, str] = {}
    for phrase in phrases:
        once.setdefault(normalise_prompt(phrase), phrase)
    return tuple(phrase for text, phrase in once.items() if text not in known)


def _numbered(text: str) -> Iterable[tuple[int, str]]:
    """The lines that hold a phrase, with their numbers from 1."""
    for number, line in enumerate(text.split("\n"), 1):
        phrase = line.strip()
        if phrase and not phrase.startswith("#"):
            yield number, phrase


def _phrases(text: str) -> tuple[str, ...]:
    """Of a vocabulary, in order."""
    return tuple(phrase for _, phrase in _numbered(text))
