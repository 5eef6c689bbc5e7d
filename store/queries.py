"""What an atlas answers: channels, phrases and edits, as arrays and as records.

A *text direction* is a unit vector (D,) in CLIP's space.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .atlas_data import AtlasData
from .bank import normalise_prompt, one_line
from .checks import row_norms
from .errors import LayoutError, OptionError, PromptError, wrong_type
from .index import largest
from .records import Record, rounded

Vector = NDArray[np.float32]

SAME = 1e-4
"""Texts whose embeddings differ by less than this are the same to CLIP."""
ALIKE = 0.99
"""Cosine of two embedded prompts from which on they are near-equal, as most synonyms are: by the
embedded CLIP "a smile" and "a grin" have .999, "blonde hair" and "yellow hair" .993; "grey hair"
and "white hair", which are an edit, .979."""
NEAR = 0.35
"""Phrases whose cosine with the direction of an edit is beyond this are what the edit is about."""
_TINY = float(np.finfo(np.float32).tiny)
_PART = 2**14  # phrases at a time: a bank may be gigabytes
_SAMPLE = 2**13  # phrases that second moments are taken from


def prompt_direction(embed: Callable[[str], Vector], neutral: str, target: str) -> Vector:
    """The unit direction (D,) from one prompt to another, whose unit embeddings `embed` gives.

    Raises:
        PromptError: two prompts that mean the same, and whatever `embed` raises.
    """
    neutral, target = one_line("neutral", neutral), one_line("target", target)
    if normalise_prompt(neutral) == normalise_prompt(target):
        raise PromptError(f'target: "{target}" is the neutral prompt itself; say what differs')
    return text_direction(embed(neutral), embed(target))


def text_direction(neutral: Vector, target: Vector) -> Vector:
    """The unit vector from one unit text embedding (D,) to another.

    Raises:
        PromptError: the two are the same to CLIP.
    """
    difference = target.astype(np.float64) - neutral
    length = float(np.linalg.norm(difference))
    if length < SAME:
        raise PromptError("target: means the same to CLIP as the neutral prompt; say what differs")
    direction: Vector = (difference / length).astype(np.float32)
    return direction


def cosine_if_alike(neutral: Vector, target: Vector) -> float | None:
    """The cosine of two unit text embeddings (D,) that are near-equal, see `ALIKE`, so that what
    differs between them may be chance; None of others, and of the same."""
    length = float(np.linalg.norm(target.astype(np.float64) - neutral))
    cosine = 1 - length**2 / 2
    return cosine if length >= SAME and cosine > ALIKE else None


def channel_records(atlas: AtlasData, text: Vector, top: int) -> list[Record]:
    """The channels that answer most to a text direction, of either sign.

    `score` is the cosine of the channel's row with the direction, `expected` how far the embedding
    is expected to move along it as the channel moves by one sigma. In an atlas of rows alone that,
    consistency and strength are None; so it is with all such figures of it below.

    Raises:
        OptionError: top below 1.
    """
    _require_top(top)
    scores = atlas.rows @ text  # (R,)
    expected = atlas.responses @ text
    records = []
    for row in largest(np.abs(scores), top):
        flat = int(atlas.channels[row])
        layer, _ = atlas.layout.locate(flat)
        records.append(
            {
                "channel": atlas.layout.label(flat),
                "kind": layer.kind,
                "layer": layer.name,
                "resolution": layer.resolution,
                "score": rounded(scores[row]),
                "consistency": _measured(atlas, atlas.consistency[row]),
                "strength": _measured(atlas, atlas.strength[row]),
                "expected": _measured(atlas, expected[row]),
            }
        )
    return records


def prompt_records(atlas: AtlasData, label: str, top: int) -> list[Record]:
    """What a channel, written `b16.conv1:20`, or a whole layer, written `b16.conv1`, means.

    Of a channel: up to `top` phrases it moves an image towards, then up to `top` it moves it away
    from. `score` is the cosine of its row with the phrase's direction from the bank's mean,
    `confidence` that of :func:`confidence`.

    Of a layer, whose channels have no common sign: the phrases that depend most on it. `share` is
    the layer's part in the energy (expected movement squared, summed over channels) that all
    channels of the atlas have along the phrase, `movement` the root of its own energy: how far the
    embedding moves along the phrase as all channels of the layer vary by a sigma. `towards` and
    `away` are its channels that move most to either side, where there are any, and `confidence`
    that of the one that moves more.

    Raises:
        LayoutError: no such channel or layer, or it was not swept.
        PromptError: the bank is empty.
        OptionError: top below 1.
    """
    _require_top(top)
    if not isinstance(label, str):
        raise wrong_type("channel", label, "a channel or layer, such as b16.conv1:20 or b16.conv1")
    if ":" in label:
        return _meaning_of_channel(atlas, atlas.row_of(atlas.layout.parse(label)), top)
    return _meaning_of_layer(atlas, label, top)


def confidence(
    atlas: AtlasData, rows: NDArray[np.integer[Any]], scores: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """How far scores (n,) of rows (n,) of the atlas with phrases can be believed: 0 to 1, (n,).

    confidence = signal * P(the best score of a chance row is lower), where

    - signal, the square of `Atlas.reliability`, is the share of the row that other images would
      repeat; 0 for a dead channel, and for a row of one image, which tells nothing;
    - P = erf(|score| / (s sqrt 2))^k for a row that points anywhere the rows of this atlas do: s
      is the root mean square of all scores of the atlas's rows with the bank's phrases, and k
      the number of independent phrases (the participation ratio of their second moments), for the
      best of k chances is what one gets to see.
    """
    spread, chances = _chance(atlas)
    below = [math.erf(abs(float(s)) / (spread * math.sqrt(2))) ** chances for s in scores]
    signal = np.where(atlas.images[rows] > 1, atlas.reliability[rows].astype(np.float64) ** 2, 0)
    trust: NDArray[np.float64] = signal * np.array(below)
    return trust


def similar_records(atlas: AtlasData, neutral: Vector, text: Vector, top: int) -> list[Record]:
    """The phrases whose edits, each from `neutral` to the phrase, go the same way in style space.

    `text_cosine` compares what the prompts say, `style_cosine` what the edits do: a high one
    beside a low other tells prompts that mean something else and edit alike. The target itself is
    left out.

    Args:
        neutral: unit embedding (D,) of the neutral prompt.
        text: the text direction (D,) from it to the target.

    Raises:
        PromptError: the bank is empty.
        OptionError: top below 1.
    """
    _require_top(top)
    _require_phrases(atlas)
    bank, gram = atlas.prompts.embeddings, style_gram(atlas)
    words, styles = np.empty(len(bank)), np.empty(len(bank))
    for part in _parts(len(bank)):
        moved = bank[part] - neutral
        lengths = row_norms(moved)
        words[part] = np.where(lengths < SAME, 1, moved @ text / lengths.clip(SAME))
        sizes = np.sqrt(_energies(moved, gram) * (text @ gram @ text))
        styles[part] = moved @ (gram @ text) / np.maximum(sizes, _TINY)
    other = np.flatnonzero(words < 1 - SAME)
    return [
        {
            "prompt": atlas.prompts.texts[i],
            "text_cosine": rounded(words[i]),
            "style_cosine": rounded(styles[i]),
        }
        for i in other[largest(styles[other], top)]
    ]


def style_gram(atlas: AtlasData) -> NDArray[np.float32]:
    """The inner product of edits in style space, by their text directions a and b: a . G b, with G
    float32 (D, D).

    The step of channel r along t is proportional to row_r . t sigma, and counts by how far a sigma
    of it moves images, its strength: a channel that moves nothing makes no edits alike. So G is the
    sum of strength_r^2 row_r row_r^T, and no matrix of phrases by channels is needed. The strength
    enters without the consistency: an edit of one image moves it by all of its own delta.
    """
    weighted = atlas.rows * atlas.strength[:, None]
    gram: NDArray[np.float32] = weighted.T @ weighted
    return gram


def expected_shift(atlas: AtlasData, step: NDArray[np.floating[Any]]) -> Vector:
    """Where the embedding is expected to move by a flat style step (C,): float32 (D,).

    The sum of the responses of its channels, each times its part of the step in sigma; channels
    that are not in the atlas, and those that never vary, count as still.

    Raises:
        OptionError: a step of another length.
    """
    if not isinstance(step, np.ndarray):
        raise wrong_type("step", step, "what Direction.delta returns")
    if step.shape != (atlas.layout.size,):
        raise OptionError(f"step: has shape {step.shape}, must have ({atlas.layout.size},)")
    std = atlas.style_std[atlas.channels]
    sigmas = np.divide(step[atlas.channels], std, out=np.zeros_like(std), where=std > 0)
    shift: Vector = atlas.responses.T @ sigmas
    return shift


def entangled_records(
    atlas: AtlasData, step: NDArray[np.floating[Any]], text: Vector, top: int
) -> list[Record]:
    """What else an edit moves, as `shift_records` of the shift that the table expects of it.

    Args:
        step: the edit, flat (C,), in units of the style.
        text: the text direction (D,) it was made for.

    Raises:
        OptionError: top below 1, or a step of another length.
        PromptError: the bank is empty.
    """
    _require_top(top)
    _require_phrases(atlas)
    return shift_records(atlas, expected_shift(atlas, step), text, top)


def shift_records(atlas: AtlasData, shift: Vector, text: Vector, top: int) -> list[Record]:
    """What else moves as the embedding moves by a shift: up to `top` phrases towards, then up to
    `top` away, most first.

    `moves` is the cosine of the shift with the phrase's direction from the bank's mean;
    `explained` is what the text direction alone accounts for, its cosine with the phrase times its
    cosine with the shift. A phrase is entangled when the edit moves more than is explained, to the
    same side, unless it is what the edit is about, with a cosine beyond `NEAR`.

    Args:
        shift: (D,), of any length.
        text: the text direction (D,) of the edit.

    Raises:
        OptionError: top below 1.
        PromptError: the bank is empty.
    """
    _require_top(top)
    _require_phrases(atlas)
    shift = shift / max(float(np.linalg.norm(shift)), _TINY)
    phrases = atlas.phrases.embeddings
    moves, about = phrases @ shift, phrases @ text  # (n,)
    explained = about * float(shift @ text)
    records = []
    for side, sign in (("towards", 1), ("away", -1)):
        beyond = (sign * moves > 0) & (sign * (moves - explained) > 0) & (np.abs(about) <= NEAR)
        more = np.flatnonzero(beyond)
        records += [
            {
                "side": side,
                "prompt": atlas.prompts.texts[i],
                "moves": rounded(moves[i]),
                "explained": rounded(explained[i]),
            }
            for i in more[largest(sign * moves[more], top)]
        ]
    return records


def _meaning_of_channel(atlas: AtlasData, row: int, top: int) -> list[Record]:
    _require_phrases(atlas)
    flat = int(atlas.channels[row])
    layer, _ = atlas.layout.locate(flat)
    sides = atlas.phrase_index.both_signs(atlas.rows[row], top)
    scores = np.array([score for side in sides for _, score in side])
    trust = iter(confidence(atlas, np.full(len(scores), row), scores))
    return [
        {
            "channel": atlas.layout.label(flat),
            "kind": layer.kind,
            "consistency": _measured(atlas, atlas.consistency[row]),
            "strength": _measured(atlas, atlas.strength[row]),
            "side": side,
            "prompt": prompt,
            "score": rounded(score),
            "confidence": _measured(atlas, next(trust)),
        }
        for side, prompts in zip(("towards", "away"), sides, strict=True)
        for prompt, score in prompts
    ]


def _meaning_of_layer(atlas: AtlasData, name: str, top: int) -> list[Record]:
    _require_phrases(atlas)
    layer = atlas.layout[name]
    first, stop = np.searchsorted(atlas.channels, [layer.start, layer.slice.stop])
    if first == stop:
        raise LayoutError(
            f"layer {name}: none of its channels is in this atlas, which holds "
            f"{len(atlas.channels)} of {atlas.layout.size}; draw it with `styleatlas precompute`"
        )
    phrases, own = atlas.phrases.embeddings, atlas.responses[first:stop]
    energy = _energies(phrases, own.T @ own)  # (n,)
    everywhere = _energies(phrases, atlas.responses.T @ atlas.responses)
    share = energy / np.maximum(everywhere, _TINY)
    order = largest(share, top)
    answers = phrases[order] @ own.T  # (top, rows of the layer)
    towards, away = answers.argmax(1), answers.argmin(1)
    up, down = answers.max(1), -answers.min(1)  # how far either moves
    most = first + np.where(up >= down, towards, away)
    trust = confidence(atlas, most, np.einsum("nd,nd->n", atlas.rows[most], phrases[order]))
    return [
        {
            "prompt": atlas.prompts.texts[i],
            "share": rounded(min(share[i], 1)),  # the two sums round differently
            "movement": _measured(atlas, math.sqrt(energy[i])),
            "towards": _label(atlas, first + towards[k], up[k]),
            "away": _label(atlas, first + away[k], down[k]),
            "confidence": _measured(atlas, trust[k]),
        }
        for k, i in enumerate(order)
    ]


def _measured(atlas: AtlasData, value: float) -> float | None:
    """A figure of a channel; None in an atlas of rows alone, which has none."""
    return None if atlas.rows_alone else rounded(value)


def _label(atlas: AtlasData, row: int, size: float) -> str | None:
    """A channel by its row, unless it moves nothing to that side."""
    return atlas.layout.label(int(atlas.channels[row])) if size > 0 else None


def _chance(atlas: AtlasData) -> tuple[float, float]:
    """The root mean square of the scores of live rows with phrases, and the number of independent
    phrases; by second moments (D, D), those of a large bank from a sample of it."""
    phrases = atlas.phrases.embeddings
    phrases = phrases[:: -(-len(phrases) // _SAMPLE)]
    moments = phrases.T @ phrases / len(phrases)
    live = max(int((atlas.consistency > 0).sum()), 1)  # dead rows are zero and add nothing
    spread = float(np.sqrt(np.vdot(atlas.rows.T @ atlas.rows / live, moments)))
    return max(spread, 1e-6), float(1 / np.vdot(moments, moments))


def _energies(vectors: NDArray[np.float32], gram: NDArray[np.float32]) -> NDArray[np.float64]:
    """v . G v of every vector (n, D), at least 0: (n,)."""
    energies = np.empty(len(vectors))
    for part in _parts(len(vectors)):
        energies[part] = np.einsum("nd,nd->n", vectors[part] @ gram, vectors[part])
    return energies.clip(0)


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + _PART) for start in range(0, count, _PART))


def _require_top(top: int) -> None:
    if type(top) is not int:
        raise wrong_type("top", top, "a whole number")
    if top < 1:
        raise OptionError(f"top {top}: must be at least 1")


def _require_phrases(atlas: AtlasData) -> None:
    if not len(atlas.prompts):
        raise PromptError("prompt bank: is empty; add phrases with `styleatlas prompts add`")
