"""From phrases to embeddings, given something that embeds sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..store.bank import PromptBank, normalise_prompt
from ..store.errors import PromptError

EncodeTexts = Callable[[list[str]], NDArray[np.float32]]
"""Sentences -> unit embeddings (n, D)."""

OnEmbedded = Callable[[int], None]
"""Told how many more prompts are embedded."""

SENTENCES = 256  # a call: enough to keep a machine busy, few enough for a small one's memory


def embed_prompts(
    prompts: Sequence[str],
    templates: Sequence[str],
    encode: EncodeTexts,
    report: OnEmbedded = lambda embedded: None,
) -> NDArray[np.float32]:
    """The unit mean of each prompt's embeddings in all templates: (n, D), for at least one prompt.

    Raises:
        PromptError: an empty or overlong prompt.
    """
    for prompt in prompts:
        normalise_prompt(prompt)  # refuses what is no prompt before anything is encoded
    step = max(1, SENTENCES // len(templates))
    rows = None
    for start in range(0, len(prompts), step):
        batch = prompts[start : start + step]
        embeddings = encode([template.format(prompt) for prompt in batch for template in templates])
        means = embeddings.reshape(len(batch), len(templates), -1).mean(1)
        if rows is None:  # once, whole: a bank may be gigabytes
            rows = np.empty((len(prompts), means.shape[1]), np.float32)
        rows[start : start + step] = means / np.linalg.norm(means, axis=1, keepdims=True)
        report(len(batch))
    if rows is None:
        raise PromptError("prompts: there are none to embed; name at least one")
    return rows


def build_bank(
    phrases: Sequence[str],
    templates: Sequence[str],
    encode: EncodeTexts,
    width: int,
    report: OnEmbedded = lambda embedded: None,
) -> PromptBank:
    """A bank of phrases embedded in templates; empty, of `width` D, when there are none."""
    empty = PromptBank((), np.zeros((0, width), np.float32))
    return extended(empty, phrases, templates, encode, report)


def extended(
    bank: PromptBank,
    phrases: Sequence[str],
    templates: Sequence[str],
    encode: EncodeTexts,
    report: OnEmbedded = lambda embedded: None,
) -> PromptBank:
    """The bank, its rows as they were, and behind them the phrases embedded in templates.

    Raises:
        PromptError: a phrase that cannot be embedded, or that the bank holds.
    """
    if not phrases:
        return bank
    rows = embed_prompts(phrases, templates, encode, report)
    return PromptBank((*bank.texts, *phrases), np.concatenate([bank.embeddings, rows]))
