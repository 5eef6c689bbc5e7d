"""CLIP's probability of a target against a neutral prompt: the one place that computes it."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def target_probability(embeddings: Tensor, difference: Tensor, logit_scale: float) -> Tensor:
    """The softmax over CLIP's logits of two prompts, the target's share: 0 to 1, (...).

    Args:
        embeddings: unit embeddings of images, (..., D).
        difference: the target's unit embedding minus the neutral prompt's, (..., D).
        logit_scale: the inverse of CLIP's temperature.
    """
    return torch.sigmoid(logit_scale * (embeddings * difference).sum(-1))


def needed_difference(probability: float, logit_scale: float) -> float:
    """How much nearer in cosine an image must be to the target than to the neutral prompt for the
    target to have this probability: the inverse of `target_probability`."""
    return math.log(probability / (1 - probability)) / logit_scale
