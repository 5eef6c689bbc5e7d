"""A worker process, as the service holds it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from ...store.cache import CACHE_VARIABLE
from ...store.errors import WorkerError
from .nouns import Settings
from .wire import Message, packed, receive


class Hand:
    """A process that works on a device; where one is lost, the next is another `Hand`.

    Attributes:
        state: `loading` its models, `idle`, `busy`, or `lost`.
        jobs: the ids of those it is at.
        begun: the same, and those that it had with them and that have ended.
    """

    def __init__(self, process: asyncio.subprocess.Process, device: str | None) -> None:
        self._process, self.device = process, device
        self.state: Literal["loading", "idle", "busy", "lost"] = "loading"
        self.jobs: set[str] = set()
        self.begun: list[str] = []

    @classmethod
    async def start(cls, settings: Settings, device: str | None, folder: Path) -> Hand:
        """Begins a process that serves jobs of a folder.

        Raises:
            WorkerError: there can be none.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", f"{__package__}.worker", str(folder)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is the service's
                env={**os.environ, CACHE_VARIABLE: str(folder.parent / "cache")},
            )
        except OSError as error:
            raise WorkerError(f"worker: cannot be started ({error.strerror or error})") from error
        hand = cls(process, device)
        hand.send(
            {
                "atlas": settings.atlas,
                "generator": settings.generator,
                "clip": settings.clip,
                "device": device,
                "tuned": settings.tuned,
                "mappers": None if settings.mappers is None else str(settings.mappers),
                "threads": settings.threads,
                "memory": settings.limits.memory,
            }
        )
        return hand

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def send(self, message: Message) -> None:
        """Without waiting: what a lost process was told comes to nothing."""
        stdin = self._process.stdin
        if stdin is not None and not stdin.is_closing():
            with suppress(OSError):
                stdin.write(packed(message))

    async def answers(self) -> AsyncIterator[tuple[Message, bytes]]:
        """What it tells, until it is lost."""
        assert self._process.stdout is not None
        with suppress(WorkerError):
            while True:
                yield await receive(self._process.stdout)

    def kill(self) -> None:
        """Ends it at once."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def end(self, seconds: float) -> None:
        """Lets it go, and ends it where it is still there after some seconds."""
        self.state = "lost"
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), seconds)
        except asyncio.TimeoutError:
            self.kill()
            await self._process.wait()
