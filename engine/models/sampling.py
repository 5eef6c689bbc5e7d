"""Latents from seeds, and renders in batches that fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...store.errors import OptionError, require_number, wrong_type
from ..networks.style import NoiseMode
from .inputs import whole_numbers
from .protocols import Generator

MAX_SEED = 2**32 - 1
MAX_TRUNCATION = 2.0
"""Of psi, either way: at a negative one images lie as far beyond the average one, opposite."""
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


@torch.no_grad()
def w_from_seeds(
    generator: Generator, seeds: int | Iterable[int], truncation: float, label: int | None = None
) -> Tensor:
    """w (n, num_ws, w_dim) of seeds at a truncation psi; of class `label` of a conditional
    generator, or of a class that each seed draws.

    Raises:
        OptionError: a seed, a truncation or a class out of its range, or of another type.
    """
    require_truncation(truncation)
    seeds = whole_numbers("seeds", seeds)
    z = latents_from_seeds(seeds, generator.z_dim).to(generator.device)
    classes = [int(np.random.default_rng(seed).integers(max(generator.c_dim, 1))) for seed in seeds]
    c = one_hot_labels(generator, classes, label)
    return generator.map(z, c, truncation=truncation)


@torch.no_grad()
def styles_from_seeds(
    generator: Generator, seeds: int | Iterable[int], truncation: float, label: int | None = None
) -> Tensor:
    """Styles (n, C) of seeds; see `w_from_seeds`."""
    return generator.styles(w_from_seeds(generator, seeds, truncation, label))


@torch.inference_mode()
def w_shape(generator: Generator) -> tuple[int, int]:
    """num_ws and w_dim of a generator."""
    z = torch.zeros(1, generator.z_dim, device=generator.device)
    labels = one_hot_labels(generator, [0], None)
    _, rows, width = generator.map(z, labels).shape
    return rows, width


def one_hot_labels(
    generator: Generator, classes: Sequence[int], label: int | None
) -> Tensor | None:
    """Labels (n, c_dim) of the classes, or all of class `label` where one is given; None for a
    generator that is not conditional.

    Raises:
        OptionError: a `label` that the generator does not have.
    """
    if label is not None and type(label) is not int:
        raise wrong_type("class", label, "a whole number")
    if label is not None and not 0 <= label < generator.c_dim:
        has = f"has classes 0 to {generator.c_dim - 1}" if generator.c_dim else "is not conditional"
        raise OptionError(f"class {label}: this generator {has}")
    if not generator.c_dim:
        return None
    chosen = torch.tensor(classes if label is None else [label] * len(classes), dtype=torch.int64)
    return F.one_hot(chosen, generator.c_dim).float().to(generator.device)


def require_truncation(truncation: float) -> None:
    """Raise OptionError unless -2 <= truncation <= 2."""
    require_number("truncation", truncation)
    if not abs(truncation) <= MAX_TRUNCATION:
        raise OptionError(
            f"truncation {truncation:g}: must lie between -{MAX_TRUNCATION:g} and "
            f"{MAX_TRUNCATION:g}"
        )


def batch_size(generator: Generator) -> int:
    """How many images to render at once: 64 up to 128 px, fewer above, at least 1."""
    height, width = generator.image_size
    return max(1, min(64, _BATCH_PIXELS // (height * width)))


def render_batches(
    generator: Generator, styles: Tensor, noise: NoiseMode = "const"
) -> Iterator[Tensor]:
    """Renders styles (n, C) a batch at a time, in order."""
    for part in styles.split(batch_size(generator)):
        yield generator.render(part, noise)
