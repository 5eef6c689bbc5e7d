"""Writes MobileStyleGANs as others do: OpenVINO's two graphs, in the form of the package
random-face's, arithmetic of shapes included, and the authors' state dict.

The formulas are not those of the readers, so that a mistake does not cancel out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import torch
from torch import Tensor

from styleatlas.engine.networks.mobile_stylegan import MobileStyleGANConfig

At = tuple[int, int]
FLAT = {"auto_broadcast": "numpy"}
ONE = {"strides": "1, 1", "dilations": "1, 1", "auto_pad": "explicit"}


def theirs(tensor: Tensor) -> Tensor:
    """Outputs of a layer with the three high bands of a channel beside one another."""
    low, *high = tensor.chunk(4)
    return torch.cat([low, torch.stack(high, 1).flatten(0, 1)])


def lightning_state(
    config: MobileStyleGANConfig, tensors: Mapping[str, Tensor], static: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """A state dict in the authors' names. Pointwise and full weights are those of `tensors` as
    they are, before demodulation by the vectors `static`, one a convolution by our names."""
    state = {}
    for i in range(config.mapping_layers):
        for what in ("weight", "bias"):
            state[f"mapping_net.layers.{i + 1}.{what}"] = tensors[f"mapping.fc{i}.{what}"]
    state["student.input.input"] = tensors["synthesis.b4.const"][None]
    state["student.to_img1.bias"] = torch.zeros(1, 12, 1, 1)
    for layer in config.styled_layers():
        block, part = layer.name.split(".")
        number = int(block[1:]).bit_length() - 4
        name = "student.conv1" if block == "b4" else f"student.layers.{number}.{part}"
        name = name.replace("torgb", "to_img")
        own = {
            key.removeprefix(f"synthesis.{layer.name}."): tensor
            for key, tensor in tensors.items()
            if key.startswith(f"synthesis.{layer.name}.")
        }
        plain = (part == "conv1" and block != "b4") or (part, block) == ("conv2", f"b{config.last}")
        order = torch.Tensor.clone if plain else theirs
        affine = f"{name}.modulation" if part == "up" else f"{name}.conv.modulation"
        for what in ("weight", "bias"):
            map_ = own[f"affine.{what}"]
            state[f"{affine}.{what}"] = theirs(map_) if part == "up" else map_
        if part == "up":
            continue
        state[f"{name}.bias"] = order(own["bias"])[None, :, None, None]
        if "weight" in own:
            state[f"{name}.conv.weight"] = order(own["weight"])[None]
        else:
            state[f"{name}.conv.weight_dw"] = own["depthwise"][None]
            state[f"{name}.conv.weight_permute"] = order(own["pointwise"])
        if part != "torgb":
            state[f"{name}.conv.vector"] = static[layer.name][None, None, :, None, None]
            state[f"{name}.noise.weight"] = own["noise_strength"][None]
            state[f"{name}.noise.map"] = own["noise_const"][None, None]
    return state


class GraphWriter:
    """A graph of OpenVINO's, layer by layer."""

    def __init__(self, name: str, inputs: int) -> None:
        self.name, self.data = name, bytearray()
        self.edges: list[tuple[int, int, int, int]] = []
        self.shapes: dict[At, tuple[int, ...]] = {}
        self.layers: list[str] = []
        self.result: At = (0, 0)
        self.start = self.add(
            "Parameter", [], (1, inputs), shape=f"1, {inputs}", element_type="f32"
        )

    def add(self, kind: str, sources: Sequence[At], *shapes: tuple[int, ...], **data: str) -> At:
        """A layer with outputs of these shapes; the first of them is returned."""
        number, ports = len(self.layers), len(sources)
        for port, source in enumerate(sources):
            self.edges.append((*source, number, port))
        outputs = ""
        for i, shape in enumerate(shapes):
            dims = "".join(f"<dim>{size}</dim>" for size in shape)
            outputs += f'<port id="{ports + i}" precision="FP32">{dims}</port>'
            self.shapes[number, ports + i] = shape
        given = " ".join(f"{key}={quoteattr(value)}" for key, value in data.items())
        self.layers.append(
            f'<layer id="{number}" name="{kind}_{number}" type="{kind}" version="opset1">'
            f"<data {given}/>{f'<output>{outputs}</output>' if shapes else ''}</layer>"
        )
        return number, ports

    def constant(self, numbers: Any, kind: str = "f32") -> At:
        array = np.asarray(numbers, {"f32": "<f4", "i64": "<i8", "i32": "<i4"}[kind])
        place, raw = len(self.data), array.tobytes()
        self.data += raw
        shape = ", ".join(map(str, array.shape))
        where = {"offset": str(place), "size": str(len(raw))}
        return self.add("Const", [], array.shape, element_type=kind, shape=shape, **where)

    def whole(self, numbers: Any) -> At:
        return self.constant(numbers, "i64")

    def side(self, of: At, axis: int) -> At:
        """(1,): one side of an output."""
        shape = self.add("ShapeOf", [of], (len(self.shapes[of]),), output_type="i64")
        where = self.constant(axis, "i32")
        one = self.add("Gather", [shape, where, self.whole(0)], (), batch_dims="0")
        return self.add("Unsqueeze", [one, self.whole([0])], (1,))

    def reshaped(self, at: At, parts: Sequence[At | int], shape: tuple[int, ...]) -> At:
        sources = [self.whole([part]) if isinstance(part, int) else part for part in parts]
        target = self.add("Concat", sources, (len(parts),), axis="0")
        return self.add("Reshape", [at, target], shape, special_zero="true")

    def both(self, kind: str, one: At, other: At) -> At:
        shapes = [self.shapes[one], self.shapes[other]]
        return self.add(kind, [one, other], np.broadcast_shapes(*shapes), **FLAT)

    def scalar(self, kind: str, at: At, number: float) -> At:
        return self.both(kind, at, self.constant(np.full((1,) * len(self.shapes[at]), number)))

    def leaky(self, at: At) -> At:
        return self.add("PReLU", [at, self.constant([0.2])], self.shapes[at])

    def affine(self, weight: Tensor, bias: Tensor) -> At:
        at = self.product(self.start, weight)
        at = self.both("Add", at, self.constant(bias[None]))
        shape = (1, len(bias), 1, 1)
        return self.reshaped(at, [self.side(self.start, 0), -1, 1, 1], shape)

    def product(self, at: At, weight: Tensor) -> At:
        flags = {"transpose_a": "false", "transpose_b": "true"}
        return self.add("MatMul", [at, self.constant(weight)], (1, len(weight)), **flags)

    def wavelet(self, at: At) -> At:
        _, bands, height, width = self.shapes[at]
        c = bands // 4
        parts = [self.whole(1), self.whole([c, 3 * c])]
        halves = ((1, c, height, width), (1, 3 * c, height, width))
        low = self.add("VariadicSplit", [at, *parts], *halves)
        sides = [self.side(self.start, 0), c, 3, self.side(at, 2), self.side(at, 3)]
        high = self.reshaped((low[0], low[1] + 1), sides, (1, c, 3, height, width))
        one = (1, c, 1, height, width)
        three = self.add("VariadicSplit", [high, self.whole(2), self.whole([1, 1, 1])], *[one] * 3)
        shape = (1, c, height, width)
        singles = [
            self.add("Squeeze", [(three[0], three[1] + i), self.whole([2])], shape)
            for i in range(3)
        ]
        rows = [
            self.both("Add", self.widened(one, 2, 1), self.widened(other, 2, -1))
            for one, other in ((low, singles[0]), (singles[1], singles[2]))
        ]
        return self.both("Add", self.widened(rows[0], 3, 1), self.widened(rows[1], 3, -1))

    def widened(self, at: At, axis: int, sign: int) -> At:
        shape, filters = list(self.shapes[at]), [1, 1, 1, 1]
        shape[axis], filters[axis] = 2 * shape[axis], 2
        pair = np.array([1, sign]) * math.sqrt(0.5)
        weight = np.tile(pair.reshape(filters), (shape[1], 1, 1, 1, 1))
        strides = "2, 1" if axis == 2 else "1, 2"
        data = {**ONE, "strides": strides, "pads_begin": "0, 0", "pads_end": "0, 0"}
        sources = [at, self.constant(weight)]
        kind = "GroupConvolutionBackpropData"
        return self.add(kind, sources, tuple(shape), output_padding="0, 0", **data)

    def convolution(self, at: At, kind: str, weight: Tensor, channels: int) -> At:
        pads = "1, 1" if weight.shape[-1] == 3 else "0, 0"
        shape = (1, channels, *self.shapes[at][2:])
        data = {**ONE, "pads_begin": pads, "pads_end": pads}
        return self.add(kind, [at, self.constant(weight)], shape, **data)

    def text(self, result: At) -> str:
        self.add("Result", [result])
        pattern = '<edge from-layer="{}" from-port="{}" to-layer="{}" to-port="{}"/>'
        edges = "".join(pattern.format(*edge) for edge in self.edges)
        layers = "\n".join(self.layers)
        return (
            f'<?xml version="1.0" ?>\n<net name="{self.name}" version="10">\n'
            f"<layers>{layers}</layers>\n<edges>{edges}</edges><meta_data/></net>\n"
        )


