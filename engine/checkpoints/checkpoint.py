"""A generator as every dialect ends: its numbers, and its tensors under the names of NVIDIA's
checkpoints, each checked against the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor

from ...store.errors import CheckpointError
from ...store.fingerprint import ModelIdentity, weights_sha256
from ..inert.objects import InertObject, InertTensor, escaped
from ..networks.mapping import MappingConfig
from ..networks.mobile_stylegan import START, MobileStyleGANConfig
from ..networks.stylegan2 import Architecture, StyleGAN2Config
from ..networks.stylegan3 import FilteredLayer, StyleGAN3Config

GeneratorConfig = StyleGAN2Config | StyleGAN3Config | MobileStyleGANConfig
Dialect = Literal["styleatlas", "nvidia", "tensorflow", "rosinality", "mobile_stylegan", "openvino"]
FAMILIES: dict[type[GeneratorConfig], str] = {
    StyleGAN2Config: "stylegan2",
    StyleGAN3Config: "stylegan3",
    MobileStyleGANConfig: "mobile_stylegan",
}
Config = TypeVar("Config", bound=Any)

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LARGEST_SIZE = 8192
LARGEST_RESOLUTION = 4096


@dataclass(frozen=True)
class GeneratorCheckpoint:
    """The content of a generator's file; build it with :meth:`of`.

    `tensors` are float32, contiguous, on the CPU, none sharing memory with another, and exactly
    the state dict of the network that `config` describes. `notes` say what the file lacks and what
    stands for it, in sentences that have the file for their subject.
    """

    config: GeneratorConfig
    tensors: dict[str, Tensor]
    dialect: Dialect
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        path: Path,
        config: GeneratorConfig,
        tensors: Mapping[str, Tensor],
        dialect: Dialect,
        notes: tuple[str, ...] = (),
    ) -> GeneratorCheckpoint:
        """Check everything there is to check before a network is built.

        Raises:
            CheckpointError: `config` is out of range or contradicts itself, or the tensors do not
                fit it: a missing, surplus or misshapen one, one that is not of floats or not
                finite.
        """
        for problem in _config_problems(config):
            raise CheckpointError(
                f"{path}: describes a generator that cannot be built: {problem}; "
                "check where the file comes from, or export it again"
            )
        expected = expected_shapes(config)
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        _refuse(path, _shape_problems(expected, shapes) + _type_problems(tensors))
        # In the order of the network, so that a file does not show in what is made from it.
        whole: dict[str, Tensor] = {}
        places = set()
        for name in expected:
            tensor = tensors[name].to("cpu", torch.float32).contiguous()
            whole[name] = tensor.clone() if tensor.data_ptr() in places else tensor
            places.add(tensor.data_ptr())
        _refuse(path, _finite_problems(whole))
        return cls(_with_floats(config), whole, dialect, notes)

    @property
    def family(self) -> str:
        """`stylegan2`, `stylegan3` or `mobile_stylegan`."""
        return FAMILIES[type(self.config)]

    def sha256(self) -> str:
        """The identity of the weights, whatever dialect they were read from."""
        return weights_sha256((name, tensor.numpy()) for name, tensor in self.tensors.items())

    def identity(self, name: str) -> ModelIdentity:
        """What an atlas remembers of the generator that people know as `name`."""
        sizes = {
            "resolution": self.config.resolution,
            "z_dim": self.config.z_dim,
            "w_dim": self.config.w_dim,
            "image_channels": self.config.image_channels,
        }
        height, width = self.config.image_size
        if height != width:
            sizes |= {"height": height, "width": width}
        return ModelIdentity(name, self.sha256(), sizes)


def expected_shapes(config: GeneratorConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the network that `config` describes, in its order.

    By arithmetic alone: building the network on PyTorch's meta device imports its compiler, which
    takes seconds in every cold start.
    """
    if isinstance(config, StyleGAN2Config):
        return _mapping_shapes(config) | _stylegan2_shapes(config)
    if isinstance(config, MobileStyleGANConfig):
        return _mapping_shapes(config) | _mobile_stylegan_shapes(config)
    return _mapping_shapes(config) | _stylegan3_shapes(config)


