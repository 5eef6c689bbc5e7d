"""How many threads compute."""

from __future__ import annotations

import torch

from styleatlas.engine.models.threads import use_threads


def test_threads_are_those_asked_for():
    before = torch.get_num_threads()
    try:
        for asked in (2, 1):
            use_threads(asked)
            assert torch.get_num_threads() == asked
    finally:
        torch.set_num_threads(before)
