"""CLIP through open_clip: images and texts as unit vectors in one space."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...store.errors import OptionError, PromptError
from ...store.fingerprint import ModelIdentity
from .precision import Precision, reduced_dtype
from .preprocess import Preprocessing, as_rgb, padded, preprocess


class OpenClipEncoder:
    """`JointEncoder` over an open_clip model and its tokenizer.

    In reduced precision the two towers run under `torch.autocast`; images, preprocessing and the
    unit vectors stay float32. bfloat16 vectors keep a cosine of at least 0.9995 to the float32
    ones in ViT-B/32 and RN50 (measured 0.99995 and 0.9997, on a CPU, with random weights).
    Gradients in float16 may underflow to zero: take bfloat16 for them.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        preprocessing: Preprocessing,
        identity: ModelIdentity,
        device: torch.device,
        precision: Precision = "float32",
    ) -> None:
        self.model = (
            model.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
        )
        self.tokenizer = tokenizer
        self.preprocessing = preprocessing
        self.identity = identity
        self.device = device
        self.precision = precision
        self.width = identity.sizes["width"]
        self.image_size = identity.sizes["image_size"]
        self.context_length = identity.sizes["context_length"]
        self.logit_scale = float(model.logit_scale.exp())

    def images(self, images: Tensor) -> Tensor:
        """Images (n, 1, 3 or 4, H, W) in [-1, 1] -> unit (n, width); see `JointEncoder.images`."""
        whole = padded(as_rgb(images.to(self.device)), self.preprocessing)
        x = preprocess(whole, self.preprocessing).float()
        with self._autocast():
            features = self.model.encode_image(x)
        return F.normalize(features.float(), dim=1).to(images.device)

    @torch.no_grad()
    def texts(self, texts: list[str]) -> Tensor:
        """Texts -> unit (n, width); see `JointEncoder.texts`."""
        for text in texts:
            length = count_tokens(self.tokenizer, text)
            if length > self.context_length:
                raise PromptError(
                    f"prompt {text[:40]!r}: takes {length} tokens of the {self.context_length} "
                    f'that CLIP "{self.identity.name}" reads; shorten it'
                )
        tokens = self.tokenizer(texts).to(self.device)
        with self._autocast():
            features = encode_tokens(self.model, tokens)
        return F.normalize(features.float(), dim=1)

    def _autocast(self) -> torch.autocast:
        # Entered for float32 too, so that an autocast around the call does not reach the towers.
        dtype = reduced_dtype(self.precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)


def encode_tokens(model: Any, tokens: Tensor) -> Tensor:
    """What an open_clip model's `encode_text` makes of tokens (n, context_length): (n, width).

    The text tower of CLIP's own design is causal and read at the end token, so what follows the
    end has no say: such a tower sees the tokens up to the longest text's end only. That cut is
    ours, as open_clip's `encode_text` takes no shorter context; any other tower gets all tokens.
    """
    pool = getattr(model, "text_pool_type", None)
    if pool not in ("argmax", "eos") or model.attn_mask is None:
        features: Tensor = model.encode_text(tokens)
        return features
    ends = (tokens if pool == "argmax" else (tokens == model.text_eos_id).int()).argmax(1)
    length = int(ends.max()) + 1
    x = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    features = model.ln_final(x[torch.arange(len(x), device=x.device), ends])
    projection = model.text_projection
    if isinstance(projection, nn.Linear):
        features = projection(features)
    elif projection is not None:
        features = features @ projection
    return features


def count_tokens(tokenizer: Any, text: str) -> int:
    """How many tokens a text takes, its start and end included, if nothing is cut off.

    open_clip's tokenizers silently cut what is longer than the context.
    """
    if hasattr(tokenizer, "encode"):  # CLIP's own
        return len(tokenizer.encode(text)) + 2
    cleaned = tokenizer.clean_fn(text)
    if tokenizer.tokenizer_mode == "clips":  # start, end, and a class token after the padding
        return len(tokenizer.tokenizer(cleaned, add_special_tokens=False).input_ids) + 3
    return len(tokenizer.tokenizer(cleaned).input_ids)


def read_encoder(
    source: str, name: str, device: torch.device, precision: Precision
) -> OpenClipEncoder:
    """Read a CLIP; `source` is what :func:`find_clip` takes, `name` what people call a file.

    Raises:
        CheckpointError: a file is missing or unreadable, or does not hold a CLIP.
        OptionError: an unknown model, weights or precision, or a package that is not installed.
    """
    from ..checkpoints.clip_source import find_clip
    from .clip_identity import clip_identity
    from .clip_network import (
        build_network,
        build_tokenizer,
        read_preprocessing,
        read_sizes,
    )

    if reduced_dtype(precision) == torch.float16 and device.type == "cpu":
        # RN50's gradient for four images did not end within nine minutes (PyTorch 2.14).
        raise OptionError(
            "precision 'float16': is for GPUs, a CPU takes minutes for a gradient in it; "
            "choose bfloat16 or float32"
        )
    found = find_clip(source, name)
    sizes = read_sizes(found)
    preprocessing = read_preprocessing(found, sizes["image_size"])
    model, weights = build_network(found)
    tokenizer = build_tokenizer(found, sizes["context_length"])
    identity = clip_identity(found, weights, sizes, preprocessing, tokenizer)
    return OpenClipEncoder(model, tokenizer, preprocessing, identity, device, precision)
