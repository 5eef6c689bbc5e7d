"""Through a graph from its result to its input: each step says what must be there, and is refused
where something else is."""

from __future__ import annotations

import math
from itertools import chain
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from ...store.errors import CheckpointError
from ..inert.objects import escaped
from ..inert.openvino import MAX_AXES, Graph, GraphLayer, Output, Shape

MAX_DEPTH = 6  # of the arithmetic that leads to a shape


class GraphWalk:
    """A graph with one input, `start`, and one result, what comes to which is `result`. In every
    method `at` is an output that the walk has come to; what it returns lies before that."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        results = [n for n, layer in graph.layers.items() if layer.kind == "Result"]
        inputs = [n for n, layer in graph.layers.items() if layer.kind == "Parameter"]
        if len(results) != 1 or len(inputs) != 1:
            raise CheckpointError(
                f"{graph.path}: is a graph of {len(inputs)} inputs and {len(results)} results, not "
                "of one each; get it again from its source"
            )
        self.start = Output(inputs[0], 0)
        (self.result,) = self.into(Output(results[0], 0), "Result", 1)

    def layer(self, at: Output) -> GraphLayer:
        """The layer whose output it is."""
        return self.graph.layers[at.layer]

    def into(self, at: Output, kind: str, count: int) -> tuple[Output, ...]:
        """The inputs of a layer of that kind, where there are so many."""
        layer = self.layer(at)
        if layer.kind != kind or len(layer.inputs) != count or at.index != 0:
            self.refuse(at, f"a {kind} of {count} inputs")
        return layer.inputs

    def leaky(self, at: Output) -> Output:
        """Before a leaky ReLU."""
        at, slope = self.into(at, "PReLU", 2)
        self.require_number(slope, 0.2)
        return at

    def product(self, at: Output) -> tuple[Output, NDArray[np.float32]]:
        """x of x W^T, and W."""
        before, weight = self.into(at, "MatMul", 2)
        self.require(at, transpose_a="false", transpose_b="true")
        found = self.numbers(weight)
        if found.ndim != 2:
            self.refuse(weight, "a matrix")
        return before, found

    def convolution(
        self, at: Output, kind: str, padding: int
    ) -> tuple[Output, NDArray[np.float32]]:
        """Before a convolution that keeps the size, and its weights."""
        before, weight = self.into(at, kind, 2)
        pads, side = f"{padding}, {padding}", 2 * padding + 1
        self.require(at, strides="1, 1", dilations="1, 1", pads_begin=pads, pads_end=pads)
        found = self.numbers(weight)
        if found.ndim < 4 or found.shape[-2:] != (side, side):
            self.refuse(weight, f"weights of {side} x {side}")
        return before, found

    def split(
        self, at: Output, index: int, axis: int, lengths: tuple[int, ...]
    ) -> tuple[Output, tuple[Output, ...]]:
        """What is split of which this is the part of that number, and all parts."""
        layer = self.layer(at)
        if layer.kind != "VariadicSplit" or len(layer.inputs) != 3 or at.index != index:
            self.refuse(at, f"part {index} of a VariadicSplit")
        whole, along, parts = layer.inputs
        self.require_whole(along, (axis,))
        self.require_whole(parts, lengths)
        return whole, tuple(Output(at.layer, i) for i in range(len(lengths)))

    def reshaped(self, at: Output, shape: Shape) -> Output:
        """What is reshaped to this."""
        before, target = self.into(at, "Reshape", 2)
        sizes = list(self.whole(target))
        if -1 in sizes:
            known = math.prod(size for size in sizes if size != -1)
            sizes[sizes.index(-1)] = math.prod(self.graph.shape(before)) // max(known, 1)
        if tuple(sizes) != shape:
            self.refuse(at, f"the shape {shape}")
        return before

    def numbers(self, at: Output) -> NDArray[np.float32]:
        """The floats of a constant."""
        self.into(at, "Const", 0)
        found = self.graph.constant(at.layer)
        if found.dtype != np.float32:
            self.refuse(at, "floats")
        return found.astype(np.float32)

    def vector(self, at: Output, length: int) -> NDArray[np.float32]:
        """So many floats."""
        found = self.numbers(at)
        if found.size != length:
            self.refuse(at, f"{length} numbers")
        return found.reshape(length)

    def whole(self, at: Output, depth: int = MAX_DEPTH) -> tuple[int, ...]:
        """What the arithmetic of shapes comes to that exporters write in place of a shape."""
        layer = self.layer(at)
        if depth == 0 or len(layer.inputs) > MAX_AXES:
            self.refuse(at, "a shape")
        if layer.kind == "Const":
            numbers = self.graph.constant(at.layer)
            if numbers.dtype.kind != "i" or numbers.size > MAX_AXES:
                self.refuse(at, "a shape")
            return tuple(int(number) for number in numbers.flatten())
        if layer.kind == "ShapeOf" and len(layer.inputs) == 1:
            return self.graph.shape(layer.inputs[0])
        found = _computed(layer.kind, [self.whole(part, depth - 1) for part in layer.inputs])
        if found is None or len(found) > MAX_AXES:
            self.refuse(at, "a shape")
        return found

    def require_number(self, at: Output, wanted: float) -> None:
        """Refuse another than this one number, in float32."""
        found = self.numbers(at)
        if found.size != 1 or not math.isclose(found.item(), wanted, rel_tol=1e-5):
            self.refuse(at, f"the number {wanted:.6g}")

    def require_whole(self, at: Output, wanted: tuple[int, ...]) -> None:
        """Refuse other whole numbers than these."""
        if self.whole(at) != wanted:
            self.refuse(at, f"the numbers {wanted}")

    def require(self, at: Output, **attributes: str) -> None:
        """Refuse a layer with other attributes than these."""
        found = self.layer(at).attributes
        for name, wanted in attributes.items():
            plain = "".join(found.get(name, "").split()).lower()
            if plain != wanted.replace(" ", ""):
                self.refuse(at, f"{name} {wanted}")

    def refuse(self, at: Output, wanted: str) -> NoReturn:
        """Say where the graph is another, and what should be there."""
        layer = self.layer(at)
        kind, name = escaped(layer.kind[:40]), escaped(layer.name[:60])
        raise CheckpointError(
            f"{self.graph.path}: is another network than MobileStyleGAN's: its layer {name} "
            f"({kind}) should be {wanted}; get the file again from its source"
        )


def _computed(kind: str, parts: list[tuple[int, ...]]) -> tuple[int, ...] | None:
    """What a layer of such arithmetic makes of its inputs; None of one that is none."""
    if kind == "Concat":
        return tuple(chain.from_iterable(parts))
    if kind == "Unsqueeze" and len(parts) == 2:
        return parts[0]
    if kind == "Gather" and len(parts) == 3 and parts[2] == (0,):
        values, places, _ = parts
        if all(0 <= place < len(values) for place in places):
            return tuple(values[place] for place in places)
    if kind == "Broadcast" and [len(part) for part in parts] == [1, 1]:
        return parts[0] * min(parts[1][0], MAX_AXES + 1)
    return None
