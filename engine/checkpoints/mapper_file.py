"""From any file to a latent mapper: the dialect is told by content, never by name.

Our own is safetensors, with the numbers of the network and the record as JSON in the header's
metadata under `styleatlas-mapper`. StyleCLIP's training saves a dict of `state_dict` and `opts`;
xomyakes/styleclip-gan3 pickles the whole module. Nothing in a file is run. What a foreign mapper's
groups are is decided by the generator it is for: `fallbacks/mapper_fit.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ...store.bank import normalise_prompt
from ...store.errors import CheckpointError, OutputError, PromptError
from ...store.output import MAPPER, replacing
from ..inert.allowed import MAPPER_GLOBALS
from ..inert.objects import InertObject, InertTensor
from ..inert.stream import MAGIC
from ..inert.torchfile import read_torch
from ..inert.unpickle import map_file
from ..networks.mapper import Norm
from ..networks.style import Space
from .checkpoint import excerpt, is_real
from .mapper_checkpoint import (
    MAX_HEADER_BYTES,
    MapperCheckpoint,
    MapperRecord,
    header_from_json,
    header_to_json,
)
from .native import METADATA_KEY as GENERATOR_KEY
from .native import is_safetensors, read_safetensors
from .tensors import below, without_parallel

METADATA_KEY = "styleatlas-mapper"
SUPPORTED = (
    "mappers are read from StyleAtlas's own .safetensors, StyleCLIP's .pt and the modules that "
    "xomyakes/styleclip-gan3 pickles"
)
STYLECLIP_SCALE, STYLECLIP_LR = 0.1, 0.01
LEVELS = {"course": "coarse", "medium": "medium", "fine": "fine"}  # as StyleCLIP spells them
STYLEGAN2_SPLITS, STYLEGAN3_SPLITS = (4, 8), (5, 8)
"""The rows of w at which StyleCLIP's medium and fine levels begin."""
MODULE, GROUP, SEQUENCE, NORM, LAYER = (
    "src.mapper.mapper.LatentMapper",
    "src.mapper.layers_group.LayersGroup",
    "torch.nn.modules.container.Sequential",
    "src.mapper.layers_group.PixelNorm",
    "src.mapper.layer.MapperLayer",
)
MAX_SETTINGS, MAX_SETTING_LETTERS = 100, 1000

_TENSOR = re.compile(
    r"mapper\.(?:(?P<level>course|medium|fine)_mapping|(?P<single>mapping)|"
    r"mapper_(?P<style>[0-9]{1,3}))\.mapping\.(?P<layer>[0-9]{1,2})\.(?P<part>weight|bias)"
)


@dataclass(frozen=True)
class MapperSummary:
    """What a mapper's file says of itself: `groups` by name."""

    space: Space
    groups: tuple[str, ...]
    record: MapperRecord


@dataclass(frozen=True)
class ForeignMapper:
    """A mapper of another program, before a generator says what its groups are.

    Args:
        networks: of each group the tensors of its layers by their names in the file, unread, weight
            and bias in turn. Groups are coarse, medium, fine or all; in style space `style 3` is
            that of the generator's layer 3.
        splits: the rows at which medium and fine begin; None where the generator decides.
        decoder: what the file holds of the generator.
    """

    space: Space
    networks: dict[str, dict[str, object]]
    norm: Norm
    scale: float
    lr: float
    splits: tuple[int, int] | None
    record: MapperRecord
    decoder: dict[str, object]


def read_mapper_file(path: Path) -> MapperCheckpoint | ForeignMapper:
    """The mapper in a file of any dialect.

    Raises:
        CheckpointError: the file holds no mapper.
    """
    if not is_safetensors(path):
        return _read_foreign(path)
    metadata, tensors = read_safetensors(path)
    config, record = header_from_json(path, _our_header(path, metadata))
    return MapperCheckpoint.of(path, config, tensors, record)


