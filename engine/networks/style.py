"""What every network tells of its styled layers."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor

NoiseMode = Literal["const", "random", "none"]


class StyledLayer(NamedTuple):
    """A layer with an affine map from a row of w (n, num_ws, w_dim) to `size` style channels.

    `resolution` is the side in pixels of the layer's output, without margins.
    """

    name: str
    kind: Literal["conv", "rgb", "input"]
    resolution: int
    size: int
    row: int


def clamped(x: Tensor, limit: float | None) -> Tensor:
    """x within +-limit; in place where no gradient needs x as it was."""
    if limit is None:
        return x
    return x.clamp(-limit, limit) if x.requires_grad else F.hardtanh_(x, -limit, limit)
