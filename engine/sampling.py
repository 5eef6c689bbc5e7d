"""Latents from seeds, and renders in batches that fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..store.errors import OptionError
from .protocols import Generator, NoiseMode

MAX_SEED = 2**32 - 1
MAX_TRUNCATION = 2.0
_BATCH_PIXELS = 64 * 128 * 128


def latents_from_seeds(seeds: Sequence[int], z_dim: int) -> Tensor:
    """One latent a seed, (n, z_dim) on the CPU, the same that StyleGAN's own scripts draw.

    Raises:
        OptionError: a seed outside 0..2^32 - 1.
    """
    for seed in seeds:
        if not 0 <= seed <= MAX_SEED:
            raise OptionError(f"seed {seed}: must lie between 0 and {MAX_SEED}")
    rows = [np.random.RandomState(seed).randn(z_dim) for seed in seeds]
    return torch.from_numpy(np.stack(rows).astype(np.float32))


@torch.inference_mode()
def styles_from_seeds(generator: Generator, seeds: Sequence[int], truncation: float) -> Tensor:
    """Styles (n, C) of seeds at a truncation psi.

    Raises:
        OptionError: a seed or a truncation out of its range.
    """
    require_truncation(truncation)
    z = latents_from_seeds(seeds, generator.z_dim).to(generator.device)
    return generator.styles(generator.map(z, truncation=truncation))


def require_truncation(truncation: float) -> None:
    """Raise OptionError unless 0 <= truncation <= 2."""
    if not 0 <= truncation <= MAX_TRUNCATION:
        raise OptionError(f"truncation {truncation:g}: must lie between 0 and {MAX_TRUNCATION:g}")


def batch_size(generator: Generator) -> int:
    """How many images to render at once: 64 up to 128 px, fewer above, at least 1."""
    resolution = max(layer.resolution for layer in generator.layout)
    return max(1, min(64, _BATCH_PIXELS // resolution**2))


def render_batches(
    generator: Generator, styles: Tensor, noise: NoiseMode = "const"
) -> Iterator[Tensor]:
    """Renders styles (n, C) a batch at a time, in order."""
    for part in styles.split(batch_size(generator)):
        yield generator.render(part, noise)
