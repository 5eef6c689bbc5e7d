"""Small CLIPs in the layout of Hugging Face's transformers, and what transformers makes of them.

The weights are NumPy's legacy random numbers, which are the same in every version; the embeddings
in `goldens/transformers_clip.npz` are those of transformers 5.24.0. They are written anew, where it
is installed, by `python -m styleatlas.tests.transformers_clip`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

GOLDEN = Path(__file__).parent / "goldens" / "transformers_clip.npz"
TEXTS = ["a face", "A smiling face, with glasses!", "a dog " * 37]
SIDE = 32

VISION = {
    **{"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2},
    **{"num_attention_heads": 3, "image_size": SIDE, "patch_size": 8},
}
TEXT = {
    **{"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "vocab_size": 49408, "max_position_embeddings": 77},
}
CONFIGS: dict[str, dict[str, Any]] = {
    # As transformers writes one today, and as OpenAI's were published in 2021.
    "quick": {
        "model_type": "clip",
        "projection_dim": 12,
        "vision_config": VISION | {"hidden_act": "quick_gelu"},
        "text_config": TEXT | {"hidden_act": "quick_gelu", "eos_token_id": 49407},
    },
    "plain": {
        "model_type": "clip",
        "projection_dim": 12,
        "vision_config": {},
        "text_config": {},
        "vision_config_dict": VISION | {"hidden_act": "gelu", "layer_norm_eps": 1e-3},
        "text_config_dict": TEXT | {"hidden_act": "gelu", "eos_token_id": 2},
    },
}
PREPARED: dict[str, dict[str, Any]] = {
    "quick": {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}},
    "plain": {
        **{"size": SIDE, "crop_size": SIDE, "resample": 2, "do_center_crop": True},
        **{"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]},
    },
}


def shapes() -> dict[str, tuple[int, ...]]:
    """Of the tensors of `CLIPModel`, by their names, in the order of the random numbers."""
    found: dict[str, tuple[int, ...]] = {
        "logit_scale": (),
        "visual_projection.weight": (12, 24),
        "text_projection.weight": (12, 16),
        "vision_model.embeddings.class_embedding": (24,),
        "vision_model.embeddings.patch_embedding.weight": (24, 3, 8, 8),
        "vision_model.embeddings.position_embedding.weight": (17, 24),
        "text_model.embeddings.token_embedding.weight": (49408, 16),
        "text_model.embeddings.position_embedding.weight": (77, 16),
    }
    norms = [("vision_model.pre_layrnorm", 24), ("vision_model.post_layernorm", 24)]
    dense: list[tuple[str, int, int]] = []
    for tower, width, hidden in (("vision", 24, 40), ("text", 16, 64)):
        for i in range(2):
            layer = f"{tower}_model.encoder.layers.{i}"
            norms += [(f"{layer}.layer_norm{n}", width) for n in (1, 2)]
            dense += [(f"{layer}.self_attn.{x}_proj", width, width) for x in ("q", "k", "v", "out")]
            dense += [(f"{layer}.mlp.fc1", hidden, width), (f"{layer}.mlp.fc2", width, hidden)]
    norms.append(("text_model.final_layer_norm", 16))
    for name, width in norms:
        found |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    for name, rows, columns in dense:
        found |= {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}
    return found


def state() -> dict[str, torch.Tensor]:
    """Random weights that tell texts and pictures apart."""
    random = np.random.RandomState(0)
    return {
        name: torch.from_numpy(
            np.asarray(random.standard_normal(shape) * (0.5 if len(shape) > 1 else 0.7), "f4")
        )
        for name, shape in shapes().items()
    }


def write(folder: Path, name: str, **changes: Any) -> None:
    """A folder as `save_pretrained` leaves it, with the tokenizer left out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIGS[name] | changes))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPARED[name]))
    save_file(state(), folder / "model.safetensors", {"format": "pt"})


def pictures(side: int = SIDE) -> np.ndarray:
    """uint8 (3, side, side, 3)"""
    return np.random.RandomState(1).randint(0, 256, (3, side, side, 3)).astype(np.uint8)


def as_images(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1


def by_transformers(name: str, pixels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """The unit embeddings of `TEXTS`, and of the pictures as its processor prepares them."""
    import open_clip
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    model = CLIPModel(CLIPConfig(**CONFIGS[name])).eval()
    missing, surplus = model.load_state_dict(state(), strict=False)
    assert not surplus and all(key.endswith("position_ids") for key in missing)
    prepare = CLIPImageProcessor(**PREPARED[name])
    values = prepare([Image.fromarray(x) for x in pixels], return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        found = model(input_ids=open_clip.tokenize(TEXTS), pixel_values=values)
    return found.text_embeds.clone(), found.image_embeds.clone()


def main() -> None:
    arrays = {}
    for name in CONFIGS:
        texts, images = by_transformers(name, pictures())
        arrays |= {f"{name}.texts": texts.numpy(), f"{name}.images": images.numpy()}
    np.savez(GOLDEN, **arrays)


if __name__ == "__main__":
    main()