def require_same_shapes(
    path: Path, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> None:
    """Raise CheckpointError unless both hold tensors of the same names and shapes, and those of
    `found` are finite and of floats where `wanted` has floats."""
    shapes = {key: tuple(tensor.shape) for key, tensor in wanted.items()}
    problems = _shape_problems(shapes, {key: tensor.shape for key, tensor in found.items()})
    floats = {key for key, tensor in wanted.items() if tensor.is_floating_point()}
    numbers = {key: tensor for key, tensor in found.items() if key in floats}
    _refuse(path, problems + (_type_problems(numbers) or _finite_problems(numbers)))


def constant_problems(constant: object, blocks: int) -> Iterator[str]:
    """What is wrong with the height and width of a constant that so many blocks make pictures of,
    each but the first by doubling them; asked before noise maps are made of it."""
    sides = constant if isinstance(constant, tuple) else ()
    times = 2 ** (blocks - 1)
    if len(sides) != 2 or not all(is_whole(side, 1, LARGEST_RESOLUTION) for side in sides):
        told = " x ".join(excerpt(side) for side in sides[:4]) or excerpt(constant)
        yield f"constant is {told}, must be a height and a width of 1 to {LARGEST_RESOLUTION}"
    elif max(sides) * times > LARGEST_RESOLUTION:
        height, width = (side * times for side in sides)
        yield f"its pictures are {height} x {width}, must be {LARGEST_RESOLUTION} a side at most"


def excerpt(value: object) -> str:
    """A value from a file in a message: printable, on one line, short."""
    if isinstance(value, str):
        return value if value.isprintable() and 0 < len(value) <= 60 else repr(value[:40])
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):  # Python refuses to print integers of thousands of digits
        return str(value) if abs(value) < 2**63 else "a number beyond 64 bits"
    if isinstance(value, InertObject):
        return f"an object of {escaped(value.kind)}"
    return "a tensor" if isinstance(value, InertTensor) else f"a {type(value).__name__}"


def is_whole(value: object, low: int, high: int) -> bool:
    """Whether `value` is an integer, and no bool, from low to high."""
    return type(value) is int and low <= value <= high


def is_real(value: object) -> bool:
    """Whether `value` is a finite number, and no bool."""
    if type(value) is int:
        return abs(value) < 2**63
    return type(value) is float and math.isfinite(value)


def _mapping_shapes(config: MappingConfig) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    width = config.z_dim
    if config.c_dim:
        embedded = config.embed_features or config.w_dim
        shapes |= _dense("mapping.embed", embedded, config.c_dim)
        width += embedded
    for i in range(config.mapping_layers):
        last = i == config.mapping_layers - 1
        outputs = config.w_dim if last else config.layer_features or config.w_dim
        shapes |= _dense(f"mapping.fc{i}", outputs, width)
        width = outputs
    shapes["mapping.w_avg"] = (config.w_dim,)
    return shapes


def _stylegan2_shapes(config: StyleGAN2Config) -> dict[str, tuple[int, ...]]:
    taps, w, colours = config.filter_taps, config.w_dim, config.image_channels
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = 0
    for number, width in sorted(config.channels.items()):
        block = f"synthesis.b{number}"
        convs = [("conv1", width)]
        if inputs:
            convs.insert(0, ("conv0", inputs))
        else:
            shapes[f"{block}.const"] = (width, *config.size(number))
        for name, before in convs:
            layer = f"{block}.{name}"
            shapes[f"{layer}.weight"] = (width, before, 3, 3)
            shapes[f"{layer}.bias"] = (width,)
            shapes[f"{layer}.resample_filter"] = (taps, taps)
            shapes |= _dense(f"{layer}.affine", before, w)
            if config.use_noise:
                shapes[f"{layer}.noise_strength"] = ()
                shapes[f"{layer}.noise_const"] = config.size(number)
        if config.architecture == "skip" or number == config.last:
            shapes[f"{block}.torgb.weight"] = (colours, width, 1, 1)
            shapes[f"{block}.torgb.bias"] = (colours,)
            shapes |= _dense(f"{block}.torgb.affine", width, w)
        if config.architecture == "resnet" and inputs:
            shapes[f"{block}.skip.weight"] = (width, inputs, 1, 1)
            shapes[f"{block}.skip.resample_filter"] = (taps, taps)
        shapes[f"{block}.resample_filter"] = (taps, taps)
        inputs = width
    return shapes


def _stylegan3_shapes(config: StyleGAN3Config) -> dict[str, tuple[int, ...]]:
    waves = config.input.channels
    shapes: dict[str, tuple[int, ...]] = {
        "synthesis.input.weight": (waves, waves),
        "synthesis.input.freqs": (waves, 2),
        "synthesis.input.phases": (waves,),
        "synthesis.input.transform": (3, 3),
    }
    shapes |= _dense("synthesis.input.affine", 4, config.w_dim)
    for layer in config.layers:
        name, side = f"synthesis.{layer.name}", layer.kernel
        shapes[f"{name}.weight"] = (layer.out_channels, layer.in_channels, side, side)
        shapes[f"{name}.bias"] = (layer.out_channels,)
        shapes[f"{name}.magnitude_ema"] = ()
        shapes |= _dense(f"{name}.affine", layer.in_channels, config.w_dim)
        if layer.up_taps > 1:
            shapes[f"{name}.up_filter"] = (layer.up_taps,)
        if layer.down_taps > 1:
            shapes[f"{name}.down_filter"] = (layer.down_taps,) * (2 if layer.down_radial else 1)
    return shapes


