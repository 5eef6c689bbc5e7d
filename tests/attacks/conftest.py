"""Around every attack, a canary: whatever a file ran would leave one of its three traces."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import hostile


def traces() -> list[str]:
    """What a payload has left so far."""
    left = [hostile.CANARY_VARIABLE] if hostile.CANARY_VARIABLE in os.environ else []
    left += [str(hostile.CANARY)] if hostile.CANARY.exists() else []
    return left + ([hostile.CANARY_MODULE] if hostile.CANARY_MODULE in sys.modules else [])


def clean() -> None:
    os.environ.pop(hostile.CANARY_VARIABLE, None)
    sys.modules.pop(hostile.CANARY_MODULE, None)
    hostile.CANARY.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def _canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test after which the canary is there. Its module can be imported, so an import
    would show; the current folder is empty, so a file written beside the checkpoint would too."""
    folder = tmp_path / "canary"
    folder.mkdir()
    (folder / f"{hostile.CANARY_MODULE}.py").write_text("attribute = 'ran'\n")
    monkeypatch.syspath_prepend(folder)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    clean()
    yield
    left = traces() + [str(path) for path in here.iterdir()]
    clean()
    assert not left
