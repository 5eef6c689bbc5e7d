"""From a pair of prompts to a step in style space: pure array maths, without torch.

Both rules go back to StyleCLIP's global direction (Patashnik et al. 2021, section 6): a channel's
score for a text direction is the inner product of its row with it; channels below beta are left
out, and each of the others moves by its score, relative to the largest, times its standard
deviation. The rule `paper` is that formula. The rule `reliable` weighs scores by how much of a row
other images would repeat, so that a dead channel never passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ...store.atlas import Atlas
from ...store.bank import one_line
from ...store.errors import DirectionError, OptionError, require_number, wrong_type
from .evidence import Evidence

Rule = Literal["reliable", "paper"]
RULES: tuple[Rule, ...] = get_args(Rule)
Source = Literal["auto", "samples", "table"]
SOURCES: tuple[Source, ...] = get_args(Source)

_LEFT = 0.1  # of a text direction, after what is kept was taken out of it


@dataclass(frozen=True, eq=False)
class Direction:
    """A sparse, signed style step.

    Args:
        neutral, target: the prompts it leads from and to.
        text: the unit direction between them in CLIP's space, float32 (D,).
        channels: flat indices of the k channels that move, strongest first, int64 (k,).
        scores: the score of each under the rule, signed, -1 to 1, float32 (k,).
        steps: how far each moves at alpha 1, in units of the style, float32 (k,).
        beta: the smallest absolute score that was let through.
        size: the number of style channels of the generator, C.
        keep: prompts it was made not to move images towards or away from.
        source: whether it comes from samples, from the table, or, where samples show the thing too
            rarely, from both.
        evidence: what samples say of it; None where they were not asked.
        held: phrases that come with the target in the samples, and were held still.
        inseparable: prompts that come with it so often that they could not be.
        removes: whether it takes a thing off, which the neutral prompt names and the target does
            not, as samples tell.
    """

    neutral: str
    target: str
    text: NDArray[np.float32]
    channels: NDArray[np.int64]
    scores: NDArray[np.float32]
    steps: NDArray[np.float32]
    beta: float
    size: int
    keep: tuple[str, ...] = ()
    source: Literal["samples", "table", "both"] = "table"
    evidence: Evidence | None = None
    held: tuple[str, ...] = ()
    inseparable: tuple[str, ...] = ()
    removes: bool = False

    @property
    def levels_known(self) -> bool:
        """Whether samples say which scores images have that have it."""
        return self.source != "table" and self.evidence is not None

    def delta(self, alpha: float) -> NDArray[np.float32]:
        """The step to add to a flat style, float32 (C,)."""
        delta = np.zeros(self.size, np.float32)
        delta[self.channels] = alpha * self.steps
        return delta

    def doubts(self, samples: int) -> Iterator[str]:
        """What so many samples cannot vouch for, as sentences for people."""
        if self.evidence is not None and self.evidence.kind == "unknown":
            yield (
                f'"{self.target}": none of the {samples:,} samples stands out from the others by '
                f'it as against "{self.neutral}", so this generator may not draw it, or CLIP not '
                "see it; edited by guess"
            )
        if self.inseparable:
            others = " and ".join(f'"{other}"' for other in self.inseparable)
            yield (
                f'"{self.target}": comes with {others} in the samples so often that they cannot be '
                "told apart; the edit may bring these as well"
            )


@dataclass(frozen=True)
class Choice:
    """How the channels of a direction are chosen.

    Args:
        rule: how rows are scored, see above.
        beta: the least absolute score that lets a channel pass, above 0 and below 1.
        channels: the number of channels to take, the highest scores first; give at most one of
            these two. Without either, beta is the knee of the sorted scores.
        layers: move these alone: names, patterns such as `b32.*`, or the kinds conv, rgb, input.
        exclude: never move these: channels written `b16.conv1:20`.
        keep: prompts the image is not to move towards or away from.
        source: where directions come from: `table`, `samples`, or `auto`: samples where the atlas
            has any, drawn towards the table where few show the thing, and the table where there are
            none or where a rule or beta is given, which are the table's.

    Raises:
        OptionError: a rule or source that is not one, a number out of its range, both numbers, or a
            text in place of a tuple of them.
        PromptError: something to keep that is no prompt.
    """

    rule: Rule = "reliable"
    beta: float | None = None
    channels: int | None = None
    layers: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    source: Source = "auto"

    def __post_init__(self) -> None:
        for name in ("layers", "exclude", "keep"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise OptionError(f"{name}: is one text; give a tuple of them")
            if not isinstance(given, Sequence) or not all(isinstance(x, str) for x in given):
                raise wrong_type(name, given, "a tuple of texts")
            object.__setattr__(self, name, tuple(given))
        object.__setattr__(self, "keep", tuple(one_line("keep", text) for text in self.keep))
        if self.beta is not None:
            require_number("beta", self.beta)
        if self.channels is not None and type(self.channels) is not int:
            raise wrong_type("channels", self.channels, "a whole number")
        if self.rule not in RULES:
            raise OptionError(f"rule {self.rule!r}: is unknown; use one of {', '.join(RULES)}")
        if self.source not in SOURCES:
            known = ", ".join(SOURCES)
            raise OptionError(f"source {self.source!r}: is unknown; use one of {known}")
        if self.source == "samples" and (self.rule != "reliable" or self.beta is not None):
            raise OptionError("source samples: rule and beta are the table's; leave them out")
        if self.beta is not None and self.channels is not None:
            raise OptionError("beta and channels: exclude each other; give one of them")
        if self.beta is not None and not 0 < self.beta < 1:
            raise OptionError(f"beta {self.beta:g}: must lie between 0 and 1; 0.1 to 0.3 is usual")
        if self.channels is not None and self.channels < 1:
            raise OptionError(f"channels {self.channels}: must be at least 1")


def find_direction(
    atlas: Atlas,
    text: NDArray[np.float32],
    *,
    neutral: str,
    target: str,
    choice: Choice = Choice(),
    kept: NDArray[np.float32] | None = None,
) -> Direction:
    """Scores the rows of an atlas for a unit text direction (D,), chooses channels and weighs them.

    `kept` are the unit text directions (k, D) of the choice's prompts to keep. They are projected
    out of the text direction, and channels that answer more to one of them than to what is left are
    excluded.

    Raises:
        DirectionError: no channel passes; the message names the best score.
        OptionError: the kept prompts leave nothing of the direction.
        LayoutError: a layer or channel that the generator does not have.
    """
    scores = _scores(atlas, text, choice, kept)
    sizes = np.abs(scores)
    falling = np.sort(sizes)[::-1][: np.count_nonzero(sizes)]
    if len(falling) == 0:
        raise DirectionError(
            f'no channel of this atlas answers to "{neutral}" -> "{target}"; word it otherwise, '
            "or allow more layers"
        )
    beta = _least_score(falling, choice)
    passing = np.flatnonzero(sizes >= beta)  # few, so that ordering them is quick
    if len(passing) == 0:
        best = int(atlas.channels[sizes.argmax()])
        raise DirectionError(_nothing_passes(atlas, falling, best, beta, neutral, target))
    chosen = passing[np.argsort(-sizes[passing], kind="stable")][: choice.channels]
    sigmas = scores[chosen] / sizes[chosen].max()
    flat = atlas.channels[chosen]
    return Direction(
        neutral=neutral,
        target=target,
        text=text,
        channels=flat,
        scores=scores[chosen].astype(np.float32),
        steps=(sigmas * atlas.style_std[flat]).astype(np.float32),
        beta=beta,
        size=atlas.layout.size,
        keep=choice.keep,
    )


def knee(sizes: NDArray[np.floating]) -> int:
    """How many of the scores `sizes` (n,), absolute and falling, stand out: up to the point that
    lies furthest below the straight line from the first to nothing (Satopaa et al. 2011)."""
    ranks = np.arange(1, len(sizes) + 1) / len(sizes)
    return int(np.argmin(sizes / sizes[0] + ranks)) + 1


def _scores(
    atlas: Atlas,
    text: NDArray[np.float32],
    choice: Choice,
    kept: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """The score of every row under the rule, 0 for those that may not move, (R,)."""
    if kept is None:
        scores = atlas.rows @ text
    else:
        scores = atlas.rows @ without(text, kept)
        drags = np.abs(atlas.rows @ kept.T).max(1)
        scores = np.where(drags > np.abs(scores), 0, scores)
    if choice.layers or choice.exclude:
        scores = np.where(allowed_channels(atlas, choice)[atlas.channels], scores, 0)
    return scores * atlas.reliability if choice.rule == "reliable" else scores


def _least_score(sizes: NDArray[np.floating], choice: Choice) -> float:
    """Beta, given or by the shape of the falling scores."""
    if choice.beta is not None:
        return choice.beta
    count = knee(sizes) if choice.channels is None else min(choice.channels, len(sizes))
    return float(sizes[count - 1])


def allowed_channels(atlas: Atlas, choice: Choice) -> NDArray[np.bool_]:
    """Which channels a choice lets move, (C,): without layers chosen all but those of StyleGAN3's
    input, which turn and shift the whole image.

    Raises:
        LayoutError: a layer or channel that the generator does not have.
    """
    allowed: NDArray[np.bool_] = atlas.layout.kinds != "input"
    if choice.layers:
        allowed = atlas.layout.matching(choice.layers)
    allowed[[atlas.layout.parse(label) for label in choice.exclude]] = False
    return allowed


def without(text: NDArray[np.float32], kept: NDArray[np.float32]) -> NDArray[np.float32]:
    """The unit direction (D,) that is left of `text` without the span of `kept` (k, D).

    Raises:
        OptionError: next to nothing is left.
    """
    basis, sizes, _ = np.linalg.svd(kept.T.astype(np.float64), full_matrices=False)
    basis = basis[:, sizes > 1e-6]
    left = text - basis @ (basis.T @ text)
    length = float(np.linalg.norm(left))
    if length < _LEFT:
        raise OptionError(
            "keep: says what the edit is about, so nothing is left to do; keep something else"
        )
    unit: NDArray[np.float32] = (left / length).astype(np.float32)
    return unit


def _nothing_passes(
    atlas: Atlas,
    falling: NDArray[np.float32],
    best: int,
    beta: float,
    neutral: str,
    target: str,
) -> str:
    tenth = float(falling[min(9, len(falling) - 1)])
    lower = np.floor(tenth * 100) / 100
    advice = (
        f"--beta {lower:g} would let {int((falling >= lower).sum())} channels through"
        if lower > 0
        else "word it otherwise"
    )
    return (
        f'no channel passes beta {beta:g} for "{neutral}" -> "{target}": the best score is '
        f"{falling[0]:.3f} ({atlas.layout.label(best)}); {advice}"
    )
