"""From the description and the weights of a CLIP to open_clip's network and tokenizer.

A description may come from anywhere: before a network of its sizes is built, the file must hold
tensors of just those shapes.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from ...store.errors import CheckpointError, OptionError
from ...store.registry import told_with
from ..checkpoints.checkpoint import excerpt, is_real, is_whole, require_same_shapes
from ..checkpoints.clip_source import VOCABULARY_NAME, ClipSource
from .preprocess import Interpolation, Preprocessing, ResizeMode

LARGEST_WIDTH = 65_536
LARGEST_SIDE = 4096
LONGEST_CONTEXT = 4096
MOST_VOCABULARY = 32 * 2**20  # bytes
# What a description may tell a tokenizer. Other keys would reach Hugging Face's loader, where
# `trust_remote_code` runs code from the repository.
TOKENIZER_KEYS = {"clean", "strip_sep_token", "language"}


def read_sizes(source: ClipSource) -> dict[str, int]:
    """`width` of the embedding, `image_size` (a side) and `context_length` (tokens).

    Raises:
        CheckpointError: the description lacks one, or it is out of range.
    """
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    side = _section(source, "vision_cfg").get("image_size", CLIPVisionCfg.image_size)
    if isinstance(side, list) and len(side) == 2 and side[0] == side[1]:
        side = side[0]
    context = _section(source, "text_cfg").get("context_length", CLIPTextCfg.context_length)
    return {
        "width": _whole(source, "embed_dim", source.model.get("embed_dim"), LARGEST_WIDTH),
        "image_size": _whole(source, "image_size", side, LARGEST_SIDE),
        "context_length": _whole(source, "context_length", context, LONGEST_CONTEXT),
    }


def read_preprocessing(source: ClipSource, size: int) -> Preprocessing:
    """The preprocessing the description asks for; where it is silent, that of OpenAI's CLIP.

    Raises:
        CheckpointError: a value that cannot be, or a way of resizing that is not supported.
    """
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    settings = source.preprocess
    mean = _colours(source, "mean", settings.get("mean") or OPENAI_DATASET_MEAN)
    std = _colours(source, "std", settings.get("std") or OPENAI_DATASET_STD)
    interpolation: Any = settings.get("interpolation") or "bicubic"
    resize_mode: Any = settings.get("resize_mode") or "shortest"
    if interpolation == "random":  # means a random choice while training, and bicubic ever after
        interpolation = "bicubic"
    if min(std) <= 0:
        raise _refused(source, f"std is {list(std)}, must be above 0")
    for key, value, known in (
        ("interpolation", interpolation, get_args(Interpolation)),
        ("resize_mode", resize_mode, get_args(ResizeMode)),
    ):
        if value not in known:
            raise _refused(source, f"{key} is {excerpt(value)}, must be {' or '.join(known)}")
    return Preprocessing(size, mean, std, interpolation, resize_mode)


def build_network(source: ClipSource) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network with its weights, in float32 on the CPU, and the weights under its names.

    Raises:
        CheckpointError: the description cannot be built, or the weights do not fit it.
        OptionError: the network needs a package that is not installed.
    """
    text = _section(source, "text_cfg")
    if text.get("hf_model_name") or text.get("hf_tokenizer_name"):
        _require_transformers(source)
    _require_backed(source)
    with torch.device("meta"):
        state = _built(source).state_dict()
    wanted = {k: t for k, t in state.items() if t.is_floating_point() or not t.shape}
    tensors = _arranged(wanted, source.weights.tensors)
    require_same_shapes(source.weights.path, wanted, tensors)
    network = _built(source)
    # Not strict, for the sake of indices, which the network makes itself.
    network.load_state_dict(tensors, strict=False)
    return network, tensors


def build_tokenizer(source: ClipSource, context_length: int) -> Any:
    """open_clip's `SimpleTokenizer` or `HFTokenizer`.

    Raises:
        CheckpointError: its files are missing or belong to another model.
    """
    from open_clip.model import CLIPTextCfg
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    text = _section(source, "text_cfg")
    options = text.get("tokenizer_kwargs") or {}
    if not isinstance(options, dict) or not options.keys() <= TOKENIZER_KEYS:
        raise _refused(source, f"tokenizer_kwargs may hold {', '.join(sorted(TOKENIZER_KEYS))}")
    vocabulary = source.folder / VOCABULARY_NAME if source.folder else None
    if vocabulary and vocabulary.is_file():
        _require_small(vocabulary)
        options = options | {"bpe_path": str(vocabulary)}
    try:
        if name := text.get("hf_tokenizer_name"):
            place = str(source.folder or name)
            mode = text.get("tokenizer_mode")
            return HFTokenizer(place, context_length, tokenizer_mode=mode, **options)
        tokenizer = SimpleTokenizer(context_length=context_length, **options)
    except Exception as error:  # whatever a damaged vocabulary or the hub's client makes of it
        raise CheckpointError(
            f"{source.place}: its tokenizer cannot be loaded ({_reason(error)}); put its files "
            "beside the weights, or connect to the network once"
        ) from error
    size = text.get("vocab_size", CLIPTextCfg.vocab_size)
    if tokenizer.vocab_size != size:
        raise CheckpointError(
            f"{source.folder or source.place}: its vocabulary has {tokenizer.vocab_size} tokens "
            f"and its model {excerpt(size)}; put the model's own {VOCABULARY_NAME} beside it"
        )
    return tokenizer


