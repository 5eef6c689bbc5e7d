"""LPIPS, how different two pictures look (Zhang et al. 2018, "The Unreasonable Effectiveness of
Deep Features as a Perceptual Metric"), in its linear form of version 0.1, for inference.

The features are those of AlexNet (Krizhevsky 2014, "One weird trick for parallelizing convolutional
neural networks") or of VGG16 (Simonyan and Zisserman 2015): of each stage of equal side the last
ones, of AlexNet's last stage all three. State names are those of torchvision's networks.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Backbone = Literal["alex", "vgg"]

SEEN: dict[Backbone, dict[int, int]] = {
    "alex": {1: 64, 4: 192, 7: 384, 9: 256, 11: 256},
    "vgg": {3: 64, 8: 128, 15: 256, 22: 512, 29: 512},
}
"""The numbers of the layers whose outputs count, and the channels these have."""
SMALLEST: dict[Backbone, int] = {"alex": 31, "vgg": 16}
"""The side in pixels below which nothing is left for the last of them."""
# Of red, green and blue in [-1, 1].
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
# A shorter feature has no direction. Under the root, whose gradient at 0 is infinite.
_SHORTEST = 1e-10


class LPIPS(nn.Module):
    """RGB images (n, 3, H, W) in [-1, 1], no side below `SMALLEST`, -> (n, D), where D depends on H
    and W: the squared distance of two is LPIPS of their images (equation 1).

    For that the unit features of a layer are multiplied by the roots of its learned weights over
    the number of positions.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone: Backbone = backbone
        self.features = _alexnet() if backbone == "alex" else _vgg16()
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(channels)) for channels in SEEN[backbone].values()
        )

    def forward(self, images: Tensor) -> Tensor:
        shift, scale = (images.new_tensor(x)[:, None, None] for x in (_SHIFT, _SCALE))
        x = (images - shift) / scale
        weights, parts = iter(self.weights), []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in SEEN[self.backbone]:
                length = x.square().sum(1, keepdim=True).clamp(min=_SHORTEST**2).sqrt()
                weight = next(weights) / (x.shape[2] * x.shape[3])
                parts.append((x / length * weight.sqrt()[:, None, None]).flatten(1))
        return torch.cat(parts, 1)


def _alexnet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
    )


def _vgg16() -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = 3
    for outputs, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        if layers:
            layers.append(nn.MaxPool2d(2))
        for _ in range(count):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
    return nn.Sequential(*layers)
