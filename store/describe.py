"""What an atlas is and where it comes from, as a record and in a line."""

from __future__ import annotations

import numpy as np

from .atlas_data import AtlasData
from .fingerprint import todays_settings
from .records import Record, decimal, text_table


def atlas_record(atlas: AtlasData) -> Record:
    """What an atlas is, where it comes from and what it holds."""
    origin, layout = atlas.fingerprint, atlas.layout
    layers = []
    for layer in layout:
        inside = (atlas.channels >= layer.start) & (atlas.channels < layer.slice.stop)
        known = bool(inside.any()) and not atlas.rows_alone
        layers.append(
            {
                "layer": layer.name,
                "kind": layer.kind,
                "resolution": layer.resolution,
                "channels": layer.size,
                "swept": int(inside.sum()),
                "consistency": decimal(np.median(atlas.consistency[inside])) if known else None,
                "strength": decimal(np.median(atlas.strength[inside])) if known else None,
            }
        )
    return {
        "kind": "atlas",
        "generator": origin.generator.record(),
        "clip": origin.clip.clip_record(),
        "settings": todays_settings(origin.settings),
        "created": atlas.created,
        "library": atlas.library,
        "style_channels": layout.size,
        "swept_channels": len(atlas.channels),
        "still_channels": int((atlas.consistency == 0).sum()),
        "prompts": len(atlas.prompts),
        "width": atlas.prompts.width,
        "samples": 0 if atlas.samples is None else len(atlas.samples),
        "pulled_samples": 0 if atlas.samples is None else len(atlas.samples.pulled),
        "features": (
            {}
            if atlas.samples is None
            else {name: read.record() for name, read in atlas.samples.readings.items()}
        ),
        "layers": layers,
    }


def record_text(record: Record) -> str:
    """A record for people: a line a value, those of a mapping indented below its name, and lists of
    records as tables behind all else."""
    lines, tables = [], []
    for key, value in record.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            tables.append(text_table(value))
        elif isinstance(value, dict) and value:
            name = f"{value['name']}" if "name" in value else ""
            lines.append(_line(key, name))
            lines += [_line(f"  {inner}", v) for inner, v in value.items() if inner != "name"]
        else:
            lines.append(_line(key, value))
    return "\n\n".join(["\n".join(lines), *tables])


def _line(key: str, value: object) -> str:
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, list | tuple):
        text = "; ".join(map(str, value)) or "-"
    elif isinstance(value, dict):
        text = ", ".join(f"{name} {inner}" for name, inner in value.items()) or "-"
    else:
        text = "-" if value is None else str(value)
    return f"{key:<18}{text}".rstrip()


def origin(atlas: AtlasData) -> str:
    """In a line, how and with which CLIP an atlas was drawn."""
    settings, clip = todays_settings(atlas.fingerprint.settings), atlas.fingerprint.clip
    known = [f"{key} {settings[key]}" for key in ("table", "images", "seed") if key in settings]
    if atlas.samples is not None:
        known.append(f"{len(atlas.samples):,} samples")
    return ", ".join([*known, f"CLIP {clip}", f"created {atlas.created}"])
