"""A live session, as the service holds it between a client and a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from .hand import Hand
from .nouns import Frame
from .wire import Message


class LiveSession:
    """Somebody who looks while images are edited. Both ways the newest wins: a message that was not
    worked on yet, and a frame that was not fetched yet, give way to the next. The worker has one
    message at a time, so that whoever sends many fills nothing but their own place.

    Args:
        client: whose it is.
        start: see `live.Session`; `path` of latents.
        leave: called once it is over.
        patience: seconds that a worker which is at no job may take for a frame; then it is ended,
            and the next one goes on.
    """

    def __init__(
        self,
        number: int,
        client: str,
        start: dict[str, Any],
        path: Path | None,
        leave: Callable[[LiveSession], None],
        patience: float,
    ) -> None:
        self.number, self.client = number, client
        self._start, self._path, self._leave = start, path, leave
        self._patience = patience
        self._timer: asyncio.TimerHandle | None = None
        self._message: dict[str, Any] | None = None
        self._is_new = self._is_asked = False  # the message; and the worker, for a frame
        self._hand: Hand | None = None
        self._frame: Frame | None = None
        self._news = asyncio.Event()
        self._open = True
        self._losses = 0  # since the last frame

    @property
    def hand(self) -> Hand | None:
        """The worker that it is at."""
        return self._hand

    def begin(self, hand: Hand) -> None:
        """At a worker; at another one where that was lost, from the newest message on."""
        self._hand = hand
        path = None if self._path is None else str(self._path)
        self._ask({"start": self._start, "path": path, "message": self._message})

    def send(self, message: dict[str, Any]) -> None:
        """What the images are to be edited to: `number`, `edits` with `neutral`, `target` and
        `alpha`; `keep`, `layers`, `moving`."""
        self._message, self._is_new = message, True
        if not self._is_asked:
            self._ask({"message": message})

    def take(self, frame: Frame) -> None:
        """A frame of the worker's."""
        self._losses, self._frame = 0, frame
        self._news.set()
        self._is_asked = False
        self._expect_nothing()
        if self._is_new:
            self._ask({"message": self._message})

    def lose(self) -> None:
        """Its worker is gone. It goes on at another one, unless that was lost before there was a
        frame: then it may be what they are lost at."""
        self._hand, self._is_asked = None, False
        self._expect_nothing()
        self._losses += 1
        if self._losses > 1:
            told = {"problem": "session: its worker was lost, twice; open another one"}
            self.end(Frame(0, b"", "", True, told))

    def end(self, frame: Frame) -> None:
        """With a last frame."""
        self.take(frame)
        self._close()

    async def frames(self) -> AsyncIterator[Frame]:
        """As they come, until it is closed."""
        while True:
            frame, self._frame = self._frame, None
            if frame is not None:
                yield frame
            elif self._open:
                await self._news.wait()
                self._news.clear()
            else:
                return

    async def close(self) -> None:
        """Ends it; twice is once."""
        self._close()

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._expect_nothing()
            self._news.set()
            self._tell({"end": True})
            self._leave(self)

    def _ask(self, message: Message) -> None:
        """For a frame, once there is a worker."""
        if self._hand is not None:
            self._is_new, self._is_asked = False, True
            self._tell(message)
            self._expect()

    def _expect(self) -> None:
        """That a frame comes."""
        self._expect_nothing()
        self._timer = asyncio.get_running_loop().call_later(self._patience, self._give_up)

    def _expect_nothing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _give_up(self) -> None:
        if self._hand is not None and not self._hand.jobs:
            self._hand.kill()
        else:  # the steps of a job may be long, and it has its own deadline
            self._expect()

    def _tell(self, message: Message) -> None:
        if self._hand is not None:
            self._hand.send({"do": "live", "session": self.number, **message})
