"""IR-SE50, the face recogniser of ArcFace (Deng et al. 2019, "ArcFace: Additive Angular Margin Loss
for Deep Face Recognition"; squeeze and excitation: Hu et al. 2018), for inference, with the state
names of `model_ir_se50.pth`."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS, UNITS = (64, 128, 256, 512), (3, 4, 14, 3)
"""Width and number of the units of each stage; the first unit of a stage halves the side."""
REDUCTION = 16


class IRSE50(nn.Module):
    """Aligned RGB faces (n, 3, 112, 112) in [-1, 1] -> unit (n, 512)."""

    side = 112
    width = 512

    def __init__(self) -> None:
        super().__init__()
        self.input_layer, self.body = trunk(3, WIDTHS)
        inputs = WIDTHS[-1]
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


def trunk(channels: int, widths: tuple[int, ...]) -> tuple[nn.Sequential, nn.Sequential]:
    """The layer that takes images of so many channels, and the units after it, with a width for
    each stage."""
    first = widths[0]
    input_layer = nn.Sequential(
        nn.Conv2d(channels, first, 3, padding=1, bias=False),
        nn.BatchNorm2d(first),
        nn.PReLU(first),
    )
    units: list[nn.Module] = []
    inputs = first
    for outputs, count in zip(widths, UNITS, strict=True):
        for i in range(count):
            units.append(Unit(inputs, outputs, stride=1 if i else 2))
            inputs = outputs
    return input_layer, nn.Sequential(*units)


def trunk_shapes(channels: int, widths: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight of the two, below `input_layer` and `body`, by arithmetic."""
    shapes: dict[str, tuple[int, ...]] = {}

    def normalisation(name: str, width: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (width,)

    before = widths[0]
    shapes["input_layer.0.weight"] = (before, channels, 3, 3)
    normalisation("input_layer.1", before)
    shapes["input_layer.2.weight"] = (before,)
    every = [width for width, count in zip(widths, UNITS, strict=True) for _ in range(count)]
    for number, width in enumerate(every):
        unit, squeezed = f"body.{number}", width // REDUCTION
        normalisation(f"{unit}.res_layer.0", before)
        shapes[f"{unit}.res_layer.1.weight"] = (width, before, 3, 3)
        shapes[f"{unit}.res_layer.2.weight"] = (width,)
        shapes[f"{unit}.res_layer.3.weight"] = (width, width, 3, 3)
        normalisation(f"{unit}.res_layer.4", width)
        shapes[f"{unit}.res_layer.5.fc1.weight"] = (squeezed, width, 1, 1)
        shapes[f"{unit}.res_layer.5.fc2.weight"] = (width, squeezed, 1, 1)
        if before != width:
            shapes[f"{unit}.shortcut_layer.0.weight"] = (width, before, 1, 1)
            normalisation(f"{unit}.shortcut_layer.1", width)
        before = width
    return shapes


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
