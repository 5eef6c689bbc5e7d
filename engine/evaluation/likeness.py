"""How alike an image and its edit are to networks that have no part in the edit: LPIPS, and one
that tells whether they show the same person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..fallbacks.losses import identity_loss, perceptual_loss
from ..models.identity import SAME_PERSON, DlibIdentity, Identity
from ..models.perceptual import Perceptual

UNCHANGED = {"lpips": 0.0, "identity": 1.0, "same_person": 100.0}
"""What may be measured, and what it is of an image that is left as it is: LPIPS; the cosine of the
identity embeddings; whether dlib's rule takes both for one person, 0 or 100 percent."""
LARGEST_SIDE = 256
"""LPIPS sees an image whose shorter side is longer brought to that by means. The projector of
StyleGAN2 does so; an image of 1,024 pixels would cost VGG16 320 GMAC."""
_PIXELS = 2**20  # that go through LPIPS at once


@dataclass(frozen=True, eq=False)
class Seen:
    """Embeddings of n images: `picture` as LPIPS has them, `person` as the network of identity
    does, of dlib's at their own length; None where there is no such network."""

    picture: Tensor | None
    person: Tensor | None


class Likeness:
    """What is to be measured: LPIPS, identity, both or nothing."""

    def __init__(
        self, perceptual: Perceptual | None = None, identity: Identity | None = None
    ) -> None:
        self.perceptual, self.identity = perceptual, identity

    @property
    def measured(self) -> tuple[str, ...]:
        """Which of `UNCHANGED`."""
        known = {
            "lpips": self.perceptual is not None,
            "identity": self.identity is not None,
            "same_person": isinstance(self.identity, DlibIdentity),
        }
        return tuple(name for name, is_known in known.items() if is_known)

    @torch.inference_mode()
    def see(self, images: Tensor) -> Seen:
        """Images (n, channels, H, W), clipped to [-1, 1].

        Raises:
            OptionError: a network cannot read such images.
        """
        images, picture, person = images.clamp(-1, 1), None, None
        if self.perceptual is not None:
            small = _smaller(images)
            parts = small.split(max(1, _PIXELS // small[0, 0].numel()))
            picture = torch.cat([self.perceptual.embed(part) for part in parts])
        if isinstance(self.identity, DlibIdentity):
            person = self.identity.describe(images)
        elif self.identity is not None:
            person = self.identity.embed(images)
        return Seen(picture, person)

    def compare(self, before: Seen, after: Seen) -> dict[str, NDArray[np.float32]]:
        """All that is measured, (n,) each."""
        found = {}
        if before.picture is not None and after.picture is not None:
            found["lpips"] = perceptual_loss(after.picture, before.picture)
        if before.person is not None and after.person is not None:
            a, b = (F.normalize(seen.float(), dim=1) for seen in (after.person, before.person))
            found["identity"] = 1 - identity_loss(a, b)
            if isinstance(self.identity, DlibIdentity):
                apart = (after.person - before.person).norm(dim=1)
                found["same_person"] = 100 * (apart < SAME_PERSON)
        return {name: figures.float().cpu().numpy() for name, figures in found.items()}


def _smaller(images: Tensor) -> Tensor:
    """Images whose shorter side is `LARGEST_SIDE` at most, by means over their pixels."""
    height, width = images.shape[2:]
    short = min(height, width)
    if short <= LARGEST_SIDE:
        return images
    size = (LARGEST_SIDE * height // short, LARGEST_SIDE * width // short)
    return F.adaptive_avg_pool2d(images, size)
