"""The works when something is lost: a worker, the service, the time, the room."""

from __future__ import annotations

import io
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest
from PIL import Image

from styleatlas.server.works.nouns import Job
from styleatlas.store.errors import DiskFull, Missing
from styleatlas.store.work import SAVE_SECONDS

from .conftest import ENDLESS, LONG, SMILE, Served, serving

PIRATE = {"seeds": [1], "neutral": "a face", "target": "a pirate"}


def begun(served: Served, **given) -> Job:
    """An endless job, in the midst of its work."""
    job = served.submit("optimise", **{**ENDLESS, **given})
    served.until(job, "progress")
    return job


def kinds(served: Served, job: Job) -> list[str]:
    """What happened to a job, but for its progress."""
    return [event.kind for event in served.events(job) if event.kind != "progress"]


def test_job_whose_worker_is_killed_is_done_once_more_and_then_has_failed(tmp_path):
    with serving(tmp_path) as served:
        job = begun(served)
        waiting = served.submit("texts", client="bo", prompts=["a face"])
        first = served.signal_worker(signal.SIGKILL)
        again = served.until(job, "again")
        assert again.data == {"why": "its worker was lost"}
        assert served.ended(waiting).state == "done", "others lose nothing"
        second = served.until(job, "progress", after=again.number)
        assert second.number > again.number
        assert served.signal_worker(signal.SIGKILL) != first
        ended = served.ended(job)
        assert (ended.state, ended.problem.kind, ended.losses) == ("failed", "lost", 1)
        assert kinds(served, job) == ["queued", "started", "again", "started", "failed"]
        assert served.done("edit", seeds=[1], edits=SMILE), "the next worker works"
        assert served.works.health()["counts"]["workers_lost"] == 2


@pytest.mark.long
def test_job_that_is_done_at_the_second_try_is_done(tmp_path):
    with serving(tmp_path) as served:
        job = served.submit("optimise", **{**PIRATE, "steps": 200, "patience": 200})
        served.until(job, "progress")
        served.signal_worker(signal.SIGKILL)
        ended = served.ended(job)
        assert (ended.state, ended.losses) == ("done", 1)
        (picture,) = ended.result["pictures"]
        assert served.file(picture["name"]).stat().st_size


def test_worker_that_does_not_stop_a_job_is_ended_and_replaced(tmp_path):
    with serving(tmp_path, grace=0.5) as served:
        job = begun(served)
        stopped = served.signal_worker(signal.SIGSTOP)
        assert served.call(served.works.cancel(job.id))
        assert served.ended(job).state == "cancelled"
        assert served.done("texts", prompts=["a face"])
        (worker,) = served.works.health()["workers"]
        assert worker["pid"] != stopped


def test_job_that_runs_too_long_has_failed_and_its_worker_stays(tmp_path):
    with serving(tmp_path, seconds=1.0) as served:
        job = served.submit("optimise", **ENDLESS)
        ended = served.ended(job)
        assert (ended.state, ended.problem.kind) == ("failed", "deadline")
        assert ended.problem.mend == "ask for less"
        assert "workers_lost" not in served.works.health()["counts"]


@pytest.mark.long
def test_next_service_goes_on_with_what_was_left(tmp_path):
    with serving(tmp_path) as served:
        done = served.done("edit", seeds=[1], edits=SMILE)
        running = served.submit("optimise", **{**PIRATE, "steps": 100, "patience": 100})
        served.until(running, "started")
        waiting = served.submit("texts", client="bo", key="k", prompts=["a face"])
    with serving(tmp_path) as served:
        assert served.works.job(done.id) == done
        assert served.file(done.result["pictures"][0]["name"]).exists()
        assert served.submit("texts", client="bo", key="k", prompts=["a face"]).id == waiting.id
        assert served.ended(waiting).state == "done"
        ended = served.ended(running)
        assert (ended.state, ended.losses) == ("done", 0), "it was not the job's fault"
        assert kinds(served, running) == ["queued", "started", "again", "started", "done"]


def test_optimisation_goes_on_from_its_saved_state(tmp_path):
    with serving(tmp_path) as served:
        job = begun(served, steps=2000, patience=2000)
        state = tmp_path / "work" / job.id / "optimised.png.work"
        number = 0
        while not state.exists():  # which it is every SAVE_SECONDS
            number = served.until(job, "progress", after=number).number
        seen = served.until(job, "progress", after=number).data["done"]
    assert state.exists() and SAVE_SECONDS < LONG
    with serving(tmp_path) as served:
        again = served.until(job, "again")
        first = served.until(job, "progress", after=again.number).data["done"]
        assert first > 10, f"it did not begin anew, as {seen} were done"
        served.call(served.works.cancel(job.id))
        assert served.ended(job).state == "cancelled"
        assert served.done("texts", prompts=["a face"])
        assert not state.exists(), "nobody wants it any more"


@pytest.mark.long
def test_running_jobs_are_drained_where_there_is_time(tmp_path):
    with serving(tmp_path, drain=LONG) as served:
        job = served.submit("optimise", **{**PIRATE, "steps": 50, "patience": 50})
        served.until(job, "started")
        waiting = served.submit("texts", client="bo", prompts=["a face"])
    with serving(tmp_path) as served:
        assert kinds(served, job) == ["queued", "started", "done"]
        assert kinds(served, waiting) == ["queued", "started", "done"]


