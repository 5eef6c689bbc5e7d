"""How many threads compute, where it matters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


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
