"""From a pair of prompts to a step in style space: pure array maths, without torch.

The rule is StyleCLIP's global direction (Patashnik et al. 2021, section 6): a channel's relevance
to the text direction is the inner product of its row with it; channels below beta are left
out, and each of the others moves by its relevance, relative to the largest, times its standard
deviation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..store.atlas import Atlas
from ..store.errors import DirectionError, OptionError
from ..store.layout import LayerKind

KINDS: dict[str, tuple[LayerKind, ...]] = {
    "all": ("conv", "rgb", "input"),
    "conv": ("conv", "input"),
    "rgb": ("rgb",),
}
"""Which layers an edit may move, by name: shapes live in convolutions, colours in toRGB."""
DEFAULT_KINDS = KINDS["all"]
DEFAULT_BETA = 0.15


@dataclass(frozen=True, eq=False)
class Direction:
    """A sparse, signed style step.

    Args:
        neutral, target: the prompts it leads from and to.
        text: the unit direction between them in CLIP's space, float32 (D,).
        channels: flat indices of the k channels that move, strongest first, int64 (k,).
        scores: the relevance of each, signed, -1 to 1, float32 (k,).
        steps: how far each moves at alpha 1, in units of the style, float32 (k,).
        beta: the smallest absolute score that was let through.
        size: the number of style channels of the generator, C.
    """

    neutral: str
    target: str
    text: NDArray[np.float32]
    channels: NDArray[np.int64]
    scores: NDArray[np.float32]
    steps: NDArray[np.float32]
    beta: float
    size: int

    def delta(self, alpha: float) -> NDArray[np.float32]:
        """The step to add to a flat style, float32 (C,)."""
        delta = np.zeros(self.size, np.float32)
        delta[self.channels] = alpha * self.steps
        return delta


def relevance(atlas: Atlas, text: NDArray[np.float32]) -> NDArray[np.float32]:
    """What each row of the atlas has in common with a unit text direction: -1 to 1, (R,)."""
    return atlas.rows @ text


def find_direction(
    atlas: Atlas,
    text: NDArray[np.float32],
    *,
    neutral: str,
    target: str,
    beta: float | None = None,
    channels: int | None = None,
    kinds: tuple[LayerKind, ...] = DEFAULT_KINDS,
) -> Direction:
    """Chooses the channels of these kinds whose absolute relevance is at least `beta`, or the
    `channels` most relevant ones, and weighs them; give exactly one of the two.

    Raises:
        DirectionError: no channel passes beta; the message names the best score.
        OptionError: beta outside 0..1, fewer than one channel, both or neither given.
    """
    if (beta is None) == (channels is None):
        raise OptionError("beta and channels: give exactly one of them")
    if beta is not None and not 0 < beta < 1:
        raise OptionError(f"beta {beta:g}: must lie between 0 and 1; 0.1 to 0.3 is usual")
    if channels is not None and channels < 1:
        raise OptionError(f"channels {channels}: must be at least 1")
    scores = np.where(np.isin(atlas.kinds, kinds), relevance(atlas, text), 0)
    order = np.argsort(-np.abs(scores), kind="stable")
    if beta is not None:
        chosen = order[: int((np.abs(scores) >= beta).sum())]
        if len(chosen) == 0:
            raise DirectionError(_nothing_passes(atlas, scores, order, beta, neutral, target))
    else:
        chosen = order[:channels]
        chosen = chosen[scores[chosen] != 0]
        if len(chosen) == 0:
            raise DirectionError(
                f'no channel of this atlas answers to "{neutral}" -> "{target}"; word it otherwise'
            )
    kept = scores[chosen].astype(np.float32)
    flat = atlas.channels[chosen]
    return Direction(
        neutral=neutral,
        target=target,
        text=text,
        channels=flat,
        scores=kept,
        steps=kept / np.abs(kept).max() * atlas.style_std[flat],
        beta=float(np.abs(kept).min()) if beta is None else beta,
        size=atlas.layout.size,
    )


def _nothing_passes(
    atlas: Atlas,
    scores: NDArray[np.float32],
    order: NDArray[np.int64],
    beta: float,
    neutral: str,
    target: str,
) -> str:
    sizes = np.abs(scores[order])
    best, tenth = float(sizes[0]), float(sizes[min(9, len(sizes) - 1)])
    lower = np.floor(tenth * 100) / 100
    advice = (
        f"--beta {lower:g} would let {int((sizes >= lower).sum())} channels through"
        if lower > 0
        else "word it otherwise"
    )
    return (
        f'no channel passes beta {beta:g} for "{neutral}" -> "{target}": the best score is '
        f"{best:.3f} ({atlas.layout.label(int(atlas.channels[order[0]]))}); {advice}"
    )
