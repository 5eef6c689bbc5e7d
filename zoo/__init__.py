"""The embedded models: where their files lie. How they were made: `zoo/making/`."""

from __future__ import annotations

from pathlib import Path

NAME = "avatars"
_FOLDER = Path(__file__).parent / NAME

GENERATOR = _FOLDER / "generator.safetensors"
CLIP = _FOLDER / "clip"
ATLAS = _FOLDER / "atlas.h5"
JUDGE = _FOLDER / "judge.safetensors"
IDENTITY = _FOLDER / "identity.safetensors"
EDITS = _FOLDER / "edits.json"
