"""Generators in NVIDIA's pickles, StyleGAN2 (ADA and later) and StyleGAN3.

Such a file is a tree of modules, each with its class name, plain attributes, parameters and
buffers. The two repositories have other defaults, so every number is read from the attributes of
the module it governs, and one that our networks do not have is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import numpy as np
import torch

from ...store.errors import CheckpointError
from ..inert.objects import InertObject, InertTensor
from ..networks.stylegan2 import Architecture, StyleGAN2Config
from ..networks.stylegan3 import FilteredLayer, FourierInput, StyleGAN3Config
from .checkpoint import (
    LARGEST_RESOLUTION,
    GeneratorCheckpoint,
    GeneratorConfig,
    excerpt,
    is_real,
    is_whole,
)
from .filled import with_unused_filters
from .foreign import descendant
from .tensors import load_tensors

PERSISTENT = "torch_utils.persistence"
ROOT = "G_ema"
Value = TypeVar("Value")


def read_nvidia(path: Path, record: object, place: str = ROOT) -> GeneratorCheckpoint:
    """The generator that an unpickled network is.

    Args:
        place: where in the file it stands, for messages.

    Raises:
        CheckpointError: it is none, or our networks cannot compute what it computes.
    """
    root = Module.of(path, place, record, is_root=True)
    if what := descendant(root.class_name, root.names_in("mapping")):
        raise CheckpointError(f"{path}: {place} is {what}")
    root.require_class("Generator")
    mapping, synthesis = root.child("mapping"), root.child("synthesis")
    synthesis.require_class("SynthesisNetwork")
    config: GeneratorConfig
    if "input" in synthesis.modules:
        config = _stylegan3(mapping, synthesis)
    elif "b4" in synthesis.modules:
        config = _stylegan2(mapping, synthesis)
    else:
        raise synthesis.refusal("has neither a block b4 (StyleGAN2) nor an input (StyleGAN3)")
    tensors = load_tensors(path, dict(root.tensors()))
    for name, tensor in tensors.items():
        if name.endswith(".resample_filter") and tensor.ndim == 1:  # a separable filter
            tensors[name] = torch.outer(tensor, tensor)
    if isinstance(config, StyleGAN2Config):
        tensors = with_unused_filters(config, tensors)
    return GeneratorCheckpoint.of(path, config, tensors, "nvidia")


@dataclass(frozen=True)
class Module:
    """A module of the tree at `place`, its dotted name in the generator, or that of the root."""

    path: Path
    place: str
    class_name: str
    state: Mapping[str, Any]
    is_root: bool = False

    @classmethod
    def of(cls, path: Path, place: str, record: object, *, is_root: bool = False) -> Module:
        meta = (
            record.state if isinstance(record, InertObject) and record.kind == PERSISTENT else None
        )
        if isinstance(meta, Mapping):
            class_name, state = meta.get("class_name"), meta.get("state")
            if isinstance(class_name, str) and isinstance(state, Mapping):
                return cls(path, place, class_name, state, is_root)
        raise CheckpointError(
            f"{path}: {place} is no network module as NVIDIA's code pickles it; "
            "get the network pickle from its source again"
        )

    def refusal(self, what: str, attribute: str | None = None) -> CheckpointError:
        place = self.place if attribute is None else f"{self.place}.{excerpt(attribute)}"
        return CheckpointError(
            f"{self.path}: {place} {what}; only generators as the code of StyleGAN2-ADA and "
            "StyleGAN3 builds them can be read"
        )

    def require_class(self, *names: str) -> None:
        if self.class_name not in names:
            raise self.refusal(f"is of class {excerpt(self.class_name)}, not {' or '.join(names)}")

    @property
    def modules(self) -> Mapping[str, Any]:
        modules = self.state.get("_modules")
        return modules if isinstance(modules, Mapping) else {}

    def names_in(self, name: str) -> set[str]:
        """What the modules in a child are called; none where there is no such child."""
        if self.modules.get(name) is None:
            return set()
        return {inner for inner in self.child(name).modules if isinstance(inner, str)}

    def child(self, name: str) -> Module:
        if self.modules.get(name) is None:
            raise self.refusal("is missing", name)
        place = excerpt(name) if self.is_root else f"{self.place}.{excerpt(name)}"
        return Module.of(self.path, place, self.modules[name])

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """The shape of an own tensor, without reading it."""
        tensor = self._own().get(name)
        shape = tuple(tensor.shape) if isinstance(tensor, InertTensor) else ()
        if len(shape) != dimensions or 0 in shape:
            raise self.refusal(f"is missing or no tensor of {dimensions} dimensions", name)
        return shape

    def tensors(self) -> Iterator[tuple[str, object]]:
        """Every parameter and buffer of the tree, by its dotted name."""
        pending = [(self, "", 0)]
        visited = 0
        while pending:
            module, prefix, depth = pending.pop()
            visited += 1
            if depth > 8 or visited > 5000:  # only a crafted file has so many
                raise self.refusal("holds modules in modules without end")
            for name, value in module._own().items():
                yield f"{prefix}{name}", value
            for name, record in module.modules.items():
                if record is not None:
                    place = f"{prefix}{excerpt(name)}"
                    pending.append((Module.of(self.path, place, record), f"{place}.", depth + 1))

    def _own(self) -> dict[str, Any]:
        own: dict[str, Any] = {}
        for kind in ("_parameters", "_buffers"):
            found = self.state.get(kind)
            if isinstance(found, Mapping):
                own |= {excerpt(name): value for name, value in found.items() if value is not None}
        return own

    def value(self, name: str) -> Any:
        """A plain attribute; an array of one number, which NumPy makes of any, as that number."""
        if name not in self.state:
            raise self.refusal("is missing", name)
        value = self.state[name]
        return value.item() if isinstance(value, np.ndarray) and not value.ndim else value

    def whole(self, name: str) -> int:
        value = self.value(name)
        if not is_whole(value, -(2**31), 2**31):
            raise self.refusal(f"is {excerpt(value)}, must be a whole number", name)
        return int(value)

    def real(self, name: str) -> float:
        value = self.value(name)
        if not is_real(value):
            raise self.refusal(f"is {excerpt(value)}, must be a finite number", name)
        return float(value)

    def clamp(self, name: str) -> float | None:
        return None if self.value(name) is None else self.real(name)

    def flag(self, name: str) -> bool:
        value = self.value(name)
        if type(value) is not bool:
            raise self.refusal(f"is {excerpt(value)}, must be true or false", name)
        return value

    def architecture(self) -> Architecture:
        value = self.value("architecture")
        for known in get_args(Architecture):
            if isinstance(value, str) and value == known:
                return cast(Architecture, known)
        names = " or ".join(get_args(Architecture))
        raise self.refusal(f"is {excerpt(value)}, must be {names}", "architecture")

    def wholes(self, name: str) -> list[int]:
        value = self.value(name)
        items = value.tolist() if isinstance(value, np.ndarray) and value.size <= 4 else value
        if isinstance(items, Sequence) and not isinstance(items, str) and len(items) <= 4:
            numbers = [item for item in items if is_whole(item, -(2**31), 2**31)]
            if len(numbers) == len(items):
                return numbers
        raise self.refusal(f"is {excerpt(value)}, must be a list of whole numbers", name)

    def side(self, name: str) -> int:
        """A size, which may be given for both axes."""
        if is_whole(self.value(name), 0, 2**31):
            return self.whole(name)
        sizes = self.wholes(name)
        if len(sizes) != 2 or sizes[0] != sizes[1]:
            raise self.refusal(f"is {sizes}, must be square", name)
        return sizes[0]

    def expect(self, name: str, wanted: object) -> None:
        value = self.value(name)
        if type(value) is not type(wanted) or value != wanted:
            raise self.refusal(f"is {excerpt(value)}, must be {excerpt(wanted)}", name)

    def expect_near(self, name: str, wanted: float) -> None:
        value = self.real(name)
        if not math.isclose(value, wanted, rel_tol=1e-4):
            raise self.refusal(f"is {value:g}, must be {wanted:g}", name)


def _uniform(modules: Iterable[Module], name: str, read: Callable[[Module], Value]) -> Value:
    """The one value of an attribute in all modules."""
    first, *others = modules
    value = read(first)
    for other in others:
        if (differing := read(other)) != value:
            raise other.refusal(
                f"is {excerpt(differing)} where {first.place}.{name} is {excerpt(value)}", name
            )
    return value


def _require_dense(layer: Module, activation: str, lr: float) -> None:
    """Refuse a fully connected layer that does not compute x (W lr / sqrt(in))^T + b lr."""
    layer.require_class("FullyConnectedLayer")
    layer.expect("activation", activation)
    layer.expect_near("weight_gain", lr / math.sqrt(layer.shape("weight", 2)[1]))
    layer.expect_near("bias_gain", lr)


def _mapping(mapping: Module) -> dict[str, Any]:
    """The fields of `MappingConfig`."""
    mapping.require_class("MappingNetwork")
    count, c_dim, w_dim = (mapping.whole(name) for name in ("num_layers", "c_dim", "w_dim"))
    if not 1 <= count <= 32:
        raise mapping.refusal(f"is {count}, must be 1 to 32", "num_layers")
    layers = [mapping.child(f"fc{i}") for i in range(count)]
    lr = layers[0].real("bias_gain")
    for layer in layers:
        _require_dense(layer, "lrelu", lr)
    hidden = layers[0].shape("weight", 2)[0]
    embedded = w_dim
    if c_dim:
        embed = mapping.child("embed")
        _require_dense(embed, "linear", 1.0)
        embedded = embed.shape("weight", 2)[0]
    return {
        "z_dim": mapping.whole("z_dim"),
        "c_dim": c_dim,
        "w_dim": w_dim,
        "mapping_layers": count,
        "mapping_lr": lr,
        "embed_features": None if embedded == w_dim else embedded,
        "layer_features": None if hidden == w_dim else hidden,
    }


def _stylegan2(mapping: Module, synthesis: Module) -> StyleGAN2Config:
    blocks = {side: synthesis.child(f"b{side}") for side in _block_names(synthesis)}
    first, *others = blocks.values()
    ups = [block.child("conv0") for block in others]
    convs = [block.child("conv1") for block in blocks.values()]
    rgbs = [block.child("torgb") for block in blocks.values() if "torgb" in block.modules]
    for block in blocks.values():
        block.require_class("SynthesisBlock")
    for layer in ups + convs:
        layer.require_class("SynthesisLayer")
        layer.expect("activation", "lrelu")
        layer.expect_near("act_gain", math.sqrt(2))
        layer.expect("up", 2 if layer in ups else 1)
    for rgb in rgbs:
        rgb.require_class("ToRGBLayer")
        rgb.expect_near("weight_gain", 1 / math.sqrt(rgb.shape("weight", 4)[1]))
    for layer in ups + convs + rgbs:
        _require_dense(layer.child("affine"), "linear", 1.0)
    config = StyleGAN2Config(
        **_mapping(mapping),
        channels={
            side: block.child("conv1").shape("weight", 4)[0] for side, block in blocks.items()
        },
        constant=_constant(first),
        image_channels=synthesis.whole("img_channels"),
        architecture=_uniform(blocks.values(), "architecture", Module.architecture),
        use_noise=_uniform(ups + convs, "use_noise", lambda m: m.flag("use_noise")),
        conv_clamp=_uniform(ups + convs + rgbs, "conv_clamp", lambda m: m.clamp("conv_clamp")),
        filter_taps=_filter_taps(ups[0] if ups else first),
        num_fp16_res=sum(block.flag("use_fp16") for block in blocks.values()),
    )
    for side, block in blocks.items():
        block.expect("use_fp16", config.reduced(side))
    _require_size(synthesis, config)
    return config


def _block_names(synthesis: Module) -> list[int]:
    """The numbers that blocks are called by: 4 and its doubles, as far as there are any."""
    names = [4]
    while f"b{2 * names[-1]}" in synthesis.modules:
        if names[-1] == LARGEST_RESOLUTION:
            raise synthesis.refusal(f"has blocks beyond b{LARGEST_RESOLUTION}")
        names.append(2 * names[-1])
    return names


def _constant(first: Module) -> tuple[int, int]:
    """The height and width that the first block starts from."""
    _, height, width = first.shape("const", 3)
    return height, width


def _require_size(synthesis: Module, config: StyleGAN2Config) -> None:
    """Refuse a network that says of its pictures another size than its tensors lead to. Forks for
    pictures that are not square give both sides, either one first, or one of them, or the number
    of the last block."""
    height, width = config.image_size
    several = isinstance(synthesis.value("img_resolution"), list | tuple | np.ndarray)
    sizes = synthesis.wholes("img_resolution") if several else [synthesis.whole("img_resolution")]
    known = [[height], [width], [config.last], [height, width], [width, height], [config.last] * 2]
    if sizes not in known:
        raise synthesis.refusal(
            f"is {' x '.join(map(str, sizes))}, but its blocks and their constant make pictures of "
            f"{height} x {width}",
            "img_resolution",
        )


def _filter_taps(module: Module) -> int:
    buffers = module.state.get("_buffers")
    resample = buffers.get("resample_filter") if isinstance(buffers, Mapping) else None
    shape = tuple(resample.shape) if isinstance(resample, InertTensor) else ()
    if len(set(shape)) != 1 or len(shape) > 2:
        raise module.refusal("is missing or not square", "resample_filter")
    return int(shape[0])


def _stylegan3(mapping: Module, synthesis: Module) -> StyleGAN3Config:
    waves = synthesis.child("input")
    waves.require_class("SynthesisInput")
    _require_dense(waves.child("affine"), "linear", 1.0)
    names = [name for name in synthesis.modules if isinstance(name, str) and name != "input"]
    if len(names) > 64:
        raise synthesis.refusal(f"has {len(names)} layers, more than 64")
    return StyleGAN3Config(
        **_mapping(mapping),
        resolution=synthesis.whole("img_resolution"),
        image_channels=synthesis.whole("img_channels"),
        input=FourierInput(
            channels=waves.whole("channels"),
            size=waves.side("size"),
            sampling_rate=waves.real("sampling_rate"),
            bandwidth=waves.real("bandwidth"),
        ),
        layers=tuple(_layer(name, synthesis.child(name)) for name in names),
        output_scale=synthesis.real("output_scale"),
    )


def _layer(name: str, layer: Module) -> FilteredLayer:
    layer.require_class("SynthesisLayer")
    _require_dense(layer.child("affine"), "linear", 1.0)
    pads = layer.wholes("padding")
    if len(pads) != 4 or pads[:2] != pads[2:]:
        raise layer.refusal(f"is {pads}, must be the same for both axes", "padding")
    return FilteredLayer(
        name=name,
        is_torgb=layer.flag("is_torgb"),
        in_channels=layer.whole("in_channels"),
        out_channels=layer.whole("out_channels"),
        in_size=layer.side("in_size"),
        out_size=layer.side("out_size"),
        in_rate=layer.real("in_sampling_rate"),
        out_rate=layer.real("out_sampling_rate"),
        in_cutoff=layer.real("in_cutoff"),
        out_cutoff=layer.real("out_cutoff"),
        in_half_width=layer.real("in_half_width"),
        out_half_width=layer.real("out_half_width"),
        kernel=layer.whole("conv_kernel"),
        up_factor=layer.whole("up_factor"),
        up_taps=layer.whole("up_taps"),
        down_factor=layer.whole("down_factor"),
        down_taps=layer.whole("down_taps"),
        down_radial=layer.flag("down_radial"),
        padding=(pads[0], pads[1]),
        clamp=layer.clamp("conv_clamp"),
        reduced=layer.flag("use_fp16"),
    )
