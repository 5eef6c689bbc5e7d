"""What is made of archived files: the embedded CLIP of a release, to read its other files with."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from styleatlas.store.registry import EMBEDDED

ARCHIVE = Path(__file__).parent / "archive"


def clip_of(release: Path, folder: Path) -> Path:
    """The CLIP of a release, in a new folder: its text tower, which is archived, with the image
    tower of today, which is the same."""
    shutil.copytree(EMBEDDED.clip, folder)
    weights = load_file(folder / "open_clip_model.safetensors")
    texts = load_file(release / "clip_texts.safetensors")
    assert texts.keys() == {name for name in weights if not name.startswith("visual.")}
    save_file(weights | texts, folder / "open_clip_model.safetensors")
    return folder
