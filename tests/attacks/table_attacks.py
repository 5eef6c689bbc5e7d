"""Hostile tables and statistics: StyleCLIP's `fs3.npy` and `S_mean_std`, stylegan3-editing's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from styleatlas.engine.checkpoints.table_file import read_statistics, read_table

from . import hostile as h
from .pickle_attacks import Attack, code

SYSTEM = os.system.__module__
CALL = h.call(h.name(SYSTEM, "system"), h.text(h.COMMAND))


def statistics(path: Path) -> object:
    return read_statistics([path])


def pair(*layers: bytes) -> bytes:
    """Means and deviations, both of these layers."""
    return h.list_of(h.list_of(*layers), h.list_of(*layers))


def npy(header: str, body: bytes = b"", version: bytes = b"\x01\x00") -> Callable[[], bytes]:
    """A file of NumPy's with this header."""
    text = header.encode() + b"\n"
    return lambda: b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + body


def described(dtype: str, shape: str) -> str:
    return f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}}}"


TABLES = {
    "os.system among means": Attack(
        code(pair(CALL)), rf"asks for the Python object {SYSTEM}\.system", statistics
    ),
    "os.system beside the pose": Attack(
        code(h.list_of(h.dict_of(h.text("theta"), CALL), b"}", b"}")),
        rf"asks for the Python object {SYSTEM}\.system",
        statistics,
    ),
    "os.system in an array of objects": Attack(
        npy(described("'|O'", "(1, 1)"), h.pickled(CALL)),
        "has type object; only arrays of floats",
        read_table,
    ),
    "table of more than the file holds": Attack(
        npy(described("'<f4'", "(1000000000000, 512)"), bytes(8)),
        r"has 8 bytes for an array of shape \(1000000000000, 512\)",
        read_table,
    ),
    "table of a product beyond 64 bits": Attack(
        npy(described("'<f4'", f"({2**40}, {2**40}, 0)")),
        "is no sound NumPy file",
        read_table,
    ),
    "table of a negative shape": Attack(
        npy(described("'<f4'", "(-1, -2)"), bytes(8)), "is no sound NumPy file", read_table
    ),
    "table of structures": Attack(
        npy(described("[('a', '<f4')]", "(1, 1)"), bytes(4)), "only arrays of floats", read_table
    ),
    "header that calls": Attack(
        npy(f"__import__('os').system({h.COMMAND!r})"), "is no sound NumPy file", read_table
    ),
    "header of deep brackets": Attack(
        npy("(" * 5000 + ")" * 5000), "is no sound NumPy file", read_table
    ),
    "header of a version to come": Attack(
        npy(described("'<f4'", "(1, 1)"), bytes(4), b"\x09\x00"), "no sound NumPy", read_table
    ),
    "statistics in themselves": Attack(
        code(b"]\x94h\x00a"), "nests more than 200 deep or holds itself", statistics
    ),
    "statistics of numbers without layers": Attack(
        code(h.list_of(h.constant([1.0] * 3), h.constant([1.0] * 3))),
        r"means: holds 1\.0 where the numbers of a layer's channels",
        statistics,
    ),
    "statistics of the wrong types": Attack(
        code(h.list_of(h.constant({1: "x"}), h.constant({1: "x"}))),
        "means: holds x in 1 where the numbers of a layer",
        statistics,
    ),
    "statistics of names in control characters": Attack(
        code(h.list_of(h.constant({"\x1b[2K\n": 1}), h.constant({"a": 1}))),
        r"means: holds 1 in \\x1b\[2K\\n where",
        statistics,
    ),
}
