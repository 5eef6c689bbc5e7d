"""MTCNN from the three state dicts in which facenet-pytorch carries it. Nothing in them is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from torch import nn

from ...store.errors import CheckpointError
from ..inert.torchfile import read_torch
from ..networks.mtcnn import OutputNetwork, ProposalNetwork, RefineNetwork
from .checkpoint import excerpt, require_same_shapes
from .tensors import load_tensors

Network = TypeVar("Network", bound=nn.Module)


def read_mtcnn(
    pnet: Path, rnet: Path, onet: Path
) -> tuple[ProposalNetwork, RefineNetwork, OutputNetwork]:
    """The networks in these files with their weights, float32, on the CPU, in evaluation mode.

    Raises:
        CheckpointError: a file is not there or unreadable, or its tensors are not those of its
            network: a missing, surplus or misshapen one, one that is not of floats or not finite.
    """
    return (
        _filled(pnet, ProposalNetwork()),
        _filled(rnet, RefineNetwork()),
        _filled(onet, OutputNetwork()),
    )


def _filled(path: Path, network: Network) -> Network:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; `styleatlas models fetch mtcnn` fetches it")
    content = read_torch(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds {excerpt(content)}, no state dict of MTCNN")
    tensors = load_tensors(path, {str(name): value for name, value in content.items()})
    require_same_shapes(path, network.state_dict(), tensors)
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)
