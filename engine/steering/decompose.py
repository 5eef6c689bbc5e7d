"""What a prompt says, in phrases of the atlas's bank. Without torch.

A prompt of many things ("a sad bald face with sunglasses") is no longer lacking for CLIP as soon as
an image shows one of them. Taken apart into phrases, each is an edit with a strength of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...store.bank import PromptBank
from ...store.queries import SAME

MOST_PHRASES = 5
_LEAST_COSINE = 0.2  # of a phrase with the prompt's text direction, for what is left of that
_SHORTEST = 0.3  # a phrase this near to the neutral prompt says nothing


@dataclass(frozen=True, eq=False)
class Decomposition:
    """A text difference, target minus neutral, as a sum of those of phrases.

    Args:
        phrases: of the bank, the one that says most first.
        weights: of their differences in the sum, above 0, float64 (m,).
        left: the length of what they do not say, relative to the whole, 0 to 1.
    """

    phrases: tuple[str, ...]
    weights: NDArray[np.float64]
    left: float


def decompose(
    bank: PromptBank,
    neutral: NDArray[np.float32],
    target: NDArray[np.float32],
) -> Decomposition:
    """The few phrases of a bank that add up to a prompt, by orthogonal matching pursuit (Pati et
    al. 1993) with weights above 0.

    Args:
        neutral, target: unit embeddings (D,).
    """
    whole = target.astype(np.float64) - neutral
    length = float(np.linalg.norm(whole))
    if length < SAME:  # there is nothing to say
        return Decomposition((), np.zeros(0), 0.0)
    towards = bank.embeddings @ neutral
    # Of b - n for unit b and n: the squared length is 2 - 2 <b, n>.
    lengths = np.sqrt((2 - 2 * towards).clip(_SHORTEST**2))
    says = 2 - 2 * towards > _SHORTEST**2
    chosen: list[int] = []
    weights, left = np.zeros(0), whole
    while len(chosen) < MOST_PHRASES:
        inner = bank.embeddings @ left.astype(np.float32) - float(neutral @ left)
        cosines = np.where(says, inner / lengths, -np.inf) / length
        best = int(cosines.argmax()) if len(cosines) else 0
        if not len(cosines) or cosines[best] < _LEAST_COSINE or best in chosen:
            break
        differences = bank.embeddings[[*chosen, best]].astype(np.float64) - neutral  # (m, D)
        solved = np.linalg.lstsq(differences.T, whole, rcond=None)[0]
        if (solved <= 0).any():
            break
        chosen, weights = [*chosen, best], solved
        left = whole - solved @ differences
    phrases = tuple(bank.texts[i] for i in chosen)
    return Decomposition(phrases, weights, float(np.linalg.norm(left)) / length)
