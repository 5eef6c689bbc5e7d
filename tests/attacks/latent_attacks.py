"""Hostile latents: pickles, and NumPy's arrays of objects, which are pickles, too."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from styleatlas.engine.models.latents import read_latents

from ..conftest import CountableGenerator
from . import hostile as h
from .pickle_attacks import Attack, code, torch_zip

SYSTEM = os.system.__module__
CALL = h.call(h.name(SYSTEM, "system"), h.text(h.COMMAND))
OBJECT_STATE = (3, "|", None, None, None, -1, -1, 63)
OBJECTS = h.numpy_type("O8", OBJECT_STATE)


def read(path: Path) -> object:
    return read_latents(path, CountableGenerator())


def objects(shape: object, items: bytes, dtype: bytes = OBJECTS) -> bytes:
    """An array of objects: the opcodes of `items` leave a list."""
    shell = h.call(h.NUMPY_RECONSTRUCT, h.NUMPY_ARRAY, h.constant((0,)), h.binary(b"b"))
    state = h.tuple_of(h.number(1), h.constant(shape), dtype, h.constant(False), items)
    return h.build(shell, state)


def list_of(*items: bytes) -> bytes:
    return b"](" + b"".join(items) + b"e"


def npy(content: bytes, descr: str = "|O", shape: tuple[int, ...] = ()) -> Callable[[], bytes]:
    """An .npy file of that header around anything."""

    def make() -> bytes:
        file = io.BytesIO()
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        return file.getvalue() + content

    return make


def in_npy(body: bytes) -> Callable[[], bytes]:
    return npy(h.pickled(body))


def in_npz(body: bytes) -> Callable[[], bytes]:
    return lambda: h.zipped({"w.npy": in_npy(body)()})


def endless(depth: int) -> bytes:
    """Lists in lists."""
    return b"]" * depth + b"a" * (depth - 1)


def many() -> bytes:
    """A list of eight of which each holds the one before eight times."""
    return pickle.dumps(_many())[2:-1]


def _many() -> object:
    value: object = [np.zeros(2, np.float32)]
    for _ in range(9):
        value = [value] * 8
    return value


def latents(array: object) -> Callable[[], bytes]:
    return lambda: pickle.dumps(array, 4)


LATENTS = {
    name: Attack(make, message, read)
    for name, make, message in [
        ("os.system in latents", code(CALL), rf"asks for the Python object {SYSTEM}\.system"),
        (
            "os.system in a .npy of objects",
            in_npy(objects((1,), list_of(CALL))),
            rf"asks for the Python object {SYSTEM}\.system",
        ),
        (
            "os.system in a .npz of objects",
            in_npz(objects((), list_of(CALL))),
            rf"array w, byte \d+: asks for the Python object {SYSTEM}\.system",
        ),
        (
            "os.system beside a tensor of latents",
            torch_zip(h.dict_of(h.text("latents"), CALL)),
            rf"asks for the Python object {SYSTEM}\.system",
        ),
        (
            "objects out of bytes",
            in_npy(objects((1,), h.binary(b"A" * 8))),
            "holds an array of objects that is no plain list of them",
        ),
        (
            "objects out of a number",
            in_npy(h.call(h.name("numpy.core.multiarray", "scalar"), OBJECTS, h.binary(b"A" * 8))),
            r"gives numpy\.core\.multiarray\.scalar arguments it never has",
        ),
        (
            "objects out of a buffer",
            in_npy(
                h.call(
                    h.name("numpy.core.numeric", "_frombuffer"),
                    h.binary(b"A" * 8),
                    OBJECTS,
                    h.constant((1,)),
                    h.text("C"),
                )
            ),
            "gives a numpy array a state it never has",
        ),
        (
            "buffer that lies",
            code(
                h.call(
                    h.name("numpy.core.numeric", "_frombuffer"),
                    h.binary(b"A" * 8),
                    h.numpy_type(),
                    h.constant((10**6,)),
                    h.text("C"),
                )
            ),
            "gives 8 bytes for a numpy array of 4000000",
        ),
        (
            "type of objects that lies",
            in_npy(objects((0,), b"]", h.numpy_type("O8"))),
            "gives the numpy type of objects a state it never has",
        ),
        (
            "objects that are not there",
            in_npy(objects((10**6,), list_of(h.number(1)))),
            "holds an array of objects that is no plain list of them",
        ),
        (
            "array of objects in itself",
            in_npy(
                h.call(h.NUMPY_RECONSTRUCT, h.NUMPY_ARRAY, h.constant((0,)), h.binary(b"b"))
                + b"q\x63"
                + h.tuple_of(
                    h.number(1), h.constant((1,)), OBJECTS, h.constant(False), list_of(b"h\x63")
                )
                + b"b"
            ),
            "holds an array or type whose content never came",
        ),
        (
            "objects with a tail",
            npy(h.pickled(h.dict_of()) + b"x"),
            r"goes on after its end at byte \d+",
        ),
        ("steps in steps", code(endless(300)), "nests more than 200 deep or holds itself"),
        ("latents without end", lambda: h.pickled(many()), "unfolds to more than 2000000 parts"),
        (
            "numbers that are not there",
            npy(b"", "<f4", (100_000, 2**40)),
            "takes more than 1073741824 bytes in memory",
        ),
        ("latents of NaN", latents(np.full((1, 14), np.nan, np.float32)), "holds NaN or infinity"),
        (
            "name that climbs and clears the screen",
            latents({"../../\x1b[2J.png": np.zeros((1, 7), np.float32)}),
            r"\.\./\.\./\\x1b\[2J\.png: has shape \(1, 7\)",
        ),
        (
            "module among latents",
            lambda: pickle.dumps({"w": torch.nn.Linear(1, 1)}),
            r"asks for the Python object torch\.nn\.modules\.linear\.Linear",
        ),
    ]
}
