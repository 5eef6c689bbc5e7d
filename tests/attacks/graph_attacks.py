"""Hostile graphs of OpenVINO's: XML that unfolds or reaches outside, constants that lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from styleatlas.engine.checkpoints.graph_walk import GraphWalk
from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.engine.inert.openvino import MAX_LAYERS, read_graph

from .. import checkpoint_files as files
from ..mobile_files import lightning_state
from . import hostile as h
from .pickle_attacks import Attack, torch_zip

PORT = '<output><port id="0"><dim>4</dim></port></output>'
CONFIG = files.small_mobile_stylegan(channels={4: 4, 8: 4})


def read_beside_weights(path: Path) -> object:
    """With 16 numbers in the file beside it."""
    path.with_suffix(".bin").write_bytes(bytes(64))
    return read_graph(path)


def read_shape(path: Path) -> object:
    walk = GraphWalk(read_beside_weights(path))
    return walk.whole(walk.result)


def net(layers: str = "", edges: str = "", before: str = "") -> Callable[[], bytes]:
    text = f"<net name='x'><layers>{layers}</layers><edges>{edges}</edges></net>"
    return lambda: (before + text).encode()


def layer(number: object, kind: str = "Add", inside: str = PORT, name: str = "x") -> str:
    return f'<layer id="{number}" name="{name}" type="{kind}">{inside}</layer>'


def edge(source: object, target: object, port: object = 0) -> str:
    return f'<edge from-layer="{source}" from-port="0" to-layer="{target}" to-port="{port}"/>'


def constant(shape: str, size: object, offset: object = 0, kind: str = "f32") -> str:
    data = f'<data element_type="{kind}" shape="{shape}" offset="{offset}" size="{size}"/>'
    return layer(0, "Const", data)


def laughs() -> bytes:
    entities = '<!ENTITY a0 "ha">' + "".join(
        f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10)
    )
    return net("&a9;", before=f"<!DOCTYPE net [{entities}]>")()


def doubling() -> bytes:
    """Arithmetic of shapes whose every step takes the one before eight times."""
    steps = "".join(layer(i, "Concat") for i in range(2, 30))
    edges = "".join(edge(i - 1, i, port) for i in range(2, 30) for port in range(8))
    last = layer(30, "Result", "") + layer(0, "Parameter")
    return net(layer(1, "ShapeOf") + steps + last, edge(0, 1) + edges + edge(29, 30))()


def checkpoint(**changes: object) -> Callable[[], bytes]:
    def make() -> bytes:
        static = {la.name: torch.ones(la.size) for la in CONFIG.styled_layers()}
        state = lightning_state(CONFIG, files.random_tensors(CONFIG), static)
        return h.saved({"state_dict": {**state, **changes}})

    return make


def many_blocks() -> bytes:
    one = torch.ones(1)
    mapping = {"mapping.0.weight": torch.ones(1, 1), "mapping.0.bias": one}
    return h.saved({f"layers.{i}.conv1.conv.weight_dw": one for i in range(12)} | mapping)


TEXTS = {
    "billion laughs in XML": Attack(laughs, "declares a document type or entities"),
    "file as an entity": Attack(
        net("&x;", before='<!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
        "declares a document type or entities",
    ),
    "document type from another host": Attack(
        net(before='<!DOCTYPE net SYSTEM "http://127.0.0.1:9/x.dtd">'),
        "declares a document type or entities",
    ),
    "entity that nobody declares": Attack(net("&x;"), r"is no sound XML \(undefined entity"),
    "encoding that is code": Attack(
        net(layer("x"), before='<?xml version="1.0" encoding="hex_codec"?>'),
        "has x for the number of a layer",
    ),
    "elements in elements": Attack(net("<a>" * 100_000), "nests elements more than 12 deep"),
    "XML of something else": Attack(lambda: b"<svg/>", "is XML of svg, not of OpenVINO's net"),
    "XML without an end": Attack(lambda: b"<net><layers>", "is no sound XML"),
    "layers by the ten thousand": Attack(
        net("".join(layer(i) for i in range(MAX_LAYERS + 1))), "has more than 20000 layers"
    ),
    "XML of 17 megabytes": Attack(lambda: b"<net>" + b" " * 2**24, "more than 16777216 bytes"),
    "two layers of one number": Attack(net(layer(1) * 2), "two layers of number 1"),
    "port twice": Attack(net(layer(1, inside=PORT + PORT)), "layer x has a port twice"),
    "edge from nowhere": Attack(net(layer(1), edge(7, 1)), "an edge from layer 7 to 1 without"),
    "two edges to one port": Attack(
        net(layer(1) + layer(2), edge(1, 2) * 2), "layer x has two edges to one port"
    ),
    "layers in a circle": Attack(
        net(layer(1) + layer(2), edge(1, 2) + edge(2, 1)), "has layers in a circle"
    ),
    "number of a million digits": Attack(net(layer("9" * 10**6)), "for the number of a layer"),
    "number of other digits": Attack(net(layer("\u0663")), r"has \\u0663 for the number of"),
    "negative number": Attack(net(layer(-1)), "has -1 for the number of a layer"),
    "size that is no number": Attack(
        net(layer(1, inside=PORT.replace("4", "4e9"))), "has 4e9 for a size"
    ),
    "axes without end": Attack(
        net(layer(1, inside=PORT.replace("<dim>4</dim>", "<dim>4</dim>" * 99))),
        "layer x has over 8 axes",
    ),
    "constant beyond its file": Attack(
        net(constant("4", 16, 60)), r"layer x reaches beyond checkpoint\.bin"
    ),
    "constant of another size than its shape": Attack(
        net(constant("99999999999", 64)), r"has 64 bytes for numbers of shape \(99999999"
    ),
    "constant of a product beyond 64 bits": Attack(
        net(constant(", ".join(["999999999999"] * 8), 0)), "has 0 bytes for numbers of shape"
    ),
    "constant of a negative shape": Attack(
        net(constant("-2, -2", 16)), "no plain numbers for its shape"
    ),
    "constant of a negative size": Attack(
        net(constant("4", -16)), "no plain numbers for its shape"
    ),
    "constant at a negative place": Attack(
        net(constant("4", 16, -8)), "no plain numbers for its shape"
    ),
    "constant of an unknown type": Attack(
        net(constant("4", 16, kind="string")), "layer x has numbers of type string"
    ),
    "constant described many times": Attack(
        net("".join(constant("16", 64).replace('id="0"', f'id="{i}"') for i in range(17))),
        "describes constants of over 16 times",
    ),
    "name that clears the screen": Attack(
        net(constant("4", 99).replace('name="x"', 'name="&#x9b;2J&#x202e;"')),
        r"layer \\x9b2J\\u202e has 99 bytes",
    ),
}
GRAPHS = {name: attack._replace(read=read_beside_weights) for name, attack in TEXTS.items()} | {
    "shape that doubles": Attack(doubling, "should be a shape", read_shape),
    "os.system beside a student": Attack(
        torch_zip(h.call(h.name("os", "system"), h.text(h.COMMAND))),
        r"asks for the Python object os\.system",
        read_checkpoint,
    ),
    "student of text": Attack(
        checkpoint(**{"student.conv1.bias": "x" * 90}), "where a tensor is needed", read_checkpoint
    ),
    "student of too many blocks": Attack(
        many_blocks, "has 13 blocks, more than 4096 pixels", read_checkpoint
    ),
    "student without numbers": Attack(
        checkpoint(**{"student.input.input": torch.zeros(1, 0, 4, 4)}),
        r"of shape \(4, 6\), not \(0, 24\)",
        read_checkpoint,
    ),
}
