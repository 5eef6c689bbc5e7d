"""What edits did, as records and as text. Without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...store.atlas import Atlas
from ...store.records import Record, decimal
from ..steering.direction import Direction
from ..steering.edits import Edit, conflicts

if TYPE_CHECKING:
    from ..result import ClipShift, EditResult


@dataclass(frozen=True, eq=False)
class Column:
    """One way of editing images: what it is called, what it made, and what CLIP saw of it, where
    that was measured."""

    label: str
    result: EditResult
    shifts: list[ClipShift] | None


def edit_record(
    atlas: Atlas, columns: Sequence[Column], names: Sequence[str], prior: Record | None = None
) -> Record:
    """What edits did: their directions, how they get on, and every image.

    Every image tells its `way`, and of each way that was `tried` with which probability CLIP saw
    the target. Each of its edits has an `alpha`, 0 where the table was not used; where CLIP
    measured it, its `probability` (of the target against the neutral prompt) and the one `before`,
    its `clip_shift` (movement along the text direction), its `directional_similarity`, and in
    `kept` the movement along each prompt that it was to keep.

    Args:
        columns: of one job, for the images of these names.
        prior: the record of the images that came before these.
    """
    prior = prior or {}
    results = [column.result for column in columns]
    edits: dict[Edit | int, Record] = {}
    for result in results:
        known = result.directions or (None,) * len(result.edits)
        for edit, direction in zip(result.edits, known, strict=True):
            key = edit if direction is None else id(direction)
            edits[key] = _edit_record(atlas, edit, direction, result.keep)
    images = list(prior.get("images", ()))
    for column in columns:
        alphas = column.result.alphas if column.result.directions else None
        for j, edit in enumerate(column.result.edits):
            for i, name in enumerate(names):
                image = {
                    "image": name,
                    "column": column.label,
                    "target": edit.target,
                    "alpha": 0.0 if alphas is None else decimal(alphas[i, j]),
                    "way": column.result.ways[i],
                    "tried": dict(column.result.tried[i]),
                }
                if column.shifts is not None:
                    image |= _seen(column.shifts[j], i)
                images.append(image)
    whys = [*prior.get("why", ()), *(result.why for result in results)]
    return {
        "why": list(dict.fromkeys(whys)),
        "edits": list(edits.values()),
        "conflicts": [vars(conflict) for conflict in conflicts(atlas, results[0].directions)],
        "images": images,
    }


def strongest(record: Record, top: int = 20) -> Record:
    """The same record with no more than `top` channels of each edit, those of the highest scores;
    `channels_moved` says how many there are."""
    edits = []
    for edit in record["edits"]:
        ranked = sorted(edit["channels"], key=lambda channel: -abs(channel["score"]))
        edits.append({**edit, "channels_moved": len(ranked), "channels": ranked[:top]})
    return {**record, "edits": edits}


def edit_summary(record: Record) -> list[str]:
    """What an edit did, in lines for people."""
    lines = []
    for edit in record["edits"]:
        images = [image for image in record["images"] if image["target"] == edit["target"]]
        by_table = [image["alpha"] for image in images if image["way"] == "direction"]
        line = f'"{edit["target"]}"'
        if by_table:
            low, high = min(by_table), max(by_table)
            span = f"{low:.3g} to {high:.3g}" if high > low else f"{low:.3g}"
            line += f": {len(edit['channels'])} channels, alpha {span}"
        if "probability" in images[0]:
            first, last = (_median(images, key) for key in ("before", "probability"))
            line += f"{',' if by_table else ':'} probability to CLIP {first:.3f} before, "
            line += f"{last:.3f} after (medians)"
        lines.append(line)
    ways = {(image["image"], image["column"]): image["way"] for image in record["images"]}
    counts = Counter(ways.values())
    if set(counts) != {"direction"}:
        shares = ", ".join(f"{count} by {way}" for way, count in counts.items())
        lines.append(f"{len(ways)} images: {shares} ({'; '.join(record['why'])})")
    for text in {text: 0 for image in record["images"] for text in image.get("kept", ())}:
        moved = np.mean([abs(image["kept"][text]) for image in record["images"]])
        lines.append(f'"{text}": kept, but for {moved:.3f} of movement to CLIP (mean)')
    return lines


def _seen(shift: ClipShift, i: int) -> Record:
    return {
        "before": decimal(shift.before[i]),
        "probability": decimal(shift.probability[i]),
        "clip_shift": decimal(shift.along[i]),
        "directional_similarity": decimal(shift.similarity[i]),
        "kept": {text: decimal(moved[i]) for text, moved in shift.kept.items()},
    }


def _median(records: Sequence[Record], key: str) -> float:
    return float(np.median([record[key] for record in records]))


def _edit_record(
    atlas: Atlas, edit: Edit, direction: Direction | None, keep: Sequence[str]
) -> Record:
    """An edit and its direction; without one, `beta` is None and there are no channels."""
    known = {"neutral": edit.neutral, "target": edit.target, "keep": list(keep)}
    if direction is None:
        return {**known, "beta": None, "channels": []}
    chosen = zip(direction.channels, direction.scores, direction.steps, strict=True)
    return {
        **known,
        "beta": decimal(direction.beta),
        "channels": [
            {"channel": atlas.layout.label(int(c)), "score": decimal(r), "step": decimal(s)}
            for c, r, s in chosen
        ],
    }
