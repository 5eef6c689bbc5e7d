"""What both families of networks share: the account of their styled layers, and small steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Features of a sample (channels x pixels) of which a CPU copes better with one sample at a time.
LARGE = 2**20

Space = Literal["z", "w", "w+", "s"]
"""Of latents: before and after the mapping, w with a row a layer, and style space."""
NoiseMode = Literal["const", "random", "none"]


class StyledLayer(NamedTuple):
    """A layer with an affine map from a row of w (n, num_ws, w_dim) to `size` style channels.

    `resolution` is the longer side in pixels of the layer's output, without margins.
    """

    name: str
    kind: Literal["conv", "rgb", "input"]
    resolution: int
    size: int
    row: int


def energy(weight: Tensor) -> Tensor:
    """The sum of squares of every kernel: (out, in, k, k) -> (out, in)."""
    return weight.square().sum((2, 3))


def scaled(y: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """y (n, out, h, w) times scale (n, out) plus bias (out,)."""
    scale, bias = scale.to(y.dtype)[:, :, None, None], bias.to(y.dtype)[:, None, None]
    if y.requires_grad:  # the gradient of addcmul takes passes over memory that this does not
        return y * scale + bias
    return torch.addcmul(bias, y, scale)


def clamped(x: Tensor, limit: float | None) -> Tensor:
    """x within +-limit; in place where no gradient needs x as it was."""
    if limit is None:
        return x
    return x.clamp(-limit, limit) if x.requires_grad else F.hardtanh_(x, -limit, limit)


def renders_one_by_one(features: int, styles: Sequence[Tensor]) -> bool:
    """Whether a batch of styles (n, channels) is better rendered a sample at a time, where a
    sample has so many features: on a CPU, where no gradient is recorded, weights are then scaled
    instead of features, and what is worked on stays in the cache."""
    if len(styles[0]) == 1 or features < LARGE or styles[0].device.type != "cpu":
        return False
    return not any(style.requires_grad for style in styles)
