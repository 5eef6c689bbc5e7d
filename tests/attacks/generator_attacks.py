"""Hostile generators: modules by torch.save, state dicts, and networks in containers."""

from __future__ import annotations

import os

import torch

from styleatlas.engine.checkpoints.read import read_checkpoint

from .. import checkpoint_files as files
from . import hostile as h
from .pickle_attacks import WRONG, Attack, code, torch_zip

SYSTEM = os.system.__module__
CALL = h.call(h.name(SYSTEM, "system"), h.text(h.COMMAND))
FOUR = h.tensor((2, 2), (2, 1), source=h.zip_storage())
THOUSAND = h.tensor((1000,), (1,), source=h.zip_storage(1000, "1"))
STORED = {"0": bytes(16)}
TWO = files.random_tensors(files.small_stylegan2(channels={4: 3, 8: 2}))
THREE = files.random_tensors(files.small_stylegan3(num_layers=2, channel_max=3))
NETWORK = h.new(h.name("dnnlib.tflib.network", "Network"))


def names(*pairs: bytes) -> bytes:
    """A state dict that is taken for a generator's, with more names."""
    known = (h.text("mapping.fc0.weight"), FOUR, h.text("synthesis.b4.const"), FOUR)
    return h.dict_of(h.text("G_ema"), h.dict_of(*known, *pairs))


def state(tensors: dict[str, torch.Tensor], **changes: object):
    """A file of torch.save with these tensors; `changes` by names with __ for each dot."""
    changed = {name.replace("__", "."): value for name, value in changes.items()}
    return lambda: h.saved({**tensors, **changed})


def renamed(old: str, new: str):
    """A StyleGAN3 whose layers are called otherwise."""
    return lambda: h.saved({name.replace(old, new): THREE[name] for name in THREE})


def nested(depth: int) -> bytes:
    """Modules in modules."""
    inner = b"}"
    for _ in range(depth):
        module = h.network(h.dict_of(h.text("_modules"), inner))
        inner = h.dict_of(h.text("mapping"), module)
    return h.network(h.dict_of(h.text("_modules"), inner))


GENERATORS = {
    name: Attack(make, message, read_checkpoint)
    for name, make, message in [
        (
            "os.system in a tuned generator",
            torch_zip(h.network(h.dict_of(h.text("_modules"), CALL))),
            rf"asks for the Python object {SYSTEM}\.system",
        ),
        (
            "os.system in a state dict",
            torch_zip(names(h.text("mapping.w_avg"), CALL), STORED),
            rf"asks for the Python object {SYSTEM}\.system",
        ),
        ("tuned generator with more", torch_zip(h.network(hook=h.text("x"))), WRONG),
        (
            "tuned generator of nothing",
            torch_zip(h.network()),
            r"mapping is missing; only generators as the code",
        ),
        (
            "tuned generators in each other",
            torch_zip(nested(150)),
            "nests more than 500 marks",
        ),
        (
            "tuned generator by a stream in a zip",
            torch_zip(h.call(h.LOAD_FROM_BYTES, h.binary(h.storage_stream()))),
            r"asks for the Python object torch\.storage\._load_from_bytes",
        ),
        (
            "state dict of text",
            torch_zip(names(h.text("a\nb"), h.text("x")), STORED),
            r"'a\\nb' is x where a tensor is needed",
        ),
        (
            "one tensor under many names",
            torch_zip(
                names(
                    h.text("x") + THOUSAND + b"q\x07",
                    *(h.text(f"x{i}") + b"h\x07" for i in range(9)),
                ),
                {"0": bytes(16), "1": bytes(4000)},
            ),
            "claims 10008 numbers, more than the file can hold",
        ),
        (
            "filter without an end",
            state(THREE, synthesis__L0_24_3__up_filter=torch.zeros(100_000)),
            r"up_filter has shape \(100000,\) where",
        ),
        (
            "filter of no numbers",
            state(THREE, synthesis__L0_24_3__up_filter=torch.zeros(0)),
            r"up_filter has shape \(0,\) where",
        ),
        ("layer of no size", renamed("L0_24_3", "L0_0_3"), "schedule does not lead to"),
        ("layer of endless size", renamed("L0_24_3", "L0_9999_3"), "schedule does not lead to"),
        ("layer of no number", renamed("L1_16_3", "L9_16_3"), "layers L<i>_<size>_<channels>, not"),
        (
            "image of endless size",
            renamed("L2_16_3", "L2_8192_3"),
            "makes images of 8192 pixels, no power of two",
        ),
        (
            "kernel without an end",
            state(THREE, synthesis__L0_24_3__weight=torch.zeros(3, 3, 1, 100)),
            "kernel is 100, must be a whole number from 1 to 64",
        ),
        (
            "embedding wider than its layer",
            state(TWO, mapping__embed__weight=torch.zeros(99, 3)),
            "z_dim is -94, must be a whole number",
        ),
        (
            "blocks up to 4096 pixels",
            state(
                TWO,
                **{
                    f"synthesis__b{2**i}__conv1__weight": torch.zeros(1, 1, 1, 1)
                    for i in range(3, 13)
                },
            ),
            r"has no synthesis\.b4096\.torgb\.bias",
        ),
        (
            "average of many rows",
            lambda: h.saved(
                {
                    "state_dict": {k: v for k, v in TWO.items() if "w_avg" not in k},
                    "latent_avg": torch.zeros(3, 3, 7),
                }
            ),
            r"w_avg has shape \(7,\)",
        ),
        (
            "networks without a state",
            code(h.dict_of(h.text("Gs"), NETWORK)),
            "Gs is missing: none of its 1 networks is a generator",
        ),
        (
            "network of variables that are none",
            code(
                h.list_of(
                    h.build(
                        NETWORK,
                        h.dict_of(
                            h.text("name"),
                            h.constant(["Gs"]),
                            h.text("variables"),
                            h.list_of(h.constant(("G_synthesis/x", 1))),
                        ),
                    )
                )
            ),
            "has a variable that is no pair of a name and an array",
        ),
        (
            "networks in networks",
            code(
                h.build(
                    NETWORK + b"q\x00",
                    h.dict_of(h.text("components"), h.dict_of(h.text("synthesis"), b"h\x00")),
                )
            ),
            "nests more than 200 deep or holds itself",
        ),
    ]
}
