"""The phrases and templates that belong to a domain.

A vocabulary is a text file in UTF-8: one phrase a line, `# comment` in a line of its own, blank
lines between groups.
"""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from ..store.bank import normalise_prompt, one_line
from ..store.errors import FetchError, PromptError
from ..store.hub import fetched
from ..store.hub_names import is_hub, read_name
from ..store.registry import find_bundle
from ..store.schema import MAX_TEXT_BYTES

VOCABULARY, TEMPLATES = "vocabulary.txt", "templates.txt"
"""Files beside the weights of a CLIP that knows few words: its phrases, and its sentences."""
MAX_BYTES = 2**28  # of a user's file: four million phrases, the most an atlas holds, of 64 bytes
MAX_TEMPLATES = 1000

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

SAID_OF_READINGS: Mapping[str, tuple[str, ...]] = {
    "age": (
        *("a baby", "a child", "a young face", "a young person", "a middle-aged face"),
        *("an old face", "an old person"),
    ),
    "gender": ("a man", "a woman", "a male face", "a female face", "a boy", "a girl"),
    "expression": (
        *("a smiling face", "a serious face", "a sad face", "an angry face"),
        *("a surprised face", "a scared face", "a disgusted face"),
    ),
}
"""Phrases of the vocabularies that say what networks read of faces, by the name of the feature."""


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


def prompt_set(domain: str, clip: str = "") -> PromptSet:
    """The prompts of a domain: a registered bundle has its own; any other, of whatever name, the
    general, but for a CLIP whose folder `clip` holds a `vocabulary.txt` of its own, and perhaps a
    `templates.txt`.

    Raises:
        PromptError: a file of the folder is none of phrases, or of sentences.
    """
    bundle = find_bundle(domain)
    if bundle is not None and bundle.vocabulary is not None:
        return PromptSet(_phrases(bundle.vocabulary.read_text("utf-8")), bundle.templates)
    own, sentences = (_beside(clip, name) for name in (VOCABULARY, TEMPLATES))
    if own is not None:
        templates = ("{}",) if sentences is None else read_templates(str(sentences))
        return PromptSet((), templates).with_phrases(read_phrases(str(own)))
    general = files(__package__).joinpath("vocabularies/general.txt")
    return PromptSet(_phrases(general.read_text("utf-8")), GENERAL_TEMPLATES)


def _beside(clip: str, name: str) -> Path | None:
    """A file in the folder of a CLIP, or beside it on the Hub; None where there is none."""
    if is_hub(clip):
        with suppress(FetchError):
            return fetched(read_name(clip).beside(name)).path
        return None
    path = Path(clip, name)
    return path if clip and path.is_file() else None


def read_templates(source: str) -> tuple[str, ...]:
    """The sentences of a user's file, one a line, with {} for the phrase.

    Raises:
        PromptError: as `read_phrases` does; a line that is no such sentence; none, or too many.
    """
    sentences = read_phrases(source)
    for sentence in sentences:
        if not is_template(sentence):
            raise PromptError(f"{source}: {sentence[:60]!r}: is no sentence with one {{}} in it")
    if not 0 < len(sentences) <= MAX_TEMPLATES:
        raise PromptError(f"{source}: must hold 1 to {MAX_TEMPLATES:,} sentences")
    return sentences


def is_template(text: str) -> bool:
    """Whether a text has one {} for the prompt, and nothing else that filling it in would read."""
    rest = text.replace("{}", "", 1)
    return len(rest) == len(text) - 2 <= MAX_TEXT_BYTES and not {"{", "}"} & set(rest)


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
