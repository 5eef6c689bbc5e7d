"""A CLIP as Hugging Face's transformers saves it: a folder with `config.json`, the weights, and
how images and texts are prepared.

Sizes follow from the weights; the description tells what no shape shows. What it says beyond that
must agree with them, or it is another model's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...store.errors import CheckpointError
from .checkpoint import excerpt, is_real, is_whole
from .clip_file import ClipWeights
from .clip_forms import SIGLIP
from .clip_shapes import HEAD_WIDTH, openai_config

CONFIG_NAME = "config.json"
WEIGHTS_NAMES = ("model.safetensors", "pytorch_model.bin")
PREPROCESSOR_NAMES = ("preprocessor_config.json", "processor_config.json")
VOCABULARY_NAMES = ("vocab.json", "tokenizer.json")
MAX_JSON_BYTES = 32 * 2**20
ACTIVATIONS = {"quick_gelu": True, "gelu": False}
HEADS = {"vision_config": 12, "text_config": 8}
"""Of attention, where a description is silent."""
EPSILON = 1e-5
EOS = 49407
OLD_EOS = 2
"""In a `config.json` of before July 2023, which was wrong: the highest token is the end."""
RESAMPLE = {2: "bilinear", 3: "bicubic"}
SAME_WORDS = 0.99
"""The share of tokens by which a vocabulary is known as CLIP's own."""


def read_config(path: Path) -> dict[str, Any]:
    """What `config.json` at `path` says of a CLIP.

    Raises:
        CheckpointError: it is unreadable, or describes something else.
    """
    config = read_json(path)
    kind = config.get("model_type", "clip")
    if kind != "clip":
        raise CheckpointError(
            f"{path}: describes a model of the type {excerpt(kind)}, not clip; {_instead(kind)}"
        )
    return config


def model_config(path: Path, config: Mapping[str, Any], weights: ClipWeights) -> dict[str, Any]:
    """open_clip's `model_cfg` from what `config.json` at `path` says and the weights.

    Raises:
        CheckpointError: it is of another CLIP, or of one that open_clip's network does not compute.
    """
    sections = {key: _section(path, config, key) for key in HEADS}
    model = openai_config(weights)
    _require_agreement(path, config, sections, model)
    vision, text = model["vision_cfg"], model["text_cfg"]
    vision["head_width"] = vision["width"] // _heads(path, sections, "vision_config", vision)
    text["heads"] = _heads(path, sections, "text_config", text)
    activations = [section.get("hidden_act", "quick_gelu") for section in sections.values()]
    if activations[0] != activations[1] or activations[0] not in list(ACTIVATIONS):
        listed = " and ".join(map(excerpt, activations))
        raise _refused(path, f"hidden_act is {listed}, must be quick_gelu or gelu in both towers")
    _require_end(path, sections["text_config"], text["vocab_size"])
    for key, part in (("vision_config", vision), ("text_config", text)):
        epsilon = sections[key].get("layer_norm_eps", EPSILON)
        if not is_real(epsilon) or epsilon <= 0:
            raise _refused(path, f"{key}.layer_norm_eps is {excerpt(epsilon)}")
        if epsilon != EPSILON:
            part["norm_kwargs"] = {"eps": epsilon}
    return model | {"quick_gelu": ACTIVATIONS[activations[0]]}


def preprocess_config(folder: Path, size: int) -> dict[str, Any]:
    """open_clip's `preprocess_cfg` from the folder of a CLIP that takes images of a side of `size`;
    empty where the folder tells nothing, which means OpenAI's.

    Raises:
        CheckpointError: it prepares images otherwise than any CLIP of open_clip's.
    """
    present = [folder / name for name in PREPROCESSOR_NAMES if (folder / name).is_file()]
    if not present:
        return {}
    path = present[0]
    config = read_json(path)
    config = config.get("image_processor", config)
    if not isinstance(config, dict):
        raise _refused(path, "image_processor must be an object")
    for key, usual in (("do_resize", True), ("do_rescale", True), ("rescale_factor", 1 / 255)):
        value = config.get(key, usual)
        if value != usual and not (is_real(value) and abs(value - usual) < 1e-9):
            raise _refused(path, f"{key} is {excerpt(value)}, must be {usual}")
    resample = config.get("resample", 3)
    if not is_whole(resample, 2, 3):
        raise _refused(path, f"resample is {excerpt(resample)}, must be 2 or 3")
    settings: dict[str, Any] = {"interpolation": RESAMPLE[resample]}
    settings["resize_mode"] = _resize_mode(path, config, size)
    if config.get("do_normalize", True):
        settings |= {"mean": config.get("image_mean"), "std": config.get("image_std")}
    else:
        settings |= {"mean": [0.0] * 3, "std": [1.0] * 3}
    return {key: value for key, value in settings.items() if value is not None}


