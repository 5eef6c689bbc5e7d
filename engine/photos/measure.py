"""How far a render lies from a crop, as a refinement makes it small: a loss, and its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ...store.fingerprint import ModelIdentity
from ..models.face_readers import FaceReader
from ..models.perceptual import Perceptual
from ..models.preprocess import as_rgb
from ..models.protocols import JointEncoder
from ..networks.lpips import SMALLEST

SEEN_SIDE = 256
"""Of LPIPS: larger images are averaged to this side, as StyleGAN2's projector does."""
CLIP_WEIGHT = 0.3
"""Of 1 less the cosine of CLIP's embeddings beside the difference of pixels."""
IDENTITY = "identity"
"""The feature that tells who is seen."""
IDENTITY_WEIGHT = 0.3
"""Of the squared distance of who is seen: .11 for another person by dlib's rule, where LPIPS of a
face ends at some .2."""
_SCALES = 4  # of pixels: whole, and averaged over 2 x 2, 4 x 4 and 8 x 8


class Measure(Protocol):
    """A distance of renders and crops.

    Args:
        name: as people are told it.
        identities: of the networks that it sees by.
    """

    name: str
    identities: tuple[ModelIdentity, ...]

    def seen(self, images: Tensor) -> tuple[Tensor, ...]:
        """What of images (n, channels, H, W) in [-1, 1] counts, each (n, ...); differentiable."""
        ...

    def distance(self, one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> Tensor:
        """Of what was seen of n images and n others, (n,), 0 where they are the same."""
        ...


class PerceptualMeasure:
    """LPIPS at `SEEN_SIDE` pixels."""

    def __init__(self, perceptual: Perceptual) -> None:
        self.name = f"LPIPS ({perceptual.name})"
        self.identities: tuple[ModelIdentity, ...] = (perceptual.identity,)
        self._perceptual = perceptual

    def seen(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `Measure.seen`."""
        return (self._perceptual.embed(reduced(images, SEEN_SIDE)),)

    def distance(self, one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> Tensor:
        """See `Measure.distance`."""
        return (one[0] - other[0]).square().sum(1)


class WithIdentity:
    """Another measure, and beside it the squared distance of who dlib sees."""

    def __init__(self, measure: Measure, reader: FaceReader) -> None:
        self.name = f"{measure.name} and identity ({reader.name})"
        self.identities = (*measure.identities, reader.identity)
        self._measure, self._reader = measure, reader

    def seen(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `Measure.seen`."""
        return (*self._measure.seen(images), self._reader.read(images)[IDENTITY])

    def distance(self, one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> Tensor:
        """See `Measure.distance`."""
        same = (one[-1] - other[-1]).square().sum(1)
        return self._measure.distance(one[:-1], other[:-1]) + IDENTITY_WEIGHT * same


class PixelMeasure:
    """Where there is no LPIPS: the mean absolute difference of pixels at several scales, 0 to 1,
    and how far CLIP's embeddings turn."""

    name = "pixels and CLIP"

    def __init__(self, encoder: JointEncoder) -> None:
        self.identities: tuple[ModelIdentity, ...] = (encoder.identity,)
        self._encoder = encoder

    def seen(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `Measure.seen`."""
        scale = reduced(as_rgb(images), SEEN_SIDE)
        scales = [scale]
        while len(scales) < _SCALES and min(scale.shape[2:]) > 1:
            scale = F.avg_pool2d(scale, 2)
            scales.append(scale)
        return (*scales, F.normalize(self._encoder.images(images).float(), dim=1))

    def distance(self, one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> Tensor:
        """See `Measure.distance`."""
        pairs = zip(one[:-1], other[:-1], strict=True)
        apart = [(a - b).abs().flatten(1).mean(1) / 2 for a, b in pairs]
        turned = 1 - (one[-1] * other[-1]).sum(1)
        return torch.stack(apart).mean(0) + CLIP_WEIGHT * turned


def measure_of(
    size: tuple[int, int],
    encoder: JointEncoder,
    perceptual: Perceptual | None,
    readers: Sequence[FaceReader] = (),
) -> Measure:
    """LPIPS where it is had and sees images of a size (height, width), else pixels and CLIP; and
    who is seen, where one of the readers of images tells that."""
    measure: Measure = PixelMeasure(encoder)
    if perceptual is not None and min(size) >= SMALLEST[perceptual.network.backbone]:
        measure = PerceptualMeasure(perceptual)
    for reader in readers:
        if IDENTITY in reader.readings:
            measure = WithIdentity(measure, reader)
    return measure


def reduced(images: Tensor, side: int) -> Tensor:
    """Images (n, c, H, W) whose longer side is longer, averaged to it; others as they are."""
    height, width = images.shape[2:]
    if max(height, width) <= side:
        return images
    share = side / max(height, width)
    size = (max(1, round(height * share)), max(1, round(width * share)))
    return F.interpolate(images, size, mode="area")
