"""How many threads compute, where it matters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController


def use_threads(asked: int) -> None:
    """Let PyTorch compute on so many threads of the CPU. Nobody has to ask: what a busy machine
    suffers from is not their number but how they wait, see `benchmarks/threads.py`."""
    torch.set_num_threads(asked)


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
