"""Executors with real processes and a real Ray cluster, that work, fail, are stopped and die.

A worker must be able to import what it runs, so the functions are the standard library's.
"""

from __future__ import annotations

import functools
import importlib
import math
import operator
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from styleatlas import load_encoder, load_generator
from styleatlas.precompute import executors
from styleatlas.precompute.build import precompute
from styleatlas.precompute.executors import open_executor, result, worker_device
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.precompute.worker import Sources
from styleatlas.prompts.sets import PromptSet
from styleatlas.store.errors import OptionError, WorkerError
from styleatlas.store.sample_set import SampleSet

from ..near import assert_near

SECONDS = 300  # after which a test that hangs gives up
MEET = f"""
import os, pathlib, time
place, deadline = pathlib.Path(folder), time.monotonic() + {SECONDS}
(place / str(os.getpid())).touch()
while len(list(place.iterdir())) < 2 and time.monotonic() < deadline:
    time.sleep(0.01)
"""
"""What a worker runs: it waits, with its id in a folder, until another one has come there."""


def meeting(folder: Path, found: str = "os.getpid()") -> tuple[str, dict[str, object]]:
    """The arguments of an `eval` that gives `found` once two processes are at it."""
    return f"(exec(code), {found})[1]", {"code": MEET, "folder": str(folder)}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def check_results_and_errors(executor: Executor) -> None:
    futures = [executor.submit(math.isqrt, n * n) for n in range(20)]
    assert [result(future) for future in futures] == list(range(20))
    assert result(executor.submit(int, "ff", base=16)) == 255
    with pytest.raises(ValueError, match=r"^invalid literal for int\(\) with base 10: 'one'$"):
        result(executor.submit(int, "one"))
    with pytest.raises(OptionError, match=r"^workers 0: must lie between 1 and \d+$"):
        result(executor.submit(open_executor, 0, None, None))


@pytest.mark.parametrize("workers", [0, -1, 1025])
def test_count_out_of_range_is_refused(workers):
    with pytest.raises(OptionError, match=f"workers {workers}: must lie between 1 and"):
        open_executor(workers, None, None)


def test_workers_beside_a_cluster_are_refused():
    with pytest.raises(OptionError, match=r"workers 2 and ray auto.*give one of them"):
        open_executor(2, "auto", None)


# This process


def test_this_process_gives_results_and_errors():
    with open_executor(1, None, None) as executor:
        check_results_and_errors(executor)
        assert result(executor.submit(os.getpid)) == os.getpid()
        assert result(executor.submit(worker_device)) is None


def test_ctrl_c_passes_through_this_process(interruptible):
    with open_executor(1, None, None) as executor, pytest.raises(KeyboardInterrupt):
        executor.submit(signal.raise_signal, signal.SIGINT)


# Processes on this machine


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with open_executor(2, None, "cpu") as executor:
        yield executor


def test_workers_give_results_and_errors(pool):
    check_results_and_errors(pool)


