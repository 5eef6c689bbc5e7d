"""CLIP through open_clip, from a folder in open_clip's own layout.

The folder holds `open_clip_config.json`, `open_clip_model.safetensors` and, where the model has a
vocabulary of its own, `bpe.txt.gz` in the format of CLIP's tokenizer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..store.errors import CheckpointError, PromptError
from ..store.fingerprint import ModelIdentity, weights_sha256
from .checkpoints.native import read_safetensors, require_same_shapes
from .preprocess import preprocess


class OpenClipEncoder:
    """`JointEncoder` over an open_clip model and its tokenizer."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        mean: list[float],
        std: list[float],
        identity: ModelIdentity,
        device: torch.device,
    ) -> None:
        self.model = (
            model.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
        )
        self.tokenizer = tokenizer
        self.identity = identity
        self.device = device
        self.width = identity.sizes["width"]
        self.image_size = identity.sizes["image_size"]
        self.context_length = identity.sizes["context_length"]
        self._mean = torch.tensor(mean, device=device)
        self._std = torch.tensor(std, device=device)

    def images(self, images: Tensor) -> Tensor:
        """Images (n, 1 or 3, H, W) in [-1, 1] -> unit (n, width); see `JointEncoder.images`."""
        x = preprocess(images, self.image_size, self._mean, self._std)
        return F.normalize(self.model.encode_image(x), dim=1)

    @torch.no_grad()
    def texts(self, texts: list[str]) -> Tensor:
        """Texts -> unit (n, width); see `JointEncoder.texts`."""
        for text in texts:
            length = len(self.tokenizer.encode(text)) + 2  # start and end of text
            if length > self.context_length:
                raise PromptError(
                    f"prompt {text[:40]!r}: takes {length} tokens of the {self.context_length} "
                    f'that CLIP "{self.identity.name}" reads; shorten it'
                )
        tokens = self.tokenizer(texts).to(self.device)
        return F.normalize(self.model.encode_text(tokens), dim=1)


def read_encoder(folder: Path, name: str, device: torch.device) -> OpenClipEncoder:
    """Read a CLIP from a folder in open_clip's layout, in float32.

    Raises:
        CheckpointError: a file is missing or does not fit the configuration.
    """
    from open_clip.model import CLIP
    from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, SimpleTokenizer

    path = folder / "open_clip_config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
        model_config, preprocess_config = config["model_cfg"], config["preprocess_cfg"]
        with torch.device("meta"):
            shapes = CLIP(**model_config).state_dict()
        mean, std = list(preprocess_config["mean"]), list(preprocess_config["std"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: is no CLIP configuration that can be built ({error}); "
            "name a folder in open_clip's layout, or `avatars`"
        ) from error
    weights = folder / "open_clip_model.safetensors"
    _, tensors = read_safetensors(weights)
    require_same_shapes(weights, shapes, tensors)
    state = {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}
    model = CLIP(**model_config)
    model.load_state_dict(state)
    vocabulary = folder / "bpe.txt.gz"
    context = int(model_config["text_cfg"].get("context_length", DEFAULT_CONTEXT_LENGTH))
    arguments = {"bpe_path": str(vocabulary)} if vocabulary.is_file() else {}
    tokenizer = SimpleTokenizer(context_length=context, **arguments)
    if tokenizer.vocab_size != model.vocab_size:
        raise CheckpointError(
            f"{folder}: its vocabulary has {tokenizer.vocab_size} tokens and its model "
            f"{model.vocab_size}; put the model's own bpe.txt.gz beside it"
        )
    sizes = {
        "width": int(model_config["embed_dim"]),
        "image_size": int(model_config["vision_cfg"]["image_size"]),
        "context_length": context,
    }
    sha256 = weights_sha256((key, tensor.numpy()) for key, tensor in state.items())
    identity = ModelIdentity(name, sha256, sizes)
    return OpenClipEncoder(model, tokenizer, mean, std, identity, device)
