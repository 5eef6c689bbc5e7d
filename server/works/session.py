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
    worked on yet, and a frame that was not fetched yet, give way to the next.

    Args:
        client: whose it is.
        start: see `live.Session`; `path` of latents.
        leave: called once it is over.
    """

    def __init__(
        self,
        number: int,
        client: str,
        start: dict[str, Any],
        path: Path | None,
        leave: Callable[[LiveSession], None],
    ) -> None:
        self.number, self.client = number, client
        self._start, self._path, self._leave = start, path, leave
        self._message: dict[str, Any] | None = None
        self._hand: Hand | None = None
        self._frame: Frame | None = None
        self._news = asyncio.Event()
        self._open = True

    @property
    def hand(self) -> Hand | None:
        """The worker that it is at."""
        return self._hand

    def begin(self, hand: Hand) -> None:
        """At a worker; at another one where that was lost, from the newest message on."""
        self._hand = hand
        path = None if self._path is None else str(self._path)
        self._tell({"start": self._start, "path": path, "message": self._message})

    def send(self, message: dict[str, Any]) -> None:
        """What the images are to be edited to: `number`, `edits` with `neutral`, `target` and
        `alpha`; `keep`, `layers`, `moving`."""
        self._message = message
        self._tell({"message": message})

    def take(self, frame: Frame) -> None:
        """A frame of the worker's."""
        self._frame = frame
        self._news.set()

    async def frames(self) -> AsyncIterator[Frame]:
        """As they come, until it is closed."""
        while self._open:
            await self._news.wait()
            self._news.clear()
            frame, self._frame = self._frame, None
            if frame is not None:
                yield frame

    async def close(self) -> None:
        """Ends it; twice is once."""
        if self._open:
            self._open = False
            self._news.set()
            self._tell({"end": True})
            self._leave(self)

    def _tell(self, message: Message) -> None:
        if self._hand is not None:
            self._hand.send({"do": "live", "session": self.number, **message})
