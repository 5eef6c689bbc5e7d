"""Who an avatar is: a small network whose cosine between two avatars is what they share.

An avatar's identity is its hair, hair colour, skin and facial hair; mood, glasses, clothes and
background are not. It was trained on rendered avatars alone, apart from the judge that scores
edits and from the CLIP that steers them.
"""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from ..store.fingerprint import weights_sha256
from . import IDENTITY
from .judge import JudgeNetwork


class IdentityNetwork(JudgeNetwork):
    """Images (n, 3, 64, 64) in [-1, 1] -> unit (n, 64), by the architecture of the judge. The
    cosine of two avatars is the share of identity attributes in which they agree."""

    width = 64

    def __init__(self) -> None:
        super().__init__(self.width)

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(super().forward(images), dim=1)


def read_identity_network(path: Path = IDENTITY) -> tuple[IdentityNetwork, str]:
    """The trained network, float32, on the CPU, ready for inference, and its weights' sha256."""
    tensors = load_file(path)
    network = IdentityNetwork().eval()
    network.load_state_dict(tensors)
    return network, weights_sha256((name, tensor.numpy()) for name, tensor in tensors.items())