def write_mapper_file(path: Path, checkpoint: MapperCheckpoint) -> None:
    """Write a mapper as one file, the same bytes for the same content.

    Raises:
        OutputError: the name does not end in .safetensors, the record is too long, or the file
            cannot be written; nothing half-written is left behind.
    """
    MAPPER.require(path)
    header = header_to_json(checkpoint.config, checkpoint.record)
    if len(header) > MAX_HEADER_BYTES:
        raise OutputError(f"{path}: the mapper's settings take more than {MAX_HEADER_BYTES} bytes")
    content = save(checkpoint.tensors, {METADATA_KEY: header})
    with replacing(path) as file:
        file.write(content)


def summarise_mapper(path: Path) -> MapperSummary:
    """What a mapper's file says of itself; no tensors are read.

    Raises:
        CheckpointError: the file holds no mapper.
    """
    if not is_safetensors(path):
        foreign = _read_foreign(path)
        return MapperSummary(foreign.space, tuple(foreign.networks), foreign.record)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: is not a readable safetensors file; get it from its source again"
        ) from error
    config, record = header_from_json(path, _our_header(path, metadata))
    return MapperSummary(config.space, tuple(group.name for group in config.groups), record)


def _our_header(path: Path, metadata: Mapping[str, str]) -> str:
    if METADATA_KEY in metadata:
        return metadata[METADATA_KEY]
    what = "a generator" if GENERATOR_KEY in metadata else "tensors of another program"
    raise CheckpointError(f"{path}: holds {what}, no latent mapper; {SUPPORTED}")


# Other programs' files


def _read_foreign(path: Path) -> ForeignMapper:
    head = bytes(map_file(path)[:32])
    if not head.startswith(b"PK\x03\x04") and MAGIC.to_bytes(10, "little") not in head:
        raise CheckpointError(f"{path}: is no file of torch.save or safetensors; {SUPPORTED}")
    content = read_torch(path, MAPPER_GLOBALS)
    if isinstance(content, InertObject) and content.kind == MODULE:
        return _from_module(path, content)
    if isinstance(content, Mapping):
        state = content.get("state_dict", content)
        state = without_parallel(state) if isinstance(state, Mapping) else {}
        if any(isinstance(name, str) and name.startswith("mapper.") for name in state):
            return _from_styleclip(path, state, content.get("opts"))
    raise CheckpointError(f"{path}: holds {excerpt(content)}, no latent mapper; {SUPPORTED}")


def _from_styleclip(path: Path, state: Mapping[str, object], opts: object) -> ForeignMapper:
    """StyleCLIP's mapper by levels, its single one, or those of style space: one a layer, toRGB
    among them or not."""
    kinds: set[str] = set()
    networks: dict[str, dict[int, dict[str, object]]] = {}
    for name in (name for name in state if str(name).startswith("mapper.")):
        match = _TENSOR.fullmatch(name)
        if match is None:
            raise refusal(path, f"has an unknown tensor {excerpt(name)}")
        kind = next(key for key in ("level", "single", "style") if match[key] is not None)
        group = {
            "level": LEVELS.get(match["level"], ""),
            "single": "all",
            "style": f"style {match['style']}",
        }[kind]
        kinds.add(kind)
        networks.setdefault(group, {}).setdefault(int(match["layer"]), {})[name] = state[name]
    if len(kinds) > 1:
        raise refusal(path, f"mixes networks of the kinds {', '.join(sorted(kinds))}")
    space: Space = "s" if "style" in kinds else "w+"
    return ForeignMapper(
        space=space,
        networks={group: _in_order(path, group, found) for group, found in networks.items()},
        # It averages over axis 1, which holds the rows in w+ and the channels in style space.
        norm="features" if space == "s" else "rows",
        scale=STYLECLIP_SCALE,
        lr=STYLECLIP_LR,
        splits=None,
        record=_styleclip_record(opts),
        decoder=below(state, "decoder."),
    )


def _in_order(
    path: Path, group: str, layers: Mapping[int, Mapping[str, object]]
) -> dict[str, object]:
    """The tensors of a group's layers, which count from 1: before them comes the norm."""
    ordered: dict[str, object] = {}
    for number in range(1, len(layers) + 1):
        found = layers.get(number, {})
        if len(found) != 2:
            raise refusal(path, f"lacks weight or bias of layer {number} of group {group}")
        for name in sorted(found, reverse=True):  # weight, bias
            ordered[name] = found[name]
    return ordered


