"""Where the blocks of a run are drawn: in this process, in several, or on a Ray cluster.

The blocks do not depend on one another, so every place has the one shape of
`concurrent.futures.Executor`: `submit(function, block)` returns a `Future`, and `result(future)`
waits for it. A function that goes to other processes is pickled, and so are its arguments and what
it returns; it is the same object for all blocks, so that Ray ships it once and not with each.

On a Ray cluster every node needs the same Python, Ray and StyleAtlas, and sees the files that the
function reads under the same paths.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.queues import SimpleQueue
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from ..store.errors import OptionError, WorkerError

# Windows waits for no more than 63 things at a time, and the pool needs two of them.
MAX_WORKERS = 61 if sys.platform == "win32" else 1024
_RETRIES = 5  # of a block whose worker or node dies; an error of the block itself is final
_REACH_SECONDS = 5.0

P = ParamSpec("P")
T = TypeVar("T")

_claimed: str | None = None


def open_executor(
    workers: int, ray: str | None, device: str | None, threads: int | None = None
) -> Executor:
    """The place where blocks are drawn, a context manager.

    Left by an exception, it cancels what has not begun; left otherwise, it waits for everything.

    Args:
        workers: 1 stays in this process; 2 to 1024 (61 on Windows) are processes on this machine,
            each of which claims one device: `worker_device()`.
        threads: that each of those computes on, on the CPU; by default they share its cores evenly.
        ray: the address of a cluster as Ray takes it: `auto`, `host:6379`, `ray://host:10001`, or
            `local` to start one here.
        device: of the workers; None or `cuda`: all CUDA devices in turn, or the CPU without CUDA.

    Raises:
        OptionError: a number of workers out of range, or one beside an address; Ray is not
            installed, or does not answer.
    """
    require_workers(workers)
    if ray is not None:
        if workers > 1:
            raise OptionError(
                f"workers {workers} and ray {ray}: a cluster has its own workers; give one of them"
            )
        return RayExecutor(ray)
    return InThisProcess() if workers == 1 else LocalProcesses(workers, device, threads)


def require_workers(workers: int) -> None:
    if not 1 <= workers <= MAX_WORKERS:
        raise OptionError(f"workers {workers}: must lie between 1 and {MAX_WORKERS}")


def result(future: Future[T]) -> T:
    """What the function returned, waited for; what it raised is raised.

    Raises:
        WorkerError: the process at work was lost, or, on a cluster, cannot run the function.
    """
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise WorkerError(
            "workers: a worker process was killed, most often because memory ran out; start fewer "
            "workers: the same command resumes"
        ) from error
    except Exception as error:
        ray = sys.modules.get("ray")  # only there if the error can be Ray's
        if ray is None or not isinstance(error, ray.exceptions.RayError):
            raise
        # Ray's copy of the function's error says the whole traceback, the cause its one line.
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
        if not isinstance(cause, ray.exceptions.RayError):
            raise cause from error
        if isinstance(cause, ray.exceptions.RaySystemError):
            raise WorkerError(
                f"ray: a worker cannot run the task ({_first_line(cause)}); every node needs the "
                "same Python, Ray and StyleAtlas: then the same command resumes"
            ) from error
        raise WorkerError(
            f"ray: a worker or its machine was lost, and {_RETRIES} retries did not help "
            f"({_first_line(cause)}); most often memory ran out: run fewer tasks a machine; the "
            "same command resumes"
        ) from error


def worker_device() -> str | None:
    """The device that this process has claimed; None, the best there is, but in a local worker.

    On a Ray cluster with GPUs a task sees one GPU, its own.
    """
    return _claimed


class InThisProcess(Executor):
    """Calls at once: `submit` returns when the function has. Ctrl-C is not kept for later."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class _LeftAtOnce(Executor):
    """One that an error or Ctrl-C in its `with` ends at once, with what is at work."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown(cancel_futures=kind is not None)


class LocalProcesses(_LeftAtOnce, ProcessPoolExecutor):
    """Processes on this machine, one device each; on the CPU they share its cores evenly, unless
    the threads of each are given."""

    def __init__(self, workers: int, device: str | None, threads: int | None = None) -> None:
        # Forked processes cannot use CUDA.
        context = multiprocessing.get_context("spawn")
        devices, cores = _devices(device), threads or max(1, _cores() // workers)
        unclaimed = context.SimpleQueue()
        for number in range(workers):
            unclaimed.put(devices[number % len(devices)])
        super().__init__(workers, context, _start_worker, (unclaimed, cores))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if cancel_futures:  # a block may take minutes; what it had begun is not kept anyway
            for process in (self._processes or {}).values():
                process.terminate()
        # Before Python 3.11 a pool whose worker was killed waits for ever for the thread that fills
        # the workers' pipe, which nobody empties any more (gh-94777); closed, the pipe refuses it.
        queue = getattr(self, "_call_queue", None)
        if sys.version_info < (3, 11) and self._broken and queue is not None:
            with suppress(OSError):  # the pool's own thread may have been there first
                queue._reader.close()
        super().shutdown(wait, cancel_futures=cancel_futures)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        try:
            return super().submit(fn, *args, **kwargs)
        except BrokenProcessPool as error:  # as the futures at work say: in one place for callers
            future: Future[T] = Future()
            future.set_exception(error)
            return future


class RayExecutor(_LeftAtOnce):
    """Tasks of a Ray cluster, with one CPU each and one GPU where the cluster has any.

    Args:
        address: as Ray takes it.

    Raises:
        OptionError: Ray is not installed, or does not answer.
    """

    def __init__(self, address: str) -> None:
        try:
            import ray
        except ImportError as error:
            raise OptionError(
                f"ray {address}: Ray is not installed: pip install 'styleatlas[ray]'"
            ) from error
        # What Ray says of a start, and what the workers print, is not for this run's terminal.
        quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
        if address == "local":
            quiet["include_dashboard"] = False
        try:
            _reach(address)
            ray.init(address, **quiet)
        except (OSError, OverflowError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            raise OptionError(
                f"ray {address}: cannot be connected to ({_first_line(error)}); see `ray status` "
                "on the cluster, or give auto, HOST:6379, ray://HOST:10001 or local"
            ) from error
        self._ray: Any = ray
        gpus = 1 if self._ray.cluster_resources().get("GPU") else 0
        # Without max_calls=0 a process with a GPU ends after each task, its models with it.
        self._task = self._ray.remote(
            num_cpus=1, num_gpus=gpus, max_calls=0, max_retries=_RETRIES, retry_exceptions=False
        )(_call)
        self._function: tuple[Any, Any] = (None, None)  # the last one, and where Ray keeps it
        self._pending: set[Future[Any]] = set()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if self._function[0] is not fn:
            self._function = (fn, self._ray.put(fn))
        future: Future[T] = self._task.remote(self._function[1], *args, **kwargs).future()
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Disconnect. Unless it is waited for, what is not finished is cancelled."""
        pending = list(self._pending)
        if wait and not cancel_futures:
            concurrent.futures.wait(pending)
        self._ray.shutdown()
        for future in pending:  # not before: a ray:// client still answers them as it leaves
            future.cancel()


def _call(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """What Ray knows as the task; the function itself is one of its arguments."""
    return function(*args, **kwargs)


def _reach(address: str) -> None:
    """Raises an OSError if nobody listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _REACH_SECONDS).close()


def _start_worker(unclaimed: SimpleQueue[str], cores: int) -> None:
    global _claimed
    # Ctrl-C reaches every process of the terminal; the parent alone decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    _claimed = unclaimed.get()
    if _claimed == "cpu":
        import torch

        torch.set_num_threads(cores)


def _follow_parent() -> None:
    """Ends this process with its parent, which could not stop the pool if it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _devices(device: str | None) -> list[str]:
    if device in (None, "cuda"):
        # Not at the top: a worker imports this file, and torch is seconds of its start. Those that
        # need it import it with what they run.
        import torch

        if torch.cuda.is_available():
            return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [device or "cpu"]


def _cores() -> int:
    """That this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