def require_own_vocabulary(folder: Path) -> None:
    """Raise CheckpointError if a folder has another vocabulary than OpenAI's CLIP."""
    from open_clip.tokenizer import SimpleTokenizer

    present = [folder / name for name in VOCABULARY_NAMES if (folder / name).is_file()]
    if not present:
        return
    path = present[0]
    found = read_json(path)
    if path.name == "tokenizer.json":
        model = found.get("model")
        found = model.get("vocab", {}) if isinstance(model, dict) else {}
    known = SimpleTokenizer().encoder
    same = sum(found.get(word) == number for word, number in known.items())
    if same < SAME_WORDS * len(known):
        raise CheckpointError(
            f"{path}: is another vocabulary than that of OpenAI's CLIP; only CLIPs with that one "
            "are read from this layout"
        )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointError: it is missing, unreadable, longer than any of its kind, or anything else.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"is longer than {MAX_JSON_BYTES} bytes")
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict):
            raise ValueError("is no object")
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(
            f"{path}: cannot be read as JSON ({reason}); get it again from its source"
        ) from error
    return found


def _section(path: Path, config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The description of a tower. An older one, `KEY_dict`, counts whole where it is there."""
    section = config.get(f"{key}_dict") or config.get(key) or {}
    if not isinstance(section, dict):
        raise _refused(path, f"{key} is {excerpt(section)}, must be an object")
    return section


def _heads(
    path: Path,
    sections: Mapping[str, Mapping[str, Any]],
    key: str,
    tower: Mapping[str, Any],
) -> int:
    """Of the attention of a tower: those told; else those of transformers, or, where its width is
    not of so many, 64 channels each as in every CLIP of OpenAI's."""
    width = tower["width"]
    usual = HEADS[key] if width % HEADS[key] == 0 else max(width // HEAD_WIDTH, 1)
    heads = sections[key].get("num_attention_heads", usual)
    if not is_whole(heads, 1, 1024) or width % heads:
        raise _refused(path, f"{key}.num_attention_heads is {excerpt(heads)} for {width} channels")
    return int(heads)


def _require_agreement(
    path: Path,
    config: Mapping[str, Any],
    sections: Mapping[str, Mapping[str, Any]],
    model: Mapping[str, Any],
) -> None:
    """Raise CheckpointError where the description tells other sizes than the weights have."""
    vision, text = model["vision_cfg"], model["text_cfg"]
    if isinstance(vision["layers"], list):
        raise _refused(path, "its weights are a ResNet's, which transformers has not")
    seen = {
        "vision_config": {
            "hidden_size": vision["width"],
            "num_hidden_layers": vision["layers"],
            "patch_size": vision["patch_size"],
            "image_size": vision["image_size"],
            "num_channels": 3,
        },
        "text_config": {
            "hidden_size": text["width"],
            "num_hidden_layers": text["layers"],
            "max_position_embeddings": text["context_length"],
            "vocab_size": text["vocab_size"],
        },
    }
    told = [
        *((f"{key}.{name}", sections[key].get(name, size), size)
          for key, sizes in seen.items() for name, size in sizes.items()),
        ("projection_dim", config.get("projection_dim", model["embed_dim"]), model["embed_dim"]),
    ]  # fmt: skip
    for name, value, size in told:
        if value != size:
            raise _refused(path, f"{name} is {excerpt(value)}, the weights have {size}")


def _require_end(path: Path, text: Mapping[str, Any], vocabulary: int) -> None:
    """Raise CheckpointError unless the text tower is read at the token that ends a text, which is
    the last of CLIP's vocabulary."""
    end = text.get("eos_token_id", EOS)
    if end not in (None, OLD_EOS, vocabulary - 1):
        raise _refused(
            path, f"text_config.eos_token_id is {excerpt(end)}, must be {vocabulary - 1}"
        )


def _resize_mode(path: Path, config: Mapping[str, Any], size: int) -> str:
    """`shortest` or `squash`, of images that end at a side of `size`."""
    wanted = config.get("size", size)
    cropped = config.get("crop_size", size)
    if isinstance(cropped, dict):
        cropped = cropped.get("height") if cropped.get("height") == cropped.get("width") else None
    crops = config.get("do_center_crop", True)
    if crops and cropped != size:
        raise _refused(path, f"crop_size must be the {size} pixels that the weights take")
    if wanted in (size, {"shortest_edge": size}):
        if crops:
            return "shortest"
    elif wanted == {"height": size, "width": size}:
        return "squash"
    raise _refused(
        path,
        f"images are not brought to {size} pixels by their shorter side and cropped, nor by both",
    )


def _instead(kind: object) -> str:
    if str(kind).startswith("siglip"):
        return SIGLIP
    if kind in ("clip_text_model", "clip_vision_model"):
        return "both towers are needed, as CLIPModel saves them"
    return "name a CLIP in the layout of OpenAI, open_clip or transformers' CLIPModel"


def _refused(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: describes no CLIP that can be built ({reason}); check that it belongs to the "
        "weights beside it"
    )
