"""Jobs as they stand now, above the table that keeps them; and who waits for news of one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import Any

from ...store.errors import DiskFull, Missing
from .nouns import ENDED, Event, Job
from .table import Table

_LOG = logging.getLogger("styleatlas.server")


class Book:
    """The jobs of a service. Those that have not ended are held here, all others in the table.

    Where the disk is full, work goes on with what is held, and the table is told later.

    Args:
        place: of a job among those that wait.
    """

    def __init__(self, table: Table, place: Callable[[Job], int]) -> None:
        self._table, self._place = table, place
        self._held = {job.id: job for job in table.left()}
        self._numbers = {job: table.last_number(job) for job in self._held}
        self._unkept: dict[str, Event] = {}
        self._listeners: dict[str, set[asyncio.Event]] = {}
        self._followers: dict[str, set[asyncio.Event]] = {}  # who want to know places, too
        self._closed = False

    def open(self, client: str | None = None) -> list[Job]:
        """Jobs that have not ended, of a client or of all, the oldest first."""
        held = (job for job in self._held.values() if not job.has_ended)
        return [job for job in held if client in (None, job.client)]

    def find(self, job: str) -> Job | None:
        """By its id, as it stands."""
        held = self._held.get(job)
        return self._table.find(job) if held is None else replace(held, place=self._place(held))

    async def add(self, job: Job) -> Job:
        """Keeps a new job; or finds that which the client's key stands for already. See
        `Table.add`."""
        self._held[job.id] = job  # so that it counts from now on
        try:
            kept = await asyncio.to_thread(self._table.add, job, Event(1, "queued", {}))
        except BaseException:
            del self._held[job.id]
            raise
        if kept.id == job.id:
            self._numbers[job.id] = 1
        else:
            del self._held[job.id]
        return kept

    def note(self, job: Job, kind: str, **data: Any) -> None:
        """A job as it now stands, and what happened to it."""
        self._held[job.id] = job
        event = Event(self._numbers[job.id] + 1, kind, data)
        try:
            self._table.put(job, event)
        except DiskFull as error:
            _LOG.error("job %s: %s is not kept yet: %s", job.id[:6], kind, error)
            if job.has_ended:
                self._unkept[job.id] = event
        else:
            self._numbers[job.id] += 1
            if job.has_ended:
                del self._held[job.id], self._numbers[job.id]
        self.wake(job.id)

    def keep_again(self) -> None:
        """Tells the table how jobs ended, where the disk was full at the time."""
        for job, event in list(self._unkept.items()):
            with suppress(DiskFull):
                self._table.put(self._held[job], event)
                del self._unkept[job], self._held[job], self._numbers[job]

    def remove(self, job: str) -> None:
        """Forgets one that has ended."""
        for held in (self._unkept, self._held, self._numbers):
            held.pop(job, None)
        self._table.remove(job)
        self.wake(job)

    def wake(self, job: str) -> None:
        """Who waits for news of a job."""
        for news in (*self._listeners.get(job, ()), *self._followers.get(job, ())):
            news.set()

    def move(self) -> None:
        """Places have changed."""
        for job in self._followers:
            if job in self._held:
                self.wake(job)

    def close(self) -> None:
        """Nothing more happens; who waits is told."""
        self._closed = True
        for job in {*self._listeners, *self._followers}:
            self.wake(job)

    async def events(self, job: str, after: int = 0) -> AsyncIterator[Event]:
        """What happened to a job after the event of a number, and what happens, until it ends.

        Raises:
            Missing: there is no such job.
        """
        if self.find(job) is None:
            raise Missing("job: there is none of this id, or not any more")
        told_place = None
        with _registered(self._followers, job) as news:
            while not self._closed:
                news.clear()
                now = self.find(job)  # before its events: of one that has ended, all are there
                if now is None:
                    return
                for event in self._since(job, after):
                    after = event.number
                    told_place = now.place if event.kind == "queued" else None
                    yield _filled(event, now)
                if now.has_ended:
                    return
                if now.state == "waiting" and now.place != told_place:
                    told_place = now.place
                    yield Event(1, "queued", {"place": now.place})
                await news.wait()

    async def ended(self, job: str, seconds: float) -> Job:
        """A job once it has ended, or as it stands after some seconds.

        Raises:
            Missing: there is no such job.
        """
        until = time.monotonic() + seconds
        with _registered(self._listeners, job) as news:
            while True:
                news.clear()
                now = self.find(job)
                if now is None:
                    raise Missing("job: there is none of this id, or not any more")
                left = until - time.monotonic()
                if now.has_ended or self._closed or left <= 0:
                    return now
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(news.wait(), left)

    def _since(self, job: str, after: int) -> list[Event]:
        """Events of higher numbers; the table is asked only where there are any."""
        if self._numbers.get(job) == after and job not in self._unkept:
            return []
        late = [event for event in (self._unkept.get(job),) if event and event.number > after]
        return self._table.events(job, after) + late


@contextmanager
def _registered(waiting: dict[str, set[asyncio.Event]], job: str) -> Iterator[asyncio.Event]:
    """What is set when there is news of a job, while this lasts."""
    news = asyncio.Event()
    waiting.setdefault(job, set()).add(news)
    try:
        yield news
    finally:
        waiting[job].discard(news)
        if not waiting[job]:
            del waiting[job]


def _filled(event: Event, job: Job) -> Event:
    """An event with what the job itself tells, which is kept once."""
    if event.kind == "queued":
        return replace(event, data={"place": job.place})
    if event.kind not in ENDED:
        return event
    problem = None if job.problem is None else asdict(job.problem)
    return replace(event, data={"result": job.result, "problem": problem})
