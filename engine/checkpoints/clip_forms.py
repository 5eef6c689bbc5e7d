"""A CLIP's weights under other names or in other parameters, as those of open_clip's network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ...store.errors import CheckpointError
from .checkpoint import excerpt

TRANSFORMERS = "text_model.embeddings.token_embedding.weight"
"""A name by which the layout of Hugging Face's transformers is known."""
SIGLIP = (
    "SigLIP is read as open_clip publishes it, such as ViT-B-16-SigLIP/webli or "
    "hf-hub:timm/ViT-B-16-SigLIP"
)
LONG = "positional_embedding_res"
"""A name by which Long-CLIP is known."""
LONG_KEPT = 20  # positions that Long-CLIP leaves as they were trained

# open_clip's names for those of transformers; the spelling of `pre_layrnorm` is theirs.
_OUTSIDE = {
    "logit_scale": "logit_scale",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "visual_projection.weight": "visual.proj",
    TRANSFORMERS: "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_projection.weight": "text_projection",
    **{
        f"{theirs}.{part}": f"{ours}.{part}"
        for theirs, ours in (
            ("vision_model.pre_layrnorm", "visual.ln_pre"),
            ("vision_model.post_layernorm", "visual.ln_post"),
            ("text_model.final_layer_norm", "ln_final"),
        )
        for part in ("weight", "bias")
    },
}
_TRANSPOSED = ("visual.proj", "text_projection")
_LAYER = re.compile(
    r"(?P<tower>vision|text)_model\.encoder\.layers\.(?P<number>[0-9]{1,4})\."
    r"(?P<layer>self_attn\.[qkv]_proj|self_attn\.out_proj|layer_norm[12]|mlp\.fc[12])\."
    r"(?P<part>weight|bias)"
)
_TOWERS = {"vision": "visual.transformer", "text": "transformer"}
_LAYERS = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def from_transformers(path: Path, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of transformers' `CLIPModel` under the names of open_clip's `CLIP`.

    Raises:
        CheckpointError: a tensor that a CLIP has not, or a part of a layer without the others.
    """
    if "logit_bias" in found:
        raise CheckpointError(f"{path}: is a SigLIP of Hugging Face's transformers; {SIGLIP}")
    tensors: dict[str, Tensor] = {}
    pieces: dict[str, dict[str, Tensor]] = {}
    for name, tensor in found.items():
        if name.endswith("position_ids"):  # counts up from 0; older versions saved it
            continue
        match = _LAYER.fullmatch(name)
        if match is None and name not in _OUTSIDE:
            raise CheckpointError(
                f"{path}: has a tensor {excerpt(name)}, which no CLIP of Hugging Face's "
                "transformers has; save the CLIPModel by itself"
            )
        if match is None:
            tensors[_OUTSIDE[name]] = tensor
            continue
        layer, part = match["layer"], match["part"]
        block = f"{_TOWERS[match['tower']]}.resblocks.{match['number']}"
        if layer in _LAYERS:
            tensors[f"{block}.{_LAYERS[layer]}.{part}"] = tensor
        else:  # query, key and value, which open_clip keeps in one
            pieces.setdefault(f"{block}.attn.in_proj_{part}", {})[layer[10]] = tensor
    for name, piece in pieces.items():
        tensors[name] = _joined(path, name, piece)
    for name in _TRANSPOSED:
        if name in tensors:
            tensors[name] = tensors[name].t().contiguous()
    return tensors


def _joined(path: Path, name: str, pieces: Mapping[str, Tensor]) -> Tensor:
    parts = [pieces[letter] for letter in "qkv" if letter in pieces]
    if len(parts) < 3 or len({part.shape for part in parts}) > 1 or not parts[0].ndim:
        raise CheckpointError(
            f"{path}: lacks a query, key or value of one shape for {name}; get it again from its "
            "source"
        )
    return torch.cat(parts)


def without_geometry(path: Path, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Layers in geometric parametrisation (GmP) as plain ones: a row of weights is its length `r`
    times its direction, the unit vector along `theta`.

    Raises:
        CheckpointError: one of the two without the other, or of other shapes.
    """
    tensors = dict(found)
    for name in [name for name in found if name.endswith(".theta")]:
        layer = name.removesuffix(".theta")
        theta, r = tensors.pop(name), tensors.pop(f"{layer}.r", None)
        if r is None or theta.ndim != 2 or r.shape != (len(theta), 1):
            raise CheckpointError(
                f"{path}: {excerpt(name)} has no lengths {excerpt(f'{layer}.r')} of one number a "
                "row; convert it to plain weights"
            )
        tensors[f"{layer}.weight"] = r * F.normalize(theta, dim=1)
    return tensors


def without_two_positions(path: Path, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Long-CLIP's positions in one tensor: the first 20 from `positional_embedding`, the others
    from `positional_embedding_res`, as its text tower takes them.

    Raises:
        CheckpointError: the two are not of one shape.
    """
    tensors = dict(found)
    stretched, kept = tensors.pop(LONG), tensors.get("positional_embedding")
    if kept is None or kept.ndim != 2 or kept.shape != stretched.shape:
        raise CheckpointError(
            f"{path}: {LONG} has not the shape of positional_embedding; get it again from its "
            "source"
        )
    tensors["positional_embedding"] = torch.cat([kept[:LONG_KEPT], stretched[LONG_KEPT:]])
    return tensors
