"""A worker: a process of its own that holds the models, and does one thing after the other.

It decodes what strangers sent, so it is the one that may be lost: it speaks to the service by two
pipes alone, ends when the service does, and has a limit of memory.
"""

from __future__ import annotations

import errno
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from ...engine.editor import load
from ...engine.fallbacks.ways import Fallbacks
from ...engine.models.memory import is_out_of_memory
from ...engine.models.protocols import Generator
from ...engine.models.threads import use_threads
from ...store.errors import DeviceMemoryError, StyleAtlasError, WorkerError
from ...store.library import library_folder
from ...store.progress import Progress
from ...store.registry import is_name
from .heap import give_memory_back
from .live import Session, of_moving
from .nouns import Problem
from .traces import places
from .wire import Message, packed, read
from .work import Bench

_TOLD_EVERY = 0.25  # seconds
_LOST = Problem(
    "internal",
    "An error of the program",
    "job: ended by an error of the program, which its log tells of under the job's id; tell who "
    "runs the service",
)


class Stopped(BaseException):
    """Nobody wants the jobs at hand any more."""


class Worker:
    """Reads messages and does what they say.

    A thread takes them from the pipe: it notes at once which jobs are not wanted, keeps of every
    live session the newest message alone, and ends the process when the service is gone. All else
    is done by the main thread, which looks after the live sessions between two steps of a job, too.

    Args:
        messages, answers: the pipes.
        folder: of the service's jobs.
    """

    def __init__(self, messages: BinaryIO, answers: BinaryIO, folder: Path) -> None:
        self._messages, self._answers, self._folder = messages, answers, folder
        self._todo: queue.SimpleQueue[list[Message] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._unwanted: set[str] = set()
        self._pending: dict[int, Message] = {}
        self._sessions: dict[int, Session] = {}
        self._jobs: Sequence[Message] = ()
        self._notes: list[str] = []
        self._told = 0.0

    def run(self, opening: Message) -> None:
        """Loads the models that a first message names, and works until the service ends."""
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self._open(opening)
        except StyleAtlasError as error:
            self._tell({"told": "broken", "why": str(error)})
            return
        self._tell({"told": "ready"})
        while True:
            jobs = self._todo.get()
            if jobs is None:
                self._look_after_sessions()
            else:
                self._do(jobs)
                self._tell({"told": "idle"})

    @cached_property
    def _moving(self) -> Generator:
        """Renders live sessions while something moves; a draft takes a while to be made."""
        return of_moving(self._editor.generator)

    def _open(self, opening: Message) -> None:
        if opening["threads"] is not None:
            use_threads(opening["threads"])
        self._editor = editor = load(
            atlas=_placed(opening["atlas"]),
            generator=_placed(opening["generator"]),
            clip=opening["clip"],
            device=opening["device"],
            tuned=opening["tuned"],
        )
        _ = editor.texts.encoder  # so that every edit is measured, and none is late
        self._mappers = Path(opening["mappers"] or library_folder()).absolute()
        tell = self._notes.append
        editor.fallbacks = Fallbacks(self._mappers, report=self._report)
        self._bench = Bench(editor, self._mappers, self._report, tell)
        limit_memory(opening["memory"])

    def _listen(self) -> None:
        try:
            while True:
                self._take(read(self._messages)[0])
        except WorkerError:
            os._exit(0)  # the service is gone, whatever goes on here
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def _take(self, message: Message) -> None:
        if message["do"] == "jobs":
            self._todo.put(message["jobs"])
            return
        with self._lock:
            if message["do"] == "cancel":
                self._unwanted.add(message["job"])
                return
            older = self._pending.get(message["session"], {})
            self._pending[message["session"]] = {**older, **message}
        self._todo.put(None)

    def _do(self, jobs: Sequence[Message]) -> None:
        """Some jobs that fit together, or one."""
        self._jobs, self._told = jobs, 0.0
        self._notes.clear()
        first = jobs[0]
        try:
            os.chdir(self._folder / first["id"])
            self._pause()
            made = (
                [self._bench.work(first["kind"], first["body"])]
                if len(jobs) == 1
                else self._bench.edit_seeds([job["body"] for job in jobs])
            )
        except Stopped:
            for job in jobs:
                self._tell({"told": "stopped", "job": job["id"]})
        except Exception as error:
            if len(jobs) > 1:  # each by itself: one of them may be what cannot be done
                for job in jobs:
                    self._do([job])
                return
            problem = self._problem(error)
            self._tell({"told": "failed", "job": first["id"], "problem": asdict(problem)})
        else:
            notes = [self._without_places(note) for note in dict.fromkeys(self._notes)]
            for job, one in zip(jobs, made, strict=True):
                told = {"folder": first["id"], "notes": notes, **asdict(one)}
                self._tell({"told": "done", "job": job["id"], "made": told})
        finally:
            os.chdir(self._folder)
            with self._lock:
                self._unwanted -= {job["id"] for job in jobs}

    def _report(self, progress: Progress) -> None:
        """Tells how far the jobs at hand are, and lets others have their turn."""
        self._pause()
        if (now := time.monotonic()) - self._told < _TOLD_EVERY:
            return
        self._told = now
        told = {"done": progress.done, "of": progress.total, "what": progress.label}
        self._tell({"told": "progress", "jobs": [job["id"] for job in self._jobs], **told})

    def _pause(self) -> None:
        with self._lock:
            unwanted = all(job["id"] in self._unwanted for job in self._jobs)
        if unwanted:
            raise Stopped
        self._look_after_sessions()

    def _look_after_sessions(self) -> None:
        """One frame for every live session that asks for one."""
        with self._lock:
            pending, self._pending = self._pending, {}
        self._answer(pending)

    def _look_after_small_sessions(self) -> None:
        """The same for those whose frames take no longer than a part of another's does."""
        with self._lock:
            small = [number for number in self._pending if self._is_small(number)]
            pending = {number: self._pending.pop(number) for number in small}
        self._answer(pending)

    def _is_small(self, number: int) -> bool:
        """Whether a session's next frame is of few images, and moves."""
        session = self._sessions.get(number)
        moving = self._pending[number].get("message", {}).get("moving", False)
        return session is not None and session.small and moving

    def _answer(self, pending: Mapping[int, Message]) -> None:
        for number, message in pending.items():
            if message.get("end"):
                self._sessions.pop(number, None)
                continue
            asked = message.get("message") or {"number": 0}
            told = {"told": "frame", "session": number, "number": asked["number"]}
            try:
                if start := message.get("start"):
                    path = None if message["path"] is None else Path(message["path"])
                    self._sessions[number] = Session(self._editor, self._moving, start, path)
                elif number not in self._sessions:
                    continue  # it could not be opened, which was told
                frame = self._sessions[number].frame(asked, self._look_after_small_sessions)
            except Exception as error:
                over = number not in self._sessions
                self._tell({**told, "problem": self._problem(error).detail, "over": over})
            else:
                shown = {"type": frame.type, "whole": frame.whole, "status": frame.status}
                self._tell({**told, **shown}, frame.content)

    def _problem(self, error: Exception) -> Problem:
        """In words for who asked; what nobody foresaw goes to the log."""
        told = self._without_places(str(error))
        mend = told.rpartition("; ")[2] if "; " in told else ""
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            return Problem("disk", "The disk is full", "disk: has no room; try later", "try later")
        causes = [one for one in (error, error.__cause__) if isinstance(one, Exception)]
        if isinstance(error, DeviceMemoryError) or any(map(is_out_of_memory, causes)):
            detail = "memory: the job needs more than a worker may take; ask for less at once"
            return Problem("memory", "Too little memory", detail, "ask for less at once")
        if isinstance(error, StyleAtlasError):
            return Problem("refused", "It cannot be done", told, mend)
        jobs = [job["id"][:6] for job in self._jobs]
        self._tell({"told": "error", "jobs": jobs, "traceback": places(error)})
        return _LOST

    def _without_places(self, text: str) -> str:
        """A message without the folders of this machine, but for their own names."""
        for folder in (self._folder, self._folder.parent, self._mappers):
            text = text.replace(f"{folder}{os.sep}", "").replace(f"{folder}", folder.name)
        return text

    def _tell(self, message: Message, content: bytes = b"") -> None:
        self._answers.write(packed(message, content))


def _placed(source: str | None) -> str | None:
    """A file by its whole path, as a worker stands now here, now there; a name as it is."""
    if source is None or is_name(source):
        return source
    return os.path.abspath(source)


def limit_memory(most: int) -> None:
    """No more than so many bytes beyond what is taken now: by RLIMIT_DATA, which Linux counts
    private memory that can be written by, so not the files of libraries, nor a GPU's memory. What
    goes beyond fails as on a full machine. Nothing elsewhere."""
    status = Path("/proc/self/status")
    if sys.platform != "linux" or not status.is_file():
        return
    import resource

    taken = next(line for line in status.read_text().splitlines() if line.startswith("VmData:"))
    limit = 1024 * int(taken.split()[1]) + most
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def main() -> None:
    """Of the process: `python -m styleatlas.server.works.worker FOLDER`."""
    give_memory_back()
    for ignored in (signal.SIGINT, signal.SIGTERM):  # the service decides when to end
        signal.signal(ignored, signal.SIG_IGN)
    # What libraries print must not get between the messages.
    messages, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    worker = Worker(messages, answers, Path(sys.argv[1]))
    with suppress(WorkerError, BrokenPipeError):  # the service is gone
        worker.run(read(messages)[0])


if __name__ == "__main__":
    main()
