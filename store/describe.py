"""What an atlas is and where it comes from, as a record and in a line."""

from __future__ import annotations

import numpy as np

from .atlas_data import AtlasData
from .records import Record, decimal


def atlas_record(atlas: AtlasData) -> Record:
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
                "consistency": decimal(np.median(atlas.consistency[inside])) if known else None,
                "strength": decimal(np.median(atlas.strength[inside])) if known else None,
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


def origin(atlas: AtlasData) -> str:
    """In a line, how and with which CLIP an atlas was drawn."""
    settings, clip = atlas.fingerprint.settings, atlas.fingerprint.clip
    known = [f"{key} {settings[key]}" for key in ("method", "images", "seed") if key in settings]
    return ", ".join([*known, f"CLIP {clip}", f"created {atlas.created}"])
