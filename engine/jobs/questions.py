"""What an atlas answers by its samples, beside what its table does. Without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...store.atlas import Atlas
from ...store.queries import expected_shift, shift_records
from ...store.records import Record, rounded
from ...store.sample_set import SampleSet
from ..steering.choose import choose_direction
from ..steering.direction import Choice
from ..steering.edits import meant_as_one
from ..steering.evidence import Evidence
from ..steering.sampled import (
    direction_by_samples,
    foretold_shift,
    require_samples,
    sample_map,
)
from ..steering.texts import TextEmbedder
from .edit_records import evidence_record, made_record, strongest

SHOWN = 8
"""Samples of a kind that are shown beside each other."""


@dataclass(frozen=True, eq=False)
class SamplesAsked:
    """What samples say of a pair of prompts.

    Args:
        record: `kind`, `share` and `separation` are those of `edit_record`. `source` is where an
            edit would take its direction from, and `channels` how many it would move, `held` and
            `inseparable` the phrases that come with the target. Of `samples` images at psi 1
            `there` look to CLIP as those do that have it, of `near_samples` at the psi `near_psi`
            `near_there`; None where what is asked is unknown.
        rows: samples to look at, by their numbers, with what they have in common.
        samples: all of them.
    """

    record: Record
    rows: tuple[tuple[str, NDArray[np.int64]], ...]
    samples: SampleSet


def ask_samples(atlas: Atlas, texts: TextEmbedder, neutral: str, target: str) -> SamplesAsked:
    """What the samples of an atlas say of a pair of prompts.

    Raises:
        OptionError: the atlas has no samples.
        PromptError: a prompt that cannot be embedded, or two that mean the same.
    """
    known = require_samples(atlas, sample_map(atlas))
    direction = choose_direction(atlas, known, texts, neutral, target, Choice())
    embedded = texts.embed(neutral), texts.embed(target)
    evidence = known.evidence(*embedded)
    scores, near = known.scores(embedded[1].astype(np.float64) - embedded[0])
    shown = evidence.kind != "unknown"
    record = {
        "neutral": neutral,
        "target": target,
        **evidence_record(evidence),
        "source": direction.source,
        "channels": len(direction.channels),
        "held": list(direction.held),
        "inseparable": list(direction.inseparable),
        "samples": len(scores),
        "there": int((scores >= evidence.far.there).sum()) if shown else None,
        "near_psi": known.samples.pulled_psi,
        "near_samples": len(near),
        "near_there": int((near >= evidence.near.there).sum()) if shown else None,
    }
    return SamplesAsked(record, _rows(scores, evidence), known.samples)


def _rows(
    scores: NDArray[np.float32], evidence: Evidence
) -> tuple[tuple[str, NDArray[np.int64]], ...]:
    """Those of the highest scores, those in the middle of all that have it, or of all where that is
    unknown, and those of the lowest."""
    order = np.argsort(-scores, kind="stable")
    count = len(order)
    if evidence.kind == "unknown":
        names = ("highest score, unknown", "middle score", "lowest score")
    else:
        names = ("has it most", "has it, in the middle", "lacks it most")
        count = int((scores >= evidence.far.there).sum())
    middle = max(0, (count - SHOWN) // 2)
    picked = order[:SHOWN], order[:count][middle : middle + SHOWN], order[::-1][:SHOWN]
    return tuple(zip(names, picked, strict=True))


def channel_records(
    atlas: Atlas, texts: TextEmbedder, neutral: str, target: str, top: int
) -> list[Record]:
    """What the table says of a pair of prompts, see `queries.channel_records`. Of an atlas with
    samples every channel has a `step`, too: how many of its sigma it moves from the samples that
    lack the target to those that have it; None where they do not show it.

    Raises:
        OptionError: top below 1.
        PromptError: a prompt that cannot be embedded, or two that mean the same.
    """
    text = texts.direction(neutral, target)
    records = atlas.query_channels(text, top=top)
    known = sample_map(atlas)
    if known is None:
        return records
    embedded = texts.embed(neutral), texts.embed(target)
    evidence = known.evidence(*embedded)
    if evidence.kind == "unknown":
        return [{**record, "step": None} for record in records]
    found = direction_by_samples(
        atlas, known, embedded, neutral=neutral, target=target, choice=Choice()
    )
    step, std = found.delta(1.0), known.style_std
    places = [atlas.layout.parse(record["channel"]) for record in records]
    return [
        {**record, "step": rounded(step[at] / std[at]) if std[at] > 0 else 0.0}
        for record, at in zip(records, places, strict=True)
    ]


def entangled_records(
    atlas: Atlas, texts: TextEmbedder, neutral: str, target: str, top: int
) -> list[Record]:
    """What else the edit of a pair of prompts moves, by the direction that it takes; see
    `queries.shift_records`.

    `source` says who tells: `samples`, whose latents foretell the embedding, where the direction
    is theirs, and the `table` elsewhere.

    Raises:
        OptionError: top below 1.
        PromptError: an empty bank, a prompt that cannot be embedded, or two that mean the same.
        DirectionError: no channel moves towards the target.
    """
    known = sample_map(atlas)
    direction = choose_direction(atlas, known, texts, neutral, target, Choice())
    step = direction.delta(1.0)
    shift = None
    if known is not None and direction.source == "samples":
        shift = foretold_shift(known, step)
    teller = "table" if shift is None else "samples"
    told = expected_shift(atlas, step) if shift is None else shift
    records = shift_records(atlas, told, direction.text, top)
    return [{"source": teller, **record} for record in records]


def direction_record(
    atlas: Atlas, texts: TextEmbedder, neutral: str, target: str, top: int
) -> Record:
    """The direction that an edit of a pair of prompts would take, as `edit_record` tells it, with
    the `top` channels of the highest scores; prompts are read as `Editor.edit` reads them.

    Raises:
        OptionError: prompts that say several things.
        PromptError: a prompt that cannot be embedded, or two that mean the same.
        DirectionError: no channel moves towards the target.
    """
    edit = meant_as_one(neutral, target)
    direction = choose_direction(
        atlas, sample_map(atlas), texts, edit.neutral, edit.target, Choice()
    )
    made = made_record(atlas, edit, direction, ())
    record: Record = strongest({"edits": [made]}, top)["edits"][0]
    return record
