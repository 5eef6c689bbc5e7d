"""StyleAtlas's own checkpoint: safetensors, with the numbers that rebuild the network as JSON.

The header's metadata holds, under the key `styleatlas`, an object with `family` ("stylegan2" or
"stylegan3", "mobile_stylegan") and the fields of `StyleGAN2Config`, `StyleGAN3Config` or
`MobileStyleGANConfig`. Tensors carry the names of the NVIDIA checkpoints (`mapping.*`,
`synthesis.*`), of a MobileStyleGAN those nearest to them, in any float type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ...store.errors import CheckpointError
from ...store.output import replacing
from ...store.registry import told_with
from ..inert.unpickle import map_file
from ..networks.mobile_stylegan import MobileStyleGANConfig
from ..networks.stylegan2 import SQUARE, StyleGAN2Config
from ..networks.stylegan3 import FilteredLayer, FourierInput, StyleGAN3Config
from .checkpoint import FAMILIES, GeneratorCheckpoint, GeneratorConfig, excerpt

METADATA_KEY = "styleatlas"
Kind = TypeVar(
    "Kind", StyleGAN2Config, StyleGAN3Config, MobileStyleGANConfig, FourierInput, FilteredLayer
)


def read_native(path: Path) -> GeneratorCheckpoint:
    """Read a generator that :func:`write_generator` wrote.

    Raises:
        CheckpointError: the file is unreadable, is no generator, or its tensors do not fit the
            network its header describes.
    """
    metadata, tensors = read_safetensors(path)
    if METADATA_KEY not in metadata:
        raise CheckpointError(
            f"{path}: is a safetensors file of another program (its header has no metadata "
            f"`{METADATA_KEY}`); convert the generator's original checkpoint with "
            "`styleatlas convert`"
        )
    config = config_from_json(path, metadata[METADATA_KEY])
    return GeneratorCheckpoint.of(path, config, tensors, "styleatlas")


def write_generator(path: Path, checkpoint: GeneratorCheckpoint) -> None:
    """Write a generator as one file, the same bytes for the same weights.

    Raises:
        OutputError: the file cannot be written; nothing half-written is left behind.
    """
    content = save(checkpoint.tensors, {METADATA_KEY: config_to_json(checkpoint.config)})
    with replacing(path) as file:
        file.write(content)


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and all tensors of a safetensors file, on the CPU.

    Raises:
        CheckpointError: the file is missing, truncated or no safetensors file.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such file; check the path, or name {told_with('generator')}"
        )
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path}: is not a readable safetensors file ({reason}); get or export it again"
        ) from error


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors does: the length of a header of less than 1 TB in eight
    bytes, and the brace that opens it. The first byte may be that of a pickle, the ninth may not.

    Raises:
        CheckpointError: there is no such file, or it cannot be read.
    """
    return bytes(map_file(path)[5:9]) == b"\0\0\0{"


def config_to_json(config: GeneratorConfig) -> str:
    """The numbers of a network as one JSON object with every field, sorted by name; without the
    constant's size where it is 4 x 4, which older versions do not know as a field."""
    described = {"family": FAMILIES[type(config)], **asdict(config)}
    if isinstance(config, StyleGAN2Config) and config.constant == SQUARE:
        del described["constant"]
    return json.dumps(described, sort_keys=True, allow_nan=False)


def config_from_json(path: Path, text: str) -> GeneratorConfig:
    """Read what :func:`config_to_json` wrote; fields with a default may be absent.

    The values are checked by `GeneratorCheckpoint.of`, like those of every dialect.

    Raises:
        CheckpointError: anything but an object with the keys of a configuration.
    """
    try:
        described = json.loads(text)
        family = described.pop("family")
        if family == "stylegan2":
            constant = tuple(described.get("constant", SQUARE))
            return _built(StyleGAN2Config, _with_widths(described) | {"constant": constant})
        if family == "mobile_stylegan":
            return _built(MobileStyleGANConfig, _with_widths(described))
        if family == "stylegan3":
            layers = [_layer(layer) for layer in described["layers"]]
            first = _built(FourierInput, described["input"])
            return _built(StyleGAN3Config, described | {"input": first, "layers": tuple(layers)})
        raise ValueError(f"family is {excerpt(family)}")
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        reason = f"needs {error}" if isinstance(error, KeyError) else excerpt(str(error)[:60])
        raise CheckpointError(
            f"{path}: its header does not describe a generator (metadata key `{METADATA_KEY}`: "
            f"{reason}); write it again with `styleatlas convert`"
        ) from error


def _with_widths(described: dict[str, Any]) -> dict[str, Any]:
    """With numbers for the keys of `channels`, which JSON has as text."""
    channels = described["channels"]
    widths = {int(resolution): width for resolution, width in channels.items()}
    if [str(resolution) for resolution in widths] != list(channels):
        raise ValueError("the keys of channels are no plain numbers")
    return described | {"channels": widths}


def _layer(described: dict[str, Any]) -> FilteredLayer:
    layer = dict(described)
    return _built(FilteredLayer, layer | {"padding": tuple(layer["padding"])})


def _built(kind: type[Kind], described: Mapping[str, Any]) -> Kind:
    known = {field.name for field in fields(kind)}
    needed = {field.name for field in fields(kind) if field.default is MISSING}
    if strange := sorted(described.keys() - known):
        raise ValueError(f"{excerpt(strange[0])} is no field of {kind.__name__}")
    if missing := sorted(needed - described.keys()):
        raise ValueError(f"{kind.__name__} needs {missing[0]}")
    return kind(**described)