def test_two_workers_are_two_processes_at_work_at_once(pool, tmp_path):
    pids = {result(future) for future in [pool.submit(eval, *meeting(tmp_path)) for _ in range(4)]}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_workers_on_the_cpu_share_its_cores(pool):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert result(pool.submit(torch.get_num_threads)) == max(1, cores // 2)
    assert result(pool.submit(worker_device)) == "cpu"


@pytest.mark.gpu
def test_workers_take_the_cuda_devices_in_turn(tmp_path):
    claimed = "__import__('styleatlas.precompute.executors', fromlist=['_']).worker_device()"
    task = meeting(tmp_path, claimed)
    with open_executor(2, None, None) as executor:
        devices = {result(future) for future in [executor.submit(eval, *task) for _ in range(4)]}
    assert devices == {f"cuda:{n % torch.cuda.device_count()}" for n in range(2)}


@pytest.mark.gpu
def test_two_workers_on_one_card_draw_the_samples_of_one_process():
    models = [load("avatars", "cuda:0") for load in (load_generator, load_encoder)]
    settings = PrecomputeSettings(table="none", samples=40, statistics=20)

    def drawn(**how: Any) -> SampleSet:
        prompts = PromptSet(("word", "other"), ("{}",))
        atlas = precompute(*models, prompts, settings, lambda progress: None, **how)
        assert atlas.samples is not None
        return atlas.samples

    alone = drawn()
    with open_executor(2, None, "cuda:0") as executor:
        found = drawn(executor=executor, sources=Sources("avatars", "avatars"))
    assert_near(found.embedding.astype(np.float32), alone.embedding.astype(np.float32), 2e-3)


def test_named_device_is_claimed_and_a_dead_worker_is_an_error_with_a_mend():
    with open_executor(2, None, "cuda:7") as executor:
        assert result(executor.submit(worker_device)) == "cuda:7"
        future = executor.submit(os._exit, 1)
        with pytest.raises(WorkerError, match=r"was killed.*fewer workers.*same command resumes"):
            result(future)
        with pytest.raises(WorkerError):
            result(executor.submit(os.getpid))


LONG_RUN = """
from styleatlas.precompute.executors import open_executor, result
import os, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
with open_executor(2, None, "mps") as executor:  # which imports no torch
    pids = [executor.submit(eval, *{meeting!r}) for _ in range(2)]
    print(*[result(future) for future in pids], flush=True)
    for future in [executor.submit(time.sleep, {long}) for _ in range(10)]:
        result(future)
"""


@pytest.fixture
def long_run(tmp_path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A run of long blocks in a process group of its own, and the ids of its two workers."""
    command = [sys.executable, "-c", LONG_RUN.format(meeting=meeting(tmp_path), long=10 * SECONDS)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(set(pids)) == 2
        yield process, pids
        process.kill()


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_ctrl_c_ends_a_run_and_only_the_parent_speaks_of_it(long_run):
    process, pids = long_run
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=SECONDS)
    assert said.count("Traceback") == said.count("KeyboardInterrupt\n") == 1
    assert not any(map(alive, pids))


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_workers_end_with_a_parent_that_was_killed(long_run):
    process, pids = long_run
    process.kill()
    deadline = time.monotonic() + SECONDS
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, pids))


# Ray


def test_missing_ray_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OptionError, match=r"pip install 'styleatlas\[ray\]'"):
        open_executor(1, "local", None)


@pytest.fixture(scope="module")
def ray():
    """Ray, told to keep no token in the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        yield pytest.importorskip("ray", reason="needs Ray")


@pytest.fixture(scope="module")
def cluster(ray):
    """A cluster of one node with one CPU."""
    from ray.cluster_utils import Cluster

    # A node that does not answer five times is dead: after 2.5 s, and not Ray's 15.
    often = {"health_check_period_ms": 500}
    head = {"include_dashboard": False, "_system_config": often, **NODE}
    cluster = Cluster(True, head_node_args=head)
    yield cluster
    cluster.shutdown()


NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


@pytest.mark.alone
@pytest.mark.parametrize(
    "address", ["127.0.0.1:9", "ray://127.0.0.1:9", "127.0.0.1:99999", "nonsense"]
)
def test_unreachable_cluster_is_refused_at_once(ray, address, monkeypatch):
    """Ray itself would try for minutes to reach a host, so it is not asked."""
    asked = mock.Mock(wraps=ray.init)
    monkeypatch.setattr(ray, "init", asked)
    with pytest.raises(OptionError, match=f"ray {address}: cannot be connected to .*ray status"):
        open_executor(1, address, None)
    assert asked.called == (address == "nonsense")


@pytest.mark.alone
def test_cluster_gives_results_and_errors(cluster):
    with open_executor(1, cluster.address, None) as executor:
        check_results_and_errors(executor)
        assert result(executor.submit(os.getpid)) != os.getpid()
        assert result(executor.submit(worker_device)) is None
        with pytest.raises(WorkerError, match=r"a_module_that_is_not_there.*every node needs"):
            result(executor.submit(Unknown()))


class Unknown:
    """A function that the workers cannot unpickle, for want of a module."""

    def __call__(self) -> None: ...

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return importlib.import_module, ("a_module_that_is_not_there",)


class CountsItsPickles:
    pickles = 0

    def __reduce__(self) -> tuple[type, tuple[int]]:
        type(self).pickles += 1
        return int, (40,)


@pytest.mark.long
@pytest.mark.alone
def test_function_is_shipped_to_the_cluster_once(cluster):
    function = functools.partial(operator.add, CountsItsPickles())
    with open_executor(1, cluster.address, None) as executor:
        futures = [executor.submit(function, n) for n in range(5)]
        assert [result(future) for future in futures] == [40, 41, 42, 43, 44]
    assert CountsItsPickles.pickles == 1


@pytest.mark.long
@pytest.mark.alone
def test_error_beside_a_cluster_waits_for_nothing(cluster):
    with pytest.raises(KeyboardInterrupt), open_executor(1, cluster.address, None) as executor:
        futures = [executor.submit(time.sleep, 3 * SECONDS) for _ in range(3)]
        raise KeyboardInterrupt
    assert all(future.cancelled() for future in futures)


@pytest.mark.long
@pytest.mark.alone
def test_task_that_kills_its_workers_is_an_error_with_a_mend(cluster, monkeypatch):
    monkeypatch.setattr(executors, "_RETRIES", 1)
    with open_executor(1, cluster.address, None) as executor:
        future = executor.submit(os._exit, 1)
        with pytest.raises(WorkerError, match=r"was lost, and 1 retries.*same command resumes"):
            result(future)


WAIT = f"""
import pathlib, ray, time
place, deadline = pathlib.Path(folder), time.monotonic() + {SECONDS}
(place / ray.get_runtime_context().get_node_id()).touch()
while not (place / "go").exists() and time.monotonic() < deadline:
    time.sleep(0.05)
"""


@pytest.mark.alone
def test_run_outlives_a_node(cluster, tmp_path):
    doomed = cluster.add_node(**NODE)
    given = {"code": WAIT, "folder": str(tmp_path)}
    with open_executor(1, cluster.address, None) as executor:
        futures = [executor.submit(eval, f"(exec(code), {n * n})[1]", given) for n in range(6)]
        deadline = time.monotonic() + SECONDS
        while len(list(tmp_path.iterdir())) < 2:  # until both are at work
            assert time.monotonic() < deadline, "a node never was at work"
            time.sleep(0.05)
        cluster.remove_node(doomed, allow_graceful=False)
        assert not any(future.done() for future in futures)
        (tmp_path / "go").touch()
        assert [result(future) for future in futures] == [n * n for n in range(6)]
