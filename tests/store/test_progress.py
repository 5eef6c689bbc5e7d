"""How long work still takes, by a clock that is not one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

import numpy as np
import pytest

from styleatlas.store.progress import Pace, Progress


def estimates(blocks: Iterable[tuple[float, float]]) -> Iterator[tuple[float, float, float]]:
    """Of blocks (cost, seconds) one after another: which share is done, the seconds that the pace
    foretells then, and those that are really left."""
    costs, times = zip(*blocks, strict=True)
    pace, whole, time = Pace(), sum(costs), sum(times)
    pace.note(0.0, Progress(0, whole))
    assert pace.left(0.0) is None
    for done, now in zip(accumulate(costs), accumulate(times), strict=True):
        pace.note(now, Progress(done, whole))
        yield done / whole, pace.left(now), time - now


def noisy(count: int, spread: float = 0.1) -> list[float]:
    return list(np.random.default_rng(0).normal(1, spread, count).clip(0.5))


RUNS = {
    "even": [(1, x) for x in noisy(300)],
    "slow beginning": [(1, 6.0 if i == 0 else x) for i, x in enumerate(noisy(150))],
    "unequal blocks": [(1 + i % 3, (1 + i % 3) * x) for i, x in enumerate(noisy(200))],
    "two kinds, weighted well": [(2, 2 * x) for x in noisy(60)] + [(1, x) for x in noisy(200)],
    "few blocks": [(1, x) for x in noisy(20, 0.03)],
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_estimate_has_settled_when_a_tenth_of_the_work_is_done(run):
    whole = sum(seconds for _, seconds in run)
    found = list(estimates(run))
    assert sum(share > 0.1 for share, _, _ in found) > 15
    for share, foretold, left in found:
        if share > 0.1:
            assert abs(foretold - left) < 0.12 * whole, share


def test_blocks_of_many_workers_that_finish_together_count_together():
    """8 workers, each loads its models for 20 s, then finishes a block about every 10 s."""
    random = np.random.default_rng(0)
    ends = np.sort([20 + np.cumsum(random.normal(10, 2, 40)) for _ in range(8)], axis=None)
    run = [(1, float(seconds)) for seconds in np.diff(ends, prepend=0.0)]
    whole = sum(seconds for _, seconds in run)
    for share, foretold, left in estimates(run):
        if share > 0.12:
            assert abs(foretold - left) < 0.15 * whole, share


def test_machine_that_becomes_busy_is_noticed():
    run = [(1, 1.0)] * 100 + [(1, 3.0)] * 100
    found = list(estimates(run))
    assert found[99][1] == pytest.approx(100, rel=0.01), "as if nothing would happen"
    assert found[130][1] == pytest.approx(found[130][2], rel=0.1)


def test_what_an_earlier_run_did_or_nobody_needs_does_not_count_as_fast():
    pace = Pace()
    pace.note(100.0, Progress(50, 100))
    pace.note(110.0, Progress(60, 100))
    assert pace.left(110.0) == pytest.approx(40)
    pace.note(120.0, Progress(90, 100, made=70))  # ten steps were taken, and twenty needless
    assert pace.left(120.0) == pytest.approx(10)


def test_seconds_count_down_between_reports_and_stand_still_where_one_is_late():
    pace = Pace()
    for now in (0.0, 10.0, 20.0):
        pace.note(now, Progress(now, 100))
    assert [pace.left(now) for now in (20.0, 24.0, 30.0, 90.0)] == pytest.approx([80, 76, 70, 70])


def test_another_part_is_counted_from_anew():
    pace = Pace()
    assert pace.left(0.0) is None
    pace.note(0.0, Progress(0, 8000, part="prompts"))
    pace.note(1.0, Progress(8000, 8000, part="prompts"))
    assert pace.left(1.0) == 0
    pace.note(2.0, Progress(0, 10, part="blocks"))
    assert pace.left(2.0) is None
    pace.note(7.0, Progress(1, 10, part="blocks"))
    assert pace.left(7.0) == pytest.approx(45)
