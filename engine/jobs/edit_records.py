"""What edits did, as records and as text. Without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...store.atlas import Atlas
from ...store.records import Record, counted, decimal
from ..steering.direction import Direction
from ..steering.edits import Edit, as_meant, conflicts
from ..steering.evidence import Evidence
from ..steering.status import STATUSES, WORDS, Status

if TYPE_CHECKING:
    from ..result import ClipShift, EditResult

_NAMED = 8
"""Images of a status that a summary names."""


@dataclass(frozen=True, eq=False)
class Column:
    """One way of editing images: what it is called, the edits that were asked for, what it made,
    and what CLIP saw of it, where that was measured; the beta of its row, where there are
    several."""

    label: str
    asked: tuple[Edit, ...]
    result: EditResult
    shifts: list[ClipShift] | None
    beta: float | None = None


def edit_record(
    atlas: Atlas, columns: Sequence[Column], names: Sequence[str], prior: Record | None = None
) -> Record:
    """What edits did: their directions, how they get on, and every image.

    Every edit tells where its direction comes from, its `source` (None without a direction), and
    what samples say of it, None where they were not asked: the `kind`; `share` of the samples that
    have it and `separation` of the groups, None where there are no two; phrases that were `held`
    still, and those that are `inseparable` from it.

    What prompts were `read` as is told of those that CLIP would take for something else: as which
    pairs of prompts.

    Every image tells its `way`, its `status`, None where CLIP did not look, and of each way that
    was `tried` with which probability CLIP saw the target. Each of its edits has an `alpha`, 0
    where no direction was used; where CLIP measured it, its `probability` (of the target against
    the neutral prompt) and the one `before`, its `clip_shift` (movement along the text direction),
    its `directional_similarity`, and in `kept` the movement along each prompt that it was to keep.
    Where there are several betas it tells its own.

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
            edits[key] = made_record(atlas, edit, direction, result.keep)
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
                    "status": column.result.status[i],
                    "tried": dict(column.result.tried[i]),
                }
                if column.beta is not None:
                    image["beta"] = decimal(column.beta)
                if column.shifts is not None:
                    image |= _seen(column.shifts[j], i)
                images.append(image)
    whys = [*prior.get("why", ()), *(result.why for result in results)]
    return {
        "why": list(dict.fromkeys(whys)),
        "read": _readings(edit for column in columns for edit in column.asked),
        "edits": list(edits.values()),
        "conflicts": [vars(conflict) for conflict in conflicts(atlas, results[0].directions)],
        "images": images,
    }


def _readings(asked: Iterable[Edit]) -> list[Record]:
    """What edits were read as, of those that were read as something else."""
    found = []
    for edit in dict.fromkeys(asked):
        meant = as_meant(edit)
        if meant != (edit.forward(),):
            pairs = [[pair.neutral, pair.target] for pair in meant]
            found.append({"neutral": edit.neutral, "target": edit.target, "as": pairs})
    return found


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
    for read in record["read"]:
        told = " and ".join(f'"{neutral}" -> "{target}"' for neutral, target in read["as"])
        lines.append(f'"{read["neutral"]}" -> "{read["target"]}": read as {told}')
    for edit in record["edits"]:
        images = [image for image in record["images"] if _is_of(image, edit)]
        by_direction = [image["alpha"] for image in images if image["way"] == "direction"]
        row = f", beta {images[0]['beta']:g}" if "beta" in images[0] else ""
        line = f'"{edit["target"]}"{row}'
        if by_direction:
            low, high = min(by_direction), max(by_direction)
            span = f"{low:.3g} to {high:.3g}" if high > low else f"{low:.3g}"
            line += f": {len(edit['channels'])} channels {_origin(edit)}, alpha {span}"
        if "probability" in images[0]:
            first, last = (_median(images, key) for key in ("before", "probability"))
            line += f"{',' if by_direction else ':'} probability to CLIP {first:.3f} before, "
            line += f"{last:.3f} after (medians)"
        lines.append(line)
        if by_direction:
            lines += _dragged(edit)
    lines += _fates(record["images"])
    ways = {(image["image"], _cell(image)): image["way"] for image in record["images"]}
    counts = Counter(ways.values())
    if set(counts) != {"direction"}:
        shares = ", ".join(f"{count} by {way}" for way, count in counts.items())
        lines.append(f"{len(ways)} images: {shares} ({'; '.join(record['why'])})")
    for text in {text: 0 for image in record["images"] for text in image.get("kept", ())}:
        moved = np.mean([abs(image["kept"][text]) for image in record["images"]])
        lines.append(f'"{text}": kept, but for {moved:.3f} of movement to CLIP (mean)')
    return lines


