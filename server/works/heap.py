"""The heap of a process that runs for days."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_BYTES = 2**18


def give_memory_back() -> None:
    """Whatever is larger than 256 KiB goes back to the system as soon as it is let go of. By itself
    glibc raises that threshold to 32 MiB as large blocks come and go, and keeps what lies between
    them: with pictures and batches of all sizes a process then grows for hours. Nothing elsewhere.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_MAP, _BYTES)
            mallopt(_TRIM, _BYTES)
