"""MobileStyleGAN's checkpoints by their authors: the state dict of PyTorch Lightning, in which the
mapping network and the student stand beside what trained them.

Names are those that the published graphs keep; no such file was at hand. Weights are stored before
demodulation, which in that network depends on a vector that is learned in place of the style: it
is the one further tensor of a convolution with a number for each of its inputs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...store.errors import CheckpointError
from ..networks.mobile_stylegan import START, MobileStyleGANConfig
from .checkpoint import LARGEST_RESOLUTION, GeneratorCheckpoint, excerpt
from .filled import NO_AVERAGE, NO_NOISE, average_w
from .tensors import below, load_tensors

MAPPING_LR = 0.01
MARK = "layers.0.conv1.conv.weight_dw"
NO_STATIC_STYLE = "has no vectors that stand for the style in demodulation: ones stand for them"
_MAPPING = re.compile(r"(?P<stem>.*?)(?P<number>[0-9]{1,3})\.(?P<what>weight|bias)")


def is_mobile_stylegan(state: Mapping[Any, Any]) -> bool:
    """Whether these are the tensors of a MobileStyleGAN in its authors' names."""
    return next(_students(state), None) is not None


def read_mobile_stylegan(path: Path, state: Mapping[str, object]) -> GeneratorCheckpoint:
    """The averaged student of a state dict, if it has one, else the student.

    What the file lacks is made up from fixed seeds: the average w, and noise maps.

    Raises:
        CheckpointError: the tensors are no generator of that project.
    """
    prefix = min(_students(state), key=lambda name: ("ema" not in name.lower(), name))
    names = {name: value for name, value in state.items() if isinstance(name, str)}
    mapping = {name: value for name, value in names.items() if name.startswith("mapping")}
    source = load_tensors(path, {excerpt(k): v for k, v in below(names, prefix).items()})
    tensors = _mapping(path, load_tensors(path, {excerpt(k): v for k, v in mapping.items()}))
    blocks = 1
    while f"layers.{blocks - 1}.conv1.conv.weight_dw" in source:
        blocks += 1
    if START * 2 ** (blocks - 1) > LARGEST_RESOLUTION // 2:
        raise _refusal(path, f"has {blocks} blocks, more than {LARGEST_RESOLUTION} pixels")
    reader = _Student(path, source, blocks)
    synthesis = reader.synthesis()
    config = MobileStyleGANConfig(
        z_dim=tensors["mapping.fc0.weight"].shape[1],
        w_dim=synthesis["b4.conv1.affine.weight"].shape[1],
        mapping_layers=len(tensors) // 2,
        mapping_lr=MAPPING_LR,
        channels=reader.widths,
        image_channels=len(synthesis[f"b{reader.last}.torgb.bias"]) // 4,
    )
    tensors |= {f"synthesis.{name}": tensor for name, tensor in in_bands(synthesis).items()}
    tensors["mapping.w_avg"] = torch.zeros(config.w_dim)
    checked = GeneratorCheckpoint.of(path, config, tensors, "mobile_stylegan")
    # Only now is it certain that the mapping network can be computed.
    tensors["mapping.w_avg"] = average_w(config, checked.tensors)
    notes = (NO_AVERAGE, *reader.notes)
    return GeneratorCheckpoint.of(path, config, tensors, "mobile_stylegan", notes)


