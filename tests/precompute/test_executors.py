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
from concurrent.futures import FIRST_COMPLETED, Executor, wait

import pytest
import torch

from styleatlas.precompute import executors
from styleatlas.precompute.executors import open_executor, result, worker_device
from styleatlas.store.errors import OptionError, WorkerError

SLOW_PID = "(__import__('time').sleep(1), __import__('os').getpid())[1]"


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


def test_ctrl_c_passes_through_this_process():
    with open_executor(1, None, None) as executor, pytest.raises(KeyboardInterrupt):
        executor.submit(signal.raise_signal, signal.SIGINT)


# Processes on this machine


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with open_executor(2, None, None) as executor:
        yield executor


def test_workers_give_results_and_errors(pool):
    check_results_and_errors(pool)


def test_two_workers_are_two_processes_at_work_at_once(pool):
    pids = {result(future) for future in [pool.submit(eval, SLOW_PID) for _ in range(4)]}
    assert len(pids) == 2
    assert os.getpid() not in pids


@pytest.mark.skipif(torch.cuda.is_available(), reason="the workers are on CUDA")
def test_workers_on_the_cpu_share_its_cores(pool):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert result(pool.submit(torch.get_num_threads)) == max(1, cores // 2)
    assert result(pool.submit(worker_device)) == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_workers_take_the_cuda_devices_in_turn(pool):
    claimed = "(__import__('time').sleep(1), {})[1]".format(
        "__import__('styleatlas.precompute.executors', fromlist=['_']).worker_device()"
    )
    devices = {result(future) for future in [pool.submit(eval, claimed) for _ in range(4)]}
    assert devices == {f"cuda:{n % torch.cuda.device_count()}" for n in range(2)}


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
import os, time
with open_executor(2, None, "mps") as executor:  # which imports no torch
    pids = [executor.submit(eval, {slow!r}) for _ in range(2)]
    print(*[result(future) for future in pids], flush=True)
    for future in [executor.submit(time.sleep, 0.5) for _ in range(1000)]:
        result(future)
"""


@pytest.fixture
def long_run() -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A run of many minutes in a process group of its own, and the ids of its two workers."""
    command = [sys.executable, "-c", LONG_RUN.format(slow=SLOW_PID)]
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
    _, said = process.communicate(timeout=20)
    assert said.count("Traceback") == said.count("KeyboardInterrupt\n") == 1
    assert not any(map(alive, pids))


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_workers_end_with_a_parent_that_was_killed(long_run):
    process, pids = long_run
    process.kill()
    deadline = time.monotonic() + 10
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
        yield pytest.importorskip("ray", reason="Ray is not installed")


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


@pytest.mark.parametrize(
    "address", ["127.0.0.1:9", "ray://127.0.0.1:9", "127.0.0.1:99999", "nonsense"]
)
def test_unreachable_cluster_is_refused_at_once(ray, address):
    started = time.monotonic()
    with pytest.raises(OptionError, match=f"ray {address}: cannot be connected to .*ray status"):
        open_executor(1, address, None)
    assert time.monotonic() - started < 10


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


def test_function_is_shipped_to_the_cluster_once(cluster):
    function = functools.partial(operator.add, CountsItsPickles())
    with open_executor(1, cluster.address, None) as executor:
        futures = [executor.submit(function, n) for n in range(5)]
        assert [result(future) for future in futures] == [40, 41, 42, 43, 44]
    assert CountsItsPickles.pickles == 1


def test_error_beside_a_cluster_waits_for_nothing(cluster):
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), open_executor(1, cluster.address, None) as executor:
        futures = [executor.submit(time.sleep, 60) for _ in range(3)]
        raise KeyboardInterrupt
    assert all(future.cancelled() for future in futures)
    assert time.monotonic() - started < 20


def test_task_that_kills_its_workers_is_an_error_with_a_mend(cluster, monkeypatch):
    monkeypatch.setattr(executors, "_RETRIES", 1)
    with open_executor(1, cluster.address, None) as executor:
        future = executor.submit(os._exit, 1)
        with pytest.raises(WorkerError, match=r"was lost, and 1 retries.*same command resumes"):
            result(future)


def test_run_outlives_a_node(cluster):
    doomed = cluster.add_node(**NODE)
    task = (
        "(__import__('time').sleep(0.5), {}, "
        "__import__('ray').get_runtime_context().get_node_id())[1:]"
    )
    with open_executor(1, cluster.address, None) as executor:
        futures = [executor.submit(eval, task.format(n * n)) for n in range(12)]
        pending, nodes = set(futures), set()
        while len(nodes) < 2:  # until both are at work
            assert pending
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            nodes |= {result(future)[1] for future in done}
        cluster.remove_node(doomed, allow_graceful=False)
        assert sum(future.done() for future in futures) < 12
        assert [result(future)[0] for future in futures] == [n * n for n in range(12)]
