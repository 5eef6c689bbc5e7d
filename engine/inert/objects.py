"""What an untrusted file holds, as inert data: no class, function or tensor of the file is made."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

MAX_AXES = 8
# An empty tensor may name any length beside its zero; torch and numpy overflow on absurd ones.
MAX_LENGTH = 2**40


class InertObject:
    """An object whose class is never built.

    Args:
        kind: what the file calls it, such as `argparse.Namespace`.
        args: the arguments its class would be made with.
        state: its attributes, once the file has given them.
    """

    __slots__ = ("args", "kind", "state")

    def __init__(
        self, kind: str, args: tuple[Any, ...] = (), state: dict[str, Any] | None = None
    ) -> None:
        self.kind = kind
        self.args = args
        self.state = state

    def __repr__(self) -> str:
        return f"<InertObject {escaped(self.kind)}>"


class Storage:
    """Flat memory of one type inside the file; `data` is its bytes, once they are found."""

    __slots__ = ("data", "dtype", "length")

    def __init__(self, dtype: torch.dtype, length: int, data: memoryview | None = None) -> None:
        self.dtype = dtype
        self.length = length
        self.data = data

    def __repr__(self) -> str:
        return f"<Storage of {self.length} {self.dtype}>"


class InertTensor:
    """A tensor described but not read.

    Raises:
        ValueError: it reaches outside its storage or repeats elements of it.
    """

    __slots__ = ("_offset", "_storage", "_strides", "dtype", "shape")

    def __init__(self, storage: Storage, offset: object, shape: object, strides: object) -> None:
        if type(offset) is not int or offset < 0:
            raise ValueError("the offset of a tensor must be an integer of at least 0")
        self.shape = checked_lengths(shape, "the size of a tensor")
        self._strides = checked_axes(strides, "the stride of a tensor")
        self._storage = storage
        self._offset = offset
        self.dtype = storage.dtype
        if len(self._strides) != len(self.shape):
            raise ValueError("a tensor must have as many strides as sizes")
        steps = zip(self.shape, self._strides, strict=True)
        end = offset + sum((size - 1) * stride for size, stride in steps) + 1 if self.numel else 0
        # A view may not repeat elements: a few bytes would stand for any number of them.
        if max(end, offset) > storage.length or self.numel > storage.length:
            raise ValueError(f"a tensor reaches beyond its storage of {storage.length} elements")

    def __repr__(self) -> str:
        return f"<InertTensor {self.shape} {self.dtype}>"

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.itemsize

    def load(self) -> Tensor:
        """Copy it out of the file: contiguous, on the CPU."""
        if not self.numel:
            return torch.empty(self.shape, dtype=self.dtype)
        # As integers, since numpy knows no bfloat16. numpy checks the bounds once more.
        itemsize = self.dtype.itemsize
        strides = [
            s * itemsize if n > 1 else 0 for n, s in zip(self.shape, self._strides, strict=True)
        ]
        raw: np.ndarray[Any, np.dtype[Any]] = np.ndarray(
            self.shape, f"<i{itemsize}", self._storage.data, self._offset * itemsize, strides
        )
        tensor = torch.from_numpy(raw.astype(f"i{itemsize}", order="C"))
        return tensor != 0 if self.dtype == torch.bool else tensor.view(self.dtype)


def checked_lengths(value: object, what: str) -> tuple[int, ...]:
    """`value` as a tuple of at most 8 lengths whose product stays sane.

    Raises:
        ValueError: it is anything else.
    """
    lengths = checked_axes(value, what)
    if math.prod(max(n, 1) for n in lengths) > MAX_LENGTH:
        raise ValueError(f"{what} multiplies to more than any file holds")
    return lengths


def checked_axes(value: object, what: str) -> tuple[int, ...]:
    """`value` as a tuple of at most 8 integers, one an axis, each of them sane.

    Raises:
        ValueError: it is anything else.
    """
    if (
        type(value) is not tuple
        or len(value) > MAX_AXES
        or not all(type(n) is int and 0 <= n <= MAX_LENGTH for n in value)
    ):
        raise ValueError(f"{what} must be at most {MAX_AXES} integers of at least 0")
    return value


def escaped(name: str) -> str:
    """A name from a file, fit for one line of a message."""
    return name[:80].encode("unicode_escape").decode("ascii")[:80]
