"""The scripts that made the embedded models, for their drawings of labelled avatars."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "zoo" / "making"))


@pytest.fixture(scope="session")
def renderer(tmp_path_factory: pytest.TempPathFactory):
    from avatars import AvatarRenderer

    return AvatarRenderer(tmp_path_factory.mktemp("zoo") / "layers.npz")


@pytest.fixture(scope="session")
def held_out(renderer):
    """Images and labels of 500 avatars that no training saw."""
    from measure import held_out

    labels = held_out()[:500]
    return renderer(labels), labels
