"""What is shown of long work: a bar on a terminal, lines of JSON elsewhere."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TextIO

import click

from ..store.progress import Pace, Progress
from ..store.records import duration

LATER = 2.0
"""Seconds of which nothing is told, where work is most often short."""

_DRAW_SECONDS = 0.5
_SPARE_SECONDS = 1.0
_LEAST_BAR, _USUAL_COLUMNS = 10, 80


class Shown:
    """Where work tells how far it is: called with every `Progress`."""

    def __call__(self, progress: Progress) -> None:
        raise NotImplementedError

    def tell(self, line: str) -> None:
        """Say something else, on a line of its own."""
        raise NotImplementedError


@contextmanager
def progress_shown(label: str = "begins", stream: TextIO | None = None) -> Iterator[Shown]:
    """Shows the progress of what is done inside, on stderr unless another stream is given.

    On a terminal the bar is there from the beginning and moves twice a second, whatever the work
    does; it ends with the work, with an error and with Ctrl-C, and what is told afterwards begins
    on a line of its own.
    """
    stream = stream or sys.stderr
    if not stream.isatty():
        yield _Lines(stream)
        return
    bar = _Bar(stream, label)
    try:
        yield bar
    finally:
        bar.close()


class ProgressLater:
    """Shows the progress of work that is most often short, once it has taken `LATER` seconds."""

    def __init__(self, label: str) -> None:
        self._label, self._stack = label, ExitStack()
        self._begun = time.monotonic()
        self._shown: Shown | None = None

    def __call__(self, progress: Progress) -> None:
        if self._shown is None:
            if time.monotonic() - self._begun < LATER:
                return
            self._shown = self._stack.enter_context(progress_shown(self._label))
        self._shown(progress)

    def __enter__(self) -> ProgressLater:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()


def counting(
    shown: Callable[[Progress], None], progress: Callable[[int], Progress]
) -> Callable[[int], None]:
    """Shows the progress of work that tells how many more things are done.

    Args:
        progress: of so many in all.
    """
    done = 0

    def more(things: int) -> None:
        nonlocal done
        done += things
        shown(progress(done))

    return more


class _Lines(Shown):
    """A JSON object a line, as `Progress.record` has it, with the seconds left."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._pace = stream, Pace()
        self._told = -_SPARE_SECONDS

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        self._pace.note(now, progress)
        if progress.record is None or (progress.spare and now - self._told < _SPARE_SECONDS):
            return
        self._told = now
        left = self._pace.left(now)
        record = {**progress.record, "seconds_left": None if left is None else round(left, 1)}
        self._stream.write(json.dumps(record) + "\n")
        self._stream.flush()

    def tell(self, line: str) -> None:
        click.echo(line, self._stream)


class _Bar(Shown):
    """One line that renews itself."""

    def __init__(self, stream: TextIO, label: str) -> None:
        from tqdm import tqdm

        self._stream, self._pace = stream, Pace()
        self._progress = Progress(0, 1, label=label)
        self._lock, self._over = threading.Lock(), threading.Event()
        tqdm.monitor_interval = 0  # no thread of its own beside ours
        columns = _columns(stream)
        form = bar_format(self._progress, 0.0, None, columns)
        rows = 2  # tqdm hides a bar where a terminal says that it has none
        self._bar = tqdm(
            total=1.0, file=stream, bar_format=form, ncols=columns, nrows=rows, mininterval=0
        )
        self._clock = threading.Thread(target=self._go_on, daemon=True)
        self._clock.start()

    def __call__(self, progress: Progress) -> None:
        with self._lock:
            self._progress = progress
            self._pace.note(time.monotonic(), progress)
        self._draw()

    def tell(self, line: str) -> None:
        self._bar.write(line, self._stream)

    def close(self) -> None:
        self._over.set()
        self._clock.join()
        self._draw()
        self._bar.close()

    def _go_on(self) -> None:
        while not self._over.wait(_DRAW_SECONDS):
            self._draw()

    def _draw(self) -> None:
        with self._lock:
            progress = self._progress
            columns = _columns(self._stream)
            left = self._pace.left(time.monotonic())
            elapsed = self._bar.format_dict["elapsed"]
            self._bar.n = min(1.0, progress.done / progress.total) if progress.total else 1.0
            self._bar.ncols = columns
            self._bar.bar_format = bar_format(progress, elapsed, left, columns)
            self._bar.refresh()


def bar_format(progress: Progress, elapsed: float, left: float | None, columns: int) -> str:
    """What tqdm is to show in so many columns: share, bar and time, then as much of label, time
    left and figures as there is room for beside a bar of some length."""
    times = [f" {_clock(elapsed)}"]
    if left is not None:
        times.append(f", {duration(left)} left")
    front, behind = "", "".join(times[:1])
    room = columns - len("100%||") - _LEAST_BAR - len(behind)
    label = f"{progress.label} " if progress.label else ""
    if len(label) <= room:
        front, room = label, room - len(label)
    for part in [*times[1:], *(f", {figure}" for figure in progress.figures)]:
        if len(part) > room:
            break
        behind, room = behind + part, room - len(part)
    front, behind = (text.replace("{", "{{").replace("}", "}}") for text in (front, behind))
    return front + "{percentage:3.0f}%|{bar}|" + behind


def _clock(seconds: float) -> str:
    """Seconds as a clock that is seen to go: 0:07, 12:30, 3:00:00."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _columns(stream: TextIO) -> int:
    """That a line of a terminal has, but for the last, in which some of them go on to the next."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return (columns or _USUAL_COLUMNS) - 1
