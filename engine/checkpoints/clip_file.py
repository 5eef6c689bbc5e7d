"""The weights of a CLIP from any file, under open_clip's names.

A file is a safetensors file, one of torch.save (a state dict, what a training keeps, or a whole
module) or a TorchScript archive such as OpenAI's; its content decides, not its suffix. Nothing in
it is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ...store.errors import CheckpointError
from ...store.registry import told_with
from ..inert.modules import CLIP_GLOBALS
from ..inert.objects import InertTensor
from ..inert.torchfile import read_torch
from .clip_container import MEND, FoundClip, find_state
from .clip_forms import (
    LONG,
    TRANSFORMERS,
    from_transformers,
    without_geometry,
    without_two_positions,
)
from .clip_traits import Traits, read_traits
from .native import is_safetensors, read_safetensors
from .tensors import load_tensors

# What OpenAI's archives and the state dicts taken from them hold beside the weights.
OPENAI_SIZES = {"input_resolution", "context_length", "vocab_size"}


@dataclass(frozen=True)
class ClipWeights:
    """The tensors of a file under open_clip's names, on the CPU: floats, in float32, and single
    whole numbers, as batch normalisation counts by. Rows of whole numbers are indices that a
    network makes itself, and are left out.

    Args:
        traits: what the file tells beside them. Where it tells the activation it is a CLIP of
            OpenAI's architecture, whose sizes follow from its shapes.
        transformers: the names in the file are those of Hugging Face's transformers.
        place: where in the file they lie; empty where they are all of it.
    """

    path: Path
    tensors: dict[str, Tensor]
    traits: Traits = field(default_factory=Traits)
    transformers: bool = False
    place: str = ""

    @property
    def quick_gelu(self) -> bool | None:
        """The activation, if the file tells it."""
        return self.traits.quick_gelu


def read_clip_weights(path: Path) -> ClipWeights:
    """Read the weights of a CLIP.

    Raises:
        CheckpointError: the file is unreadable or holds anything else.
    """
    return load_clip(path, find_weights(path))


def find_weights(path: Path) -> FoundClip:
    """Where the weights of a CLIP lie in a file.

    Raises:
        CheckpointError: the file is unreadable or holds no weights by name.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; check the path, or name {told_with('clip')}")
    safe = is_safetensors(path)
    content: Any = read_safetensors(path)[1] if safe else read_torch(path, CLIP_GLOBALS)
    return find_state(path, content)


def load_clip(path: Path, found: FoundClip) -> ClipWeights:
    """The weights found in a file.

    Raises:
        CheckpointError: they are not those of a CLIP.
    """
    tensors = _loaded(path, found.state)
    if not any(tensor.is_floating_point() for tensor in tensors.values()):
        raise CheckpointError(f"{path}: holds no weights; {MEND}")
    traits = read_traits(path, found.modules) if found.modules else Traits()
    # OpenAI's own code, and Long-CLIP's, which is made of it, know no other activation.
    if found.scripted or found.state.keys() >= OPENAI_SIZES or LONG in tensors:
        traits = Traits(quick_gelu=True)
    transformers = TRANSFORMERS in tensors
    if transformers:
        tensors = from_transformers(path, tensors)
    tensors = without_geometry(path, tensors)
    if LONG in tensors:
        tensors = without_two_positions(path, tensors)
    return ClipWeights(path, tensors, traits, transformers, found.place)


def _loaded(path: Path, found: Mapping[str, InertTensor | Tensor]) -> dict[str, Tensor]:
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
    return tensors | load_tensors(path, records)
