"""The works: takes jobs, hands them to workers, and keeps what comes of them. Without torch."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...store.errors import DiskFull, QueueFull, ServiceError, TooMany, WorkerError
from .book import Book
from .floor import Floor
from .nouns import INPUTS, Event, Job, Kind, Settings, Upload
from .pictures import LATENTS, Pictures, forget_files, linked, token
from .session import LiveSession
from .table import Table
from .turns import Turns

_LOG = logging.getLogger("styleatlas.server")
_TIDIED_EVERY = 60.0  # seconds
_CACHE = 2**26  # bytes of remembered embeddings of prompts


class Works:
    """The service below HTTP, in one event loop; `open` makes it.

    Attributes:
        pictures: what is handed out.
    """

    def __init__(self, settings: Settings, table: Table, lock: FileLock) -> None:
        folder = settings.folder.absolute()
        self._settings, self._limits = settings, settings.limits
        self._table, self._lock = table, lock
        self._turns = Turns(settings.limits.together)
        self._book = Book(table, self._turns.place)
        self._work, self._cache = folder / "work", folder / "cache"
        self.pictures = Pictures(folder / "pictures", settings.limits)
        self._floor = Floor(settings, self._book, self._turns, self.pictures, self._work)
        self._uploads: dict[str, list[Upload]] = {}  # by client, since this service began
        self._numbers = count(1)  # of live sessions
        self._closing = False
        self._tidying = asyncio.create_task(self._tidy_now_and_then())

    @classmethod
    async def open(cls, settings: Settings) -> Works:
        """Takes up a folder, and what was left to do in it; workers load in the background.

        Raises:
            ServiceError: another service is at work there, or it is of a newer StyleAtlas.
        """
        folder = settings.folder.absolute()
        lock = FileLock(folder / "lock")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # photos are nobody else's
            for part in ("work", "pictures", "cache"):
                (folder / part).mkdir(exist_ok=True)
            lock.acquire(blocking=False)
        except Timeout as error:
            raise ServiceError(
                f"{folder}: another service is at work here; end it, or name another --folder"
            ) from error
        except OSError as error:
            raise ServiceError(
                f"{folder}: cannot be used ({error.strerror or error}); name another --folder"
            ) from error
        table = Table(folder / "jobs.sqlite")
        if table.set_aside:
            _LOG.error(table.set_aside)
        works = cls(settings, table, lock)
        works._take_up()
        return works

    async def drain(self, seconds: float) -> None:
        """Takes nothing more, and gives running jobs some seconds."""
        self._closing = True
        self._floor.rest()
        for session in list(self._floor.sessions.values()):
            await session.close()
        await asyncio.gather(*(self._book.ended(job, seconds) for job in self._floor.running))

    async def close(self) -> None:
        """Takes nothing more, and lets go of all. What still runs or waits is taken up by the next
        service of this folder."""
        await self.drain(0.0)
        self._tidying.cancel()
        await self._floor.close()
        self._book.close()
        self._table.close()
        self._lock.release()

    @property
    def ready(self) -> bool:
        """Whether a worker is there."""
        return self._floor.ready

    async def loaded(self) -> None:
        """Waits until a worker is there.

        Raises:
            WorkerError: the models cannot be loaded, and why.
        """
        await self._floor.loaded.wait()
        if self._floor.broken is not None:
            raise WorkerError(self._floor.broken)

    def health(self) -> dict[str, Any]:
        """How the works are, as JSON values; `counts` of what happened since they opened."""
        workers = [
            {"device": hand.device, "pid": hand.pid, "state": hand.state, "jobs": len(hand.jobs)}
            for hand in self._floor.hands
        ]
        return {
            "ready": self.ready,
            "workers": workers,
            "waiting": len(self._turns),
            "running": len(self._floor.running),
            "sessions": len(self._floor.sessions),
            "bytes": self.pictures.size,
            "counts": dict(self._floor.counts),
        }

    async def submit(
        self, kind: Kind, body: dict[str, Any], client: str, key: str | None = None
    ) -> Job:
        """Takes a job, which is on the disk when this returns.

        Args:
            body: JSON values that the kind's model accepts.
            client: whose job it is; each has its turns.
            key: by which a repeated request is known: it makes no second job.

        Raises:
            QueueFull, TooMany, KeyReused, DiskFull: it is not taken.
            Missing: there is no such photo, or no such latents.
        """
        job = Job(token(), kind, body, client, key, "waiting", time.time())
        # A client that hangs up now must not leave a job in the table that nobody works on.
        return await asyncio.shield(self._take_in(job))

    async def _take_in(self, job: Job) -> Job:
        # From here to where the book has it nothing else runs, so that many at once are counted.
        if job.key is None or self._table.by_key(job.client, job.key) is None:
            self._require_place(job.client)
        folder = self._work / job.id
        try:
            self._equip(job, folder)
            kept = await self._book.add(job)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if kept.id == job.id:
            self._turns.add(job)
            self._floor.dispatch()
        else:
            shutil.rmtree(folder, ignore_errors=True)
        return self.job(kept.id) or kept

    def _require_open(self) -> None:
        if self._closing:
            raise QueueFull("service: is ending; try again in a minute")

    def _require_place(self, client: str) -> None:
        self._require_open()
        if (waiting := len(self._book.open())) >= self._limits.waiting:
            raise QueueFull(f"queue: {waiting} jobs wait; try again in a minute")
        if (own := len(self._book.open(client))) >= self._limits.each:
            raise TooMany(f"jobs: {own} of yours wait or run; wait for one, or cancel it")
        self.pictures.require_room()

    def _equip(self, job: Job, folder: Path) -> None:
        """Makes a job's folder, with what it is made of: that may be forgotten before its turn."""
        photo, latents = self.pictures.photo, self.pictures.latents
        find = {"photo": photo, "latents": latents, "mask": photo}
        try:
            folder.mkdir()
            for name, file in INPUTS.items():
                if given := job.body.get(name):
                    linked(find[name](given), folder / file)
        except OSError as error:
            raise DiskFull(f"disk: the job cannot be kept ({error.strerror}); try later") from error

    def _take_up(self) -> None:
        """What an earlier service left to do; folders of jobs that are none any more go."""
        left = self._book.open()
        known = {job.id for job in left}
        for folder in self._work.iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)
        for job in left:
            (self._work / job.id).mkdir(exist_ok=True)
            if job.state == "running":
                job = replace(job, state="waiting")
                self._book.note(job, "again", why="the service was started again")
            self._turns.add(job)

    def job(self, job: str) -> Job | None:
        """As it stands; None where there is none, or not any more."""
        return self._book.find(job)

    async def keyed(self, client: str, key: str) -> Job | None:
        """The job that a client's key stands for already."""
        return await asyncio.to_thread(self._table.by_key, client, key)

    async def ended(self, job: str, seconds: float) -> Job:
        """A job once it has ended, or as it stands after some seconds.

        Raises:
            Missing: there is no such job.
        """
        return await self._book.ended(job, seconds)

    def events(self, job: str, after: int = 0) -> AsyncIterator[Event]:
        """What happened to a job after the event of a number, and what happens, until it ends or
        the works are closed. See `Event`.

        Raises:
            Missing: there is no such job.
        """
        return self._book.events(job, after)

    async def cancel(self, job: str) -> bool:
        """Stops a job; whether there was anything to stop."""
        found = self._book.find(job)
        if found is None or found.has_ended:
            return False
        self._floor.stop(job, None)
        return True

    async def forget(self, name: str) -> bool:
        """Ends a job and its pictures; or a photo, or latents, and all that was made of them.
        Whether there was anything."""
        there = self.pictures.remove_photo(name)
        there |= self.pictures.remove(f"{name}{LATENTS}")
        if (job := self._book.find(name)) is not None:
            there = True
            if await self.cancel(name):
                job = await self.ended(name, 2 * self._limits.grace)
            made = job.result or {}
            for picture in made.get("pictures", ()):
                self.pictures.remove(picture["name"])
            self._book.remove(name)
            if "latents" in made:
                await self.forget(made["latents"])
        for made_of_it in await asyncio.to_thread(self._table.of_input, name):
            there |= await self.forget(made_of_it.id)
        return there

    async def upload(self, content: bytes | AsyncIterable[bytes], client: str) -> Upload:
        """Takes in a photo, without a look into it.

        Raises:
            TooLarge, TooMany, DiskFull: it is not taken.
        """
        own = self._uploads[client] = self._kept_uploads(client)
        if (held := sum(upload.bytes for upload in own)) >= self._limits.photos:
            raise TooMany(f"photos: yours have {held // 2**20} MiB; delete some that are done with")
        upload = await self.pictures.receive(content)
        own.append(upload)
        return upload

    def _kept_uploads(self, client: str) -> list[Upload]:
        return [one for one in self._uploads.get(client, ()) if self.pictures.has_photo(one.id)]

    async def live(self, client: str, start: dict[str, Any]) -> LiveSession:
        """Opens a live session, see `live.Session`; its images are of `seeds` or `latents`.

        Raises:
            TooMany: there are as many as there may be.
            Missing: there are no such latents.
            QueueFull: the service is ending.
        """
        self._require_open()
        sessions = self._floor.sessions.values()
        if len(sessions) >= self._limits.sessions:
            raise TooMany(f"sessions: are {len(sessions)}; try again later")
        own = sum(session.client == client for session in sessions)
        if own >= self._limits.sessions_each:
            raise TooMany(f"sessions: {own} of yours are open; close one")
        given = start.get("latents")
        path = None if given is None else self.pictures.latents(given)
        number, leave = next(self._numbers), self._floor.leave
        session = LiveSession(number, client, start, path, leave, self._limits.frame)
        self._floor.sessions[session.number] = session
        self._floor.place_sessions()
        return session

    async def tidy(self) -> None:
        """Forgets what is older than it is kept, and keeps what the disk had no room for; done
        every minute."""
        before = time.time() - self._settings.keep
        self._book.keep_again()
        self.pictures.forget_before(before)
        await asyncio.to_thread(self._table.forget, before, self._limits.remembered)
        self._uploads = {one: own for one in self._uploads if (own := self._kept_uploads(one))}
        forget_files(self._cache, before, _CACHE)

    async def _tidy_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_TIDIED_EVERY)
            try:
                await self.tidy()
            except (OSError, ServiceError) as error:
                _LOG.error("tidying: %s", error)
