"""The network of dlib's face recognition model (King 2017, "High Quality Face Recognition with Deep
Metric Learning", blog.dlib.net): a ResNet (He et al. 2016) of 29 convolutions, for inference. Names
are face-api's; a convolution's weight and bias hold the scale and shift that follow it there."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN = (122.782, 117.001, 104.298)
"""Of red, green and blue in 0 to 255: taken off before they are divided by 255."""
STAGES = ((32, 3), (64, 3), (128, 2), (256, 2))
"""Width of each stage, and number of units that keep its side; but for the first, one that halves
the side comes before them."""


class DlibResNet(nn.Module):
    """Aligned RGB faces (n, 3, 150, 150) in [-1, 1] -> (n, 128), of no set length."""

    side = 150
    width = 128

    def __init__(self) -> None:
        super().__init__()
        inputs = STAGES[0][0]
        self.conv32_down = nn.Conv2d(3, inputs, 7, stride=2)
        units: dict[str, nn.Module] = {}
        for outputs, count in STAGES:
            if outputs != inputs:
                units[f"conv{outputs}_down"] = Unit(inputs, outputs, stride=2)
            units |= {f"conv{outputs}_{i}": Unit(outputs, outputs) for i in range(1, count + 1)}
            inputs = outputs
        units[f"conv{inputs}_down_out"] = Unit(inputs, inputs, stride=2)
        self.units = nn.ModuleDict(units)
        self.fc = nn.Parameter(torch.empty(inputs, self.width))

    def forward(self, faces: Tensor) -> Tensor:
        mean = faces.new_tensor(MEAN)[:, None, None]
        x = ((faces + 1) * 127.5 - mean) / 255
        x = F.max_pool2d(self.conv32_down(x).relu(), 3, 2)
        for unit in self.units.values():
            x = unit(x)
        return x.mean((2, 3)) @ self.fc


class Unit(nn.Module):
    """A residual unit. One that halves the side adds the mean of every four pixels, with channels
    of zeros where it has more of them; its own result, which may be a pixel smaller, gets one of
    zeros to the right and below."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1 if stride == 1 else 0)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x).relu())
        if self.stride > 1:
            x = F.avg_pool2d(x, self.stride)
            y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
            x = F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
        return F.relu(x + y)
