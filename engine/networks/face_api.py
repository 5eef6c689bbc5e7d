"""face-api's small networks, which read what a crop of a face shows.

Layers are named as in the files, where a separable convolution is a depthwise one of 3 x 3, without
a bias, and a pointwise one. A convolution of stride 2 pads below and to the right alone, as
TensorFlow does for sides that are even.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 112
MEAN = (122.782, 117.001, 104.298)
"""Of red, green and blue from 0 to 255, which is taken off."""


class Separable(nn.Module):
    """x (n, inputs, h, w) -> (n, outputs, h / stride, w / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pointwise(self.depthwise(padded(x, self.stride)))
        return y


class DenseBlock(nn.Module):
    """x (n, inputs, h, w) -> (n, outputs, h / 2, w / 2): four convolutions, each of the sum of all
    that went before; the first block's first convolution is a full one."""

    def __init__(self, inputs: int, outputs: int, first: bool) -> None:
        super().__init__()
        self.conv0: nn.Module = (
            nn.Conv2d(inputs, outputs, 3, 2) if first else Separable(inputs, outputs, 2)
        )
        self.first = first
        for i in range(1, 4):
            self.add_module(f"conv{i}", Separable(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        total = F.relu(self.conv0(padded(x, 2) if self.first else x))
        at = total
        for i in range(1, 4):
            total = total + self.get_submodule(f"conv{i}")(at)
            at = F.relu(total)
        return at


class DenseNetwork(nn.Module):
    """Crops (n, 3, 112, 112), RGB in [-1, 1] -> (n, outputs), as its head gives them: 7 scores of
    expressions before softmax, or 68 landmarks, x and y by turns, as shares of the crop."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        for i, (inputs, width) in enumerate(((3, 32), (32, 64), (64, 128), (128, 256))):
            self.add_module(f"dense{i}", DenseBlock(inputs, width, first=i == 0))
        self.fc = nn.Linear(256, outputs)

    def forward(self, crops: Tensor) -> Tensor:
        x = normalised(crops)
        for i in range(4):
            x = self.get_submodule(f"dense{i}")(x)
        y: Tensor = self.fc(F.avg_pool2d(x, 7).flatten(1))
        return y


class Reduction(nn.Module):
    """x (n, inputs, h, w) -> (n, outputs, h / 2, w / 2). `first` is whether x was rectified."""

    def __init__(self, inputs: int, outputs: int, first: bool = False) -> None:
        super().__init__()
        self.first = first
        self.separable_conv0 = Separable(inputs, outputs)
        self.separable_conv1 = Separable(outputs, outputs)
        self.expansion_conv = nn.Conv2d(inputs, outputs, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.separable_conv0(x if self.first else F.relu(x))
        y = self.separable_conv1(F.relu(y))
        y = F.max_pool2d(F.pad(y, (0, 1, 0, 1), value=-float("inf")), 3, 2)
        z: Tensor = y + self.expansion_conv(x)
        return z


class MainBlock(nn.Module):
    """x (n, width, h, w) plus three separable convolutions of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        for i in range(3):
            self.add_module(f"separable_conv{i}", Separable(width, width))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i in range(3):
            y = self.get_submodule(f"separable_conv{i}")(F.relu(y))
        return x + y


class AgeGenderNetwork(nn.Module):
    """Crops (n, 3, 112, 112), RGB in [-1, 1] -> ages in years (n, 1) and scores of male and female
    before softmax (n, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.entry_flow = nn.ModuleDict(
            {
                "conv_in": nn.Conv2d(3, 32, 3, 2),
                "reduction_block_0": Reduction(32, 64, first=True),
                "reduction_block_1": Reduction(64, 128),
            }
        )
        self.middle_flow = nn.ModuleDict({f"main_block_{i}": MainBlock(128) for i in range(2)})
        self.exit_flow = nn.ModuleDict(
            {"reduction_block": Reduction(128, 256), "separable_conv": Separable(256, 512)}
        )
        self.fc = nn.ModuleDict({"age": nn.Linear(512, 1), "gender": nn.Linear(512, 2)})

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.entry_flow["conv_in"](padded(normalised(crops), 2)))
        x = self.entry_flow["reduction_block_1"](self.entry_flow["reduction_block_0"](x))
        for block in self.middle_flow.values():
            x = block(x)
        x = self.exit_flow["separable_conv"](self.exit_flow["reduction_block"](x))
        x = F.avg_pool2d(F.relu(x), 7).flatten(1)
        return self.fc["age"](x), self.fc["gender"](x)


def normalised(crops: Tensor) -> Tensor:
    """Crops (n, 3, 112, 112) in [-1, 1] as the networks take them."""
    mean = crops.new_tensor(MEAN)[:, None, None]
    return ((crops + 1) * 127.5 - mean) / 255


def padded(x: Tensor, stride: int) -> Tensor:
    """x (n, c, h, w), of even h and w, with zeros for a convolution of 3 x 3."""
    return F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
