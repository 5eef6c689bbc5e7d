"""Prompts whose CLIP embeddings are known in advance."""

from __future__ import annotations

import unicodedata
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .checks import as_array, require_unit, row_norms
from .errors import AtlasFormatError, PromptError, require_prompt
from .schema import MAX_TEXT_BYTES

# Letters that turn the direction of text around, and could make one prompt look like another.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def one_line(name: str, prompt: object) -> str:
    """A prompt as it is kept, shown and embedded, whoever gives it: on one line, its white space
    collapsed.

    Args:
        name: what it is, for messages: target.

    Raises:
        OptionError: it is no text.
        PromptError: it is empty, too long to store, or holds control characters, those that turn
            text around among them.
    """
    require_prompt(name, prompt)
    line = " ".join(str(prompt).split())
    normalise_prompt(line)
    if _TURNING & set(line):
        raise PromptError(f"prompt {line[:40]!r}: holds control characters; remove them")
    return line


def normalise_prompt(text: str) -> str:
    """The form in which prompts are compared: white space collapsed, case folded.

    Raises:
        PromptError: the text is empty, too long to store, or holds control characters.
    """
    collapsed = " ".join(text.split())
    if not collapsed:
        raise PromptError("prompt: is empty; write what the picture should show")
    if not collapsed.isprintable() and any(
        unicodedata.category(character) in ("Cc", "Cs") for character in collapsed
    ):
        raise PromptError(f"prompt {collapsed[:40]!r}: holds control characters; remove them")
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise PromptError(
            f"prompt {collapsed[:40]!r}...: is longer than {MAX_TEXT_BYTES} bytes; shorten it"
        )
    return collapsed.casefold()


@dataclass(frozen=True, eq=False)
class PromptBank:
    """Texts and their embeddings; may be empty.

    Args:
        texts: n prompts, different after :func:`normalise_prompt`.
        embeddings: their CLIP embeddings, float32 unit rows (n, D).

    Raises:
        PromptError: a text that is no prompt, or occurs twice.
        AtlasFormatError: embeddings of another shape or type.
        AtlasCorruptError: embeddings that are not finite or not of unit length.
    """

    texts: tuple[str, ...]
    embeddings: NDArray[np.float32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", tuple(self.texts))
        shape = (len(self.texts), None)
        embeddings = as_array("/prompts/embedding", self.embeddings, np.float32, shape)
        if embeddings.shape[1] == 0:
            raise AtlasFormatError("/prompts/embedding: has width 0; give it CLIP's width, (n, D)")
        require_unit("/prompts/embedding", row_norms(embeddings))
        object.__setattr__(self, "embeddings", embeddings)
        if len(self._row_by_text) < len(self.texts):
            raise PromptError(f"prompt {self._first_repeated()!r}: occurs twice; remove one")

    @property
    def width(self) -> int:
        """The number of dimensions of an embedding, D."""
        return int(self.embeddings.shape[1])

    def __len__(self) -> int:
        return len(self.texts)

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and normalise_prompt(text) in self._row_by_text

    def find(self, text: str) -> NDArray[np.float32] | None:
        """The embedding (D,) of ``text``, or None when the bank does not hold it."""
        row = self._row_by_text.get(normalise_prompt(text))
        return None if row is None else self.embeddings[row]

    def centred(self) -> PromptBank:
        """The same texts as unit directions from the bank's mean: what sets each apart.

        Embeddings of texts share a large common part, which says nothing about any of them.
        """
        moved = self.embeddings - self.embeddings.mean(0, keepdims=True)
        norms = row_norms(moved)[:, None]
        together = norms[:, 0] <= 1e-6
        moved /= norms.clip(1e-6)  # in place: a bank may be gigabytes
        moved[together] = self.embeddings[together]
        bank = copy(self)  # with the texts, which are known to be sound and to differ
        object.__setattr__(bank, "embeddings", moved)
        return bank

    @cached_property
    def _row_by_text(self) -> dict[str, int]:
        return {normalise_prompt(text): row for row, text in enumerate(self.texts)}

    def _first_repeated(self) -> str:
        # Of several rows the dictionary keeps the last, so a row it does not name is a repeat.
        rows = self._row_by_text
        return next(t for row, t in enumerate(self.texts) if rows[normalise_prompt(t)] != row)