def _require_small(vocabulary: Path) -> None:
    """open_clip unpacks it whole, and a few bytes can be made to unpack to any number."""
    try:
        with gzip.open(vocabulary) as file:
            size = len(file.read(MOST_VOCABULARY + 1))
    except (OSError, EOFError, zlib.error):
        return  # which open_clip says, too
    if size > MOST_VOCABULARY:
        raise CheckpointError(
            f"{vocabulary}: unpacks to more than {MOST_VOCABULARY >> 20} MiB, where OpenAI's takes "
            "3; get it from its source again"
        )


def _built(source: ClipSource) -> nn.Module:
    """An open_clip network of the class and sizes described, without published weights."""
    from open_clip.coca_model import CoCa
    from open_clip.model import CLIP, CustomTextCLIP

    described = deepcopy(source.model)
    vision, text = described["vision_cfg"], described["text_cfg"]
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    if "hf_model_name" in text:
        text["hf_model_pretrained"] = False
    described["quick_gelu"] = source.quick_gelu
    custom = described.pop("custom_text", False) or "hf_model_name" in text
    kind = (CoCa if "multimodal_cfg" in described else CustomTextCLIP) if custom else CLIP
    try:
        network: nn.Module = kind(**described)
    except Exception as error:  # whatever a wrong description makes open_clip, timm or HF raise
        raise _refused(source, _reason(error)) from error
    return network


def _require_backed(source: ClipSource) -> None:
    """Raise CheckpointError for a description of more layers, or of a larger grid of patches,
    than the file has tensors or numbers: on the way to the shapes these cost time and memory."""
    tensors = source.weights.tensors
    vision, text = _section(source, "vision_cfg"), _section(source, "text_cfg")
    decoder = source.model.get("multimodal_cfg", {})
    sections = [section for section in (vision, text, decoder) if isinstance(section, dict)]
    layers = [section.get("layers", 0) for section in sections]
    layers += [depth for stages in layers if isinstance(stages, list) for depth in stages]
    if sum(depth for depth in layers if isinstance(depth, int)) > len(tensors):
        raise _refused(source, f"it has more layers than the {len(tensors)} tensors of its weights")
    width, patch = (vision.get(key, 1) for key in ("width", "patch_size"))
    if is_whole(width, 1, LARGEST_WIDTH) and is_whole(patch, 1, LARGEST_SIDE):
        numbers = (read_sizes(source)["image_size"] // patch) ** 2 * width
        if numbers > sum(tensor.numel() for tensor in tensors.values()):
            raise _refused(source, "its grid of patches is larger than its weights")


def _arranged(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names and shapes of a network, where open_clip knows of several."""
    from open_clip.model import convert_to_custom_text_state_dict

    tensors = dict(found)
    if any(name.startswith("text.") for name in wanted):
        tensors = convert_to_custom_text_state_dict(tensors)
    for name, tensor in wanted.items():
        if name == "logit_bias" or name.endswith(".num_batches_tracked"):  # no embedding needs them
            tensors.setdefault(name, torch.zeros(tensor.shape, dtype=tensor.dtype))
    for name in ("logit_scale", "logit_bias"):  # saved as a number or as a row of one
        if name in wanted and name in tensors and tensors[name].numel() == 1:
            tensors[name] = tensors[name].reshape(wanted[name].shape)
    return tensors


def _require_transformers(source: ClipSource) -> None:
    if find_spec("transformers") is None:
        raise OptionError(
            f"CLIP {source.name!r}: reads its texts by the package transformers, which is not "
            "installed; run `pip install transformers`"
        )


def _section(source: ClipSource, key: str) -> dict[str, Any]:
    section = source.model.get(key)
    if not isinstance(section, dict):
        raise _refused(source, f"{key} is {excerpt(section)}, must be an object")
    return section


def _whole(source: ClipSource, key: str, value: Any, most: int) -> int:
    if not is_whole(value, 1, most):
        raise _refused(source, f"{key} is {excerpt(value)}, must be a whole number up to {most}")
    return int(value)


def _colours(source: ClipSource, key: str, values: Any) -> tuple[float, float, float]:
    if not isinstance(values, list | tuple):
        values = [values] * 3  # one number for all colours
    if len(values) != 3 or not all(is_real(value) for value in values):
        raise _refused(source, f"{key} must be three numbers")
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _refused(source: ClipSource, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{source.place}: is no CLIP configuration that can be built ({reason}); "
        f"name a folder in open_clip's layout, or {told_with('clip')}"
    )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
