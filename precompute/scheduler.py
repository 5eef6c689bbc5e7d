"""Blocks through an executor, kept as they come and handed on in the order of the plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field

from ..store.shards import WorkFolder
from .blocks import Arrays, Block, WorkBlock
from .executors import InThisProcess, result

# Blocks given out before the first of them is handed on. With as few as there are GPUs, all wait
# for the slowest (docs/scale.md). Without a work folder what is finished waits in memory, and one
# block of slopes may be 40 MB.
_AHEAD, _HELD = 512, 64


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    Args:
        blocks: finished ones, those of an earlier run and the prompt bank among them.
        of_blocks: how many there are.
        resumed: how many an earlier run had finished.
        renders, of_renders: the same in renders; a vector-Jacobian product counts as one.
        resumed_renders: those that an earlier run had done.
        last: the block that was just finished; None at the start.
        cost, of_cost: the same in what takes equal time, whole renders; see `WorkBlock.cost`.
        seconds: since this run began with its blocks.
    """

    blocks: int
    of_blocks: int
    resumed: int
    renders: int
    of_renders: int
    resumed_renders: int
    last: WorkBlock | None
    cost: float = field(default=0.0, kw_only=True)
    of_cost: float = field(default=0.0, kw_only=True)
    seconds: float = field(default=0.0, kw_only=True, compare=False)


class Scheduler:
    """Runs the blocks of a run and reports on them.

    Args:
        executor: where.
        worker: what turns a block into its arrays.
        work: keeps finished blocks; None: they are kept in memory until they are handed on.
        report: told of the progress at the start and after each block.
        renders, costs: of every block of the run, in the order of their numbers.
        resumed: the blocks that an earlier run had finished.
    """

    def __init__(
        self,
        executor: Executor,
        worker: Callable[[WorkBlock], Arrays],
        work: WorkFolder | None,
        report: Callable[[RunProgress], None],
        renders: Sequence[int],
        costs: Sequence[float],
        resumed: Set[int],
    ) -> None:
        self._executor, self._worker, self._work = executor, worker, work
        self._report, self._renders, self._costs = report, renders, costs
        self._began = time.monotonic()
        self._done, self._resumed = {0, *resumed}, resumed  # block 0, the bank, came before
        # Counted as they come: with tens of thousands of blocks a sum for each would take long.
        self._of_renders, self._of_cost = sum(renders), sum(costs)
        self._renders_done = sum(renders[number] for number in self._done)
        self._cost_done = sum(costs[number] for number in self._done)
        self._resumed_renders = sum(renders[number] for number in resumed)
        self._window = _HELD if work is None else _AHEAD
        self._at_once = 1 if isinstance(executor, InThisProcess) else self._window
        self._tell(None)

    def run(self, blocks: Sequence[Block], first: int, /) -> Iterator[tuple[Block, Arrays]]:
        """Every block, numbered from `first` on, with its arrays, in order.

        Raises:
            WorkerError: the process at work on a block was lost.
            OutputError: a block cannot be kept.
        """
        ready: dict[int, Arrays] = {}
        at_work: dict[Future[Arrays], int] = {}
        last = first + len(blocks)
        given = first  # up to here blocks are given out, or need not be
        for number in range(first, last):
            while number not in ready:
                kept = self._work.load(number) if self._work else None
                if kept is not None:
                    ready[number] = kept
                    continue
                if number < given and number not in at_work.values():  # it was kept, and is lost
                    at_work[self._executor.submit(self._worker, blocks[number - first])] = number
                most = min(last, number + self._window)
                while given < most and len(at_work) < self._at_once:
                    if given not in self._done:
                        block = blocks[given - first]
                        at_work[self._executor.submit(self._worker, block)] = given
                    given += 1
                ready |= self._finished(at_work, blocks, first)
            yield blocks[number - first], ready.pop(number)

    def _finished(
        self, at_work: dict[Future[Arrays], int], blocks: Sequence[WorkBlock], first: int
    ) -> dict[int, Arrays]:
        """Waits for a block and takes what is finished out of `at_work`; arrays that were kept on
        disk are not held."""
        finished, _ = wait(at_work, return_when=FIRST_COMPLETED)
        held: dict[int, Arrays] = {}
        # Failures last: what others have done by then is kept.
        for future in sorted(finished, key=lambda future: future.exception() is not None):
            number = at_work.pop(future)
            arrays = result(future)
            if self._work:
                self._work.save(number, arrays)
            else:
                held[number] = arrays
            if number not in self._done:
                self._done.add(number)
                self._renders_done += self._renders[number]
                self._cost_done += self._costs[number]
            self._tell(blocks[number - first])
        return held

    def _tell(self, last: WorkBlock | None) -> None:
        self._report(
            RunProgress(
                blocks=len(self._done),
                of_blocks=len(self._renders),
                resumed=len(self._resumed),
                renders=self._renders_done,
                of_renders=self._of_renders,
                resumed_renders=self._resumed_renders,
                last=last,
                cost=self._cost_done,
                of_cost=self._of_cost,
                seconds=time.monotonic() - self._began,
            )
        )
