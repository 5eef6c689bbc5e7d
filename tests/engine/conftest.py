from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Callable[[str], Path]:
    """An empty cache of Hugging Face's, off the network; call it for a repository's folder in it.

    The folders are laid out as huggingface_hub lays them out after a download.
    """
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def folder(repository: str) -> Path:
        root = cache / f"models--{repository.replace('/', '--')}"
        revision = "0" * 40
        (root / "refs").mkdir(parents=True)
        (root / "refs" / "main").write_text(revision)
        snapshot = root / "snapshots" / revision
        snapshot.mkdir(parents=True)
        return snapshot

    return folder
