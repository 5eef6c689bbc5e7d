"""OpenVINO's intermediate representation: a graph as XML, its constants in a file beside it.

Read by expat alone. What could make it unfold or reach outside, a document type and with it every
entity, is refused; so is what no network has: layers by the ten thousand, elements in elements in
elements. Constants are ranges of the other file, each checked against it before any is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from ...store.errors import CheckpointError
from .budget import MAX_DESCRIBED, MEND
from .objects import escaped
from .unpickle import map_file

MAX_XML_BYTES = 16 * 2**20
MAX_LAYERS = 20_000
MAX_DEPTH = 12
MAX_AXES = 8
DTYPES: dict[str, np.dtype[Any]] = {
    "f32": np.dtype("<f4"),
    "i64": np.dtype("<i8"),
    "i32": np.dtype("<i4"),
}

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Output:
    """What a layer puts out at one of its ports, counted from its first output."""

    layer: int
    index: int


@dataclass
class GraphLayer:
    """A layer as the file describes it: the shapes of its outputs are claims."""

    kind: str
    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    outputs: dict[int, list[int]] = field(default_factory=dict)
    sources: dict[int, Output] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[Output, ...]:
        """Where its inputs come from, in the order of its ports."""
        return tuple(self.sources[port] for port in sorted(self.sources))


@dataclass(frozen=True)
class Graph:
    """Layers by number, without a circle, and the constants among them, read when asked for."""

    path: Path
    layers: Mapping[int, GraphLayer]
    _data: memoryview

    def shape(self, output: Output) -> Shape:
        """The claimed shape of an output."""
        return tuple(list(self.layers[output.layer].outputs.values())[output.index])

    def constant(self, layer: int) -> NDArray[np.generic]:
        """The numbers of a layer of the kind Const."""
        dtype, shape, offset, size = _range(self.path, self.layers[layer])
        found = np.frombuffer(self._data[offset : offset + size], dtype)
        return found.reshape(shape)


def read_graph(path: Path) -> Graph:
    """The graph of an `.xml` file and the `.bin` file of its name beside it.

    Raises:
        CheckpointError: a file is missing, is no such graph, or is made to mislead.
    """
    text = map_file(path)
    if len(text) > MAX_XML_BYTES:
        raise CheckpointError(f"{path}: is XML of more than {MAX_XML_BYTES} bytes; {MEND}")
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise CheckpointError(f"{path}: lacks {weights.name} beside it; get it again, too")
    layers = _Reader(path).read(bytes(text))
    data = map_file(weights) if weights.stat().st_size else memoryview(b"")
    described = 0
    for layer in layers.values():
        if layer.kind == "Const":
            _, _, offset, size = _range(path, layer)
            described += size
            if offset + size > len(data):
                _refuse(path, f"layer {_named(layer.name)} reaches beyond {weights.name}")
    if described > MAX_DESCRIBED * max(len(data), 1):
        _refuse(path, f"describes constants of over {MAX_DESCRIBED} times {weights.name}'s size")
    _refuse_circles(path, layers)
    return Graph(path, layers, data)


class _Reader:
    """One pass of expat over the text."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.layers: dict[int, GraphLayer] = {}
        self.ports: dict[tuple[int, int], Output] = {}
        self.edges: list[dict[str, str]] = []
        self.open: list[str] = []
        self.current: GraphLayer | None = None
        self.number = self.port = 0
        self.text = ""

    def read(self, text: bytes) -> dict[int, GraphLayer]:
        parser = expat.ParserCreate("utf-8")  # whatever encoding the file names: codecs are code
        parser.StartDoctypeDeclHandler = self._forbidden
        parser.EntityDeclHandler = self._forbidden
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        try:
            parser.Parse(text, True)
        except (expat.ExpatError, ValueError, LookupError) as error:
            _refuse(self.path, f"is no sound XML ({escaped(str(error))[:60]})")
        for edge in self.edges:
            self._connect(edge)
        return self.layers

    def _forbidden(self, *_: object) -> None:
        _refuse(self.path, "declares a document type or entities, which no such graph does")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.open.append(tag)
        if len(self.open) > MAX_DEPTH:
            _refuse(self.path, f"nests elements more than {MAX_DEPTH} deep")
        place = tuple(self.open)
        if place[0] != "net":
            _refuse(self.path, f"is XML of {_named(tag)}, not of OpenVINO's net")
        if place == ("net", "layers", "layer"):
            self._layer(attributes)
        elif self.current is not None and place[3:] == ("data",):
            self.current.attributes = attributes
        elif self.current is not None and place[3:] == ("output", "port"):
            self.port = self._whole(attributes.get("id"), "the number of a port")
            if (self.number, self.port) in self.ports:
                _refuse(self.path, f"layer {_named(self.current.name)} has a port twice")
            index = len(self.current.outputs)
            self.current.outputs[self.port] = []
            self.ports[self.number, self.port] = Output(self.number, index)
        elif place == ("net", "edges", "edge"):
            self.edges.append(attributes)
        self.text = ""

    def _layer(self, attributes: dict[str, str]) -> None:
        if len(self.layers) >= MAX_LAYERS:
            _refuse(self.path, f"has more than {MAX_LAYERS} layers")
        self.number = self._whole(attributes.get("id"), "the number of a layer")
        if self.number in self.layers:
            _refuse(self.path, f"has two layers of number {self.number}")
        self.current = GraphLayer(attributes.get("type", ""), attributes.get("name", ""))
        self.layers[self.number] = self.current

    def _end(self, tag: str) -> None:
        if self.current is not None and self.open[3:] == ["output", "port", "dim"]:
            sizes = self.current.outputs[self.port]
            sizes.append(self._whole(self.text.strip(), "a size"))
            if len(sizes) > MAX_AXES:
                _refuse(self.path, f"layer {_named(self.current.name)} has over {MAX_AXES} axes")
        if self.open == ["net", "layers", "layer"]:
            self.current = None
        self.open.pop()
        self.text = ""

    def _characters(self, text: str) -> None:
        if self.open[-1:] == ["dim"] and len(self.text) < 32:
            self.text += text

    def _connect(self, edge: dict[str, str]) -> None:
        from_layer, from_port, to_layer, to_port = (
            self._whole(edge.get(key), "the end of an edge")
            for key in ("from-layer", "from-port", "to-layer", "to-port")
        )
        source = self.ports.get((from_layer, from_port))
        target = self.layers.get(to_layer)
        if source is None or target is None:
            _refuse(self.path, f"has an edge from layer {from_layer} to {to_layer} without ends")
        if to_port in target.sources:
            _refuse(self.path, f"layer {_named(target.name)} has two edges to one port")
        target.sources[to_port] = source

    def _whole(self, text: str | None, what: str) -> int:
        if text is None or not text.isascii() or not text.isdigit() or len(text) > 10:
            _refuse(self.path, f"has {_named(text or '')} for {what}")
        return int(text)


