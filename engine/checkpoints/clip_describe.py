"""What a CLIP's file is, for people and programs that ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...store.errors import CheckpointError
from .clip_file import find_weights, load_clip
from .clip_shapes import known_models, openai_config
from .clip_source import CONFIG_NAME, of_weights, untold


def clip_file_record(path: Path) -> dict[str, Any]:
    """A CLIP in texts, numbers and objects that JSON holds; empty if the file holds none.

    `architecture` is open_clip's name, where it knows one of these shapes; `activation` is None
    where nothing tells it, and `use` then says how `--clip` is told; `model_cfg` is what an
    `open_clip_config.json` would say of it.

    Raises:
        CheckpointError: it holds a CLIP that is not read.
    """
    try:
        found = find_weights(path)
    except CheckpointError:
        return {}
    if not found.known:
        return {}
    weights = load_clip(path, found)
    model, activation, use = openai_config(weights), None, untold(weights)
    told = weights.quick_gelu is not None or weights.transformers
    if told or (path.parent / CONFIG_NAME).is_file():
        source = of_weights(weights, path.stem)
        model, use = source.model, str(path)
        activation = "QuickGELU" if source.quick_gelu else "GELU"
    return {
        "kind": "CLIP",
        "path": str(path),
        "place": weights.place or None,
        "architecture": next(iter(known_models(weights) or ()), None),
        "activation": activation,
        "use": use,
        "parameters": sum(tensor.numel() for tensor in weights.tensors.values()),
        "model_cfg": model,
    }
