"""Set-ups of blocks, of which only what a kind of block looks at need be given."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from styleatlas.precompute.blocks import Setup
from styleatlas.precompute.probes import Probes


def setup_of(
    styles: Tensor,
    centre: Tensor | None = None,
    step: Tensor | None = None,
    probes: Probes | None = None,
    pool: Tensor | None = None,
) -> Setup:
    nowhere = np.full(styles.shape[1], np.nan, np.float32)
    return Setup(
        styles.numpy(),
        nowhere if centre is None else centre.numpy(),
        nowhere if step is None else step.numpy(),
        probes or Probes.of(nowhere[None], 0, 0),
        styles[:0].numpy() if pool is None else pool.numpy(),
    )
