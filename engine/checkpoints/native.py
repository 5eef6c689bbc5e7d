"""StyleAtlas's own checkpoint: safetensors, with the numbers that rebuild the network as JSON.

The header's metadata holds, under the key `styleatlas`, an object with `family` ("stylegan2"),
`z_dim`, `w_dim`, `mapping_layers`, `channels` (resolution to width) and `image_channels`. Tensors
carry the names of the NVIDIA checkpoints (`mapping.*`, `synthesis.*`), in any float type.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...store.errors import CheckpointError
from ...store.fingerprint import ModelIdentity, weights_sha256
from ..networks.stylegan2 import StyleGAN2, StyleGAN2Config

METADATA_KEY = "styleatlas"


def read_generator(path: Path, name: str, device: torch.device) -> tuple[StyleGAN2, ModelIdentity]:
    """Read a generator in float32.

    Raises:
        CheckpointError: the file is unreadable, is no generator, or its tensors do not fit the
            network its header describes.
    """
    metadata, tensors = read_safetensors(path)
    config = _config(path, metadata)
    _require_described(path, config, tensors)
    network = StyleGAN2(config)
    require_same_shapes(path, network.state_dict(), tensors)
    state = {key: tensor.float() for key, tensor in tensors.items()}
    sha256 = weights_sha256((key, tensor.numpy()) for key, tensor in state.items())
    network.load_state_dict(state)
    network = network.to(device=device)
    network.synthesis.to(memory_format=torch.channels_last)
    sizes = {
        "resolution": network.synthesis.resolutions[-1],
        "z_dim": config.z_dim,
        "w_dim": config.w_dim,
        "image_channels": config.image_channels,
    }
    return network, ModelIdentity(name, sha256, sizes)


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and all tensors of a safetensors file, on the CPU.

    Raises:
        CheckpointError: the file is missing, truncated or no safetensors file.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; check the path, or name `avatars`")
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: is not a readable safetensors file ({error}); "
            "only StyleAtlas's own safetensors checkpoints can be read"
        ) from error


def require_same_shapes(path: Path, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """Raise CheckpointError unless both hold float tensors of the same names and shapes."""
    problems = []
    if missing := sorted(wanted.keys() - found.keys()):
        problems.append(f"missing {_some(missing)}")
    if surplus := sorted(found.keys() - wanted.keys()):
        problems.append(f"surplus {_some(surplus)}")
    for key in sorted(wanted.keys() & found.keys()):
        if found[key].shape != wanted[key].shape:
            problems.append(_wrong_shape(key, found[key], tuple(wanted[key].shape)))
        elif wanted[key].is_floating_point() and not found[key].is_floating_point():
            problems.append(f"{key} has type {found[key].dtype} where a float is needed")
        elif found[key].is_floating_point() and not bool(found[key].isfinite().all()):
            problems.append(f"{key} holds NaN or infinity")
    _refuse(path, problems)


def _require_described(path: Path, config: StyleGAN2Config, tensors: dict[str, Tensor]) -> None:
    """Raise CheckpointError unless the file holds the largest tensors its header describes, so
    that a small file cannot ask for a large network. (Building on PyTorch's meta device would do
    the same, but that imports its compiler, two seconds of every cold start.)"""
    w = config.w_dim
    described: dict[str, tuple[int, ...]] = {
        f"mapping.fc{i}.weight": (w, w) for i in range(config.mapping_layers)
    }
    described["mapping.fc0.weight"] = (w, config.z_dim)
    for resolution, width in config.channels.items():
        block = f"synthesis.b{resolution}"
        described[f"{block}.conv1.weight"] = (width, width, 3, 3)
        described[f"{block}.conv1.noise_const"] = (resolution, resolution)
        described[f"{block}.torgb.affine.weight"] = (width, w)
        described[f"{block}.torgb.bias"] = (config.image_channels,)
    problems = [f"missing {key}" for key in described if key not in tensors]
    problems += [
        _wrong_shape(key, tensors[key], shape)
        for key, shape in described.items()
        if key in tensors and tensors[key].shape != shape
    ]
    _refuse(path, problems)


def _wrong_shape(key: str, tensor: Tensor, wanted: tuple[int, ...]) -> str:
    return f"{key} has shape {tuple(tensor.shape)} where {wanted} is needed"


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        raise CheckpointError(
            f"{path}: its tensors do not fit the network it describes: {'; '.join(problems[:4])}; "
            "export the checkpoint again"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _config(path: Path, metadata: dict[str, str]) -> StyleGAN2Config:
    try:
        fields: dict[str, Any] = json.loads(metadata[METADATA_KEY])
        family = fields.pop("family")
        channels = {int(k): v for k, v in fields.pop("channels").items()}
        config = StyleGAN2Config(channels=channels, **fields)
        sizes = [config.z_dim, config.w_dim, config.mapping_layers, config.image_channels]
        sane = family == "stylegan2" and all(
            type(size) is int and 0 < size <= 8192 for size in [*sizes, *channels.values()]
        )
        steps = sorted(channels) == [4 * 2**i for i in range(len(channels))]
        steps = steps and 0 < len(channels) < 12
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        sane = steps = False
    if not sane or not steps or config.mapping_layers > 32:
        raise CheckpointError(
            f"{path}: its header does not describe a StyleGAN2 generator (metadata key "
            f"`{METADATA_KEY}`); only StyleAtlas's own safetensors checkpoints can be read"
        )
    return config
