"""Small networks for aligned images of 64 x 64: a classifier of attributes, and one that embeds
who an image shows."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

IMAGE_SHAPE = (3, 64, 64)
_WIDTHS = (3, 24, 48, 96, 96)


class AttributeNetwork(nn.Module):
    """Images (n, 3, 64, 64) in [-1, 1] -> scores (n, values), the values of all attributes in a
    row. Positions are kept to the end (4x4), because the images are aligned."""

    def __init__(self, values: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(_WIDTHS):
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1, stride=2, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(_WIDTHS[-1] * 16, values)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(F.dropout(self.features(images).flatten(1), 0.1, self.training))
        return scores


class IdentityNetwork(AttributeNetwork):
    """Images (n, 3, 64, 64) in [-1, 1] -> unit (n, 64). The cosine of two images is the share of
    what makes up an identity in which they agree."""

    width = 64

    def __init__(self) -> None:
        super().__init__(self.width)

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(super().forward(images), dim=1)
