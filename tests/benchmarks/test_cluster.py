"""A simulated cluster: what is put in comes out, and what goes wrong costs what it must."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import cluster
from cluster import Scenario, planned, simulated

RENDER = 0.02
EVEN = defaultdict(lambda: np.ones(1))


@pytest.fixture(scope="module")
def plan():
    return planned(1.0)


@pytest.fixture(scope="module")
def undisturbed(plan):
    return simulated(plan, Scenario("all alike"), 0.0, RENDER, EVEN)


def test_plan_is_that_of_precompute(plan):
    assert plan.samples[-1].last == 4000 and plan.pulled[-1].last == 1000
    assert len(plan.channels) == 9088


def test_all_work_is_done_and_no_sooner_than_it_can_be(plan, undisturbed):
    done, ends = undisturbed
    assert done.worked == pytest.approx(sum(plan.costs) * RENDER)
    assert done.wasted == 0
    least = done.worked / (cluster.NODES * cluster.GPUS)
    assert cluster.START + least < ends["table"] < 2 * (cluster.START + least)
    assert 0 < ends["samples"] < ends["table"]


def test_slow_gpus_cost_time(plan, undisturbed):
    done, ends = simulated(plan, Scenario("stragglers", slow=True), 0.0, RENDER, EVEN)
    assert done.worked == pytest.approx(undisturbed[0].worked)
    assert ends["table"] > undisturbed[1]["table"]


def test_work_of_lost_nodes_is_done_elsewhere(plan, undisturbed):
    without = undisturbed[1]["table"]
    scenario = Scenario("lost nodes", lost=(0.8, 0.9))
    done, ends = simulated(plan, scenario, without, RENDER, EVEN)
    assert done.worked == pytest.approx(undisturbed[0].worked)
    assert done.wasted > 0 and ends["table"] > without
    assert sum(gpu.gone for gpu in done._gpus) == 2 * cluster.GPUS
