"""MobileStyleGAN as OpenVINO's intermediate representation, as the package random-face carries it:
`MappingNetwork.xml` and `SynthesisNetwork.xml`, each with its `.bin`.

The graphs are walked from their results back to their inputs. Every layer on the way must be the
one that this network has there, with the numbers it computes with (slopes, gains, wavelets, sizes)
as they are here; what is left over reaches no image. Widths and the number of blocks are free.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...store.errors import CheckpointError
from ..inert.openvino import Output, Shape, read_graph
from ..networks.mobile_stylegan import START, MobileStyleGANConfig
from .checkpoint import LARGEST_RESOLUTION, GeneratorCheckpoint
from .filled import NO_AVERAGE, average_w
from .graph_walk import GraphWalk
from .mobile_stylegan import in_bands

MAPPING, SYNTHESIS = "MappingNetwork.xml", "SynthesisNetwork.xml"
MOST_LAYERS = 32  # of a mapping network
HEAD = re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]{0,100}\?>)?\s*<net\s")

Arrays = dict[str, NDArray[np.float32]]


def is_openvino(path: Path) -> bool:
    """Whether this is a folder that holds such a generator, or a file that begins as a graph."""
    if path.is_dir():
        return (path / SYNTHESIS).is_file()
    with path.open("rb") as file:
        return HEAD.match(file.read(256)) is not None


def read_openvino(path: Path) -> GeneratorCheckpoint:
    """The generator of a folder, or of one of the two graphs in it.

    The average w is not in the files: the mean over 10,000 latents of a fixed seed stands for it.
    Noise maps are there times their strength, which is taken for the root of their mean square.

    Raises:
        CheckpointError: a file is missing or made to mislead, or another network than this.
    """
    folder = path if path.is_dir() else path.parent
    if path != folder and path.name not in (MAPPING, SYNTHESIS):
        raise CheckpointError(
            f"{path}: is a graph of OpenVINO's; of those MobileStyleGAN is read, by the folder "
            f"that holds {MAPPING} and {SYNTHESIS}; name the folder"
        )
    mapping, layers = MobileWalk(read_graph(folder / MAPPING)).mapping()
    synthesis, channels, image_channels = MobileWalk(read_graph(folder / SYNTHESIS)).synthesis()
    config = MobileStyleGANConfig(
        z_dim=mapping["fc0.weight"].shape[1],
        w_dim=mapping["fc0.weight"].shape[0],
        mapping_layers=layers,
        mapping_lr=1.0,
        channels=channels,
        image_channels=image_channels,
    )
    tensors = {f"mapping.{name}": tensor for name, tensor in mapping.items()}
    tensors |= {f"synthesis.{name}": tensor for name, tensor in synthesis.items()}
    tensors["mapping.w_avg"] = torch.zeros(config.w_dim)
    checked = GeneratorCheckpoint.of(path, config, tensors, "openvino")
    # Only now is it certain that the mapping network can be computed.
    tensors["mapping.w_avg"] = average_w(config, checked.tensors)
    return GeneratorCheckpoint.of(path, config, tensors, "openvino", (NO_AVERAGE,))


class MobileWalk(GraphWalk):
    """Through one of the two graphs."""

    def mapping(self) -> tuple[dict[str, Tensor], int]:
        """The tensors of a mapping network, and the number of its layers."""
        layers: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        at = self.result
        while self.layer(at).inputs[:1] != (self.start,):
            if len(layers) >= MOST_LAYERS:
                self.refuse(at, f"one of {MOST_LAYERS} layers at most")
            at, gain = self.into(at, "Multiply", 2)
            self.require_number(gain, math.sqrt(2))
            at = self.leaky(at)
            at, bias = self.into(at, "Add", 2)
            at, weight = self.product(at)
            bias = self.reshaped(bias, (1, len(weight)))
            layers.insert(0, (weight, self.vector(bias, len(weight))))
        _, scale = self.into(at, "Multiply", 2)
        self.pixel_norm(scale)
        tensors = {}
        for i, (matrix, vector) in enumerate(layers):
            # The network divides by the root of the inputs, which these have behind them.
            scaled = torch.from_numpy(matrix).double() * math.sqrt(matrix.shape[1])
            tensors[f"fc{i}.weight"] = scaled.float()
            tensors[f"fc{i}.bias"] = torch.from_numpy(vector)
        return tensors, len(layers)

    def synthesis(self) -> tuple[dict[str, Tensor], dict[int, int], int]:
        """The tensors of a synthesis network, the widths of its blocks, the image's channels."""
        side = (0, *self.graph.shape(self.result))[-1]
        sides = [START * 2**i for i in range(11) if START * 2**i < LARGEST_RESOLUTION]
        if side // 2 not in sides[1:]:
            self.refuse(self.result, f"an image of 16 to {LARGEST_RESOLUTION} pixels")
        sides = sides[: sides.index(side // 2) + 1]
        tensors: Arrays = {}
        at = self.torgb(self.result, sides[-1], tensors)
        widths: dict[int, int] = {}
        for size in reversed(sides[1:]):
            block = f"b{size}"
            at = self.separable(at, f"{block}.conv2", size, tensors)
            at = self.separable(at, f"{block}.conv1", size, tensors)
            at = self.up(at, block, size, tensors)
            widths[size] = len(tensors[f"{block}.conv2.bias"])
        self.first(at, tensors)
        widths[START] = len(tensors[f"b{START}.conv1.bias"])
        image_channels = len(tensors[f"b{sides[-1]}.torgb.bias"]) // 4
        found = {name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}
        return in_bands(found), dict(sorted(widths.items())), image_channels

    # The parts of the network, from their output to their input.

    def torgb(self, at: Output, side: int, tensors: Arrays) -> Output:
        name = f"b{side}.torgb"
        at, bias = self.into(self.haar(at, 2 * side), "Add", 2)
        at, weight = self.convolution(at, "Convolution", 0)
        at = self.scaled(at, name, 1 / math.sqrt(weight.shape[1]), tensors)
        tensors[f"{name}.weight"] = weight
        tensors[f"{name}.bias"] = self.vector(bias, len(weight))
        return at

    def separable(self, at: Output, name: str, side: int, tensors: Arrays) -> Output:
        at = self.activated(at, name, side, tensors)
        at, pointwise = self.convolution(at, "Convolution", 0)
        at, depthwise = self.convolution(at, "GroupConvolution", 1)
        inputs = pointwise.shape[1]
        if depthwise.shape != (inputs, 1, 1, 3, 3):
            self.refuse(at, f"weights of 3 x 3 in each of {inputs} channels")
        tensors[f"{name}.depthwise"] = depthwise.reshape(inputs, 1, 3, 3)
        tensors[f"{name}.pointwise"] = pointwise
        return self.scaled(at, name, 1 / math.sqrt(9 * inputs), tensors)

    def first(self, at: Output, tensors: Arrays) -> None:
        name = f"b{START}.conv1"
        at = self.activated(at, name, START, tensors)
        at, weight = self.convolution(at, "Convolution", 1)
        tensors[f"{name}.weight"] = weight
        at = self.scaled(at, name, 1 / math.sqrt(9 * weight.shape[1]), tensors)
        at, times = self.into(at, "Tile", 2)
        self.require_whole(times, (1, 1, 1, 1))
        at, shape = self.into(at, "Broadcast", 2)
        self.require_whole(shape, (1, 1, 1, 1))
        const = self.numbers(at)
        if const.ndim != 4 or const.shape != (1, weight.shape[1], START, START):
            self.refuse(at, f"a constant of {START} x {START}")
        tensors[f"b{START}.const"] = const[0]

    def up(self, at: Output, block: str, side: int, tensors: Arrays) -> Output:
        style, at = self.into(self.haar(at, side), "Multiply", 2)
        self.affine(style, f"{block}.up", tensors)
        return at

    def activated(self, at: Output, name: str, side: int, tensors: Arrays) -> Output:
        """Leaky ReLU of a convolution with noise and bias."""
        width = self.graph.shape(at)[1:2]
        at, bias = self.into(self.leaky(at), "Add", 2)
        at, noise = self.into(at, "Add", 2)
        maps = self.numbers(noise)
        if maps.shape != (1, 1, side, side):
            self.refuse(noise, f"a noise map of {side} x {side}")
        strength = np.float32(np.sqrt(np.mean(np.square(maps, dtype=np.float64))))
        tensors[f"{name}.bias"] = self.vector(bias, *width)
        tensors[f"{name}.noise_strength"] = strength
        tensors[f"{name}.noise_const"] = (maps / (strength or np.float32(1)))[0, 0]
        return at

    def scaled(self, at: Output, name: str, gain: float, tensors: Arrays) -> Output:
        """What a layer's style scales."""
        style, at = self.into(at, "Multiply", 2)
        style, number = self.into(style, "Multiply", 2)
        self.require_number(number, gain)
        self.affine(style, name, tensors)
        return at

    def affine(self, at: Output, name: str, tensors: Arrays) -> None:
        width = self.graph.shape(at)[1:2]
        at, bias = self.into(self.reshaped(at, (1, *width, 1, 1)), "Add", 2)
        at, weight = self.product(at)
        if at != self.start:
            self.refuse(at, "the input w")
        tensors[f"{name}.affine.weight"] = weight
        tensors[f"{name}.affine.bias"] = self.vector(bias, len(weight))

    def haar(self, at: Output, side: int) -> Output:
        """The bands of what an inverse wavelet makes, (1, channels, side, side)."""
        _, channels, *_ = shape = self.graph.shape(at)
        if shape != (1, channels, side, side):
            self.refuse(at, f"features of {side} x {side}")
        at_left, at_right = self.into(at, "Add", 2)
        rows = [
            self.widened(half, channels, "1, 2", (1, 1, 1, 2), sign)
            for half, sign in ((at_left, 1), (at_right, -1))
        ]
        bands = [
            self.widened(band, channels, "2, 1", (1, 1, 2, 1), sign)
            for row in rows
            for band, sign in zip(self.into(row, "Add", 2), (1, -1), strict=True)
        ]
        whole, parts = self.split(bands[0], 0, 1, (channels, 3 * channels))
        for index, band in enumerate(bands[1:]):
            at, axis = self.into(band, "Squeeze", 2)
            self.require_whole(axis, (2,))
            at, _ = self.split(at, index, 2, (1, 1, 1))
            if self.reshaped(at, (1, channels, 3, side // 2, side // 2)) != parts[1]:
                self.refuse(at, "the high bands")
        return whole

    def widened(self, at: Output, channels: int, strides: str, shape: Shape, sign: int) -> Output:
        """What a filter (1, sign) / sqrt 2 doubles along one axis."""
        before, weight = self.into(at, "GroupConvolutionBackpropData", 2)
        self.require(at, strides=strides, pads_begin="0, 0", pads_end="0, 0", dilations="1, 1")
        self.require(at, output_padding="0, 0")
        filters = self.numbers(weight)
        wanted = np.array([1, sign]) * math.sqrt(0.5)
        if filters.shape != (channels, *shape) or not np.allclose(
            filters.reshape(channels, 2), wanted, rtol=0, atol=1e-6
        ):
            self.refuse(weight, "the filter of a Haar wavelet")
        return before

    def pixel_norm(self, at: Output) -> None:
        """1 / sqrt(mean z^2 + 1e-8), over the input."""
        one, at = self.into(at, "Multiply", 2)
        self.require_number(one, 1)
        for exponent in (-1, 0.5):
            at, power = self.into(at, "Power", 2)
            self.require_number(power, exponent)
        at, epsilon = self.into(at, "Add", 2)
        self.require_number(epsilon, 1e-8)
        self.require(at, keep_dims="true")
        at, axis = self.into(at, "ReduceMean", 2)
        self.require_whole(axis, (1,))
        at, power = self.into(at, "Power", 2)
        self.require_number(power, 2)
        if at != self.start:
            self.refuse(at, "the input z")
