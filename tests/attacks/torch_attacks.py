"""Hostile files of torch.save: the older stream, its nested form, and zip archives."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Callable

import torch

from styleatlas.engine.inert.torchfile import read_torch

from . import hostile as h
from .pickle_attacks import WRONG, Attack, code, torch_zip

# The stream, alone or inside `_load_from_bytes`


def nested(raw: bytes) -> Callable[[], bytes]:
    return code(h.call(h.LOAD_FROM_BYTES, h.binary(raw)))


STREAMS = {
    "zip in place of a stream": Attack(
        nested(h.saved(torch.zeros(2))), r"storage at byte \d+, does not begin as a file by torch"
    ),
    "other object in a stream": Attack(nested(h.saved({}, legacy=True)), WRONG),
    "tensor in a stream": Attack(
        nested(h.saved(torch.zeros(2), legacy=True)),
        r"asks for the Python object torch\._utils\._rebuild_tensor_v2",
    ),
    "os.system in a stream": Attack(
        nested(h.stream(h.pickled(h.call(h.name("os", "system"), h.text(h.COMMAND))), {})),
        r"storage at byte \d+, byte \d+: asks for the Python object os\.system",
    ),
    "os.system before the magic number": Attack(
        nested(h.pickled(h.name("os", "system") + b"0" + h.number(0x1950A86A20F9469CFC6C))),
        r"asks for the Python object os\.system.*only tensors",
    ),
    "other magic number": Attack(
        nested(h.pickled(h.number(0x1950A86A20F9469CFC6C) + b"0" + h.number(7))),
        "does not begin as a file by torch.save does",
    ),
    "storage declared longer": Attack(
        nested(h.storage_stream(4, declared=10**12)),
        "a storage has 4 elements where 1000000000000 are declared",
    ),
    "storage that claims more": Attack(
        nested(h.storage_stream(4, declared=10**12, stored=10**12)), "is truncated"
    ),
    "storage of negative length": Attack(
        nested(h.storage_stream(4, declared=-1, stored=-1)), "something that is not a storage"
    ),
    "bytes after a storage": Attack(nested(h.storage_stream() + b"x"), "goes on after its end"),
    "wrong magic": Attack(
        lambda: h.stream(h.pickled(b"N"), {}, magic=7),
        "does not begin as a file by torch.save does",
        read_torch,
    ),
    "wrong version": Attack(
        lambda: h.stream(h.pickled(b"N"), {}, version=7),
        "another version of torch.save",
        read_torch,
    ),
    "big-endian stream": Attack(
        lambda: h.stream(h.pickled(b"N"), {}, little_endian=False),
        "was not saved on a little-endian machine",
        read_torch,
    ),
    "storage listed twice": Attack(
        lambda: h.stream(
            h.pickled(h.zip_storage(1, "7"), 2), {"7": (1, bytes(4))}, keys=["7", "7"]
        ),
        "lists other storages than its tensors use",
        read_torch,
    ),
    "storage never listed": Attack(
        lambda: h.stream(h.pickled(h.zip_storage(1, "7"), 2), {}),
        "lists other storages than its tensors use",
        read_torch,
    ),
    "storage of two types": Attack(
        lambda: h.stream(
            h.pickled(
                h.tuple_of(
                    h.zip_storage(1, "7"), h.zip_storage(1, "7", h.name("torch", "LongStorage"))
                )
            ),
            {"7": (1, bytes(8))},
        ),
        "names one storage with two types or lengths",
        read_torch,
    ),
    "view of a storage": Attack(
        lambda: h.stream(
            h.pickled(
                h.tuple_of(
                    h.text("storage"), h.FLOATS, *map(h.constant, ("7", "cpu", 1, ("8", 0, 9)))
                )
                + b"Q"
            ),
            {"7": (1, bytes(4))},
        ),
        "holds a view of a storage",
        read_torch,
    ),
    "module with its source": Attack(
        lambda: h.stream(
            h.pickled(h.tuple_of(h.text("module"), *map(h.constant, (1, "a.py", "x"))) + b"Q"), {}
        ),
        "refers to something that is not a storage",
        read_torch,
    ),
}


# Zip archives

SOUND = h.archive(h.pickled(h.constant("content"), 2), {"0": bytes(64)})


def patched(offset: int, value: bytes, data: bytes = SOUND) -> Callable[[], bytes]:
    """A zip with other bytes at an offset into the directory's entry of its last member."""
    start = data.rindex(b"PK\x01\x02") + offset
    return lambda: data[:start] + value + data[start + len(value) :]


def overlapping() -> bytes:
    """A storage that is a zip itself, whose only member the outer directory lists as well."""
    inner = h.zipped({"archive/data/1": bytes(64)})
    outer = h.archive(h.pickled(b"N"), {"0": inner})
    entry = inner[inner.index(b"PK\x01\x02") : inner.index(b"PK\x05\x06")]
    entry = entry[:42] + struct.pack("<L", outer.index(inner)) + entry[46:]
    end = outer.rindex(b"PK\x05\x06")
    count, size = struct.unpack("<HL", outer[end + 10 : end + 16])
    counts = struct.pack("<HHL", count + 1, count + 1, size + len(entry))
    return outer[:end] + entry + outer[end : end + 8] + counts + outer[end + 16 :]