def _mobile_stylegan_shapes(config: MobileStyleGANConfig) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in config.styled_layers():
        name, (block, part) = f"synthesis.{layer.name}", layer.name.split(".")
        side = int(block.removeprefix("b"))
        width, bands = config.channels[side], 4 * config.image_channels
        shapes |= _dense(f"{name}.affine", layer.size, config.w_dim)
        if part == "up":
            continue
        shapes[f"{name}.bias"] = (bands if part == "torgb" else width,)
        if part == "torgb":
            shapes[f"{name}.weight"] = (bands, width, 1, 1)
            continue
        if side == START:
            shapes[f"synthesis.{block}.const"] = (width, START, START)
            shapes[f"{name}.weight"] = (width, width, 3, 3)
        else:
            shapes[f"{name}.depthwise"] = (layer.size, 1, 3, 3)
            shapes[f"{name}.pointwise"] = (width, layer.size, 1, 1)
        shapes[f"{name}.noise_strength"] = ()
        shapes[f"{name}.noise_const"] = (side, side)
    return shapes


def _dense(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _shape_problems(
    wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, torch.Size]
) -> list[str]:
    problems = []
    if missing := sorted(wanted.keys() - found.keys()):
        problems.append(f"missing {_some(missing)}")
    if surplus := sorted(found.keys() - wanted.keys()):
        problems.append(f"surplus {_some(surplus)}")
    return problems + [
        f"{key} has shape {tuple(found[key])} where {wanted[key]} is needed"
        for key in sorted(wanted.keys() & found.keys())
        if tuple(found[key]) != wanted[key]
    ]


def _type_problems(tensors: Mapping[str, Tensor]) -> list[str]:
    return [
        f"{excerpt(key)} has type {tensor.dtype} where a float is needed"
        for key, tensor in sorted(tensors.items())
        if tensor.dtype not in FLOATS
    ]


def _finite_problems(tensors: Mapping[str, Tensor]) -> list[str]:
    return [
        f"{key} holds NaN or infinity"
        for key, tensor in sorted(tensors.items())
        if not bool(tensor.isfinite().all())
    ]


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        raise CheckpointError(
            f"{path}: its tensors do not fit the network it describes: {'; '.join(problems[:4])}"
            + (f"; and {len(problems) - 4} more" if len(problems) > 4 else "")
            + "; export the checkpoint again"
        )


def _some(names: list[str]) -> str:
    listed = ", ".join(excerpt(name) for name in names[:3])
    return listed + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _config_problems(config: GeneratorConfig) -> Iterator[str]:
    yield from _out_of_range(
        config,
        z_dim=(1, LARGEST_SIZE),
        w_dim=(1, LARGEST_SIZE),
        c_dim=(0, 100_000),
        mapping_layers=(1, 32),
        image_channels=(1, LARGEST_SIZE),
    )
    for name in ("embed_features", "layer_features"):
        if getattr(config, name) is not None:
            yield from _out_of_range(config, **{name: (1, LARGEST_SIZE)})
    yield from _not_positive(config, "mapping_lr")
    if isinstance(config, StyleGAN2Config):
        yield from _stylegan2_problems(config)
    elif isinstance(config, MobileStyleGANConfig):
        yield from _mobile_stylegan_problems(config)
    else:
        yield from _stylegan3_problems(config)


def _channel_problems(channels: Mapping[int, int], highest: int) -> Iterator[str]:
    steps = [4 * 2**i for i in range(len(channels))]
    if not steps or steps[-1] > highest or any(r not in channels for r in steps):
        yield f"channels must be given for 4 and its doubles, up to {highest} at most"
    for resolution, width in channels.items():
        if not is_whole(width, 1, LARGEST_SIZE):
            yield f"channels[{resolution}] is {excerpt(width)}, must be 1 to {LARGEST_SIZE}"


