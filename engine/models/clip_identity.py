"""Which CLIP it is: its weights, and all else that its embeddings depend on.

The same weights give other embeddings by another activation, other heads, other means, another
vocabulary. What is described in several ways, or left to a default, counts as one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ...store.fingerprint import ModelIdentity, digest, weights_sha256
from ..checkpoints.clip_source import ClipSource
from .preprocess import Preprocessing

if TYPE_CHECKING:
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

# What a description may hold beside what an embedding depends on: how a network is trained or
# first filled, what it puts out beside the embedding, and what is told of it elsewhere (`sizes`,
# the tokenizer, the shapes of weights). Of a tower by timm or Hugging Face the rest is its name's.
NO_MATTER = {
    *("patch_dropout", "timm_drop", "timm_drop_path", "timm_model_pretrained", "output_tokens"),
    *("hf_model_pretrained", "hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs"),
    *("image_size", "context_length", "mlp_ratio"),
}
RESNET = ("layers", "width", "head_width")
# What a description that is silent means. The values are open_clip's of today, and are written
# down because identities hold for ever: where it comes to mean another, that one is told.
VISION_USUAL = {
    **{"layers": 12, "width": 768, "head_width": 64, "patch_size": 16},
    **{"pos_embed_type": "learnable", "pool_type": "tok", "timm_pool": "avg"},
    **{"timm_proj": "linear", "attn_pooler_queries": 256, "attn_pooler_heads": 8},
}
TEXT_USUAL = {
    **{"layers": 12, "width": 512, "heads": 8, "vocab_size": 49408, "eos_id": 2},
    **{"pool_type": "argmax", "proj_type": "linear", "hf_proj_type": "mlp"},
    "hf_pooler_type": "mean_pooler",
}


def clip_identity(
    source: ClipSource,
    weights: Mapping[str, Tensor],
    sizes: Mapping[str, int],
    preprocessing: Preprocessing,
    tokenizer: Any,
) -> ModelIdentity:
    """The identity of a CLIP.

    Args:
        weights: under the names of open_clip's network.
        sizes: `width`, `image_size` and `context_length`.
    """
    sha256 = weights_sha256((key, tensor.numpy()) for key, tensor in weights.items())
    prepared = {key: _plain(value) for key, value in asdict(preprocessing).items() if key != "size"}
    configuration = {
        "quick_gelu": int(source.quick_gelu),
        "network": digest(described_network(source.model)),
        "preprocessing": digest(prepared),
        "tokenizer": digest(_described_tokenizer(source, tokenizer)),
    }
    return ModelIdentity(source.name, sha256, {**sizes, **configuration})


def described_network(model: Mapping[str, Any]) -> dict[str, Any]:
    """Of open_clip's `model_cfg` what an embedding depends on beside weights and activation, as
    far as it is not the usual."""
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    vision = _unusual(model["vision_cfg"], CLIPVisionCfg, VISION_USUAL)
    text = _unusual(model["text_cfg"], CLIPTextCfg, TEXT_USUAL)
    if "timm_model_name" in vision:
        vision = {name: value for name, value in vision.items() if name.startswith("timm_")}
    elif isinstance(vision.get("layers"), list):
        vision = {name: value for name, value in vision.items() if name in RESNET}
    else:
        vision = {name: value for name, value in vision.items() if not name.startswith("timm_")}
    hugging_face = "hf_model_name" in text
    text = {name: value for name, value in text.items() if name[:3] == "hf_" or not hugging_face}
    return {"vision": vision, "text": text}


def _unusual(
    section: Mapping[str, Any], kind: type[CLIPVisionCfg | CLIPTextCfg], usual: Mapping[str, Any]
) -> dict[str, Any]:
    found = {
        field.name: section.get(field.name, field.default)
        for field in fields(kind)
        if field.name not in NO_MATTER
    }
    return {
        name: _plain(value)
        for name, value in found.items()
        if value != usual.get(name) and (name in usual or value not in (None, False, {}))
    }


def _described_tokenizer(source: ClipSource, tokenizer: Any) -> dict[str, Any]:
    text = source.model["text_cfg"]
    options = {name: value for name, value in (text.get("tokenizer_kwargs") or {}).items() if value}
    if hasattr(tokenizer, "encoder"):  # CLIP's own
        kind, vocabulary, usual = "clip", tokenizer.encoder, "lower"
    else:
        kind, vocabulary = "transformers", tokenizer.tokenizer.get_vocab()
        usual = "whitespace"
        options["mode"] = text.get("tokenizer_mode") or ""
    words = json.dumps(sorted(vocabulary.items())).encode()
    return {"clean": usual, **options, "kind": kind, "words": hashlib.sha256(words).hexdigest()}


def _plain(value: Any) -> Any:
    """A value of a description so that 4 and 4.0, and a list and a tuple, are one."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return float(value) if isinstance(value, int | float) else value
