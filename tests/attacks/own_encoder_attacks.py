"""Hostile photo encoders of one's own: headers and tensors that are not what they say."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import save

from styleatlas.engine.checkpoints.own_encoder_file import METADATA_KEY, read_own_encoder_file
from styleatlas.engine.networks.own_encoder import OwnEncoderConfig

from . import hostile as h
from .pickle_attacks import Attack

CONFIG = {"side": 8, "w_dim": 2, "widths": [1, 2], "hidden": 3}
GENERATOR = {"name": "g", "sha256": "0" * 64, "sizes": {}, "tuned_from": None}
RECORD = {"library": "x", "generator": GENERATOR, "passes": 1, "samples": None}


def encoder(
    network: dict[str, Any] | None = None,
    record: dict[str, Any] | None = None,
    text: str | None = None,
    **tensors: torch.Tensor,
) -> Callable[[], bytes]:
    """An encoder with some of its numbers, its record or its tensors replaced."""

    def make() -> bytes:
        shapes = OwnEncoderConfig(side=8, w_dim=2, widths=(1, 2), hidden=3).shapes()
        sound = {name: torch.ones(shape, dtype=torch.float16) for name, shape in shapes.items()}
        whole = {**CONFIG, **(network or {})}
        about = {"version": 1, "network": whole, "record": {**RECORD, **(record or {})}}
        header = json.dumps(about) if text is None else text
        return save({**sound, **tensors}, {METADATA_KEY: header})

    return make


def claimed() -> bytes:
    """A header that says of a tensor that it has more numbers than any memory."""
    header = {
        "__metadata__": {METADATA_KEY: "{}"},
        "step.weight": {"dtype": "F16", "shape": [2**31, 2**31], "data_offsets": [0, 2**63]},
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * 16


OWN_ENCODERS = {
    name: Attack(make, message, read_own_encoder_file)
    for name, make, message in [
        (
            "pickle called an encoder",
            lambda: h.pickled(h.call(h.name("os", "system"), h.text(h.COMMAND))),
            "is not a readable safetensors file",
        ),
        ("encoder with a tensor of 2^62 numbers", claimed, "is not a readable safetensors file"),
        (
            "encoder that sees a million pixels",
            encoder({"side": 2**20, "widths": [1] * 19}),
            "side must be a power of two, 8 to 256",
        ),
        (
            "encoder of layers of a billion channels",
            encoder({"widths": [1, 10**9]}),
            "widths must be 2 whole numbers, 1 to 1024",
        ),
        (
            "encoder with widths of a dictionary",
            encoder({"widths": {"a": 1, "b": 2}}),
            "widths must be 2 whole numbers",
        ),
        (
            "encoder of a billion passes",
            encoder(record={"passes": 10**9}),
            "passes: must be 1 to 20",
        ),
        (
            "encoder with a deep header",
            encoder(text='{"version": 1, "network": ' + "[" * 200_000),
            "does not describe a photo encoder",
        ),
        (
            "encoder with a header of a megabyte",
            encoder(text=json.dumps({"version": 1, "more": "x" * 2**20})),
            "is longer than 1048576 bytes",
        ),
        (
            "encoder whose generator has a line break for a name",
            encoder(record={"generator": {**GENERATOR, "name": "", "sha256": "\n"}}),
            "does not describe a photo encoder",
        ),
        ("encoder of NaN", encoder(scale=torch.tensor(torch.nan)), "scale holds NaN or infinity"),
        (
            "encoder that half precision cannot hold",
            encoder(**{"step.bias": torch.full((2,), 1e30)}),
            "step.bias holds NaN or infinity",
        ),
        (
            "encoder of whole numbers",
            encoder(**{"step.bias": torch.zeros(2, dtype=torch.int64)}),
            "has type torch.int64 where a float is needed",
        ),
        (
            "encoder with a tensor too many",
            encoder(more=torch.zeros(1)),
            "surplus more",
        ),
    ]
}
