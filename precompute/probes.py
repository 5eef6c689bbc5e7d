"""The directions of CLIP's space along which slopes are taken.

Instead of all D components of an embedding, K probes may do: most are the leading components of the
differences between the prompts of the bank, in which the differences of prompts lie nearly whole;
the others are random in what is left, new for every image, and measure how much of a row lies
there, so that rows keep their lengths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..store.errors import OptionError
from .streams import Stream

MIN_PROBES = 8


@dataclass(frozen=True, eq=False)
class Probes:
    """The directions of CLIP's space along which slopes are taken; none where none are.

    Args:
        basis: orthonormal rows, float32 (k, D).
        complement: orthonormal rows of what is left, float32 (D - k, D).
        random: how many directions of the complement are drawn for an image; 0 if there is none.
        seed: of the drawing.
    """

    basis: NDArray[np.float32]
    complement: NDArray[np.float32]
    random: int
    seed: int

    @classmethod
    def of(cls, embeddings: NDArray[np.float32], count: int, seed: int) -> Probes:
        """`count` probes for prompts with these embeddings (N, D); all D components if there
        are no fewer, and none if `count` is 0.

        Raises:
            OptionError: fewer than 8, or fewer prompts than would fill them.
        """
        width = embeddings.shape[1]
        nothing = np.zeros((0, width), np.float32)
        if count == 0:
            return cls(nothing, nothing, 0, seed)
        if count >= width:
            return cls(np.eye(width, dtype=np.float32), nothing, 0, seed)
        require_probes(count)
        random = max(2, count // 8)
        leading = count - random
        if len(embeddings) <= leading:
            raise OptionError(
                f"probes {count}: are chosen by the prompts of the bank, which holds only "
                f"{len(embeddings)}; take --probes {width}, all of CLIP's dimensions"
            )
        apart = embeddings.astype(np.float64) - embeddings.mean(0, dtype=np.float64)
        components = np.linalg.svd(apart.T @ apart)[0].T.astype(np.float32)  # (D, D), leading first
        return cls(components[:leading], components[leading:], random, seed)

    @property
    def width(self) -> int:
        """Of CLIP's space, D."""
        return int(self.basis.shape[1])

    @property
    def count(self) -> int:
        """Products an image."""
        return len(self.basis) + self.random

    def of_image(self, image: int) -> NDArray[np.float32]:
        """The random directions of an image, orthonormal (random, D)."""
        random = Stream.PROBES.random(self.seed, image)
        normal = random.normal(size=(len(self.complement), self.random))
        directions: NDArray[np.float32] = np.linalg.qr(normal)[0].T @ self.complement
        return directions.astype(np.float32)


def require_probes(count: int) -> None:
    """Raise OptionError if there are fewer than 8."""
    if count < MIN_PROBES:
        raise OptionError(f"probes {count}: must be at least {MIN_PROBES}")
