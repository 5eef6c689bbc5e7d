"""From phrases to embeddings, given something that embeds sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..store.bank import PromptBank, normalise_prompt

EncodeTexts = Callable[[list[str]], NDArray[np.float32]]
"""Sentences -> unit embeddings (n, D)."""


def embed_prompts(
    prompts: Sequence[str], templates: Sequence[str], encode: EncodeTexts
) -> NDArray[np.float32]:
    """The unit mean of each prompt's embeddings in all templates: (n, D).

    Raises:
        PromptError: an empty or overlong prompt.
    """
    rows = []
    for prompt in prompts:
        normalise_prompt(prompt)  # refuses what is no prompt before anything is encoded
        mean = encode([template.format(prompt) for template in templates]).mean(0)
        rows.append(mean / np.linalg.norm(mean))
    return np.stack(rows).astype(np.float32)


def build_bank(
    phrases: Sequence[str], templates: Sequence[str], encode: EncodeTexts, width: int
) -> PromptBank:
    """A bank of phrases embedded in templates; empty, of `width` D, when there are none."""
    if not phrases:
        return PromptBank((), np.zeros((0, width), np.float32))
    return PromptBank(tuple(phrases), embed_prompts(phrases, templates, encode))
