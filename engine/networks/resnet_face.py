"""resnet_face18, a recogniser of grey faces that was trained by ArcFace's loss, for inference, with
the state names of arcface-pytorch's `resnet18_110.pth`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Width of the blocks and stride of the first of each pair.
LAYERS = ((64, 1), (128, 2), (256, 2), (512, 2))
REDUCTION = 16
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601


class ResNetFace18(nn.Module):
    """Aligned RGB faces (n, 3, 128, 128) in [-1, 1] -> unit (n, 1024): the features of a face's
    grey picture, then those of its mirror image. `excitation` is whether the file has the
    squeeze-and-excitation tensors, `se`."""

    side = 128
    width = 1024

    def __init__(self, excitation: bool) -> None:
        super().__init__()
        inputs = LAYERS[0][0]
        self.conv1 = nn.Conv2d(1, inputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.prelu = nn.PReLU()
        for i, (outputs, stride) in enumerate(LAYERS, 1):
            first = Block(inputs, outputs, stride, excitation)
            second = Block(outputs, outputs, 1, excitation)
            self.add_module(f"layer{i}", nn.Sequential(first, second))
            inputs = outputs
        self.bn4 = nn.BatchNorm2d(inputs)
        self.fc5 = nn.Linear(inputs * 8 * 8, self.width // 2)
        self.bn5 = nn.BatchNorm1d(self.width // 2)

    def forward(self, faces: Tensor) -> Tensor:
        luma = faces.new_tensor(LUMA)[:, None, None]
        grey = (luma * faces).sum(1, keepdim=True)  # (n, 1, 128, 128)
        both = torch.cat([self.features(grey), self.features(grey.flip(3))], 1)
        return F.normalize(both, dim=1)

    def features(self, grey: Tensor) -> Tensor:
        """Grey faces (n, 1, 128, 128) in [-1, 1] -> (n, 512)."""
        x = F.max_pool2d(self.prelu(self.bn1(self.conv1(grey))), 2)
        for i in range(1, len(LAYERS) + 1):
            x = self.get_submodule(f"layer{i}")(x)
        x = self.bn4(x).flatten(1)  # (n, 512 * 8 * 8)
        features: Tensor = self.bn5(self.fc5(x))
        return features


class Block(nn.Module):
    """A residual block with one PReLU of one slope, used after the first convolution and last."""

    def __init__(self, inputs: int, outputs: int, stride: int, excitation: bool) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.se: nn.Module = SqueezeExcitation(outputs) if excitation else nn.Identity()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn1(self.conv1(self.bn0(x))))
        y = self.se(self.bn2(self.conv2(y)))
        z: Tensor = self.prelu(y + self.downsample(x))
        return z


class SqueezeExcitation(nn.Module):
    """x (n, channels, h, w), each channel times a weight that follows from the means of all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // REDUCTION),
            nn.PReLU(),
            nn.Linear(channels // REDUCTION, channels),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.fc(x.mean((2, 3)))
        return x * weights[:, :, None, None]
