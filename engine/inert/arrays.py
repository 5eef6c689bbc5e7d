"""NumPy's arrays in pickles: of numbers as views of their bytes, of objects as plain lists."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .machine import Global, Machine, Symbol, Unbuilt
from .objects import checked_lengths

DTYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
NUMPY_ARRAY = Global()
"""The name of the class of arrays, which is never called."""


class _UnbuiltType(Unbuilt):
    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code

    def build(self, machine: Machine, state: object) -> np.dtype[Any]:
        """(3, byte order, None, None, None, -1, -1, 0)"""
        order = "|" if self.code.endswith("1") else "<"
        wanted = (3, order, None, None, None, -1, -1, 0)
        if (
            type(state) is not tuple
            or len(state) != len(wanted)
            or any(type(x) is not type(y) or x != y for x, y in zip(state, wanted, strict=True))
        ):
            raise machine.refuse(f"gives the numpy type {self.code} a state it never has")
        return np.dtype(self.code)


class _UnbuiltArray(Unbuilt):
    def build(self, machine: Machine, state: object) -> NDArray[Any]:
        """(1, shape, dtype, whether in Fortran order, bytes); the array views the bytes."""
        if type(state) is not tuple or len(state) != 5:
            raise machine.refuse("gives a numpy array a state it never has")
        version, size, dtype, fortran, raw = state
        if (
            type(version) is not int
            or version != 1
            or not isinstance(dtype, np.dtype)
            or type(fortran) not in (bool, int)
            or type(raw) is not bytes
        ):
            raise machine.refuse("gives a numpy array a state it never has")
        try:
            shape = checked_lengths(size, "the shape of a numpy array")
        except ValueError as error:
            raise machine.refuse(str(error)) from error
        wanted = math.prod(shape) * dtype.itemsize
        if len(raw) != wanted:
            raise machine.refuse(f"gives {len(raw)} bytes for a numpy array of {wanted}")
        machine.describe(len(raw))
        if not raw:
            return np.zeros(shape, dtype)
        array: NDArray[Any] = np.ndarray(shape, dtype, raw, order="F" if fortran else "C")
        return array


def numpy_type(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> _UnbuiltType:
    """(code, align, copy)"""
    if len(args) != 3 or type(args[0]) is not str:
        raise machine.refuse_arguments(symbol)
    if args[0] not in DTYPES:
        raise machine.refuse(
            f"holds a numpy type {args[0][:20]!a}, which is not a plain number",
            f"only {', '.join(DTYPES)} are read; save it without such arrays",
        )
    return _UnbuiltType(args[0])


def numpy_array(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> _UnbuiltArray:
    """(numpy.ndarray, (0,), b"b"): an empty array whose state comes next."""
    if len(args) != 3 or type(args[0]) is not Symbol or args[0].rule is not NUMPY_ARRAY:
        raise machine.refuse_arguments(symbol)
    return _UnbuiltArray()


# numpy's arrays of objects, which are pickles


class _ObjectType:
    """Stands for the numpy type of objects, which no memory may be read as."""


class _UnbuiltObjectType(Unbuilt):
    def build(self, machine: Machine, state: object) -> _ObjectType:
        """(3, "|", None, None, None, -1, -1, 63)"""
        wanted = (3, "|", None, None, None, -1, -1, 63)
        if (
            type(state) is not tuple
            or [type(part) for part in state] != [type(part) for part in wanted]
            or state != wanted
        ):
            raise machine.refuse("gives the numpy type of objects a state it never has")
        return _ObjectType()


class _UnbuiltObjects(_UnbuiltArray):
    """An array of numbers, or of objects: a list of them, or the one of an array without axes."""

    def build(self, machine: Machine, state: object) -> Any:
        if type(state) is not tuple or len(state) != 5 or type(state[2]) is not _ObjectType:
            return super().build(machine, state)
        version, size, _, fortran, items = state
        if type(version) is not int or version != 1 or type(fortran) not in (bool, int):
            raise machine.refuse("gives a numpy array a state it never has")
        try:
            shape = checked_lengths(size, "the shape of a numpy array")
        except ValueError as error:
            raise machine.refuse(str(error)) from error
        if len(shape) > 1 or type(items) is not list or len(items) != math.prod(shape):
            raise machine.refuse(
                "holds an array of objects that is no plain list of them",
                "save a list, a dict, or an array of numbers",
            )
        return items if shape else items[0]


def numpy_type_or_objects(
    machine: Machine, symbol: Symbol, args: tuple[Any, ...]
) -> _UnbuiltType | _UnbuiltObjectType:
    if len(args) == 3 and type(args[0]) is str and args[0] in ("O8", "O4"):
        return _UnbuiltObjectType()
    return numpy_type(machine, symbol, args)


def numpy_objects(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> _UnbuiltObjects:
    numpy_array(machine, symbol, args)  # which checks them
    return _UnbuiltObjects()


def numpy_buffer(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> NDArray[Any]:
    """How protocol 5 writes an array: (bytes, dtype, shape, order)."""
    if len(args) != 4 or type(args[3]) is not str or args[3] not in ("C", "F"):
        raise machine.refuse_arguments(symbol)
    return _UnbuiltArray().build(machine, (1, args[2], args[1], args[3] == "F", args[0]))


def numpy_scalar(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> bool | int | float:
    """(dtype, bytes)"""
    if (
        len(args) != 2
        or not isinstance(args[0], np.dtype)
        or type(args[1]) is not bytes
        or len(args[1]) != args[0].itemsize
    ):
        raise machine.refuse_arguments(symbol)
    number: bool | int | float = np.frombuffer(args[1], args[0])[0].item()
    return number
