"""Whether crops of faces, what the generator draws them by, and what edits made of them show the
same person."""

from __future__ import annotations

import torch
from torch import Tensor

from ...store.errors import CheckpointError
from ..models.identity import DlibIdentity, load_dlib
from ..models.preprocess import as_rgb, from_bytes
from ..models.protocols import Generator
from .cuts import Cut
from .photographs import EditedCut


class Likeness:
    """dlib's distance of faces, of which two are `SAME_PERSON` apart or less where they are of one
    person; needs what `styleatlas models fetch faces` fetches."""

    def __init__(self, network: DlibIdentity, device: torch.device) -> None:
        self._network, self._device = network, device

    @classmethod
    def of(cls, generator: Generator) -> Likeness | None:
        """None where dlib's network was not fetched, or images are not square, as faces that are
        aligned for it are."""
        height, width = generator.image_size
        if height != width:
            return None
        try:
            return cls(load_dlib(generator.device), generator.device)
        except CheckpointError:
            return None

    @torch.inference_mode()
    def of_edit(self, edited: EditedCut) -> tuple[float, float]:
        """How far the face that the generator draws before the edit is from the photo's, and that
        after the edit from the one before."""
        crop, before, after = self._network.describe(
            torch.cat(
                [self._seen(edited.cut), self._drawn(edited.inversion), self._drawn(edited.edit)]
            )
        )
        return float((before - crop).norm()), float((after - before).norm())

    @torch.inference_mode()
    def of_inversion(self, cut: Cut, inversion: Tensor) -> float:
        """How far the face that the generator draws, (channels, H, W), is from the photo's."""
        crop, drawn = self._network.describe(torch.cat([self._seen(cut), self._drawn(inversion)]))
        return float((drawn - crop).norm())

    def _seen(self, cut: Cut) -> Tensor:
        return from_bytes(torch.tensor(cut.pixels, device=self._device)[None])

    def _drawn(self, image: Tensor) -> Tensor:
        return as_rgb(image[None].float()).clamp(-1, 1).to(self._device)
