"""cache: what is remembered of photos and texts. Files of the Hub: `test_hub.py`."""

from __future__ import annotations

import json

import numpy as np
import pytest

from styleatlas.store.cache import InversionCache, TextCache, texts_folder
from styleatlas.store.fingerprint import ModelIdentity

NO_FILES = "files of the Hub: 0, 0.0 MB\n"


def test_what_is_remembered_of_photos_is_listed_and_forgotten(answer):
    folder, texts = InversionCache().folder, f"{texts_folder()}: 0 texts"
    nothing = f"{folder}: 0 inversions, 0.0 MB\n{texts}, 0.0 MB\n{NO_FILES}"
    assert answer("cache", "list") == nothing
    assert answer("cache", "clear") == f"{folder}: 0 inversions forgotten\n{texts} forgotten\n"
    for key in ("a" * 64, "b" * 64):
        InversionCache().remember(key, {"styles": np.zeros(1000, np.float32)})
    first, *rows = answer("cache", "list").splitlines()
    assert first == f"{folder}: 2 inversions, 0.0 MB" and len(rows) == 4
    assert all(row.endswith(("a" * 16, "b" * 16)) and " kB  " in row for row in rows[:2])
    told = json.loads(answer("cache", "list", "--json"))
    assert told["bytes"] == sum(one["bytes"] for one in told["inversions"]) > 8000
    assert {one["key"] for one in told["inversions"]} == {"a" * 64, "b" * 64}
    assert answer("cache", "clear").startswith(f"{folder}: 2 inversions forgotten\n")
    assert json.loads(answer("cache", "list", "--json"))["inversions"] == []


def test_texts_are_counted_and_forgotten_apart(answer):
    cache = TextCache(ModelIdentity("clip", "0" * 64, {}), ("{}",), 4)
    vector = np.array([1, 0, 0, 0], np.float32)
    for text in ("a face", "a hat"):
        cache.remember(text, vector)
    InversionCache().remember("a" * 64, {"styles": np.zeros(1000, np.float32)})
    told = json.loads(answer("cache", "list", "--json"))["texts"]
    assert told == {"folder": str(texts_folder()), "bytes": 32, "count": 2}
    assert answer("cache", "clear", "texts") == f"{texts_folder()}: 2 texts forgotten\n"
    assert cache.find("a face") is None and InversionCache().find("a" * 64) is not None
    cache.remember("a face", vector)
    answer("cache", "clear")
    assert cache.find("a face") is None and InversionCache().find("a" * 64) is None


@pytest.mark.parametrize("kind", ["everything", "Hub"])
def test_a_kind_that_is_none_is_wrong_usage(run, kind):
    assert run("cache", "clear", kind).exit_code == 2
