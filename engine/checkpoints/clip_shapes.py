"""The architecture of a CLIP of OpenAI's design, ViT or ResNet, from the shapes of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...store.errors import CheckpointError
from .clip_file import ClipWeights

HEAD_WIDTH = 64  # of every CLIP of OpenAI's
MLP_RATIO = 4

Shapes = Mapping[str, tuple[int, ...]]


def openai_config(weights: ClipWeights, heads: tuple[int, int] | None = None) -> dict[str, Any]:
    """open_clip's `model_cfg`, without the activation, which no shape shows.

    Args:
        heads: in the image tower and in the text tower, which no shape shows either; 64 channels
            a head where that is not known.

    Raises:
        CheckpointError: the tensors are not those of such a CLIP.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.tensors.items()}
    try:
        context_length, width = shapes["positional_embedding"]
        layers = "transformer.resblocks"
        vision = _vit(shapes) if "visual.proj" in shapes else _resnet(shapes)
        text = {
            "context_length": context_length,
            "vocab_size": shapes["token_embedding.weight"][0],
            "width": width,
            "heads": width // HEAD_WIDTH,
            "layers": _count(shapes, layers),
            **_mlp_ratio(shapes, layers, width),
        }
        if heads:
            # The attention at a ResNet's end has 32 times the channels that it begins with.
            last = vision["width"] * (32 if isinstance(vision["layers"], list) else 1)
            if last % heads[0]:
                raise ValueError(f"{last} channels are not of {heads[0]} heads")
            vision["head_width"], text["heads"] = last // heads[0], heads[1]
        return {
            "embed_dim": shapes["text_projection"][1],
            "vision_cfg": vision,
            "text_cfg": text,
        }
    except (LookupError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{weights.path}: is not one of OpenAI's CLIPs ({' '.join(str(error).split())[:80]}); "
            f"name its architecture as open_clip calls it: MODEL={weights.path}"
        ) from error


def known_models(weights: ClipWeights) -> list[str] | None:
    """The models of open_clip's whose networks have these shapes, the shortest name first, and
    those that differ by their activation alone under one name; None for another architecture."""
    from open_clip import get_model_config, list_models

    try:
        wanted = _compared(openai_config(weights))
    except CheckpointError:
        return None
    found = [name for name in list_models() if not name.endswith("-quickgelu")]
    found = [name for name in found if _compared(get_model_config(name)) == wanted]
    return sorted(found, key=lambda name: (len(name), name))


def _compared(model: Mapping[str, Any]) -> dict[str, Any]:
    """A `model_cfg` with its defaults, without what shapes do not show."""
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    vision, text = model["vision_cfg"], model["text_cfg"]
    resnet = isinstance(vision.get("layers"), list)
    images = ["layers", "width", "image_size"] + ([] if resnet else ["patch_size"])
    texts = ["layers", "width", "context_length", "vocab_size"]

    def seen(section: Mapping[str, Any], kind: type, names: list[str]) -> dict[str, Any]:
        found = {name: section.get(name, getattr(kind, name)) for name in names}
        if "patch_size" in found or kind is CLIPTextCfg:
            found["hidden"] = int(section.get("mlp_ratio", MLP_RATIO) * found["width"])
        return found

    return {
        "embed_dim": model["embed_dim"],
        "vision": seen(vision, CLIPVisionCfg, images),
        "text": seen(text, CLIPTextCfg, texts),
        # Networks of other classes have other tensors.
        "others": [
            bool(section.get(key))
            for section, key in (
                *((vision, key) for key in ("timm_model_name", "attentional_pool", "no_ln_pre")),
                *((text, key) for key in ("hf_model_name", "embed_cls", "proj_bias")),
                *((model, key) for key in ("custom_text", "multimodal_cfg", "init_logit_bias")),
            )
        ],
    }


def _vit(shapes: Shapes) -> dict[str, Any]:
    width, _, _, patch = shapes["visual.conv1.weight"]
    layers = "visual.transformer.resblocks"
    return {
        "layers": _count(shapes, layers),
        "width": width,
        "head_width": HEAD_WIDTH,
        "patch_size": patch,
        "image_size": patch * _grid(shapes["visual.positional_embedding"]),
        **_mlp_ratio(shapes, layers, width),
    }


def _resnet(shapes: Shapes) -> dict[str, Any]:
    return {
        "layers": [_count(shapes, f"visual.layer{stage}") for stage in (1, 2, 3, 4)],
        "width": shapes["visual.layer1.0.conv1.weight"][0],
        "head_width": HEAD_WIDTH,
        "image_size": 32 * _grid(shapes["visual.attnpool.positional_embedding"]),
    }


def _mlp_ratio(shapes: Shapes, layers: str, width: int) -> dict[str, float]:
    """Where it is not the usual one; open_clip multiplies it with the width and cuts off."""
    hidden = shapes.get(f"{layers}.0.mlp.c_fc.weight", (MLP_RATIO * width,))[0]
    return {} if hidden == MLP_RATIO * width else {"mlp_ratio": (hidden + 0.5) / width}


def _grid(positions: tuple[int, ...]) -> int:
    """The side of a square of positions, of which one more is for the whole image."""
    return round((positions[0] - 1) ** 0.5) if positions[0] else 0


def _count(shapes: Shapes, prefix: str) -> int:
    """How many numbered blocks lie under a prefix."""
    start = f"{prefix}."
    return len({key[len(start) :].partition(".")[0] for key in shapes if key.startswith(start)})
