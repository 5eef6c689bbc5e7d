"""Hostile weights as TensorFlow.js keeps them: manifests, and numbers beside a sound one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from styleatlas.engine.checkpoints.tfjs_file import MANIFEST, read_manifest, read_tfjs

from .pickle_attacks import Attack

BYTES = {"dtype": "uint8", "scale": 0.5, "min": -1.0}


def weight(**changes: Any) -> dict[str, Any]:
    return {"name": "fc", "shape": [2, 2], "dtype": "float32", "quantization": BYTES, **changes}


def manifest(*weights: object, paths: object = ("weights.bin",)) -> Callable[[], bytes]:
    return lambda: json.dumps([{"weights": list(weights), "paths": paths}]).encode()


def read_description(path: Path) -> object:
    return read_manifest(path, "weights.bin")


def read_beside(*weights: object) -> Callable[[Path], object]:
    """A reader of numbers beside a sound manifest of these weights."""

    def read(path: Path) -> object:
        described = manifest(*weights, paths=[path.name])
        path.with_name(path.stem + MANIFEST).write_bytes(described())
        return read_tfjs(path)

    return read


def of_numbers(content: bytes, message: str, *weights: object) -> Attack:
    return Attack(lambda: content, message, read_beside(*weights))


TFJS = {
    name: Attack(make, message, read_description)
    for name, make, message in [
        (
            "manifest that names another file",
            manifest(weight(), paths=["../../etc/passwd"]),
            r"does not describe weights\.bin alone",
        ),
        (
            "manifest of two files",
            manifest(weight(), paths=["weights.bin", "/dev/zero"]),
            r"does not describe weights\.bin alone",
        ),
        ("manifest of deep lists", lambda: b"[" * 100_000, "is no sound JSON"),
        ("manifest of two megabytes", lambda: b" " * 2**21, "has 2097152 bytes, more than 1048576"),
        ("manifest of bytes", lambda: b"\xff\xfe[]", "is no sound JSON"),
        ("manifest of no list", lambda: b'{"weights": []}', "is no list of one group"),
        ("manifest of no weights", manifest(), "does not list 1 to 4096 weights"),
        (
            "manifest of many weights",
            manifest(*[0] * 5000),
            "does not list 1 to 4096 weights",
        ),
        (
            "manifest with a number of a million digits",
            lambda: b'[{"weights": ' + b"1" * 10**6 + b', "paths": []}]',
            "is no sound JSON",
        ),
        (
            "key twice",
            lambda: b'[{"paths": ["weights.bin"], "paths": [], "weights": []}]',
            "is no sound JSON",
        ),
        ("weight twice", manifest(weight(), weight()), "describes one name twice"),
        ("weight with more", manifest(weight(module="os")), "describes a weight by other than"),
        ("weight that is a number", manifest(1), "describes a weight by other than"),
        (
            "weight that clears the screen",
            manifest(weight(name="\x1b[2J", shape="x")),
            r"'\\x1b\[2J': its shape must be at most 8 integers",
        ),
        ("weight of 2^80 numbers", manifest(weight(shape=[2**40] * 2)), "multiplies to more"),
        ("weight of negative sides", manifest(weight(shape=[-2, -2])), "at most 8 integers"),
        ("weight of true sides", manifest(weight(shape=[True, 4])), "at most 8 integers"),
        ("weight of texts", manifest(weight(dtype="string")), "fc is of string, not of float32"),
        (
            "weight quantised by another type",
            manifest(weight(quantization={**BYTES, "dtype": "object"})),
            "fc is not quantised by dtype uint8",
        ),
        (
            "scale of NaN",
            manifest(weight(quantization={**BYTES, "scale": float("nan")})),
            "is no sound JSON",
        ),
        (
            "scale beyond float32",
            manifest(weight(quantization={**BYTES, "scale": 1e300})),
            r"fc has scale 1e\+300",
        ),
        (
            "scale of text",
            manifest(weight(quantization={**BYTES, "scale": "1"})),
            "fc has scale 1 and",
        ),
    ]
} | {
    "weights that are not there": of_numbers(
        bytes(4), "has 4 bytes where its manifest describes 4000000", weight(shape=[10**6, 4])
    ),
    "numbers left over": of_numbers(bytes(5), "has 5 bytes where its manifest", weight()),
    "floats of NaN": of_numbers(
        b"\xff" * 4, "w holds NaN or infinity", {"name": "w", "shape": [1], "dtype": "float32"}
    ),
    "weights without numbers": of_numbers(b"", "is empty", weight(shape=[0])),
    "pickle in place of numbers": of_numbers(
        b"\x80\x04cos\nsystem\n.", "bytes where its manifest describes 4", weight()
    ),
}
