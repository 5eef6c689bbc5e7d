"""Mean and standard deviation of every style channel, streamed."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..engine.models.protocols import Generator
from ..engine.models.sampling import one_hot_labels, require_truncation
from ..store.errors import OptionError
from .streams import Stream

_BATCH = 1000
_POOL = 128


def style_statistics(
    generator: Generator, latents: int, truncation: float, seed: int, label: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of the styles of so many random latents, each (C,).

    Batches are folded into float64 running moments (Chan et al. 1983), so memory does not grow
    with their number. A conditional generator gives images of class `label`, or of
    random classes.

    Raises:
        OptionError: fewer than two latents, or a truncation or class out of its range.
    """
    require_statistics(latents)
    mean = torch.zeros(generator.layout.size, dtype=torch.float64)
    squares = torch.zeros_like(mean)
    seen = 0
    random = Stream.STATISTICS.random(seed)
    while seen < latents:
        count = min(_BATCH, latents - seen)
        styles = _sample(generator, random, count, truncation, label).cpu().double()
        batch_mean = styles.mean(0)
        difference = batch_mean - mean
        total = seen + count
        squares += (styles - batch_mean).square().sum(0)
        squares += difference.square() * (seen * count / total)
        mean += difference * (count / total)
        seen = total
    std = (squares / seen).sqrt()
    return mean.float().numpy(), std.float().numpy()


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


@torch.inference_mode()
def _sample(
    generator: Generator,
    random: np.random.Generator,
    count: int,
    truncation: float,
    label: int | None,
) -> Tensor:
    require_truncation(truncation)
    z = torch.from_numpy(random.standard_normal((count, generator.z_dim), np.float32))
    classes = random.integers(generator.c_dim, size=count).tolist() if generator.c_dim else []
    c = one_hot_labels(generator, classes, label)
    return generator.styles(generator.map(z.to(generator.device), c, truncation=truncation))
