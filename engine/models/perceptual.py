"""How different two pictures look: LPIPS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...store.errors import OptionError
from ...store.fingerprint import ModelIdentity
from ...store.registry import FETCHED
from ...store.weights import fetched_file
from ..checkpoints.lpips_file import read_lpips
from ..networks.lpips import LPIPS, SMALLEST
from .preprocess import as_rgb


class Perceptual:
    """LPIPS, frozen on a device; `name` is what people call it, `identity` what a fingerprint
    remembers of its weights.

    As a loss: `perceptual_loss` of `fallbacks/losses.py`, of what is to stay embedded once.
    """

    def __init__(self, network: LPIPS, identity: ModelIdentity, device: torch.device) -> None:
        self.name = identity.name
        self.identity = identity
        network = network.to(device).to(memory_format=torch.channels_last)
        self.network = network.eval().requires_grad_(False)

    def embed(self, images: Tensor) -> Tensor:
        """Images (n, 1, 3 or 4, H, W) in [-1, 1], on its device -> (n, D), such that the squared
        distance of two images of one size is their LPIPS. Grey ones are taken as RGB, and
        transparent ones over white, as everywhere (`as_rgb`); values out of range as they are.
        Differentiable, twice too; computes in the type of the weights, float32.

        Raises:
            OptionError: images of another shape, or with a side below 31 pixels by AlexNet, 16 by
                VGG16.
        """
        smallest = SMALLEST[self.network.backbone]
        rgb = as_rgb(images)
        if min(rgb.shape[2:]) < smallest:
            height, width = rgb.shape[2:]
            raise OptionError(
                f"LPIPS by {self.name}: reads images of {smallest} pixels a side or more, not of "
                f"{height} x {width}; give larger ones"
            )
        embeddings: Tensor = self.network(rgb.to(self.network.weights[0].dtype))
        return embeddings

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """LPIPS of two times n images of one size, (n,); see `embed`."""
        return (self.embed(a) - self.embed(b)).square().sum(1)


def load_perceptual(sources: Sequence[str], device: torch.device) -> Perceptual:
    """LPIPS by `alex` or `vgg`, as they were fetched, or from one or two files; see `read_lpips`.

    Raises:
        CheckpointError: the weights were not fetched, or the files are not such weights.
        OptionError: a name beside something else.
    """
    named = [source for source in sources if source in SMALLEST]
    if named and len(sources) > 1:
        raise OptionError(f"LPIPS: {named[0]} stands for a whole network; name it alone, or files")
    paths = [fetched_file(*FETCHED[x]) if named else Path(x) for x in sources]
    network, sha256 = read_lpips(paths)
    return Perceptual(network, ModelIdentity(network.backbone, sha256, {}), device)
