"""Processes that `gpu.py` starts: they end with all that they started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_POSIX = os.name == "posix"


@contextmanager
def ending(command: list[str], grace: float = 0.0, **how: Any) -> Iterator[subprocess.Popen[str]]:
    """A process, in a session of its own where there are sessions. Behind this it is gone, and so
    is what it started.

    Args:
        grace: seconds in which it may end, told by SIGTERM, what it put into further sessions.
    """
    child = subprocess.Popen(command, text=True, start_new_session=_POSIX, **how)
    try:
        yield child
    finally:
        if grace:
            _send(child, "SIGTERM")
            with suppress(subprocess.TimeoutExpired):
                child.wait(grace)
        _send(child, "SIGKILL")
        child.wait()


def end_when_told() -> None:
    """Lets SIGTERM end this process as an exception does, and with it what is `ending`."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)


def _send(child: subprocess.Popen[str], name: str) -> None:
    if not _POSIX:
        child.kill()
        return
    with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of the dead
        os.killpg(child.pid, getattr(signal, name))
