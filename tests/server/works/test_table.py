from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest

from styleatlas.server.works import table as tables
from styleatlas.server.works.nouns import Event, Job, Problem
from styleatlas.server.works.table import Table
from styleatlas.store.errors import DiskFull, KeyReused, ServiceError

JOB = Job("one", "texts", {"prompts": ["a face"]}, "anna", "k", "waiting", 5.0)
QUEUED = Event(1, "queued", {})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.sqlite"


@pytest.fixture
def table(path):
    table = Table(path)
    yield table
    table.close()


def test_job_is_found_as_it_was_put(table):
    assert table.add(JOB, QUEUED) == JOB == table.find("one")
    problem = Problem("refused", "It cannot be done", "seed: is none; give one", "give one")
    ended = replace(JOB, state="failed", started=6.0, ended=7.0, losses=1, problem=problem)
    table.put(ended, Event(2, "failed", {}))
    assert table.find("one") == ended
    assert table.find("another") is None


def test_key_of_a_client_stands_for_one_job(table):
    table.add(JOB, QUEUED)
    again = replace(JOB, id="two", created=9.0)
    assert table.add(again, QUEUED) == JOB == table.by_key("anna", "k")
    assert table.find("two") is None
    other = replace(again, client="bo")
    assert table.add(other, QUEUED) == other, "another client's key is another key"
    for changed in ({"body": {"prompts": ["a hat"]}}, {"kind": "samples"}):
        with pytest.raises(KeyReused, match=r"^Idempotency-Key: .*; give each its own$"):
            table.add(replace(again, id="three", **changed), QUEUED)


def test_jobs_without_keys_are_all_their_own(table):
    for name in ("a", "b"):
        table.add(replace(JOB, id=name, key=None), QUEUED)
    assert {job.id for job in table.left()} == {"a", "b"}


def test_events_come_in_their_order_and_the_last_ones_are_kept(table, monkeypatch):
    monkeypatch.setattr(tables, "_KEPT", 3)
    table.add(JOB, QUEUED)
    for number in range(2, 7):
        table.put(JOB, Event(number, "progress", {"done": number}))
    assert [event.number for event in table.events("one", 0)] == [4, 5, 6]
    assert table.events("one", 5) == [Event(6, "progress", {"done": 6})]
    assert table.last_number("one") == 6 and table.last_number("another") == 0


def test_job_that_is_forgotten_takes_its_events_along(table):
    table.add(JOB, QUEUED)
    table.remove("one")
    assert table.find("one") is None and table.events("one", 0) == []


def test_jobs_are_found_by_what_they_were_made_of(table):
    bodies = {"a": {"photo": "p"}, "b": {"latents": "p", "photo": None}, "c": {"photo": "q"}}
    for name, body in bodies.items():
        table.add(replace(JOB, id=name, key=None, body=body), QUEUED)
    assert {job.id for job in table.of_input("p")} == {"a", "b"}


def test_what_is_left_to_do_comes_oldest_first(table):
    for name, state, when in (("b", "running", 2.0), ("a", "waiting", 1.0), ("c", "done", 0.0)):
        table.add(replace(JOB, id=name, key=None, state=state, created=when), QUEUED)
    assert [job.id for job in table.left()] == ["a", "b"]


@pytest.mark.parametrize(
    ("before", "most", "left"),
    [(2.0, 9, "c d e"), (-1.0, 3, "b c d e"), (1.5, 2, "c d e"), (9.0, 9, "e"), (-1.0, 0, "e")],
)
def test_jobs_that_ended_long_ago_or_beyond_a_number_are_forgotten(
    table, monkeypatch, before, most, left
):
    monkeypatch.setattr(tables, "_AT_ONCE", 1)
    for when, name in enumerate("abcd", 1):
        job = replace(JOB, id=name, key=None, state="done", ended=float(when))
        table.add(job, QUEUED)
    table.add(replace(JOB, id="e", key=None), QUEUED)
    table.forget(before, most)
    assert " ".join(name for name in "abcde" if table.find(name)) == left


def test_questions_of_a_large_table_go_by_its_indexes(table):
    asked: list[str] = []
    table._db.set_trace_callback(asked.append)
    table.of_input("p")
    table.forget(5.0, 3)
    table._db.set_trace_callback(None)
    for query in asked:
        if query.startswith(("SELECT", "DELETE")):
            plan = table._db.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()
            told = "; ".join(str(step[-1]) for step in plan)
            assert "INDEX" in told and "SCAN jobs;" not in f"{told};", f"{query}: {told}"


def test_job_that_was_added_outlives_a_process_that_is_killed_at_once(path):
    script = f"""
        import os, signal
        from pathlib import Path
        from styleatlas.server.works.nouns import Event, Job
        from styleatlas.server.works.table import Table
        job = Job("one", "texts", {{"prompts": ["a face"]}}, "anna", "k", "waiting", 5.0)
        Table(Path({str(path)!r})).add(job, Event(1, "queued", {{}}))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], timeout=300)
    assert done.returncode == -signal.SIGKILL
    table = Table(path)
    assert table.left() == [JOB] and table.set_aside is None
    table.close()


def garbage(path) -> None:
    path.write_bytes(b"this is no table" * 1000)


def hole(path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))


def cut(path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("spoil", [garbage, hole, cut])
def test_damaged_table_is_set_aside_and_a_new_one_begun(path, spoil):
    table = Table(path)
    for i in range(50):
        table.add(replace(JOB, id=str(i), key=None), QUEUED)
    table.close()
    spoil(path)
    spoilt = path.read_bytes()
    table = Table(path)
    (aside,) = path.parent.glob("jobs.sqlite.damaged-*")
    assert aside.read_bytes() == spoilt, "nothing of it is lost"
    assert table.set_aside.startswith(f"{path}: is damaged (")
    assert f"set aside as {aside.name}" in table.set_aside
    assert table.left() == []
    assert table.add(JOB, QUEUED) == JOB
    table.close()


def test_table_of_a_newer_version_is_refused_and_left_alone(path):
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(ServiceError, match=r"is of a newer StyleAtlas .version 99"):
        Table(path)
    assert path.read_bytes() == before


def test_table_of_an_older_version_is_brought_to_this_one(path, monkeypatch):
    Table(path).close()
    more = (*tables._MIGRATIONS, "ALTER TABLE jobs ADD COLUMN colour TEXT;")
    monkeypatch.setattr(tables, "_MIGRATIONS", more)
    Table(path).close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (len(more),)
    assert db.execute("SELECT colour FROM jobs").fetchall() == []
    db.close()


def test_job_that_the_disk_has_no_room_for_is_refused_and_others_stay(table):
    table.add(JOB, QUEUED)
    pages = table._db.execute("PRAGMA page_count").fetchone()[0]
    table._db.execute(f"PRAGMA max_page_count = {pages}")  # as a full disk has it
    large = replace(JOB, id="large", key=None, body={"prompts": ["x" * 10**6]})
    with pytest.raises(DiskFull, match=r"^disk: the job cannot be kept .*; try later"):
        table.add(large, QUEUED)
    assert table.find("large") is None and table.find("one") == JOB
    table._db.execute("PRAGMA max_page_count = 1000000")
    assert table.add(large, QUEUED) == large