def test_jobs_outlive_a_service_that_is_killed_with_its_worker(tmp_path):
    script = f"""
        import asyncio, os, signal
        from pathlib import Path
        from styleatlas.server.works.foreman import Works
        from styleatlas.server.works.nouns import Settings
        from styleatlas.server.bodies import BODIES

        async def main():
            works = await Works.open(Settings("avatars", Path({str(tmp_path)!r}), threads=1))
            await works.loaded()
            for kind, given in (("optimise", {ENDLESS!r}), ("texts", {{"prompts": ["a face"]}})):
                body = BODIES[kind].model_validate(given).plain()
                job = await works.submit(kind, body, "anna")
                print(job.id, flush=True)
                if kind == "optimise":
                    async for event in works.events(job.id):
                        if event.kind == "progress":
                            break
            print(works.health()["workers"][0]["pid"], flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(main())
    """
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, timeout=LONG
    )
    running, waiting, worker = killed.stdout.decode().split()
    assert killed.returncode == -signal.SIGKILL
    with serving(tmp_path) as served:
        served.until(served.works.job(running), "again")
        served.call(served.works.cancel(running))
        assert served.ended(served.works.job(waiting)).state == "done"
        with pytest.raises(ProcessLookupError):
            os.kill(int(worker), 0)


def test_worker_that_needs_too_much_memory_says_so_and_lives(tmp_path):
    """As for a picture of 100 million pixels, in a file of a few hundred kilobytes."""
    file = io.BytesIO()
    Image.new("RGB", (10_000, 10_000)).save(file, "PNG")
    with serving(tmp_path, memory=2**28) as served:
        upload = served.call(served.works.upload(file.getvalue(), "anna"))
        job = served.ended(served.submit("crops", photo=upload.id))
        assert (job.state, job.problem.kind) == ("failed", "memory")
        assert job.problem.mend == "ask for less at once"
        assert served.done("texts", prompts=["a face"])
        assert "workers_lost" not in served.works.health()["counts"]


def test_nothing_is_taken_where_the_disk_is_full(tmp_path):
    with serving(tmp_path, reserve=2**62) as served:
        with pytest.raises(DiskFull, match=r"^disk: of the service has no room; try later"):
            served.submit("texts", prompts=["a face"])
        assert not list((tmp_path / "work").iterdir())


def test_job_whose_end_the_disk_has_no_room_for_is_kept_later(tmp_path):
    with serving(tmp_path) as served:
        table = served.works._table
        job = begun(served)

        def limit(pages: int) -> None:
            table._db.execute(f"PRAGMA max_page_count = {pages}")

        fill = "CREATE TABLE IF NOT EXISTS filling (x BLOB)"
        served.on_loop(lambda: table._db.execute(fill))
        # As on a full disk: what there is can be read, and nothing be added.
        served.on_loop(lambda: limit(1))
        served.on_loop(lambda: _fill(table._db))
        served.call(served.works.cancel(job.id))
        ended = served.ended(job)
        assert ended.state == "cancelled", "who asks is told"
        served.on_loop(lambda: limit(10**6))
        served.call(served.works.tidy())
        assert table.find(job.id).state == "cancelled"
        assert kinds(served, job)[-1] == "cancelled"


def _fill(db) -> None:
    for size in (4000, 400, 40, 4):
        try:
            while True:
                db.execute("INSERT INTO filling VALUES (zeroblob(?))", (size,))
        except sqlite3.OperationalError:
            continue


def test_what_is_older_than_it_is_kept_is_forgotten(tmp_path):
    with serving(tmp_path, keep=0.0) as served:
        job = served.done("edit", seeds=[1], edits=SMILE)
        upload = served.call(served.works.upload(b"a photo", "anna"))
        served.call(served.works.tidy())
        assert served.works.job(job.id) is None
        with pytest.raises(Missing):
            served.file(job.result["pictures"][0]["name"])
        with pytest.raises(Missing):
            served.works.pictures.photo(upload.id)
        assert list((tmp_path / "pictures").iterdir()) == []


@pytest.mark.long
def test_table_that_is_damaged_meanwhile_stops_no_job(tmp_path):
    with serving(tmp_path) as served:
        job = begun(served, steps=300, patience=300)
        served.on_loop(lambda: served.works._table._db.execute("PRAGMA wal_checkpoint(TRUNCATE)"))
        size = (tmp_path / "jobs.sqlite").stat().st_size
        with (tmp_path / "jobs.sqlite").open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))
        served.on_loop(lambda: served.works._table._db.execute("PRAGMA shrink_memory"))
        ended = served.ended(job)
        assert ended.state == "done"
        assert served.file(ended.result["pictures"][0]["name"]).exists()


def test_table_that_is_damaged_costs_no_picture(tmp_path):
    with serving(tmp_path) as served:
        job = served.done("edit", seeds=[1], edits=SMILE)
        name = job.result["pictures"][0]["name"]
    (tmp_path / "jobs.sqlite").write_bytes(b"no table" * 1000)
    with serving(tmp_path) as served:
        assert served.works.job(job.id) is None
        assert served.file(name).exists()
        assert served.done("edit", seeds=[1], edits=SMILE)
