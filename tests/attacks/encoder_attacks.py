"""Hostile encoders of photos, in the layout of pSp, e4e and ReStyle."""

from __future__ import annotations

import functools
import io
import os
import pathlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from styleatlas.engine.checkpoints.photo_encoder_file import read_photo_encoder

from ..checkpoint_files import random_tensors, rosinality_state, small_stylegan2
from ..encoder_files import encoder_file, encoder_state
from . import hostile as h
from .pickle_attacks import Attack, torch_zip

SYSTEM = os.system.__module__
WIDTHS = (16, 16, 16, 16)
DECODER = small_stylegan2(channels={4: 3, 8: 2}, z_dim=6)


def encoder(opts: bytes, value: bytes = b"N", name: str = "encoder.input_layer.0.weight") -> bytes:
    """What their training saves, of one tensor."""
    return h.dict_of(h.text("state_dict"), h.dict_of(h.text(name), value), h.text("opts"), opts)


def options(*parts: bytes) -> bytes:
    return h.dict_of(h.text("encoder_type"), h.text("Encoder4Editing"), *parts)


@functools.cache
def sound() -> bytes:
    """An encoder of one row with its generator."""
    kind = "Encoder4Editing"
    state = encoder_state(kind, 1, DECODER.w_dim, widths=WIDTHS)
    decoder = rosinality_state(DECODER, random_tensors(DECODER))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.pt"
        encoder_file(path, kind, state, decoder, torch.ones(DECODER.w_dim), namespace=True)
        return path.read_bytes()


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[], bytes]:
    """A sound encoder's content, changed before it is saved."""

    def make() -> bytes:
        state = encoder_state("Encoder4Editing", 1, 4, widths=WIDTHS)
        content: dict[str, Any] = {
            "state_dict": {f"encoder.{name}": tensor for name, tensor in state.items()},
            "opts": {"encoder_type": "Encoder4Editing", "exp_dir": pathlib.PosixPath("/runs")},
            "latent_avg": torch.ones(4),
        }
        change(content)
        file = io.BytesIO()
        torch.save(content, file)
        return file.getvalue()

    return make


def tensor_of(name: str, value: object) -> Callable[[], bytes]:
    return changed(lambda content: content["state_dict"].update({f"encoder.{name}": value}))


def option_of(name: str, value: object) -> Callable[[], bytes]:
    return changed(lambda content: content["opts"].update({name: value}))


def read(path: Path) -> object:
    return read_photo_encoder(path)


ENCODERS = {
    name: Attack(make, message, read)
    for name, make, message in [
        (
            "os.system among an encoder's options",
            torch_zip(encoder(options(h.text("x"), h.call(h.name(SYSTEM, "system"), h.text("x"))))),
            rf"asks for the Python object {SYSTEM}\.system",
        ),
        (
            "path that reads a file",
            torch_zip(
                encoder(
                    options(
                        h.text("exp_dir"),
                        h.call(h.name("pathlib", "Path.read_bytes"), h.text("/etc/passwd")),
                    )
                )
            ),
            r"asks for the Python object pathlib\.Path\.read_bytes",
        ),
        (
            "path of an encoder that is a number",
            torch_zip(
                encoder(options(h.text("x"), h.call(h.name("pathlib", "PosixPath"), h.number(7))))
            ),
            r"gives pathlib\.PosixPath arguments it never has",
        ),
        (
            "options of a class of their own",
            torch_zip(encoder(h.new(h.name("options.train_options", "TrainOptions")))),
            r"asks for the Python object options\.train_options\.TrainOptions",
        ),
        (
            "options in themselves",
            torch_zip(encoder(b"}q\x00" + h.text("encoder_type") + b"h\x00s")),
            "nests more than 200 deep or holds itself",
        ),
        (
            "type of an encoder that is a list",
            option_of("encoder_type", ["Encoder4Editing"]),
            r"opts\.encoder_type is a list, not one of GradualStyleEncoder",
        ),
        (
            "type of an encoder on many lines",
            option_of("encoder_type", "Encoder4Editing\n\x1b[2Krefused: no"),
            r"opts\.encoder_type is 'Encoder4Editing\\n\\x1b\[2Krefused: no', not one of",
        ),
        (
            "encoder of text",
            torch_zip(encoder(options(), h.text("x" * 1000))),
            r"encoder\.input_layer\.0\.weight is missing, or none of an encoder on IR-SE50",
        ),
        (
            "row of an encoder that is text",
            tensor_of("styles.0.convs.0.bias", "x" * 1000),
            r"styles\.0\.convs\.0\.bias is 'x+' where a tensor is needed",
        ),
        (
            "w of an encoder beyond memory",
            tensor_of("styles.0.linear.weight", torch.ones(100_000, 1)),
            r"its encoder has 1 rows of 100000 and stages of 16, 16, 16, 16 channels",
        ),
        (
            "rows of an encoder without number",
            changed(
                lambda content: content["state_dict"].update(
                    {f"encoder.styles.{i}.linear.weight": torch.ones(1, 1) for i in range(1, 999)}
                )
            ),
            r"its encoder has 999 rows of 4 and stages",
        ),
        (
            "stage of an encoder without width",
            tensor_of("body.7.res_layer.1.weight", torch.ones(0, 2**30, 3, 3)),
            r"encoder\.body\.7\.res_layer\.1\.weight is missing, or none of",
        ),
        (
            "encoder that names what it lacks",
            tensor_of("\x1b[2K" + "x" * 10**6, torch.ones(1)),
            r"surplus '\\x1b\[2Kx+'",
        ),
        (
            "average w of an encoder without end",
            changed(lambda content: content.update(latent_avg=torch.full((4,), torch.inf))),
            r"its latent_avg is of shape \(4,\), or not finite",
        ),
        (
            "average w of an encoder that is text",
            changed(lambda content: content.update(latent_avg="0" * 1000)),
            r"latent_avg is '0+' where a tensor is needed",
        ),
    ]
}
