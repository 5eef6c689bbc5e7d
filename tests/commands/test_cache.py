"""cache: what is remembered of photos."""

from __future__ import annotations

import json

import numpy as np

from styleatlas.store.cache import InversionCache


def test_what_is_remembered_is_listed_and_forgotten(answer):
    folder = InversionCache().folder
    assert answer("cache", "list") == f"{folder}: 0 inversions, 0.0 MB\n"
    assert answer("cache", "clear") == f"{folder}: 0 inversions forgotten\n"
    for key in ("a" * 64, "b" * 64):
        InversionCache().remember(key, {"styles": np.zeros(1000, np.float32)})
    first, *rows = answer("cache", "list").splitlines()
    assert first == f"{folder}: 2 inversions, 0.0 MB" and len(rows) == 2
    assert all(row.endswith(("a" * 16, "b" * 16)) and " kB  " in row for row in rows)
    told = json.loads(answer("cache", "list", "--json"))
    assert told["bytes"] == sum(one["bytes"] for one in told["inversions"]) > 8000
    assert {one["key"] for one in told["inversions"]} == {"a" * 64, "b" * 64}
    assert answer("cache", "clear") == f"{folder}: 2 inversions forgotten\n"
    assert json.loads(answer("cache", "list", "--json"))["inversions"] == []