def in_bands(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a synthesis network under our names, in our order of channels: theirs has
    the three high bands of a channel beside one another, ours one band after the other."""
    last = max(int(name.split(".")[0].removeprefix("b")) for name in tensors)
    banded = re.compile(
        rf"b{START}\.conv1\.(weight|bias)|b(?!{last}\.).*\.conv2\.(pointwise|bias)"
        r"|.*\.up\.affine\..*|.*\.torgb\.(weight|bias)"
    )
    return {
        name: _in_bands(tensor) if banded.fullmatch(name) else tensor
        for name, tensor in tensors.items()
    }


def _in_bands(tensor: Tensor) -> Tensor:
    low = len(tensor) // 4
    high = torch.arange(3 * low).view(low, 3).t().flatten()
    return tensor[torch.cat([torch.arange(low), low + high])]


def _students(state: Mapping[Any, Any]) -> Iterator[str]:
    """What stands before the names of every student."""
    for name in state:
        if isinstance(name, str) and (name == MARK or name.endswith(f".{MARK}")):
            yield name.removesuffix(MARK)


def _mapping(path: Path, source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The mapping network's tensors under our names: its layers by their numbers."""
    layers: dict[int, dict[str, Tensor]] = {}
    stems = set()
    for name, tensor in source.items():
        if match := _MAPPING.fullmatch(name):
            layers.setdefault(int(match["number"]), {})[match["what"]] = tensor
            stems.add(match["stem"])
    if len(stems) != 1 or any(layer.keys() != {"weight", "bias"} for layer in layers.values()):
        raise _refusal(path, f"has {len(stems)} mapping networks, or parts of one")
    tensors = {}
    for i, (_, layer) in enumerate(sorted(layers.items())):
        if layer["weight"].ndim != 2:
            raise _refusal(path, f"has a mapping layer {i} that is no matrix")
        tensors[f"mapping.fc{i}.weight"] = layer["weight"]
        tensors[f"mapping.fc{i}.bias"] = layer["bias"]
    return tensors


class _Student:
    """The synthesis network's tensors, taken one by one."""

    def __init__(self, path: Path, source: Mapping[str, Tensor], blocks: int) -> None:
        self.path, self.source = path, source
        self.last = START * 2 ** (blocks - 1)
        self.widths: dict[int, int] = {}
        self.notes: tuple[str, ...] = ()
        self.random = np.random.RandomState(0)  # its stream is promised never to change

    def synthesis(self) -> dict[str, Tensor]:
        """All tensors under our names, in their order of channels."""
        const = self.take("input.input")
        width = self.widths[START] = const.numel() // START**2
        tensors = {f"b{START}.const": self.shaped("input.input", width, START, START)}
        tensors |= self.convolution("conv1", f"b{START}.conv1", START, width, full=True)
        sides = [START * 2**i for i in range(1, self.last.bit_length() - 2)]
        for i, side in enumerate(sides):
            theirs, ours = f"layers.{i}", f"b{side}"
            outputs = self.widths[side] = self.take(f"{theirs}.conv1.bias").numel()
            if width % 4:
                raise _refusal(self.path, f"has {width} channels before {ours}, no four bands")
            tensors |= self.affine(f"{theirs}.up.modulation", f"{ours}.up", width)
            for part, inputs in (("conv1", width // 4), ("conv2", outputs)):
                tensors |= self.convolution(f"{theirs}.{part}", f"{ours}.{part}", side, inputs)
            width = outputs
        theirs, ours = f"layers.{len(self.widths) - 2}.to_img", f"b{self.last}.torgb"
        bands = self.take(f"{theirs}.bias").numel()
        if bands % 4:
            raise _refusal(self.path, f"has a to_img of {bands} channels, no four bands")
        tensors[f"{ours}.weight"] = self.shaped(f"{theirs}.conv.weight", bands, width, 1, 1)
        tensors[f"{ours}.bias"] = self.shaped(f"{theirs}.bias", bands)
        return tensors | self.affine(f"{theirs}.conv.modulation", ours, width)

    def convolution(
        self, theirs: str, ours: str, side: int, inputs: int, *, full: bool = False
    ) -> dict[str, Tensor]:
        outputs = self.widths[side]
        tensors = self.affine(f"{theirs}.conv.modulation", ours, inputs)
        static = self.static_style(f"{theirs}.conv.", inputs) / math.sqrt(9 * inputs)
        if full:
            weight = self.shaped(f"{theirs}.conv.weight", outputs, inputs, 3, 3)
            squares = weight.double().square().sum((2, 3)) @ static.square()
            tensors[f"{ours}.weight"] = _scaled(weight, squares)
        else:
            depthwise = self.shaped(f"{theirs}.conv.weight_dw", inputs, 1, 3, 3)
            pointwise = self.shaped(f"{theirs}.conv.weight_permute", outputs, inputs, 1, 1)
            energy = depthwise.double().square().sum((1, 2, 3)) * static.square()
            squares = pointwise.double().square()[:, :, 0, 0] @ energy
            tensors[f"{ours}.depthwise"] = depthwise
            tensors[f"{ours}.pointwise"] = _scaled(pointwise, squares)
        tensors[f"{ours}.bias"] = self.shaped(f"{theirs}.bias", outputs)
        tensors[f"{ours}.noise_strength"] = self.shaped(f"{theirs}.noise.weight")
        tensors[f"{ours}.noise_const"] = self.noise(theirs, side)
        return tensors

    def affine(self, theirs: str, ours: str, size: int) -> dict[str, Tensor]:
        weight = self.take(f"{theirs}.weight")
        return {
            f"{ours}.affine.weight": self.shaped(
                f"{theirs}.weight", size, weight.numel() // max(size, 1)
            ),
            f"{ours}.affine.bias": self.shaped(f"{theirs}.bias", size),
        }

    def static_style(self, stem: str, inputs: int) -> Tensor:
        """What stands for the style in demodulation, (in,), in double precision."""
        found = [
            tensor
            for name, tensor in self.source.items()
            if name.startswith(stem)
            and not name.startswith((f"{stem}weight", f"{stem}modulation."))
            and tensor.numel() == inputs
        ]
        if len(found) > 1:
            raise _refusal(self.path, f"has {len(found)} vectors beside {stem}weight")
        if not found and NO_STATIC_STYLE not in self.notes:
            self.notes += (NO_STATIC_STYLE,)
        return found[0].double().flatten() if found else torch.ones(inputs, dtype=torch.float64)

    def noise(self, theirs: str, side: int) -> Tensor:
        """The layer's noise map, or one of a fixed seed."""
        for name, tensor in self.source.items():
            if name.startswith(f"{theirs}.noise.") and tensor.numel() == side**2 > 1:
                return tensor.reshape(side, side)
        if NO_NOISE not in self.notes:
            self.notes += (NO_NOISE,)
        return torch.from_numpy(self.random.standard_normal((side, side))).float()

    def take(self, name: str) -> Tensor:
        if name not in self.source:
            raise _refusal(self.path, f"has no {excerpt(name)}")
        return self.source[name]

    def shaped(self, name: str, *shape: int) -> Tensor:
        """A tensor in this shape, from one that differs by axes of length 1 alone."""
        tensor = self.take(name)
        if [size for size in tensor.shape if size != 1] != [size for size in shape if size != 1]:
            raise _refusal(
                self.path, f"has {excerpt(name)} of shape {tuple(tensor.shape)}, not {shape}"
            )
        return tensor.reshape(shape)


def _scaled(weight: Tensor, squares: Tensor) -> Tensor:
    """Weights (out, ...) divided by the root of the sums of their squares (out,)."""
    factor = torch.rsqrt(squares + 1e-8)
    return (weight.double() * factor[:, None, None, None]).float()


def _refusal(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: its MobileStyleGAN {what}; get the checkpoint again, or convert the package "
        "random-face's graphs"
    )
