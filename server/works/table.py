"""The table of jobs: one SQLite file that outlives the service, and whoever is killed at it."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...store.errors import DiskFull, KeyReused, ServiceError
from .nouns import INPUTS, Event, Job, Problem

_MIGRATIONS = (
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, body TEXT NOT NULL, client TEXT NOT NULL,
        key TEXT, state TEXT NOT NULL, created REAL NOT NULL, started REAL, ended REAL,
        losses INTEGER NOT NULL, result TEXT, problem TEXT, UNIQUE (client, key)
    );
    CREATE INDEX jobs_by_state ON jobs (state, created);
    CREATE TABLE events (
        job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, number INTEGER NOT NULL,
        kind TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (job, number)
    ) WITHOUT ROWID;
    """,
    "CREATE INDEX jobs_by_end ON jobs (ended);"
    + "".join(
        f" CREATE INDEX jobs_by_{part} ON jobs (json_extract(body, '$.{part}'));"
        for part in ("photo", "latents", "mask")
    ),
)
"""What leads from each version of the table to the next; the version is how many were made."""
_KEPT = 200
"""Events of a job, the last ones."""
_AT_ONCE = 500
"""Jobs that are forgotten in one go."""
_COLUMNS = (
    *("id", "kind", "body", "client", "key", "state"),
    *("created", "started", "ended", "losses", "result", "problem"),
)
_PUT = f"""
    INSERT INTO jobs ({", ".join(_COLUMNS)}) VALUES ({", ".join("?" * len(_COLUMNS))})
    ON CONFLICT (id) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[5:])}
"""


