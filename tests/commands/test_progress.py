"""What is shown of long work, on a terminal of any width and elsewhere."""

from __future__ import annotations

import io
import json
import os
import re
import threading
import time
from collections.abc import Callable

import pytest

from styleatlas.commands import progress as shown_progress
from styleatlas.commands.progress import bar_format, counting, progress_shown
from styleatlas.store.progress import Progress

WIDTHS = (10, 20, 30, 45, 60, 80, 200)
FAR = Progress(3, 12, label="sweep", figures=("3/12 blocks", "5.25 renders/s"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def frames(self) -> list[str]:
        """What its line was, one after another."""
        return [frame for frame in re.split(r"[\r\n]", self.getvalue()) if frame.strip()]


@pytest.fixture
def columns(monkeypatch) -> Callable[[int], None]:
    """Set the width of terminals."""

    def columns(number: int) -> None:
        size = os.terminal_size((number, 24))
        monkeypatch.setattr(shown_progress.os, "get_terminal_size", lambda descriptor: size)
        monkeypatch.setattr(Terminal, "fileno", lambda self: 0, raising=False)

    return columns


@pytest.mark.parametrize("width", WIDTHS)
def test_bar_is_never_wider_than_its_terminal(columns, width):
    columns(width)
    terminal = Terminal()
    with progress_shown(stream=terminal) as shown:
        for done in (0, 3, 12):
            shown(Progress(done, 12, label="composites", figures=FAR.figures * 3))
    frames = terminal.frames()
    assert len(frames) >= 5 and max(map(len, frames)) < width
    assert "100%" in frames[-1] and terminal.getvalue().endswith("\n")


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (24, "{percentage:3.0f}%|{bar}| 2:05"),
        (40, "sweep {percentage:3.0f}%|{bar}| 2:05, 7 min left"),
        (60, "sweep {percentage:3.0f}%|{bar}| 2:05, 7 min left, 3/12 blocks"),
        (
            90,
            "sweep {percentage:3.0f}%|{bar}| 2:05, 7 min left, 3/12 blocks, 5.25 renders/s",
        ),
    ],
)
def test_narrow_terminal_shows_what_matters_most(width, text):
    assert bar_format(FAR, 125.9, 400.0, width) == text


def test_bar_moves_though_nothing_finishes(columns, monkeypatch):
    columns(80)
    monkeypatch.setattr(shown_progress, "_DRAW_SECONDS", 0.001)
    drawn = threading.Semaphore(0)

    class Watched(Terminal):
        def write(self, text: str) -> int:
            drawn.release()
            return super().write(text)

    with progress_shown("begins", Watched()) as shown:
        shown(FAR)
        for _ in range(200):  # what the first draws wrote, and many more
            assert drawn.acquire(timeout=60)
    assert shown_progress._DRAW_SECONDS < 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_bar_ends_with_its_work_however_that_ends(columns, error):
    columns(60)
    terminal, before = Terminal(), threading.active_count()
    with pytest.raises(error), progress_shown(stream=terminal) as shown:
        shown(FAR)
        assert threading.active_count() == before + 1
        shown.tell("interrupted: 3 of 12 are kept")
        raise error
    assert threading.active_count() == before
    assert "interrupted: 3 of 12 are kept\n" in terminal.getvalue()
    assert " 25%" in terminal.frames()[-1] and terminal.getvalue().endswith("\n")


def test_elsewhere_every_record_is_a_line_with_the_seconds_left(monkeypatch):
    clock = iter([0.0, 10.0, 20.0, 20.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    with progress_shown(stream=stream) as shown:
        shown(Progress(0, 4, record={"kind": "a"}))
        shown(Progress(1, 4))
        shown(Progress(2, 4, record={"kind": "b"}))
        shown(Progress(4, 4, record={"kind": "c"}))
        shown.tell("a line")
    *records, said = stream.getvalue().splitlines()
    assert [json.loads(line) for line in records] == [
        {"kind": "a", "seconds_left": None},
        {"kind": "b", "seconds_left": 20.0},
        {"kind": "c", "seconds_left": 0.0},
    ]
    assert said == "a line"


def test_spare_records_are_told_once_a_second(monkeypatch):
    clock = iter([100.0, 100.2, 100.9, 101.1, 101.3])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    with progress_shown(stream=stream) as shown:
        more = counting(shown, lambda done: Progress(done, 9, record={"done": done}, spare=True))
        for _ in range(5):
            more(1)
    told = [json.loads(line)["done"] for line in stream.getvalue().splitlines()]
    assert told == [1, 4]