def _styleclip_record(opts: object) -> MapperRecord:
    """The prompt and the plain settings among the options of StyleCLIP's training."""
    options = opts.state if isinstance(opts, InertObject) else opts
    settings: dict[str, Any] = {}
    for name, value in options.items() if isinstance(options, Mapping) else ():
        plain = isinstance(value, bool | None) or is_real(value)
        short = isinstance(value, str) and len(value) <= MAX_SETTING_LETTERS
        if isinstance(name, str) and len(name) <= MAX_SETTING_LETTERS and (plain or short):
            settings[name] = value
        if len(settings) == MAX_SETTINGS:
            break
    target = settings.get("description")
    try:
        normalise_prompt(target if isinstance(target, str) else "")
    except PromptError:
        target = ""
    return MapperRecord(target=target or "", settings=settings, library="StyleCLIP")


def _from_module(path: Path, module: InertObject) -> ForeignMapper:
    """A whole module: a group's network is a norm and layers with attributes of their own."""
    networks: dict[str, dict[str, object]] = {}
    lrs = set()
    for name, group in _children(path, "the mapper", module, MODULE).items():
        level = name.removesuffix("_mapper")
        if level == name or level not in LEVELS.values():
            raise refusal(path, f"has an unknown part {excerpt(name)}")
        if (module.state or {}).get(f"edit_{level}") is False:
            continue
        inside = _children(path, name, group, GROUP)
        first, *layers = _children(path, name, inside.get("mapper"), SEQUENCE).values() or (None,)
        _state(path, f"the norm of {name}", first, NORM)
        networks[level] = {}
        for number, layer in enumerate(layers, 1):
            place = f"{name}.{number}"
            state = _state(path, place, layer, LAYER)
            parameters = state.get("_parameters")
            if not isinstance(parameters, Mapping) or parameters.keys() != {"weight", "bias"}:
                raise refusal(path, f"has a layer {place} without weight and bias")
            for part in ("weight", "bias"):
                networks[level][f"{place}.{part}"] = parameters[part]
            lrs.add(_module_lr(path, place, state, parameters["weight"]))
    if len(lrs) != 1:
        raise refusal(path, "has no layers, or layers of different learning rates")
    return ForeignMapper(
        space="w+",
        networks=networks,
        norm="rows",
        scale=1.0,
        lr=lrs.pop(),
        splits=STYLEGAN3_SPLITS,
        record=MapperRecord(library="styleclip-gan3"),
        decoder={},
    )


def _module_lr(path: Path, place: str, state: Mapping[str, object], weight: object) -> float:
    """The multiplier of a layer's learning rate, once its scale is known to follow from it."""
    lr, scale = state.get("lr_mul"), state.get("scale")
    width = weight.shape[-1] if isinstance(weight, InertTensor) and weight.shape else 0
    if (
        not (isinstance(lr, int | float) and isinstance(scale, int | float))
        or not (is_real(lr) and is_real(scale) and lr > 0)
        or not math.isclose(scale * math.sqrt(width), lr, rel_tol=1e-6)
    ):
        raise refusal(path, f"has a layer {place} whose scale is not lr_mul / sqrt(width)")
    return float(lr)


def _children(path: Path, place: str, node: object, kind: str) -> Mapping[str, object]:
    modules = _state(path, place, node, kind).get("_modules")
    if not isinstance(modules, Mapping) or not all(isinstance(name, str) for name in modules):
        raise refusal(path, f"has no parts where {place} should have some")
    return modules


def _state(path: Path, place: str, node: object, kind: str) -> Mapping[str, object]:
    if not isinstance(node, InertObject) or node.kind != kind or node.state is None:
        raise refusal(path, f"has another kind of module where {place} should be {kind}")
    return node.state


def refusal(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path}: its latent mapper {what}; {SUPPORTED}")