def _range(path: Path, layer: GraphLayer) -> tuple[np.dtype[Any], Shape, int, int]:
    """Type, shape, and place in bytes of a constant."""
    name, given = _named(layer.name), layer.attributes
    if (dtype := DTYPES.get(given.get("element_type", ""))) is None:
        _refuse(path, f"layer {name} has numbers of type {_named(given.get('element_type', ''))}")
    listed = given.get("shape", "")
    sizes = [size.strip() for size in listed.split(",")] if listed.strip() else []
    numbers = [*sizes, given.get("offset", ""), given.get("size", "")]
    plain = all(n.isascii() and n.isdigit() and len(n) <= 12 for n in numbers)
    if not plain or len(sizes) > MAX_AXES:
        _refuse(path, f"layer {name} has no plain numbers for its shape, place and size")
    shape, (offset, size) = tuple(map(int, sizes)), map(int, numbers[-2:])
    if math.prod(shape) * dtype.itemsize != size:
        _refuse(path, f"layer {name} has {size} bytes for numbers of shape {shape}")
    return dtype, shape, offset, size


def _refuse_circles(path: Path, layers: Mapping[int, GraphLayer]) -> None:
    """By taking away, again and again, the layers whose inputs are all taken away."""
    waiting = {number: len(layer.sources) for number, layer in layers.items()}
    followers: dict[int, list[int]] = {}
    for number, layer in layers.items():
        for source in layer.sources.values():
            followers.setdefault(source.layer, []).append(number)
    free = [number for number, count in waiting.items() if count == 0]
    done = 0
    while free:
        done += 1
        for follower in followers.get(free.pop(), []):
            waiting[follower] -= 1
            if waiting[follower] == 0:
                free.append(follower)
    if done < len(layers):
        _refuse(path, "has layers in a circle")


def _named(text: str) -> str:
    """A text of the file in a message."""
    return escaped(text[:60]) or "nothing"


def _refuse(path: Path, what: str) -> NoReturn:
    raise CheckpointError(f"{path}: {what}; {MEND}")
