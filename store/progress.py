"""How far long work is, and how long it still takes.

Who works hands over a `Progress` now and then; who called writes it down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .records import Record

_HALF = 0.04
"""Of all work, behind which a measurement counts half: what was slow at the beginning is forgotten
before a tenth is done, and blocks that finish together still make one rate."""


@dataclass(frozen=True)
class Progress:
    """How far work is.

    Args:
        done, total: in one unit of work, such that equal amounts take about equal time.
        made: as much of `done` as this process did from its beginning on, which tells how fast it
            is; None, all of it. What an earlier one left may be in it, for only differences count.
        part: what is counted; another one is a work of its own and counted from anew.
        label: the stage, in a word.
        figures: what there is to see, each in a few words, the most telling first.
        record: the same for machines; None where they are told nothing.
        spare: whether machines can do without it if they were told something a second ago.
    """

    done: float
    total: float
    made: float | None = None
    part: str = ""
    label: str = ""
    figures: tuple[str, ...] = ()
    record: Record | None = None
    spare: bool = False


Report = Callable[[Progress], None]


class Pace:
    """Foretells how long work still takes.

    The rate is work made by the time it took, both faded: after every further 4 % of the work what
    was before counts half. So warming up, and a machine that was busy for a while, are forgotten;
    and many blocks that come at once, as from many workers, count together with the time before
    them. Kinds of work that differ in what they take are weighted by who reports them.
    """

    def __init__(self) -> None:
        self._part: str | None = None
        self._at = self._made = self._remaining = 0.0
        self._work = self._seconds = self._times = 0.0

    def note(self, now: float, progress: Progress) -> None:
        """Takes in how far the work is at a time, in seconds of any clock."""
        made = progress.done if progress.made is None else progress.made
        if progress.part != self._part:
            self._part, self._at, self._made = progress.part, now, made
            self._work = self._seconds = self._times = 0.0
        elif made > self._made:
            more = made - self._made
            fade = 0.5 ** (more / (_HALF * progress.total))
            self._work = fade * self._work + more
            self._seconds = fade * self._seconds + now - self._at
            self._times = fade * self._times + 1
            self._at, self._made = now, made
        self._remaining = progress.total - progress.done

    def left(self, now: float) -> float | None:
        """Seconds; None before anything is known."""
        if self._part is not None and self._remaining <= 0:
            return 0.0
        if not self._work:
            return None
        # It counts down between two reports, and stands still where one is late.
        since = min(now - self._at, self._seconds / self._times)
        return max(0.0, self._remaining * self._seconds / self._work - since)
