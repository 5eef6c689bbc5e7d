"""Blocks that finish in any order, fail, are lost and are found, through real executors."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from styleatlas.precompute.blocks import WorkBlock
from styleatlas.precompute.executors import InThisProcess
from styleatlas.precompute.relevance import swept_table
from styleatlas.precompute.scheduler import RunProgress, Scheduler
from styleatlas.precompute.slopes import SlopesBlock
from styleatlas.store.errors import OutputError
from styleatlas.store.fingerprint import Fingerprint, ModelIdentity
from styleatlas.store.shards import Run, WorkFolder

WIDTH, CHANNELS = 3, np.array([2, 5])
AHEAD = 64


@pytest.fixture(autouse=True)
def _some_ahead(monkeypatch) -> None:
    """Fewer than there are, so that they can be filled."""
    for name in ("_AHEAD", "_HELD"):
        monkeypatch.setattr(f"styleatlas.precompute.scheduler.{name}", AHEAD)


def blocks_of(count: int) -> list[SlopesBlock]:
    """Block n costs 10 + n renders."""
    return [SlopesBlock(CHANNELS, n, n + 1, products=10 + n) for n in range(count)]


def arrays_of(block: WorkBlock) -> dict[str, np.ndarray]:
    """Sums whose total depends on the order in which they are added."""
    drawn = np.random.default_rng(block.first)
    scale = 10.0 ** drawn.integers(-6, 6)
    return {"unit": scale * drawn.normal(size=(2, WIDTH)), "length": scale * drawn.random(2)}


def work_at(path, count: int) -> WorkFolder:
    """The folder of a run of the prompt bank, block 0, and so many others."""
    models = (ModelIdentity(name, name[0] * 64, {}) for name in ("a generator", "b clip"))
    run = Run(Fingerprint(*models, {}), "0" * 64, count + 1, "tests")
    shapes = {"unit": (2, WIDTH), "length": (2,)}
    return WorkFolder(path, run, [{"embedding": (1, WIDTH)}, *[shapes] * count])


class Backwards(Executor):
    """Finishes the latest block first, once no more have come for a moment."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future, Callable]] = []
        self.order: list[int] = []
        self.over = False
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def submit(self, fn, /, block):
        future = Future()
        self.waiting.append((future, lambda: (self.order.append(block.first), fn(block))[1]))
        return future

    def _work(self) -> None:
        while not self.over:
            if self.no_more_come() and self.waiting:
                future, call = self.waiting.pop()
                future.set_result(call())

    def no_more_come(self) -> bool:
        before = len(self.waiting)
        time.sleep(0.003)
        return len(self.waiting) == before

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.over = True
        self.thread.join()


class AtOnce(Executor):
    """Has finished, well or not, when `submit` returns; not `InThisProcess`, which gets one block
    at a time."""

    def submit(self, fn, /, block):
        return InThisProcess().submit(fn, block)


def sleepy(block: WorkBlock) -> dict[str, np.ndarray]:
    time.sleep(random.Random(block.first).uniform(0, 0.02))
    return arrays_of(block)


def silent(progress: RunProgress) -> None:
    pass


def scheduler_of(executor, worker, count, work=None, report=silent) -> Scheduler:
    renders = [0, *(block.renders for block in blocks_of(count))]
    costs = [2.0 * count for count in renders]
    return Scheduler(
        executor, worker, work, report, renders, costs, work.done if work else frozenset()
    )


def in_order(results: Iterator, count: int) -> None:
    found = list(results)
    assert [block.first for block, _ in found] == list(range(count))
    for block, arrays in found:
        assert all(np.array_equal(arrays[name], known) for name, known in arrays_of(block).items())


PLACES = [InThisProcess, AtOnce, Backwards, lambda: ThreadPoolExecutor(6)]


