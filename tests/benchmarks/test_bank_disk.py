"""A bank on disk, a small one: its phrases and what becomes of them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from styleatlas import load_encoder

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import bank_disk
from bank_disk import Composed, DiskBank, SharedBeginnings, searched

SUBJECTS = ("a face", "an old face")
THINGS = ("glasses", "a red hat", "long hair", "a beard", "blue eyes", "a scarf", "a big smile")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("avatars", "cpu")


@pytest.fixture
def phrases(monkeypatch) -> Composed:
    monkeypatch.setattr(bank_disk, "PREFIXES", 10)
    monkeypatch.setattr(bank_disk, "CHECKED", 20)
    return Composed(SUBJECTS, THINGS)


def test_phrases_are_different_and_all_in_some_chunk(phrases):
    chunks = phrases.chunks_for(200)
    assert (phrases.rows, chunks) == (50, 4)
    texts = [text for chunk in range(chunks) for text in phrases.texts(chunk)]
    assert len(set(texts)) == len(texts) == 200
    assert "an old face with glasses, a red hat and a beard" in texts
    with pytest.raises(SystemExit, match="211 rows: there are no more than 42"):
        phrases.chunks_for(211)


def test_embeddings_by_shared_beginnings_are_those_of_whole_texts(encoder):
    begin, ends = "a young face with glasses, a red hat and", list(THINGS[2:])
    found = SharedBeginnings(encoder).embed(begin, ends)
    whole = encoder.texts([f"{begin} {end}" for end in ends]).numpy()
    assert np.abs(found - whole).max() < 1e-5


def test_bank_goes_on_where_it_was_and_finds_what_is_nearest(
    tmp_path, phrases, encoder, monkeypatch
):
    bank = DiskBank(tmp_path, 200, phrases, encoder)
    bank._timed("embed 0", lambda: bank._embed(0))
    first = (tmp_path / "rows-0000.npy").stat().st_mtime_ns
    said: list[str] = []
    bank.make(said.append)
    assert (tmp_path / "rows-0000.npy").stat().st_mtime_ns == first, "made once"
    assert said[0] == "embedded chunk 2 of 4"
    told = bank.told()
    assert (told["rows"], told["lists"]) == (200, 16)
    asked = bank._centred(2)[7:12]
    assert (bank.exact(asked, 1)[:, 0] == 100 + np.arange(7, 12)).all()
    monkeypatch.setattr(bank_disk, "PROBES", (16,))
    (row,) = searched(bank, asked)
    assert row["recall@10"] == row["recall@100"] == 1.0, "all lists were read"
    assert not list(tmp_path.rglob("part-*")) and not list(tmp_path.rglob("new-*"))
