"""The mapping network and the fully connected layer that both StyleGAN families share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class MappingConfig:
    """The numbers a mapping network is built from; the configurations of both families hold them.

    `embed_features` is the width of the embedded label of a conditional generator (`c_dim` > 0)
    and `layer_features` that of the hidden layers; None stands for `w_dim`. `mapping_lr` is the
    learning-rate multiplier that the stored weights are to be scaled by.
    """

    z_dim: int
    w_dim: int
    mapping_layers: int
    c_dim: int = 0
    embed_features: int | None = None
    layer_features: int | None = None
    mapping_lr: float = 0.01


class FullyConnected(nn.Module):
    """y = x (W lr / sqrt(in))^T + b lr, then optionally leaky ReLU(0.2) with gain sqrt(2)."""

    def __init__(
        self, inputs: int, outputs: int, *, lr: float = 1.0, bias: float = 0.0, lrelu: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr)
        self.bias = nn.Parameter(torch.full((outputs,), bias / lr))
        self.lr, self.lrelu = lr, lrelu

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * (self.lr / math.sqrt(self.weight.shape[1]))
        y = F.linear(x, weight, self.bias * self.lr)
        return F.leaky_relu(y, 0.2) * math.sqrt(2) if self.lrelu else y


class Mapping(nn.Module):
    """z (n, z_dim), and for a conditional generator c (n, c_dim), -> w (n, w_dim)."""

    w_avg: Tensor

    def __init__(self, config: MappingConfig) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.layers = config.z_dim, config.c_dim, config.mapping_layers
        width = config.z_dim
        if config.c_dim:
            embedded = config.embed_features or config.w_dim
            self.embed = FullyConnected(config.c_dim, embedded)
            width += embedded
        hidden = config.layer_features or config.w_dim
        for i in range(self.layers):
            outputs = config.w_dim if i == self.layers - 1 else hidden
            layer = FullyConnected(width, outputs, lr=config.mapping_lr, lrelu=True)
            setattr(self, f"fc{i}", layer)
            width = outputs
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        x = normalise_second_moment(z)
        if self.c_dim:
            x = torch.cat([x, normalise_second_moment(self.embed(c))], 1)
        for i in range(self.layers):
            x = getattr(self, f"fc{i}")(x)
        return x


def normalise_second_moment(x: Tensor, axis: int = 1) -> Tensor:
    """x, of any shape, scaled to a mean square of 1 along an axis."""
    return x * torch.rsqrt(x.square().mean(axis, keepdim=True) + 1e-8)