def compressed(member: str, raw: bytes) -> Callable[[], bytes]:
    return lambda: h.zipped(
        {"archive/data.pkl": h.pickled(b"N"), f"archive/{member}": raw},
        compress_type=zipfile.ZIP_DEFLATED,
    )


def with_member(name: str, **changes: object) -> Callable[[], bytes]:
    return lambda: h.zipped({"archive/data.pkl": h.pickled(b"N"), name: b"x"}, **changes)


ZIPS = {
    name: Attack(make, message, read_torch)
    for name, make, message in [
        ("truncated zip", lambda: SOUND[:-30], "is a truncated or foreign zip file"),
        ("zip bomb", compressed("data/0", bytes(30_000_000)), r"archive/data\.pkl that is compr"),
        (
            "compressed storage",
            lambda: patched(10, struct.pack("<H", 8))(),
            "data/0 that is compressed, as torch.save leaves none",
        ),
        ("overlapping members", overlapping, "archive/data/1 that overlaps another"),
        (
            "symbolic link",
            with_member("archive/data/0", external_attr=(stat.S_IFLNK | 0o777) << 16),
            "that is a link or a device",
        ),
        ("member ..", with_member("archive/../../evil"), r"\.\./\.\./evil outside its folder"),
        ("absolute member", with_member("/etc/passwd"), "/etc/passwd outside its folder"),
        ("drive letter", with_member("C:/evil"), "C:/evil outside its folder"),
        (
            "member in code ..",
            compressed("code/../data/0", bytes(100)),
            r"code/\.\./data/0 outside its folder|compressed",
        ),
        (
            "member twice",
            lambda: h.archive(h.pickled(b"N"), {"a": b"", "b": b""}).replace(b"data/b", b"data/a"),
            "archive/data/a twice",
        ),
        ("encrypted member", patched(8, b"\x01"), "data/0 that is encrypted"),
        (
            "member by two names",
            lambda: SOUND.replace(b"data/0", b"data/1", 1),
            "data/0 whose header is missing or names another",
        ),
        ("member elsewhere", patched(42, struct.pack("<L", 2**31)), "whose header is missing"),
        (
            "member beyond the file",
            patched(20, struct.pack("<LL", 2**31, 2**31)),
            "data/0 that reaches beyond the members",
        ),
        ("member of two sizes", patched(24, struct.pack("<L", 2**31)), "data/0 of two sizes"),
        ("bytes before a zip", lambda: b"PK\x03\x04" + SOUND, "directory of a wrong place or size"),
        ("bytes after a zip", lambda: SOUND + b"x", "is a truncated or foreign zip file"),
        (
            "endless directory",
            lambda: SOUND[:-10] + struct.pack("<L", 2**31) + SOUND[-6:],
            "directory of a wrong place or size",
        ),
        (
            "broken directory",
            lambda: SOUND.replace(b"PK\x01\x02", b"PK\x01\x03"),
            r"has a broken zip directory \(BadZipFile\)",
        ),
        ("zip of pictures", lambda: h.zipped({"a/b.png": b"x"}), "torch.save did not write"),
        (
            "two archives",
            lambda: h.zipped({"a/data.pkl": b"", "b/data.pkl": b""}),
            "torch.save did not write",
        ),
        (
            "big-endian zip",
            torch_zip(b"N", byteorder=b"big"),
            "was saved on a big-endian machine",
        ),
        (
            "storage length that lies",
            torch_zip(h.zip_storage(10**12), {"0": bytes(16)}),
            r"declares a storage of 1000000000000 torch\.float32 which has 16 bytes",
        ),
        (
            "storage that is not there",
            torch_zip(h.zip_storage(4, "9"), {"0": bytes(16)}),
            "refers to a storage that the file does not hold",
        ),
        (
            "storage by a path",
            torch_zip(h.zip_storage(4, "../version"), {"0": bytes(16)}),
            "refers to a storage that the file does not hold",
        ),
        (
            "storage of a class",
            torch_zip(h.zip_storage(4, "0", h.ORDERED_DICT), {"0": bytes(16)}),
            "refers to something that is not a storage",
        ),
        (
            "stride 0 in a zip",
            torch_zip(h.tensor((10**9,), (0,), source=h.zip_storage()), {"0": bytes(16)}),
            "a tensor reaches beyond its storage of 4 elements",
        ),
        (
            "bytes after data.pkl",
            lambda: h.archive(h.pickled(b"N") + b"x"),
            "goes on after its end",
        ),
        (
            "os.system in a TorchScript archive",
            torch_zip(
                h.call(h.name("os", "system"), h.text(h.COMMAND)),
                **{"constants.pkl": h.pickled(b")")},
            ),
            r"asks for the Python object os\.system",
        ),
        (
            "TorchScript class with a long name",
            torch_zip(
                h.new(h.name_on_stack("__torch__." + "a" * 10**6, "A")),
                **{"constants.pkl": h.pickled(b")")},
            ),
            r"asks for the Python object __torch__\.aaaa",
        ),
        (
            "snapshot by NVIDIA",
            h.snapshot,
            "does not begin as a file by torch.save does",
        ),
        ("web page", lambda: b"<!DOCTYPE html>", "does not begin as a file by torch.save does"),
    ]
}
