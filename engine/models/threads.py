"""How many threads compute, where it matters."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController

ONE_THREAD_UP_TO = 128
"""Pixels: the operators of smaller generators are so short that a second thread hardly helps on a
quiet machine, and all of them wait for it on a busy one (`benchmarks/threads.py`)."""


def use_threads(asked: int | None, resolution: int) -> None:
    """Let PyTorch compute on as many threads as asked for, or as suit a generator's pixels; where
    nobody asks, but the environment says OMP_NUM_THREADS, as that says."""
    if asked is not None:
        torch.set_num_threads(asked)
    elif resolution <= ONE_THREAD_UP_TO and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """NumPy's products on one thread, while this lasts; also a decorator.

    Its threads go on spinning after a product, beside PyTorch's, which makes a render that follows
    on a CPU a third slower; and the products of an edit, a matrix with a vector, wait for memory.
    """
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> ThreadpoolController:
    # Once: to look for the libraries that are loaded takes milliseconds.
    return ThreadpoolController()
