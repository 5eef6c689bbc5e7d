"""MTCNN from the three state dicts in which facenet-pytorch carries it. Nothing in them is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ...store.errors import CheckpointError
from ...store.fingerprint import weights_sha256
from ..inert.torchfile import read_torch
from ..networks.mtcnn import OutputNetwork, ProposalNetwork, RefineNetwork
from .checkpoint import excerpt, require_same_shapes
from .tensors import load_tensors

Networks = tuple[ProposalNetwork, RefineNetwork, OutputNetwork]


def read_mtcnn(pnet: Path, rnet: Path, onet: Path) -> tuple[Networks, str]:
    """The networks in these files with their weights, float32, on the CPU, in evaluation mode; and
    the sha256 of all these weights.

    Raises:
        CheckpointError: a file is not there or unreadable, or its tensors are not those of its
            network: a missing, surplus or misshapen one, one that is not of floats or not finite.
    """
    networks = ProposalNetwork(), RefineNetwork(), OutputNetwork()
    weights: dict[str, Tensor] = {}
    for path, network in zip((pnet, rnet, onet), networks, strict=True):
        tensors = _read(path, network)
        network.load_state_dict(tensors)
        network.eval().requires_grad_(False)
        weights |= {f"{type(network).__name__}.{name}": t for name, t in tensors.items()}
    return networks, weights_sha256((name, tensor.numpy()) for name, tensor in weights.items())


def _read(path: Path, network: nn.Module) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; `styleatlas models fetch mtcnn` fetches it")
    content = read_torch(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path}: holds {excerpt(content)}, no state dict of MTCNN; `styleatlas models fetch "
            "mtcnn` fetches it again"
        )
    tensors = load_tensors(path, {str(name): value for name, value in content.items()})
    require_same_shapes(path, network.state_dict(), tensors)
    return tensors
