"""The phrases and templates that belong to a domain.

A vocabulary is a text file: one phrase a line, `# comment`, blank lines between groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

# A prompt is embedded in every template and averaged, which cancels what a wording adds (Radford
# et al. 2021, section 3.1.4).
AVATAR_TEMPLATES = (
    "{}",
    "a photo of {}",
    "a picture of {}",
    "a drawing of {}",
    "an avatar of {}",
    "a cartoon of {}",
    "a portrait of {}",
    "an illustration of {}",
)
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


def prompt_set(domain: str) -> PromptSet:
    """The prompts of a domain: `avatars` has its own; any other, of whatever name, the general."""
    if domain == "avatars":
        return PromptSet(read_vocabulary("avatars"), AVATAR_TEMPLATES)
    return PromptSet(read_vocabulary("general"), GENERAL_TEMPLATES)


def read_vocabulary(name: str) -> tuple[str, ...]:
    """The phrases of a vocabulary that ships with the package, in order."""
    text = files(__package__).joinpath(f"vocabularies/{name}.txt").read_text("utf-8")
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))
