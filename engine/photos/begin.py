"""Where the inversion of a crop begins: where a photo encoder says, in the samples of an atlas, or
at the average w."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...store.errors import CheckpointError, OptionError
from ...store.sample_set import SampleSet
from ..models.features import Features
from ..models.protocols import Generator, JointEncoder, PhotoEncoder
from ..models.sampling import one_hot_labels
from ..steering.lookup import LookUp
from .settings import InvertSettings


@dataclass(frozen=True, eq=False)
class Beginning:
    """Where n crops begin.

    Args:
        w: float32 (n, num_ws, w_dim), the same in all rows but by a photo encoder.
        label: their classes, int32 (n,); -1 where the generator is not conditional.
        farther: see `LookedUp`, float32 (n,); NaN without samples.
    """

    w: Tensor
    label: NDArray[np.int32]
    farther: NDArray[np.float32]

    @classmethod
    def joined(cls, parts: Sequence[Beginning]) -> Beginning:
        """One after the other."""
        return cls(
            torch.cat([part.w for part in parts]),
            np.concatenate([part.label for part in parts]),
            np.concatenate([part.farther for part in parts]),
        )


class Beginnings:
    """Finds where crops begin.

    Args:
        samples: of the generator's atlas, where it has any.
        features: what of a crop is read beside CLIP's embedding.
        photo_encoder: of the generator, where there is one.

    Attributes:
        names: of the features that crops are looked up by: those that were read of the samples by
            the same weights.
        others: of those that were read of the samples by other weights.
    """

    def __init__(
        self,
        generator: Generator,
        samples: SampleSet | None,
        encoder: JointEncoder,
        features: Features | None,
        photo_encoder: PhotoEncoder | None = None,
    ) -> None:
        self._generator, self._encoder, self._features = generator, encoder, features
        self._photo_encoder = photo_encoder
        self._look_up = None if samples is None else LookUp(samples)
        ours = {} if features is None else features.sources
        read = {} if samples is None else samples.readings
        known = [name for name in ours if name in read]
        self.names = tuple(name for name in known if read[name].source == ours[name])
        self.others = tuple(name for name in known if name not in self.names)

    def settled(self, settings: InvertSettings) -> InvertSettings:
        """See `InvertSettings.begun_by`.

        Raises:
            OptionError: crops are to be looked up, and there are no samples; or as it does.
        """
        encoder = self._photo_encoder
        settings = settings.begun_by(None if encoder is None else encoder.identity)
        if self._look_up is None and settings.start == "look-up":
            raise OptionError(
                "start look-up: the atlas has no samples to look up in; start from the mean, or "
                "give it samples by `styleatlas precompute`"
            )
        return settings

    @torch.no_grad()
    def find(self, crops: Tensor, settings: InvertSettings) -> Beginning:
        """Where crops (n, 3, H, W) begin, by settings that are `settled`.

        Raises:
            CheckpointError: a photo encoder makes latents that are not finite, or of another shape.
        """
        n, generator = len(crops), self._generator
        label = np.full(n, -1 if settings.label is None else settings.label, np.int32)
        c = one_hot_labels(generator, [0] * n, settings.label)
        z = torch.zeros(n, generator.z_dim, device=generator.device)
        w = average = generator.map(z, c, truncation=0.0)  # (n, num_ws, w_dim), of no class
        farther = np.full(n, np.nan, np.float32)
        if self._look_up is not None:
            read = {} if self._features is None else self._features.read(crops)
            features = {name: read[name].astype(np.float32) for name in self.names}
            embedding = self._encoder.images(crops).float().cpu().numpy()
            found = self._look_up.find(embedding, features, settings.label)
            label, farther = found.label, found.farther
            if settings.start != "mean":
                w = torch.from_numpy(found.w).to(average)[:, None].expand_as(average).contiguous()
        if settings.start == "encoder" and self._photo_encoder is not None:
            w = _encoded(self._photo_encoder, crops, w)
        return Beginning(w, label, farther)


def _encoded(encoder: PhotoEncoder, crops: Tensor, start: Tensor) -> Tensor:
    """What a photo encoder says of crops, of the shape and type of `start`."""
    w = encoder.encode(crops, start)
    if w.shape != start.shape or not bool(w.isfinite().all()):
        what = "numbers that are not finite" if w.shape == start.shape else f"w of {tuple(w.shape)}"
        raise CheckpointError(
            f"photo encoder {encoder.identity}: makes {what} where this generator takes "
            f"{tuple(start.shape)}; leave it out, or get it from its source again"
        )
    return w.to(start)
