"""How many threads compute."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from styleatlas.engine.models.threads import ONE_THREAD_UP_TO, use_threads


@pytest.fixture(autouse=True)
def _three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("asked", "resolution", "threads"),
    [(None, ONE_THREAD_UP_TO, 1), (None, 2 * ONE_THREAD_UP_TO, 3), (2, 64, 2), (2, 1024, 2)],
)
def test_threads_are_those_asked_for_or_suit_the_size(asked, resolution, threads):
    use_threads(asked, resolution)
    assert torch.get_num_threads() == threads


def test_environment_that_says_how_many_is_followed(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    use_threads(None, 64)
    assert torch.get_num_threads() == 3
    use_threads(2, 64)
    assert torch.get_num_threads() == 2
