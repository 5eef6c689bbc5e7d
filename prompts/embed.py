"""From phrases to embeddings, given something that embeds sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..store.bank import PromptBank, normalise_prompt

EncodeTexts = Callable[[list[str]], NDArray[np.float32]]
"""Sentences -> unit embeddings (n, D)."""

SENTENCES = 256  # a call: enough to keep a machine busy, few enough for a small one's memory


def embed_prompts(
    prompts: Sequence[str], templates: Sequence[str], encode: EncodeTexts
) -> NDArray[np.float32]:
    """The unit mean of each prompt's embeddings in all templates: (n, D).

    Raises:
        PromptError: an empty or overlong prompt.
    """
    for prompt in prompts:
        normalise_prompt(prompt)  # refuses what is no prompt before anything is encoded
    step = max(1, SENTENCES // len(templates))
    rows = []
    for start in range(0, len(prompts), step):
        batch = prompts[start : start + step]
        embeddings = encode([template.format(prompt) for prompt in batch for template in templates])
        means = embeddings.reshape(len(batch), len(templates), -1).mean(1)
        rows.append(means / np.linalg.norm(means, axis=1, keepdims=True))
    return np.concatenate(rows).astype(np.float32)


def build_bank(
    phrases: Sequence[str], templates: Sequence[str], encode: EncodeTexts, width: int
) -> PromptBank:
    """A bank of phrases embedded in templates; empty, of `width` D, when there are none."""
    if not phrases:
        return PromptBank((), np.zeros((0, width), np.float32))
    return PromptBank(tuple(phrases), embed_prompts(phrases, templates, encode))
