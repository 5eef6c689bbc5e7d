"""face-api's small networks from its files of weights, `NAME.bin` with a manifest beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from ...store.fingerprint import weights_sha256
from .checkpoint import require_same_shapes
from .tfjs_file import read_tfjs

Network = TypeVar("Network", bound=nn.Module)
LAYERS = {
    "filters": "weight",
    "weights": "weight",
    "depthwise_filter": "depthwise.weight",
    "pointwise_filter": "pointwise.weight",
    "bias": "bias",
}
"""What the tensors of a layer are called, in the file and here."""


def read_face_api(path: Path, network: Network) -> tuple[Network, str]:
    """`network` with the weights of a file, float32, on the CPU, in evaluation mode; and their
    sha256.

    Raises:
        CheckpointError: the file is unreadable, or its tensors are not those of the network: a
            missing, surplus or misshapen one.
    """
    tensors = read_tfjs(path)
    found = {_name(name, tensors): _ordered(name, tensor) for name, tensor in tensors.items()}
    require_same_shapes(path, network.state_dict(), found)
    network.load_state_dict(found)
    sha256 = weights_sha256((name, tensor.numpy()) for name, tensor in found.items())
    return network.eval().requires_grad_(False), sha256


def _name(name: str, tensors: dict[str, Tensor]) -> str:
    layer, _, part = name.rpartition("/")
    ours = LAYERS.get(part, part)
    if part == "bias" and f"{layer}/pointwise_filter" in tensors:
        ours = "pointwise.bias"
    return f"{layer}/{ours}".replace("/", ".")


def _ordered(name: str, tensor: Tensor) -> Tensor:
    """From TensorFlow's order of axes: (height, width, inputs, outputs), for a depthwise filter
    (height, width, channels, 1); (inputs, outputs) for a dense layer."""
    if tensor.ndim == 4:
        depthwise = name.endswith("/depthwise_filter")
        tensor = tensor.permute((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
    elif tensor.ndim == 2:
        tensor = tensor.t()
    return tensor.contiguous()
