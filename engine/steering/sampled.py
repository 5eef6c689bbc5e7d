"""Directions by samples, as an edit takes them. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ...store.atlas import Atlas
from ...store.errors import DirectionError, OptionError
from ...store.queries import expected_shift, text_direction
from ...store.sample_set import SampleSet
from .direction import Choice, Direction, allowed_channels
from .samples import FEW, SampledStep, SampleMap

_SAID = 500  # phrases by which the usual spread of scores is known
_STILL = 1e-6  # of the largest standard deviation: a channel that does not vary


_maps: WeakKeyDictionary[Atlas, SampleMap] = WeakKeyDictionary()
"""Of atlases that are open: a service asks one many questions."""


def sample_map(atlas: Atlas) -> SampleMap | None:
    """The samples of an atlas with the phrases of its bank; None where it has no samples."""
    if atlas.samples is None:
        return None
    if atlas not in _maps:
        _maps[atlas] = _sample_map(atlas, atlas.samples)
    return _maps[atlas]


def _sample_map(atlas: Atlas, samples: SampleSet) -> SampleMap:
    if not len(atlas.prompts):
        return SampleMap(samples)
    embeddings = atlas.prompts.embeddings
    plain = embeddings.mean(0)
    said = embeddings[:: max(1, len(embeddings) // _SAID)] - plain
    return SampleMap(samples, atlas.phrases, plain, said)


def require_samples(atlas: Atlas, known: SampleMap | None) -> SampleMap:
    """The samples of an atlas.

    Raises:
        OptionError: it has none.
    """
    if known is None:
        raise OptionError(
            "samples: this atlas holds none; draw some with `styleatlas precompute "
            f"{atlas.fingerprint.generator.name} --clip {atlas.fingerprint.clip.name} -o ATLAS "
            "--samples 4000`"
        )
    return known


def direction_by_samples(
    atlas: Atlas,
    known: SampleMap,
    embedded: tuple[NDArray[np.float32], NDArray[np.float32]],
    *,
    neutral: str,
    target: str,
    choice: Choice,
    kept: Sequence[NDArray[np.float32]] = (),
) -> Direction:
    """The direction from one prompt to another that samples show, whatever they show.

    Args:
        embedded: the unit embeddings (D,) of both prompts.
        kept: those of the choice's prompts to keep.

    Raises:
        PromptError: two prompts that mean the same.
        DirectionError: the choice lets no channel move.
        LayoutError: a layer or channel that the generator does not have.
    """
    text = text_direction(*embedded)
    allowed = allowed_channels(atlas, choice)
    found = known.step(*embedded, keep=list(zip(choice.keep, kept, strict=True)), allowed=allowed)
    return _direction(atlas, known, found, text, neutral, target, choice)


def with_table(direction: Direction, table: Direction, atlas: Atlas) -> Direction:
    """A direction of few samples, drawn towards that of the table, which is taken as many times as
    moves CLIP as far. Of n samples with the thing it counts n / (n + 40)."""
    if direction.evidence is None or atlas.samples is None:
        return direction
    share = direction.evidence.share
    count = min(share, 1 - share) * len(atlas.samples)
    part = count / (count + FEW)
    own, other = direction.delta(1.0), table.delta(1.0)
    moves = [float(expected_shift(atlas, step) @ direction.text) for step in (own, other)]
    if min(moves) <= 0:
        return direction
    step = part * own + (1 - part) * moves[0] / moves[1] * other
    return replace(_of_step(direction, step, atlas.style_std), source="both")


def foretold_shift(known: SampleMap, step: NDArray[np.floating]) -> NDArray[np.float32] | None:
    """Where the embedding moves by a style step (C,), as the samples have it: float32 (D,).

    The step in w that comes nearest to it, every channel counted by its standard deviation, times
    the slopes of the embedding on w over the samples. None where styles are not affine in w.
    """
    weight, std = known.samples.weight, known.style_std
    if weight is None:
        return None
    varies = std > _STILL * std.max()
    rows = weight[varies] / std[varies, None]
    in_w = np.linalg.lstsq(rows, step[varies] / std[varies], rcond=None)[0]
    shift: NDArray[np.float32] = in_w.astype(np.float32) @ known.slopes
    return shift


def _direction(
    atlas: Atlas,
    known: SampleMap,
    found: SampledStep,
    text: NDArray[np.float32],
    neutral: str,
    target: str,
    choice: Choice,
) -> Direction:
    step = found.step
    sizes = np.abs(step) / np.maximum(known.style_std, 1e-9)
    if choice.channels is not None and choice.channels < np.count_nonzero(step):
        least = np.sort(sizes)[-choice.channels]
        step = np.where(sizes >= least, step, 0)
    if not step.any():
        raise DirectionError(
            f'samples show no channel that may move from "{neutral}" to "{target}"; allow more '
            "layers"
        )
    none = np.zeros(0, np.int64)
    empty = Direction(
        neutral,
        target,
        text,
        none,
        none.astype(np.float32),
        none.astype(np.float32),
        0.0,
        atlas.layout.size,
        choice.keep,
        "samples",
        found.evidence,
        found.held,
        found.inseparable,
        found.removes,
    )
    return _of_step(empty, step, known.style_std)


def _of_step(
    direction: Direction, step: NDArray[np.floating], std: NDArray[np.float32]
) -> Direction:
    """The same direction with another step (C,); scores are its channels' sizes in standard
    deviations, relative to the largest."""
    sizes = np.divide(step, std, out=np.zeros_like(step), where=std > 0)
    channels = np.flatnonzero(step)
    channels = channels[np.argsort(-np.abs(sizes[channels]), kind="stable")]
    scores = sizes[channels] / max(float(np.abs(sizes).max()), 1e-12)
    return replace(
        direction,
        channels=channels,
        scores=scores.astype(np.float32),
        steps=step[channels].astype(np.float32),
        beta=float(np.abs(scores).min()),
    )