def mapping_graph(config: MobileStyleGANConfig, tensors: Mapping[str, Tensor]) -> GraphWriter:
    graph = GraphWriter("MappingNetwork", config.z_dim)
    mean = graph.scalar("Power", graph.start, 2)
    flags = {"keep_dims": "true"}
    mean = graph.add("ReduceMean", [mean, graph.whole([1])], (1, 1), **flags)
    root = graph.scalar("Power", graph.scalar("Add", mean, 1e-8), 0.5)
    inverse = graph.scalar("Power", root, -1)
    at = graph.both("Multiply", graph.start, graph.both("Multiply", graph.constant([[1]]), inverse))
    for i in range(config.mapping_layers):
        weight, bias = (tensors[f"mapping.fc{i}.{what}"] for what in ("weight", "bias"))
        at = graph.product(at, weight * config.mapping_lr / math.sqrt(weight.shape[1]))
        row = graph.constant(bias * config.mapping_lr)
        row = graph.reshaped(row, [1, graph.side(at, 1)], (1, len(bias)))
        at = graph.leaky(graph.both("Add", at, row))
        at = graph.both("Multiply", at, graph.constant([[math.sqrt(2)]]))
    graph.result = at
    return graph


def synthesis_graph(config: MobileStyleGANConfig, tensors: Mapping[str, Tensor]) -> GraphWriter:
    graph = GraphWriter("SynthesisNetwork", config.w_dim)
    const = graph.constant(tensors["synthesis.b4.const"][None])
    ones = [graph.side(graph.start, 0), 1, 1, 1]
    four = graph.add("Concat", [graph.whole([x]) if x == 1 else x for x in ones], (4,), axis="0")
    count = graph.add("ShapeOf", [four], (1,), output_type="i64")
    shape = graph.shapes[const]
    four = graph.add("Broadcast", [graph.whole([1]), count], (4,), mode="numpy")
    at = graph.add("Broadcast", [const, four], shape, mode="bidirectional")
    times = graph.add(
        "Concat", [graph.side(graph.start, 0), *[graph.whole([1])] * 3], (4,), axis="0"
    )
    at = graph.add("Tile", [at, times], shape)
    for layer in config.styled_layers():
        own = {
            name.removeprefix(f"synthesis.{layer.name}."): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"synthesis.{layer.name}.")
        }
        block, part = layer.name.split(".")
        banded = theirs if part != "conv1" or block == "b4" else torch.Tensor.clone
        if part == "conv2" and block == f"b{config.last}":
            banded = torch.Tensor.clone
        weight, bias = own["affine.weight"], own["affine.bias"]
        if part == "up":
            style = graph.affine(theirs(weight), theirs(bias))
            at = graph.wavelet(graph.both("Multiply", style, at))
            continue
        fan = layer.size if part == "torgb" else 9 * layer.size
        style = graph.scalar("Multiply", graph.affine(weight, bias), 1 / math.sqrt(fan))
        at, bias = graph.both("Multiply", style, at), banded(own["bias"])
        if "weight" in own:
            weight = banded(own["weight"])
        else:
            at = graph.convolution(at, "GroupConvolution", own["depthwise"][:, None], layer.size)
            weight = banded(own["pointwise"])
        at = graph.convolution(at, "Convolution", weight, len(bias))
        if part != "torgb":
            noise = own["noise_const"] * own["noise_strength"]
            at = graph.both("Add", at, graph.constant(noise[None, None]))
        at = graph.both("Add", at, graph.constant(bias[None, :, None, None]))
        at = graph.wavelet(at) if part == "torgb" else graph.leaky(at)
    graph.result = at
    return graph


def openvino_folder(
    folder: Path, config: MobileStyleGANConfig, tensors: Mapping[str, Tensor]
) -> Path:
    """Both graphs in a folder."""
    folder.mkdir(exist_ok=True)
    for graph in (mapping_graph(config, tensors), synthesis_graph(config, tensors)):
        (folder / f"{graph.name}.xml").write_text(graph.text(graph.result))
        (folder / f"{graph.name}.bin").write_bytes(graph.data)
    return folder