@pytest.mark.parametrize("kept", [False, True], ids=["in memory", "work folder"])
@pytest.mark.parametrize("place", PLACES, ids=["here", "at once", "backwards", "threads"])
def test_results_come_in_the_order_of_the_plan_whatever_finishes_first(place, kept, tmp_path):
    blocks = blocks_of(90)
    alone = swept_table(CHANNELS, 90, WIDTH, ((b, arrays_of(b)) for b in blocks))
    shuffled = random.Random(0).sample(blocks, 90)
    other = swept_table(CHANNELS, 90, WIDTH, ((b, arrays_of(b)) for b in shuffled))
    assert not np.array_equal(other.rows, alone.rows), "the order can be told"
    with place() as executor:
        if kept:
            with work_at(tmp_path / "a.h5", 90) as work:
                in_order(scheduler_of(executor, sleepy, 90, work).run(blocks, 1), 90)
                again = scheduler_of(executor, sleepy, 90, work).run(blocks, 1)
                table = swept_table(CHANNELS, 90, WIDTH, again)
        else:
            in_order(scheduler_of(executor, sleepy, 90).run(blocks, 1), 90)
            table = swept_table(
                CHANNELS, 90, WIDTH, scheduler_of(executor, sleepy, 90).run(blocks, 1)
            )
    for name in ("rows", "consistency", "strength"):
        assert np.array_equal(getattr(table, name), getattr(alone, name)), name


def test_backwards_is_really_so_and_no_more_than_64_blocks_are_given_out_ahead():
    handed, most, ahead = 0, 0, []

    class Counting(Backwards):
        def submit(self, fn, /, block):
            ahead.append(block.first + 1 - handed)
            return super().submit(fn, block)

        def no_more_come(self) -> bool:
            time.sleep(0.0001)
            return len(self.waiting) + len(self.order) in (handed + AHEAD, 200)

    with Counting() as executor:
        for _ in scheduler_of(executor, arrays_of, 200).run(blocks_of(200), 1):
            handed += 1
            most = max(most, len(executor.order) - handed)
    assert max(ahead) == AHEAD
    assert executor.order[:AHEAD] == list(range(AHEAD))[::-1]
    assert most == AHEAD - 1, "what finished early waited for the first"


def test_this_process_gets_one_block_at_a_time():
    begun = []
    worker = lambda block: (begun.append(block), arrays_of(block))[1]  # noqa: E731
    results = scheduler_of(InThisProcess(), worker, 9).run(blocks_of(9), 1)
    assert [len(begun) for _ in results] == list(range(1, 10))


# Failures


def failing(number: int, error: Exception) -> Callable[[WorkBlock], dict[str, np.ndarray]]:
    def worker(block: WorkBlock) -> dict[str, np.ndarray]:
        if block.first == number:
            raise error
        return arrays_of(block)

    return worker


@pytest.mark.parametrize("place", PLACES[1:2] + PLACES[3:], ids=["at once", "threads"])
def test_blocks_that_finished_are_kept_though_another_one_fails(place, tmp_path):
    with work_at(tmp_path / "a.h5", 30) as work, place() as executor:
        scheduler = scheduler_of(executor, failing(7, ZeroDivisionError("of block 7")), 30, work)
        handed = []
        with pytest.raises(ZeroDivisionError, match="of block 7"):
            for block, _ in scheduler.run(blocks_of(30), 1):
                handed.append(block.first)
        assert handed == list(range(len(handed))) and len(handed) <= 7
        if place is AtOnce:
            assert work.done == {n + 1 for n in range(30)} - {8}
        assert 8 not in work.done
    kept = work.done
    begun = []
    with work_at(tmp_path / "a.h5", 30) as work:
        worker = lambda block: (begun.append(block.first), arrays_of(block))[1]  # noqa: E731
        in_order(scheduler_of(InThisProcess(), worker, 30, work).run(blocks_of(30), 1), 30)
        work.finish()
    assert begun == [n for n in range(30) if n + 1 not in kept]


