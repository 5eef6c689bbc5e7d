"""Mean and standard deviation of every style channel, streamed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..engine.models.protocols import Generator
from ..engine.models.sampling import one_hot_labels, require_truncation
from ..store.errors import OptionError
from .streams import Stream

BATCH = 1000
"""Latents that are mapped at once. Another number would draw others."""
_POOL = 128


def style_statistics(
    generator: Generator, latents: int, truncation: float, seed: int, label: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of the styles of so many random latents, each (C,).

    A conditional generator gives images of class `label`, or of random classes.

    Raises:
        OptionError: fewer than two latents, or a truncation or class out of its range.
    """
    require_statistics(latents)
    random = Stream.STATISTICS.random(seed)
    counts = (min(BATCH, latents - first) for first in range(0, latents, BATCH))
    return moments(_sample(generator, random, count, truncation, label) for count in counts)


def moments(batches: Iterable[Tensor]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation (C,) of the rows of batches (n, C), at least one.

    Batches are folded into float64 running moments (Chan et al. 1983), so memory does not grow
    with their number.
    """
    mean = squares = torch.zeros((), dtype=torch.float64)
    seen = 0
    for styles in map(_doubles, batches):  # by map, so that no batch outlives its doubles
        count, batch_mean = len(styles), styles.mean(0)
        difference = batch_mean - mean
        total = seen + count
        squares = squares + (styles - batch_mean).square().sum(0)
        squares = squares + difference.square() * (seen * count / total)
        mean = mean + difference * (count / total)
        seen = total
    std = (squares / seen).sqrt()
    return mean.float().numpy(), std.float().numpy()


def _doubles(styles: Tensor) -> Tensor:
    return styles.cpu().double()


def require_statistics(latents: int) -> None:
    """Raise OptionError unless there are at least two latents behind the statistics."""
    if latents < 2:
        raise OptionError(f"statistics {latents}: must be at least 2")


def image_styles(
    generator: Generator, images: int, truncation: float, seed: int, label: int | None = None
) -> Tensor:
    """The styles (images, C) that the sweep perturbs, on the generator's device."""
    random = Stream.IMAGES.random(seed)
    return _sample(generator, random, images, truncation, label)


def composite_styles(
    generator: Generator, truncation: float, seed: int, label: int | None = None
) -> Tensor:
    """The styles (128, C) of the images that composites are measured on, other than the sweep's."""
    random = Stream.COMPOSITE_IMAGES.random(seed)
    return _sample(generator, random, _POOL, truncation, label)


def _sample(
    generator: Generator,
    random: np.random.Generator,
    count: int,
    truncation: float,
    label: int | None,
) -> Tensor:
    z = random.standard_normal((count, generator.z_dim), np.float32)
    classes = random.integers(generator.c_dim, size=count).tolist() if generator.c_dim else []
    return styled(generator, z, classes, truncation, label)


@torch.inference_mode()
def styled(
    generator: Generator,
    z: NDArray[np.float32],
    classes: Sequence[int],
    truncation: float,
    label: int | None,
    cutoff: int | None = None,
) -> Tensor:
    """The styles (n, C) of latents z (n, z_dim), on the generator's device.

    Args:
        classes: of a conditional generator, if all are not to be of class `label`.
        truncation: psi of the first `cutoff` rows of w, or of all.

    Raises:
        OptionError: a truncation or class out of its range.
    """
    require_truncation(truncation)
    c = one_hot_labels(generator, classes, label)
    latents = torch.from_numpy(z).to(generator.device)
    w = generator.map(latents, c, truncation=truncation, truncation_cutoff=cutoff)
    return generator.styles(w)
