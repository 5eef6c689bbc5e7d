"""The three networks of MTCNN (Zhang et al. 2016, arXiv 1604.02878), which find faces ever more
carefully, with the state names of `pnet.pt`, `rnet.pt` and `onet.pt`.

The paper gives kernels, widths and poolings; that poolings round up and that features are flattened
width first, then height, then channel, is what the published weights need.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ProposalNetwork(nn.Module):
    """Judges every window of 12 x 12 pixels, 2 apart: RGB (n, 3, H, W) in [-1, 1], 12 x 12 or
    larger -> the probabilities of a face (n, h, w) and what to add to the four sides of its box, as
    shares of the window: left, top, right, bottom (n, 4, h, w)."""

    side = 12
    stride = 2

    def __init__(self) -> None:
        super().__init__()
        for i, (inputs, outputs) in enumerate(((3, 10), (10, 16), (16, 32)), 1):
            self.add_module(f"conv{i}", nn.Conv2d(inputs, outputs, 3))
            self.add_module(f"prelu{i}", nn.PReLU(outputs))
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = F.max_pool2d(convolved(self, images, 1), 2, ceil_mode=True)
        x = convolved(self, convolved(self, x, 2), 3)
        return self.conv4_1(x).softmax(1)[:, 1], self.conv4_2(x)


class RefineNetwork(nn.Module):
    """RGB windows (n, 3, 24, 24) in [-1, 1] -> the probability of a face (n,) and what to add to
    the sides (n, 4), as in `ProposalNetwork`."""

    side = 24

    def __init__(self) -> None:
        super().__init__()
        for i, (inputs, outputs, kernel) in enumerate(((3, 28, 3), (28, 48, 3), (48, 64, 2)), 1):
            self.add_module(f"conv{i}", nn.Conv2d(inputs, outputs, kernel))
            self.add_module(f"prelu{i}", nn.PReLU(outputs))
        self.dense4 = nn.Linear(3 * 3 * 64, 128)
        self.prelu4 = nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        x = F.max_pool2d(convolved(self, windows, 1), 3, 2, ceil_mode=True)
        x = F.max_pool2d(convolved(self, x, 2), 3, 2, ceil_mode=True)
        x = self.prelu4(self.dense4(flattened(convolved(self, x, 3))))
        return self.dense5_1(x).softmax(1)[:, 1], self.dense5_2(x)


class OutputNetwork(nn.Module):
    """RGB windows (n, 3, 48, 48) in [-1, 1] -> the probability of a face (n,), what to add to the
    sides (n, 4), as in `ProposalNetwork`, and five points (n, 5, 2), x and y as shares of the
    window: the eye and, later, the mouth's corner that lie to the left in the picture, those to the
    right, the tip of the nose between: left eye, right eye, nose, left corner, right corner."""

    side = 48

    def __init__(self) -> None:
        super().__init__()
        layers = ((3, 32, 3), (32, 64, 3), (64, 64, 3), (64, 128, 2))
        for i, (inputs, outputs, kernel) in enumerate(layers, 1):
            self.add_module(f"conv{i}", nn.Conv2d(inputs, outputs, kernel))
            self.add_module(f"prelu{i}", nn.PReLU(outputs))
        self.dense5 = nn.Linear(3 * 3 * 128, 256)
        self.prelu5 = nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = F.max_pool2d(convolved(self, windows, 1), 3, 2, ceil_mode=True)
        x = F.max_pool2d(convolved(self, x, 2), 3, 2, ceil_mode=True)
        x = F.max_pool2d(convolved(self, x, 3), 2, ceil_mode=True)
        x = self.prelu5(self.dense5(flattened(convolved(self, x, 4))))
        points = self.dense6_3(x).unflatten(1, (2, 5)).transpose(1, 2)  # all x, then all y
        return self.dense6_1(x).softmax(1)[:, 1], self.dense6_2(x), points


def convolved(network: nn.Module, x: Tensor, i: int) -> Tensor:
    """x after a network's i-th convolution and its PReLU."""
    y: Tensor = network.get_submodule(f"prelu{i}")(network.get_submodule(f"conv{i}")(x))
    return y


def flattened(x: Tensor) -> Tensor:
    """x (n, c, h, w) -> (n, w * h * c)."""
    return x.permute(0, 3, 2, 1).flatten(1)
