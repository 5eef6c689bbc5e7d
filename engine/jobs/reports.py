"""What an atlas is and what its edits did, as records and as text. Without torch."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...store.atlas import Atlas
from ..steering.edits import conflicts

if TYPE_CHECKING:
    from ..editor import ClipShift
    from ..steering.direction import Direction
    from .edit import Column

Record = dict[str, Any]


def atlas_record(atlas: Atlas) -> Record:
    """What an atlas is, where it comes from and what it holds."""
    origin, layout = atlas.fingerprint, atlas.layout
    layers = []
    for layer in layout:
        inside = (atlas.channels >= layer.start) & (atlas.channels < layer.slice.stop)
        known = bool(inside.any())
        layers.append(
            {
                "layer": layer.name,
                "kind": layer.kind,
                "resolution": layer.resolution,
                "channels": layer.size,
                "swept": int(inside.sum()),
                "consistency": _number(np.median(atlas.consistency[inside])) if known else None,
                "strength": _number(np.median(atlas.strength[inside])) if known else None,
            }
        )
    models = {"generator": origin.generator, "clip": origin.clip}
    return {
        **{k: {"name": m.name, "sha256": m.sha256, **m.sizes} for k, m in models.items()},
        "settings": dict(origin.settings),
        "created": atlas.created,
        "library": atlas.library,
        "style_channels": layout.size,
        "swept_channels": len(atlas.channels),
        "still_channels": int((atlas.consistency == 0).sum()),
        "prompts": len(atlas.prompts),
        "width": atlas.prompts.width,
        "layers": layers,
    }


def origin(atlas: Atlas) -> str:
    """In a line, how and with which CLIP an atlas was drawn."""
    settings, clip = atlas.fingerprint.settings, atlas.fingerprint.clip
    known = [f"{key} {settings[key]}" for key in ("method", "images", "seed") if key in settings]
    return ", ".join([*known, f"CLIP {clip}", f"created {atlas.created}"])


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
    directions = {id(d): d for result in results for d in result.directions}.values()
    images = list(prior.get("images", ()))
    for column in columns:
        for j, direction in enumerate(column.result.directions):
            for i, name in enumerate(names):
                image = {
                    "image": name,
                    "column": column.label,
                    "target": direction.target,
                    "alpha": _number(column.result.alphas[i, j]),
                    "way": column.result.ways[i],
                    "tried": dict(column.result.tried[i]),
                }
                if column.shifts is not None:
                    image |= _seen(column.shifts[j], i)
                images.append(image)
    whys = [*prior.get("why", ()), *(result.why for result in results)]
    return {
        "why": list(dict.fromkeys(whys)),
        "edits": [_direction_record(atlas, direction) for direction in directions],
        "conflicts": [vars(conflict) for conflict in conflicts(atlas, results[0].directions)],
        "images": images,
    }


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
        "before": _number(shift.before[i]),
        "probability": _number(shift.probability[i]),
        "clip_shift": _number(shift.along[i]),
        "directional_similarity": _number(shift.similarity[i]),
        "kept": {text: _number(moved[i]) for text, moved in shift.kept.items()},
    }


def _median(records: Sequence[Record], key: str) -> float:
    return float(np.median([record[key] for record in records]))


def _direction_record(atlas: Atlas, direction: Direction) -> Record:
    chosen = zip(direction.channels, direction.scores, direction.steps, strict=True)
    return {
        "neutral": direction.neutral,
        "target": direction.target,
        "keep": list(direction.keep),
        "beta": _number(direction.beta),
        "channels": [
            {"channel": atlas.layout.label(int(c)), "score": _number(r), "step": _number(s)}
            for c, r, s in chosen
        ],
    }


def duration(seconds: float) -> str:
    """Seconds as people say them: 45 s, 12 min, 3.4 h, 5.2 days."""
    for limit, unit, name in ((90, 1, "s"), (90 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.{1 if name == 'h' else 0}f} {name}"
    return f"{seconds / 86400:.1f} days"


def table(records: Sequence[Record]) -> str:
    """Records of the same keys as a text table: a header, then a line each.

    Numbers have three decimals, or more in a column of small ones, so that its largest keeps three
    digits.
    """
    if not records:
        return "(nothing)"
    columns = [[record[key] for record in records] for key in records[0]]
    written = [_cells(column) for column in columns]
    cells = [list(records[0]), *map(list, zip(*written, strict=True))]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    numeric = [any(isinstance(v, int | float) for v in column) for column in columns]
    lines = []
    for row in cells:
        parts = zip(row, widths, numeric, strict=True)
        lines.append("  ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in parts).rstrip())
    return "\n".join(lines)


def sides(records: Sequence[Record]) -> str:
    """Records with a `side` as a table of what stands before it, if anything, which is the same in
    all of them, and a table of the rest for either side."""
    if not records:
        return "(nothing)"
    keys = list(records[0])
    at = keys.index("side")
    head = [table([{key: records[0][key] for key in keys[:at]}])] if at else []
    parts = []
    for side in ("towards", "away"):
        rest = [{k: r[k] for k in keys[at + 1 :]} for r in records if r["side"] == side]
        parts.append(f"{side}\n{table(rest)}")
    return "\n\n".join(head + parts)


def csv_lines(records: Sequence[Record]) -> str:
    """Records of the same keys as CSV: a header, then a line each; nothing of no records."""
    if not records:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _number(value: Any) -> float:
    return round(float(value), 4)


def _cells(column: Sequence[Any]) -> list[str]:
    largest = max((abs(v) for v in column if isinstance(v, float)), default=0.0)
    decimals = 3 if largest == 0 else min(max(3, 2 - math.floor(math.log10(largest))), 8)
    return [_cell(value, decimals) for value in column]


def _cell(value: Any, decimals: int) -> str:
    if value is None:
        return "-"
    return f"{value:.{decimals}f}" if isinstance(value, float) else str(value)
