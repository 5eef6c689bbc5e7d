"""The floor of the works: its workers, what each is at, and what becomes of that."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...store.errors import WorkerError
from .book import Book
from .hand import Hand
from .nouns import INVERSIONS, Frame, Job, Problem, Settings, State
from .pictures import Pictures
from .session import LiveSession
from .turns import Turns
from .wire import Message

_LOG = logging.getLogger("styleatlas.server")
_SETTLED, _LONGEST_WAIT = 60.0, 60.0
"""Seconds after which the loss of a worker tells nothing of the next one; and that pass at most
between the start of two."""
_ENDING = 5.0  # seconds a worker has to go when it is let go
_DEADLINE = Problem(
    "deadline", "It took too long", "job: ran longer than a job may; ask for less", "ask for less"
)
_LOST = Problem(
    "lost",
    "Its worker was lost, twice",
    "job: the process that was at it was lost, and so was the next one; ask for less at once, or "
    "tell who runs the service",
    "ask for less at once",
)
_FULL = Problem(
    "disk",
    "The disk is full",
    "disk: of the service has no room for what came of the job; try later",
    "try later",
)


class Floor:
    """Keeps a worker at every device, gives jobs to those that are idle, and books what comes of
    them.

    Args:
        work: the folder with a folder for every job.

    Attributes:
        hands: the workers there are.
        sessions: live ones, by their numbers.
        counts: of what happened.
    """

    def __init__(
        self, settings: Settings, book: Book, turns: Turns, pictures: Pictures, work: Path
    ) -> None:
        self._settings, self._limits = settings, settings.limits
        self._book, self._turns, self._pictures, self._work = book, turns, pictures, work
        self._stopping: dict[str, Problem | None] = {}  # why; None where it is cancelled
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.hands: list[Hand] = []
        self.sessions: dict[int, LiveSession] = {}
        self.counts: Counter[str] = Counter()
        self.loaded = asyncio.Event()
        self.broken: str | None = None
        self._open = True
        self._tasks = [asyncio.create_task(self._tend(device)) for device in settings.devices]

    @property
    def running(self) -> list[str]:
        """The ids of jobs that workers are at."""
        return [job for hand in self.hands for job in hand.jobs]

    @property
    def ready(self) -> bool:
        """Whether a worker is there."""
        return bool(self._able)

    @property
    def _able(self) -> list[Hand]:
        return [hand for hand in self.hands if hand.state in ("idle", "busy")]

    def rest(self) -> None:
        """No further job is begun."""
        self._open = False

    async def close(self) -> None:
        """Lets all workers go."""
        self.rest()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(hand.end(_ENDING) for hand in self.hands))
        for timer in self._timers.values():
            timer.cancel()

    def place_sessions(self) -> None:
        """Every session without a worker goes to the one that has the fewest."""
        hands = self._able
        for session in self.sessions.values():
            if hands and session.hand not in hands:
                held = Counter(id(other.hand) for other in self.sessions.values())
                session.begin(min(hands, key=lambda hand: held[id(hand)]))

    def leave(self, session: LiveSession) -> None:
        """A session is over."""
        self.sessions.pop(session.number, None)

    def dispatch(self) -> None:
        """Gives every idle worker the next jobs."""
        for hand in self.hands:
            if hand.state == "idle" and self._open and (jobs := self._turns.take()):
                self._begin(hand, jobs)
        self._book.move()

    def stop(self, job: str, why: Problem | None) -> None:
        """Ends a job that waits or runs: as cancelled, or as failed where there is a `why`. A
        worker that does not let go of it in time is ended."""
        found = self._book.find(job)
        if found is None or found.has_ended or job in self._stopping:
            return
        self._stopping[job] = why
        hand = next((hand for hand in self.hands if job in hand.jobs), None)
        if hand is None:
            self._turns.remove(found)
            self._end(job, "cancelled")
            shutil.rmtree(self._work / job, ignore_errors=True)
            self.dispatch()
            return
        hand.send({"do": "cancel", "job": job})
        if any(other not in self._stopping for other in hand.jobs):
            self._end(job, "cancelled")  # the worker goes on for the others
        else:
            self._timers[job].cancel()
            loop = asyncio.get_running_loop()
            self._timers[job] = loop.call_later(self._limits.grace, self._give_up, hand, job)

    def _give_up(self, hand: Hand, job: str) -> None:
        if job in hand.jobs:
            _LOG.error("worker %d: does not stop job %s, and is ended", hand.pid, job[:6])
            hand.kill()

    async def _tend(self, device: str | None) -> None:
        """Keeps a worker at a device: where one is lost, the next is started, soon if this one was
        of use for a while."""
        pause = 0.0
        while True:
            begun = time.monotonic()
            try:
                await self._follow(await Hand.start(self._settings, device, self._work))
            except WorkerError as error:
                _LOG.error("%s", error)
            if time.monotonic() - begun > _SETTLED:
                pause = 0.0
            await asyncio.sleep(pause)
            pause = min(2 * pause or 1.0, _LONGEST_WAIT)

    async def _follow(self, hand: Hand) -> None:
        """Hears a worker out, until it is lost."""
        self.hands.append(hand)
        late = asyncio.get_running_loop().call_later(self._limits.loading, hand.kill)
        try:
            async for message, content in hand.answers():
                late.cancel()
                try:
                    self._hear(hand, message, content)
                except Exception:  # whatever a worker that is not itself any more makes of it
                    _LOG.exception("worker %d: says what it cannot, and is ended", hand.pid)
                    hand.kill()
        finally:
            late.cancel()
        await hand.end(0.0)
        self.hands.remove(hand)
        self._lose(hand)

    def _hear(self, hand: Hand, message: Message, content: bytes) -> None:
        told = message["told"]
        if told == "ready":
            hand.state, self.broken = "idle", None
            self.loaded.set()
            self.place_sessions()
            self.dispatch()
        elif told == "idle":
            hand.state = "idle"
            self._clear(hand)
            self.dispatch()
        elif told == "broken":
            _LOG.error("worker: %s", message["why"])
            self.broken = str(message["why"])
            self.loaded.set()
        elif told == "error":
            where = {key: message[key] for key in ("jobs", "traceback")}
            _LOG.error("worker %d: an error of the program", hand.pid, extra={"told": where})
        elif told == "frame":
            self._show(message, content)
        elif told == "progress":
            for job in hand.jobs & set(message["jobs"]):
                self._advance(job, {key: message[key] for key in ("done", "of", "what")})
        elif (job := message["job"]) in hand.jobs:
            if told == "done":
                self._finish(job, message["made"])
            elif told == "failed":
                self._end(job, "failed", problem=Problem(**message["problem"]))
            else:
                self._end(job, "cancelled")

    def _show(self, message: Message, content: bytes) -> None:
        """A frame, to who looks."""
        session = self.sessions.get(message["session"])
        if session is None:
            return
        self.counts["frames"] += 1
        number = message["number"]
        if "problem" not in message:
            told = (message[key] for key in ("type", "whole", "status"))
            session.take(Frame(number, content, *told))
            return
        frame = Frame(number, b"", "", True, {"problem": message["problem"]})
        if message["over"]:
            session.end(frame)
        else:
            session.take(frame)

    def _begin(self, hand: Hand, jobs: list[Job]) -> None:
        hand.state = "busy"
        loop = asyncio.get_running_loop()
        for job in jobs:
            hand.jobs.add(job.id)
            hand.begun.append(job.id)
            if photo := job.body.get("photo"):
                self._pictures.lend_inversions(photo, self._work / job.id / INVERSIONS)
            self._timers[job.id] = loop.call_later(
                self._limits.seconds, self.stop, job.id, _DEADLINE
            )
            running = replace(job, state="running", started=time.time(), place=0)
            self._book.note(running, "started", together=len(jobs))
        self.counts["rendered_together"] += len(jobs) if len(jobs) > 1 else 0
        told = [{"id": job.id, "kind": job.kind, "body": job.body} for job in jobs]
        hand.send({"do": "jobs", "jobs": told})

    def _advance(self, job: str, progress: dict[str, Any]) -> None:
        found = self._book.find(job)
        if found is not None:
            self._book.note(replace(found, progress=progress), "progress", **progress)

    def _finish(self, job: str, made: dict[str, Any]) -> None:
        """Takes in what came of a job, unless nobody wants it any more."""
        if self._stopping.get(job, _DEADLINE) is None:
            self._end(job, "cancelled")
            return
        folder, found = self._work / made.pop("folder"), self._book.find(job)
        try:
            result = self._pictures.take_in(folder, made)
            if found is not None and (photo := found.body.get("photo")):
                self._pictures.keep_inversions(photo, folder / INVERSIONS)
        except OSError:
            self._end(job, "failed", problem=_FULL)
        else:
            self._end(job, "done", result=result)

    def _end(
        self,
        job: str,
        state: State,
        result: dict[str, Any] | None = None,
        problem: Problem | None = None,
    ) -> None:
        """A job as it is to stay; who stopped it meanwhile has the last word."""
        if job in self._stopping:
            why = self._stopping.pop(job)
            if why is None:
                state, result, problem = "cancelled", None, None
            elif state != "done":
                state, problem = "failed", why
        if timer := self._timers.pop(job, None):
            timer.cancel()
        for hand in self.hands:
            hand.jobs.discard(job)
        if (found := self._book.find(job)) is not None:
            ended = replace(
                found, state=state, ended=time.time(), place=0, result=result, problem=problem
            )
            self._book.note(ended, state)
            self.counts[state] += 1

    def _lose(self, hand: Hand) -> None:
        """A worker is gone: its jobs are done once more, or have failed."""
        _LOG.error("worker %d: was lost with %d jobs", hand.pid, len(hand.jobs))
        self.counts["workers_lost"] += 1
        for job in list(hand.jobs):
            found = self._book.find(job)
            if found is None:
                continue
            if job in self._stopping or found.losses:
                self._end(job, "failed", problem=_LOST)
                continue
            self._timers.pop(job).cancel()
            again = replace(found, state="waiting", losses=1, progress=None)
            self._book.note(again, "again", why="its worker was lost")
            self._turns.add(again)
        for session in list(self.sessions.values()):
            if session.hand is hand:
                session.lose()
        self._clear(hand)
        self.place_sessions()
        self.dispatch()

    def _clear(self, hand: Hand) -> None:
        """Takes away the folders of jobs that have ended: what they left in them is done with."""
        for job in hand.begun:
            found = self._book.find(job)
            if found is None or found.has_ended:
                shutil.rmtree(self._work / job, ignore_errors=True)
        hand.begun.clear()