def _mobile_stylegan_problems(config: MobileStyleGANConfig) -> Iterator[str]:
    channels = config.channels
    yield from _channel_problems(channels, LARGEST_RESOLUTION // 2)
    for resolution, width in sorted(channels.items())[:-1]:
        if is_whole(width, 1, LARGEST_SIZE) and width % 4:
            yield f"channels[{resolution}] is {width}, must be a multiple of 4, for four bands"


def _stylegan2_problems(config: StyleGAN2Config) -> Iterator[str]:
    yield from _channel_problems(config.channels, LARGEST_RESOLUTION)
    yield from constant_problems(config.constant, max(1, len(config.channels)))
    yield from _out_of_range(config, filter_taps=(2, 1024), num_fp16_res=(0, 32))
    if config.architecture not in get_args(Architecture):
        known = ", ".join(get_args(Architecture))
        yield f"architecture is {excerpt(config.architecture)}, must be one of {known}"
    yield from _not_bool(config, "use_noise")
    if config.conv_clamp is not None:
        yield from _not_positive(config, "conv_clamp")


def _stylegan3_problems(config: StyleGAN3Config) -> Iterator[str]:
    if config.resolution not in [4 * 2**i for i in range(11)]:
        yield f"resolution is {excerpt(config.resolution)}, must be a power of two, 4 to 4096"
    yield from _out_of_range(config.input, channels=(1, LARGEST_SIZE), size=(1, LARGEST_SIZE))
    yield from _not_positive(config.input, "sampling_rate", "bandwidth")
    yield from _not_positive(config, "output_scale")
    if not 1 <= len(config.layers) <= 64:
        yield f"it has {len(config.layers)} layers, must have 1 to 64"
    before = (config.input.channels, config.input.size, config.input.sampling_rate)
    for i, layer in enumerate(config.layers):
        last = i == len(config.layers) - 1
        resampling = (layer.up_factor, layer.up_taps, layer.down_factor, layer.down_taps)
        if last and resampling != (1, 1, 1, 1):
            yield f"layer {i}: is the last one, toRGB, which must not resample"
        for problem in _layer_problems(layer):
            yield f"layer {i}: {problem}"
        if layer.name != f"L{i}_{layer.out_size}_{layer.out_channels}":
            yield f"layer {i} is called {excerpt(layer.name)}, must be L<i>_<size>_<channels>"
        if (layer.in_channels, layer.in_size, layer.in_rate) != before:
            yield f"{layer.name}: its input is not what the layer before it puts out"
        if layer.is_torgb != last:
            yield f"{layer.name}: the last layer, and no other, must be toRGB"
        before = (layer.out_channels, layer.out_size, layer.out_rate)
    if before[:2] != (config.image_channels, config.resolution):
        yield f"{config.layers[-1].name}: does not put out the image's channels and resolution"


def _layer_problems(layer: FilteredLayer) -> Iterator[str]:
    sizes = ("in_channels", "out_channels", "in_size", "out_size")
    yield from _out_of_range(layer, **dict.fromkeys(sizes, (1, LARGEST_SIZE)))
    yield from _out_of_range(layer, kernel=(1, 64), up_factor=(1, 8), down_factor=(1, 8))
    yield from _out_of_range(layer, up_taps=(1, 1024), down_taps=(1, 1024))
    yield from _not_bool(layer, "is_torgb", "down_radial", "reduced")
    yield from _not_positive(layer, "in_rate", "out_rate", "in_cutoff", "out_cutoff")
    yield from _not_positive(layer, "in_half_width", "out_half_width")
    if layer.clamp is not None:
        yield from _not_positive(layer, "clamp")
    pads = layer.padding
    if (
        not isinstance(pads, tuple)
        or len(pads) != 2
        or not all(is_whole(pad, -100_000, 100_000) for pad in pads)
    ):
        yield "padding must be two whole numbers"
    if layer.in_rate * layer.up_factor != layer.out_rate * layer.down_factor:
        yield "its factors do not lead from its input's rate to its output's"
    size = (layer.in_size + layer.kernel - 1) * layer.up_factor + sum(pads)
    size -= layer.up_taps - 1 + layer.down_taps - 1
    if -(-size // layer.down_factor) != layer.out_size:
        yield "its padding does not lead from its input's size to its output's"


def _out_of_range(config: object, **ranges: tuple[int, int]) -> Iterator[str]:
    for name, (low, high) in ranges.items():
        if not is_whole(value := getattr(config, name), low, high):
            yield f"{name} is {excerpt(value)}, must be a whole number from {low} to {high}"


def _not_positive(config: object, *names: str) -> Iterator[str]:
    for name in names:
        value = getattr(config, name)
        if not is_real(value) or value <= 0:
            yield f"{name} is {excerpt(value)}, must be a positive number"


def _not_bool(config: object, *names: str) -> Iterator[str]:
    for name in names:
        if type(value := getattr(config, name)) is not bool:
            yield f"{name} is {excerpt(value)}, must be true or false"


def _with_floats(config: Config) -> Config:
    """The same with every number that may have a fraction as a float, so that 256 and 256.0 are
    written alike."""
    changes: dict[str, Any] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            changes[field.name] = _with_floats(value)
        elif field.name == "layers":
            changes[field.name] = tuple(_with_floats(layer) for layer in value)
        elif field.type in ("float", "float | None") and value is not None:
            changes[field.name] = float(value)
    return replace(config, **changes)
