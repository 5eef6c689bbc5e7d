"""Where the inversion of a crop begins: in the samples of an atlas, or at the average w."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...store.errors import OptionError
from ...store.sample_set import SampleSet
from ..models.features import Features
from ..models.protocols import Generator, JointEncoder
from ..models.sampling import one_hot_labels
from ..steering.lookup import LookUp
from .settings import InvertSettings


@dataclass(frozen=True, eq=False)
class Beginning:
    """Where n crops begin.

    Args:
        w: float32 (n, num_ws, w_dim), the same in all rows.
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
    ) -> None:
        self._generator, self._encoder, self._features = generator, encoder, features
        self._look_up = None if samples is None else LookUp(samples)
        ours = {} if features is None else features.sources
        read = {} if samples is None else samples.readings
        known = [name for name in ours if name in read]
        self.names = tuple(name for name in known if read[name].source == ours[name])
        self.others = tuple(name for name in known if name not in self.names)

    def require(self, settings: InvertSettings) -> None:
        """Raise OptionError where crops are to be looked up and there are no samples."""
        if self._look_up is None and settings.start == "look-up":
            raise OptionError(
                "start look-up: the atlas has no samples to look up in; start from the mean, or "
                "give it samples by `styleatlas precompute`"
            )

    @torch.no_grad()
    def find(self, crops: Tensor, settings: InvertSettings) -> Beginning:
        """Where crops (n, 3, H, W) begin."""
        n, generator = len(crops), self._generator
        label = np.full(n, -1 if settings.label is None else settings.label, np.int32)
        c = one_hot_labels(generator, [0] * n, settings.label)
        z = torch.zeros(n, generator.z_dim, device=generator.device)
        average = generator.map(z, c, truncation=0.0)  # (n, num_ws, w_dim), of no class
        if self._look_up is None:
            return Beginning(average, label, np.full(n, np.nan, np.float32))
        read = {} if self._features is None else self._features.read(crops)
        features = {name: read[name].astype(np.float32) for name in self.names}
        embedding = self._encoder.images(crops).float().cpu().numpy()
        found = self._look_up.find(embedding, features, settings.label)
        w = average
        if settings.start == "look-up":
            w = torch.from_numpy(found.w).to(average)[:, None].expand_as(average).contiguous()
        return Beginning(w, found.label, found.farther)
