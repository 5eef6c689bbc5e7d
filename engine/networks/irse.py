"""IR-SE50, the face recogniser of ArcFace (Deng et al. 2019, "ArcFace: Additive Angular Margin Loss
for Deep Face Recognition"; squeeze and excitation: Hu et al. 2018), for inference, with the state
names of `model_ir_se50.pth`."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

# Width and number of the units of each stage; the first unit of a stage halves the side.
STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))
REDUCTION = 16


class IRSE50(nn.Module):
    """Aligned RGB faces (n, 3, 112, 112) in [-1, 1] -> unit (n, 512)."""

    side = 112
    width = 512

    def __init__(self) -> None:
        super().__init__()
        first = STAGES[0][0]
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, first, 3, padding=1, bias=False), nn.BatchNorm2d(first), nn.PReLU(first)
        )
        units: list[nn.Module] = []
        inputs = first
        for outputs, count in STAGES:
            for i in range(count):
                units.append(Unit(inputs, outputs, stride=1 if i else 2))
                inputs = outputs
        self.body = nn.Sequential(*units)
        # Dropout came second while it was trained: it has no state, but counts in the names.
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Identity(),
            nn.Flatten(),
            nn.Linear(inputs * 7 * 7, self.width),
            nn.BatchNorm1d(self.width),
        )

    def forward(self, faces: Tensor) -> Tensor:
        x = self.body(self.input_layer(faces))  # (n, 512, 7, 7)
        return F.normalize(self.output_layer(x), dim=1)


class Unit(nn.Module):
    """A residual unit whose last normalised features are weighed channel by channel."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if inputs != outputs:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            SqueezeExcitation(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return y


class SqueezeExcitation(nn.Module):
    """x (n, channels, h, w), each channel times a weight that follows from the means of all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // REDUCTION, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // REDUCTION, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3), keepdim=True)
        weights: Tensor = self.fc2(self.fc1(means).relu()).sigmoid()
        return x * weights
