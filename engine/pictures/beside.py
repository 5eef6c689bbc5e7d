"""Pictures that are written while the next ones are made."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

_MOST = 4  # threads: what they write to is no faster


class Beside:
    """Threads that do some work while this one goes on, for as long as its `with`: encoding a
    picture takes longer than a GPU takes to render it, and does without Python's lock.

    Leaving waits for all of it. Work that fails raises here at the latest then; what had not begun
    is not done.
    """

    def __init__(self) -> None:
        self._threads = max(1, min(_MOST, os.cpu_count() or 1))
        self._pool = ThreadPoolExecutor(self._threads)
        self._waiting: deque[Future[None]] = deque()

    def do(self, work: Callable[[], None]) -> None:
        """Has it done, once there is no more than the threads and as much again at hand: what it
        holds is in memory until then."""
        if len(self._waiting) >= 2 * self._threads:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(work))

    def __enter__(self) -> Beside:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            while self._waiting and kind is None:
                self._waiting.popleft().result()
        finally:
            self._pool.shutdown(cancel_futures=True)