class Table:
    """The jobs there are and were, with their events. Every method may be called by any thread.

    A job that was added is on the disk when the call returns. What becomes of it outlives this
    process, but maybe not a loss of power, after which it is done again.

    Args:
        path: the file; a new one is begun where there is none. One that is damaged is set aside
            beside it, and `set_aside` says so.

    Raises:
        ServiceError: it is of a newer StyleAtlas, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self.set_aside: str | None = None
        try:
            self._db = self._opened()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # no place for a file, or no access
                raise ServiceError(f"{path}: cannot be opened ({error}); check it") from error
            self._put_aside(error)
            self._db = self._opened()

    def _opened(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            (sound,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if sound != "ok":
                raise sqlite3.DatabaseError(sound)
            self._migrate(db)
            db.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            db.close()
            raise
        return db

    def _migrate(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > len(_MIGRATIONS):
            raise ServiceError(
                f"{self._path}: is of a newer StyleAtlas (version {version} of the table); serve "
                "this folder by that one, or name another --folder"
            )
        db.execute("PRAGMA journal_mode = WAL")
        for number, script in enumerate(_MIGRATIONS[version:], version + 1):
            db.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT")

    def _put_aside(self, error: sqlite3.DatabaseError) -> None:
        """Moves a damaged table and its journals out of the way."""
        aside = self._path.with_name(f"{self._path.name}.damaged-{time.time_ns()}")
        for suffix in ("", "-wal", "-shm"):
            part = self._path.with_name(self._path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        self.set_aside = (
            f"{self._path}: is damaged ({error}) and was set aside as {aside.name}; a new one is "
            "begun: its jobs are forgotten, pictures are still handed out"
        )

    def close(self) -> None:
        """Lets go of the file."""
        with self._lock:
            self._db.close()

    def add(self, job: Job, event: Event) -> Job:
        """A new job; or that which the client's key stands for already.

        Raises:
            KeyReused: it stands for another one.
            DiskFull: there is no room.
        """
        with self._lock:
            if job.key is not None and (known := self._by_key(job.client, job.key)):
                if (known.kind, known.body) != (job.kind, job.body):
                    raise KeyReused(
                        "Idempotency-Key: stands for another request already; give each its own"
                    )
                return known
            with self._transaction(durable=True):
                self._put(job)
                self._tell(job.id, event)
        return job

    def put(self, job: Job, event: Event) -> None:
        """A job as it now stands, and what happened to it.

        Raises:
            DiskFull: there is no room; nothing of it is kept.
        """
        with self._lock, self._transaction(durable=False):
            self._put(job)
            self._tell(job.id, event)

    def by_key(self, client: str, key: str) -> Job | None:
        """The job that a client's key stands for."""
        with self._lock:
            return self._by_key(client, key)

    def find(self, job: str) -> Job | None:
        """By its id."""
        with self._lock:
            row = self._db.execute("SELECT * FROM jobs WHERE id = ?", (job,)).fetchone()
        return None if row is None else _job(row)

    def left(self) -> list[Job]:
        """Jobs that have not ended, the oldest first."""
        return self._all("state IN ('waiting', 'running') ORDER BY created, rowid")

    def forget(self, before: float, most: int) -> None:
        """Forgets jobs that had ended by then, and the oldest of those that have ended beyond so
        many; some at a time, so that others get their turns."""
        beyond = "SELECT ended FROM jobs WHERE ended NOT NULL ORDER BY ended DESC LIMIT 1 OFFSET ?"
        some = f"SELECT id FROM jobs WHERE ended <= ? LIMIT {_AT_ONCE}"
        with self._lock:
            found = self._db.execute(beyond, (most,)).fetchone()
        last, gone = max(before, *found) if found else before, 1
        while gone:
            with self._lock, self._transaction(durable=False):
                gone = self._db.execute(f"DELETE FROM jobs WHERE id IN ({some})", (last,)).rowcount

    def of_input(self, name: str) -> list[Job]:
        """Jobs that were asked of a photo, of latents or by a mask."""
        return self._all(
            " OR ".join(f"json_extract(body, '$.{part}') = ?1" for part in INPUTS), name
        )

    def remove(self, job: str) -> None:
        """Forgets a job and its events."""
        with self._lock, self._transaction(durable=False):
            self._db.execute("DELETE FROM jobs WHERE id = ?", (job,))

    def events(self, job: str, after: int) -> list[Event]:
        """Of a job, in their order, those of higher numbers."""
        query = "SELECT number, kind, data FROM events WHERE job = ? AND number > ? ORDER BY number"
        with self._lock:
            rows = self._db.execute(query, (job, after)).fetchall()
        return [Event(number, kind, json.loads(data)) for number, kind, data in rows]

    def last_number(self, job: str) -> int:
        """Of a job's events; 0 without any."""
        query = "SELECT coalesce(max(number), 0) FROM events WHERE job = ?"
        with self._lock:
            (number,) = self._db.execute(query, (job,)).fetchone()
        return int(number)

    def _all(self, where: str, *values: object) -> list[Job]:
        with self._lock:
            rows = self._db.execute(f"SELECT * FROM jobs WHERE {where}", values).fetchall()
        return [_job(row) for row in rows]

    def _by_key(self, client: str, key: str) -> Job | None:
        query = "SELECT * FROM jobs WHERE client = ? AND key = ?"
        row = self._db.execute(query, (client, key)).fetchone()
        return None if row is None else _job(row)

    def _put(self, job: Job) -> None:
        values = asdict(job)
        for name in ("body", "result", "problem"):
            values[name] = None if values[name] is None else _json(values[name])
        self._db.execute(_PUT, [values[name] for name in _COLUMNS])

    def _tell(self, job: str, event: Event) -> None:
        row = (job, event.number, event.kind, _json(event.data))
        self._db.execute("INSERT INTO events VALUES (?, ?, ?, ?)", row)
        forgotten = (job, event.number - _KEPT)
        self._db.execute("DELETE FROM events WHERE job = ? AND number <= ?", forgotten)

    @contextmanager
    def _transaction(self, durable: bool) -> Iterator[None]:
        # In WAL mode NORMAL leaves a commit to the system's memory, FULL waits for the disk.
        self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if type(error) in (sqlite3.OperationalError, sqlite3.DatabaseError):  # full, damaged
                raise DiskFull(
                    f"disk: the job cannot be kept ({error}); try later, or tell who runs the "
                    "service to free some"
                ) from error
            raise


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _job(row: tuple[Any, ...]) -> Job:
    values = dict(zip(_COLUMNS, row, strict=True))
    for name in ("body", "result", "problem"):
        values[name] = None if values[name] is None else json.loads(values[name])
    if values["problem"] is not None:
        values["problem"] = Problem(**values["problem"])
    return Job(**values)
