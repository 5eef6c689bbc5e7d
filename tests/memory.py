"""How much memory something takes, whatever the process took before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

PROCESS = Path("/proc/self")


def growth_of(work: Callable[[], object]) -> int:
    """Bytes of memory by which this process was larger, at most, during `work` than before it.

    Skips the test where the system does not keep account of that.
    """
    try:
        (PROCESS / "clear_refs").write_text("5")  # the peak is the present size
        before = _peak()
    except (OSError, LookupError):
        pytest.skip("needs Linux's account of a process's memory")
    work()
    return _peak() - before


def _peak() -> int:
    lines = (PROCESS / "status").read_text().splitlines()
    sizes = {name: rest for name, _, rest in (line.partition(":") for line in lines)}
    return 1024 * int(sizes["VmHWM"].split()[0])