def _is_of(image: Record, edit: Record) -> bool:
    """Whether the record of an image is that of an edit: of its target, and of its beta where there
    are several."""
    beta = image.get("beta")
    return image["target"] == edit["target"] and (beta is None or edit["beta"] in (None, beta))


def _cell(image: Record) -> str:
    """Which of an image's edited ones a record is of, in words."""
    beta = f", beta {image['beta']:g}" if "beta" in image else ""
    return f"{image['column']}{beta}"


def evidence_record(evidence: Evidence | None) -> Record:
    """What samples say, None each where they were not asked; of what does not fall into two groups
    nothing but the kind."""
    if evidence is None:
        return {"kind": None, "share": None, "separation": None}
    grouped = evidence.kind not in ("graded", "unknown")
    return {
        "kind": evidence.kind,
        "share": decimal(evidence.share) if grouped else None,
        "separation": decimal(evidence.separation) if grouped else None,
    }


def _origin(edit: Record) -> str:
    """Where the direction of an edit comes from, in words."""
    if edit["source"] is None or edit["kind"] is None:
        return "of the table"
    if edit["kind"] == "unknown":
        return "by samples" if edit["source"] == "samples" else "of the table"
    also = " and the table" if edit["source"] == "both" else ""
    if edit["share"] is None:
        return f"by samples{also} ({edit['kind']})"
    return f"by samples{also} ({edit['kind']}, {100 * edit['share']:.3g} % have it)"


def _dragged(edit: Record) -> list[str]:
    """What comes along with an edit in the samples, beside what it was to keep."""
    lines = []
    held = [text for text in edit["held"] or () if text not in edit["keep"]]
    if held:
        lines.append(f"  comes with it, and was held still: {_quoted(held)}")
    if edit["inseparable"]:
        told = "comes with it so often that it cannot be held still"
        lines.append(f"  {told}: {_quoted(edit['inseparable'])}")
    return lines


def _fates(images: Sequence[Record]) -> list[str]:
    """How many images of each column came to what, which they are where not all are alike and they
    did not reach the target; then what those statuses mean."""
    columns: dict[str, dict[str, Status | None]] = {}
    for image in images:
        columns.setdefault(_cell(image), {})[image["image"]] = image["status"]
    lines, told = [], set()
    for label, fates in columns.items():
        if not any(fates.values()):
            continue
        parts = []
        for status in (*STATUSES, None):
            names = [name for name, fate in fates.items() if fate == status]
            if not names:
                continue
            word = "not looked at" if status is None else status.replace("_", " ")
            all_or_well = len(names) == len(fates) or status in ("reached", None)
            which = "" if all_or_well else f" ({_some(names)})"
            parts.append(f"{len(names)} {word}{which}")
            if status not in ("reached", None):
                told.add(status)
        where = f"{label}: " if len(columns) > 1 else ""
        lines.append(f"{where}{counted(len(fates), 'image')}: {', '.join(parts)}")
    meant = [f"  {status.replace('_', ' ')}: {WORDS[status]}" for status in STATUSES]
    return lines + [line for line, status in zip(meant, STATUSES, strict=True) if status in told]


def _some(names: Sequence[str]) -> str:
    """The names of images, the first ones of many."""
    rest = len(names) - _NAMED
    if rest <= 0:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMED])} and {rest:,} more"


def _quoted(texts: Sequence[str]) -> str:
    return ", ".join(f'"{text}"' for text in texts)


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


def made_record(
    atlas: Atlas, edit: Edit, direction: Direction | None, keep: Sequence[str]
) -> Record:
    """An edit and its direction; without one, `beta` is None and there are no channels."""
    asked = None if direction is None else direction.evidence
    known = {
        "neutral": edit.neutral,
        "target": edit.target,
        "keep": list(keep),
        "source": None if direction is None else direction.source,
        **evidence_record(asked),
        "held": None if direction is None or asked is None else list(direction.held),
        "inseparable": None if direction is None or asked is None else list(direction.inseparable),
    }
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