def test_block_that_cannot_be_kept_ends_the_run(tmp_path, monkeypatch):
    with work_at(tmp_path / "a.h5", 5) as work:
        save = work.save

        def full(number: int, arrays) -> None:
            if number == 3:
                raise OutputError("No space left on device")
            save(number, arrays)

        monkeypatch.setattr(work, "save", full)
        with pytest.raises(OutputError, match="No space"):
            list(scheduler_of(InThisProcess(), arrays_of, 5, work).run(blocks_of(5), 1))
        assert work.done == {1, 2}


@pytest.mark.parametrize("place", PLACES, ids=["here", "at once", "backwards", "threads"])
@pytest.mark.parametrize("lost", [{1}, {4, 5, 9}, {9}, set(range(1, 10))])
def test_kept_block_that_vanished_after_opening_is_drawn_again(place, lost, tmp_path):
    with work_at(tmp_path / "a.h5", 9) as work:
        list(scheduler_of(InThisProcess(), arrays_of, 9, work).run(blocks_of(9), 1))
        work.save(0, {"embedding": np.zeros((1, WIDTH))})
    with work_at(tmp_path / "a.h5", 9) as work, place() as executor:
        for number in lost:
            (path,) = work.path.glob(f"block-{number:06d}-*")
            path.unlink()
        begun, calls = [], []
        worker = lambda block: (begun.append(block.first + 1), arrays_of(block))[1]  # noqa: E731
        scheduler = scheduler_of(executor, worker, 9, work, calls.append)
        in_order(scheduler.run(blocks_of(9), 1), 9)
        assert sorted(begun) == sorted(lost)
        assert max(call.blocks for call in calls) == 10


def test_kept_block_that_was_spoilt_after_opening_is_drawn_again(tmp_path):
    with work_at(tmp_path / "a.h5", 5) as work:
        list(scheduler_of(InThisProcess(), arrays_of, 5, work).run(blocks_of(5), 1))
        (path,) = work.path.glob("block-000003-*")
        path.write_bytes(b"spoilt")
        begun = []
        worker = lambda block: (begun.append(block.first), arrays_of(block))[1]  # noqa: E731
        in_order(scheduler_of(AtOnce(), worker, 5, work).run(blocks_of(5), 1), 5)
        assert begun == [2]


# Progress


@pytest.mark.parametrize("place", PLACES, ids=["here", "at once", "backwards", "threads"])
def test_progress_counts_blocks_and_renders_and_those_of_an_earlier_run(place, tmp_path):
    with work_at(tmp_path / "a.h5", 20) as work:
        work.save(0, {"embedding": np.zeros((1, WIDTH))})
        for block in (blocks_of(20)[n] for n in (0, 1, 5, 11)):
            work.save(block.first + 1, arrays_of(block))
    calls = []
    with work_at(tmp_path / "a.h5", 20) as work, place() as executor:
        list(scheduler_of(executor, sleepy, 20, work, calls.append).run(blocks_of(20), 1))
    earlier, whole = 10 + 11 + 15 + 21, sum(b.renders for b in blocks_of(20))
    assert calls[0] == RunProgress(
        5, 21, 5, earlier, whole, earlier, None, cost=2 * earlier, of_cost=2 * whole
    )
    assert [call.blocks for call in calls] == list(range(5, 22))
    assert {(c.of_blocks, c.resumed, c.of_renders, c.resumed_renders) for c in calls} == {
        (21, 5, whole, earlier)
    }
    for before, call in pairwise(calls):
        assert call.renders - before.renders == call.last.renders
    assert calls[-1].renders == whole
    assert {call.last.first for call in calls[1:]} == set(range(20)) - {0, 1, 5, 11}


def test_blocks_of_a_second_kind_are_counted_on_after_the_first():
    calls, blocks = [], blocks_of(6)
    scheduler = scheduler_of(InThisProcess(), arrays_of, 6, None, calls.append)
    list(scheduler.run(blocks[:2], 1))
    list(scheduler.run(blocks[2:], 3))
    assert [call.renders for call in calls] == [0, 10, 21, 33, 46, 60, 75]
