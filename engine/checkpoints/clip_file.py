"""The weights of a CLIP from any file, and OpenAI's architecture from its weights.

A file is a safetensors file, a state dict by torch.save (bare, or under `state_dict` as training
writes it) or a TorchScript archive such as OpenAI's; its content decides, not its suffix. Nothing
in it is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...store.errors import CheckpointError
from ...store.registry import NAMES
from ..inert.objects import InertObject, InertTensor
from ..inert.torchfile import read_torch
from .checkpoint import excerpt
from .native import is_safetensors, read_safetensors
from .tensors import load_tensors

# What OpenAI's archives and the state dicts taken from them hold beside the weights.
OPENAI_SIZES = {"input_resolution", "context_length", "vocab_size"}
MEND = "name a CLIP's own file"


@dataclass(frozen=True)
class ClipWeights:
    """The tensors of a file under open_clip's names, on the CPU: floats, in float32, and single
    whole numbers, as batch normalisation counts by. Rows of whole numbers are indices that a
    network makes itself, and are left out.

    Args:
        openai: the file shows that it is OpenAI's, which means that its sizes follow from its
            shapes and its activations are QuickGELU.
    """

    path: Path
    tensors: dict[str, Tensor]
    openai: bool


def read_clip_weights(path: Path) -> ClipWeights:
    """Read the weights of a CLIP.

    Raises:
        CheckpointError: the file is unreadable or holds anything else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; check the path, or name {NAMES}")
    if is_safetensors(path):
        found: Mapping[str, Any] = read_safetensors(path)[1]
        scripted = False
    else:
        content = read_torch(path)
        scripted = isinstance(content, InertObject) and content.kind.startswith("__torch__.")
        found = dict(_module_tensors(content)) if scripted else _state_dict(path, content)
    openai = scripted or found.keys() >= OPENAI_SIZES
    tensors: dict[str, Tensor] = {}
    records: dict[str, InertTensor] = {}
    for name, value in found.items():
        if name in OPENAI_SIZES or name.rpartition(".")[2] == "attn_mask":
            continue  # the causal mask is a constant that some exports list beside the weights
        if not value.dtype.is_floating_point:
            if not value.shape:
                tensors[name] = value.load() if isinstance(value, InertTensor) else value
        elif isinstance(value, InertTensor):
            records[name] = value
        else:
            tensors[name] = value.float()
    tensors |= load_tensors(path, records)
    if not any(tensor.is_floating_point() for tensor in tensors.values()):
        raise CheckpointError(f"{path}: holds no weights; {MEND}")
    return ClipWeights(path, tensors, openai)


def openai_config(weights: ClipWeights) -> dict[str, Any]:
    """The architecture of an OpenAI CLIP, ViT or ResNet, as open_clip's `model_cfg`.

    Raises:
        CheckpointError: the tensors are not those of an OpenAI CLIP.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.tensors.items()}
    try:
        context_length, width = shapes["positional_embedding"]
        return {
            "embed_dim": shapes["text_projection"][1],
            "vision_cfg": _vit(shapes) if "visual.proj" in shapes else _resnet(shapes),
            "text_cfg": {
                "context_length": context_length,
                "vocab_size": shapes["token_embedding.weight"][0],
                "width": width,
                "heads": width // 64,
                "layers": _count(shapes, "transformer.resblocks"),
            },
        }
    except (LookupError, ValueError) as error:
        raise CheckpointError(
            f"{weights.path}: is not one of OpenAI's CLIPs ({' '.join(str(error).split())[:80]}); "
            f"name its architecture as open_clip calls it: MODEL={weights.path.name}"
        ) from error


def _vit(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    width, _, _, patch = shapes["visual.conv1.weight"]
    return {
        "layers": _count(shapes, "visual.transformer.resblocks"),
        "width": width,
        "head_width": 64,
        "patch_size": patch,
        "image_size": patch * _grid(shapes["visual.positional_embedding"]),
    }


def _resnet(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    return {
        "layers": [_count(shapes, f"visual.layer{stage}") for stage in (1, 2, 3, 4)],
        "width": shapes["visual.layer1.0.conv1.weight"][0],
        "head_width": 64,
        "image_size": 32 * _grid(shapes["visual.attnpool.positional_embedding"]),
    }


def _grid(positions: tuple[int, ...]) -> int:
    """The side of a square of positions, of which one more is for the whole image."""
    return round((positions[0] - 1) ** 0.5) if positions[0] else 0


def _count(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> int:
    """How many numbered blocks lie under a prefix."""
    start = f"{prefix}."
    return len({key[len(start) :].partition(".")[0] for key in shapes if key.startswith(start)})


def _module_tensors(module: InertObject, prefix: str = "") -> Iterator[tuple[str, InertTensor]]:
    """The tensors of a TorchScript module and of those inside it, by their dotted names."""
    for name, value in (module.state or {}).items():
        if isinstance(value, InertTensor):
            yield prefix + name, value
        elif isinstance(value, InertObject):
            yield from _module_tensors(value, f"{prefix}{name}.")


def _state_dict(path: Path, content: object) -> dict[str, InertTensor]:
    """The tensors of a state dict, without the prefix that parallel training puts before them."""
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise CheckpointError(f"{path}: holds {excerpt(content)} and no weights by name; {MEND}")
    for name, value in content.items():
        if not isinstance(value, InertTensor):
            raise CheckpointError(
                f"{path}: {excerpt(name)} is {excerpt(value)} where a tensor is needed; {MEND}"
            )
    prefix = "module." if all(name.startswith("module.") for name in content) else ""
    return {name.removeprefix(prefix): value for name, value in content.items()}
