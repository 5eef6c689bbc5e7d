"""The affine map from w to styles, found from the generator alone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..engine.models.protocols import Generator
from ..engine.models.sampling import w_shape

Array = NDArray[np.float32]

TOLERANCE = 1e-3
"""Of the spread of the styles: what the map may be off by at any channel."""

_AT_ONCE = 64


def affine_map(generator: Generator, w: Array) -> tuple[Array, Array] | None:
    """weight (C, w_dim) and bias (C,) with which style = weight @ w + bias, where all rows of w are
    alike; None where the generator's styles are not affine in w.

    The bias are the styles at w = 0 and the columns those at the unit vectors, less the bias. That
    is proven on the latents `w` (n, w_dim), of which there must be at least one.
    """
    w_dim = w_shape(generator)[1]
    bias = styles_of(generator, np.zeros((1, w_dim), np.float32))[0]
    columns = styles_of(generator, np.eye(w_dim, dtype=np.float32)) - bias  # (w_dim, C)
    styles = styles_of(generator, w)
    errors = np.abs(w @ columns + bias - styles)
    spread = np.sqrt(np.square(styles - bias, dtype=np.float64).mean())
    if not errors.max() <= TOLERANCE * spread:  # so that NaN fails, too
        return None
    return np.ascontiguousarray(columns.T), bias


@torch.inference_mode()
def styles_of(generator: Generator, w: Array) -> Array:
    """The styles (n, C) of latents (n, w_dim), each of all rows of w."""
    rows, _ = w_shape(generator)

    def styles(part: Tensor) -> Tensor:
        return generator.styles(part.to(generator.device)[:, None].expand(-1, rows, -1))

    parts = torch.from_numpy(np.ascontiguousarray(w)).split(_AT_ONCE)
    return np.concatenate([styles(part).float().cpu().numpy() for part in parts])
