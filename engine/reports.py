"""What an atlas and its edits answer, as records that JSON holds. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..store.atlas import Atlas
from ..store.errors import OptionError
from ..store.index import PromptIndex
from .direction import Direction, relevance

if TYPE_CHECKING:
    from .editor import ClipShift, EditResult

Record = dict[str, Any]


def channel_records(atlas: Atlas, text: NDArray[np.float32], top: int) -> list[Record]:
    """The channels that answer most to a unit text direction (D,), of either sign.

    Raises:
        OptionError: top below 1.
    """
    if top < 1:
        raise OptionError(f"top {top}: must be at least 1")
    scores = relevance(atlas, text)
    order = np.argsort(-np.abs(scores), kind="stable")[:top]
    return [{**_channel(atlas, int(row)), "score": _number(scores[row])} for row in order]


def prompt_records(atlas: Atlas, label: str, top: int) -> Record:
    """What a channel written `b16.conv1:20` means: the phrases of the bank it moves an image
    towards and away from, as cosines of its row with each phrase's direction from the bank's mean.

    Raises:
        LayoutError: no such channel, or it was not swept.
        OptionError: top below 1.
    """
    row = atlas.row_of(atlas.layout.parse(label))
    towards, away = PromptIndex(atlas.prompts.centred()).both_signs(atlas.rows[row], top)
    return {
        **_channel(atlas, row),
        "towards": [{"prompt": text, "score": _number(score)} for text, score in towards],
        "away": [{"prompt": text, "score": _number(score)} for text, score in away],
    }


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


def edit_record(
    atlas: Atlas,
    direction: Direction,
    results: Sequence[EditResult],
    shifts: Sequence[ClipShift],
    seeds: Sequence[int],
) -> Record:
    """What an edit did: its channels, and what CLIP saw for every alpha and seed."""
    chosen = zip(direction.channels, direction.scores, direction.steps, strict=True)
    return {
        "neutral": direction.neutral,
        "target": direction.target,
        "beta": _number(direction.beta),
        "way": results[0].way,
        "why": results[0].why,
        "channels": [
            {"channel": atlas.layout.label(int(c)), "score": _number(r), "step": _number(s)}
            for c, r, s in chosen
        ],
        "images": [
            {
                "seed": seed,
                "alpha": result.alpha,
                "clip_shift": _number(shift.along[i]),
                "directional_similarity": _number(shift.similarity[i]),
            }
            for result, shift in zip(results, shifts, strict=True)
            for i, seed in enumerate(seeds)
        ],
    }


def table(records: Sequence[Record]) -> str:
    """Records of the same keys as a text table: a header, then a line each."""
    if not records:
        return "(nothing)"
    cells = [list(records[0])] + [[_cell(v) for v in record.values()] for record in records]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    numeric = [isinstance(v, int | float) for v in records[0].values()]
    lines = []
    for row in cells:
        parts = zip(row, widths, numeric, strict=True)
        lines.append("  ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in parts).rstrip())
    return "\n".join(lines)


def _channel(atlas: Atlas, row: int) -> Record:
    flat = int(atlas.channels[row])
    layer, _ = atlas.layout.locate(flat)
    return {
        "channel": atlas.layout.label(flat),
        "kind": layer.kind,
        "consistency": _number(atlas.consistency[row]),
        "strength": _number(atlas.strength[row]),
    }


def _number(value: Any) -> float:
    return round(float(value), 4)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
