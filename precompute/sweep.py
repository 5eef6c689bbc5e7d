"""The sweep of StyleCLIP: what a channel at mean +- strength sigma does to the CLIP embedding.

Source: Patashnik et al. 2021, section 6 and its public table builders. One fault of these is not
repeated: every pair starts from the image's own styles, so no channel sees another's change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..engine.protocols import Generator, JointEncoder
from ..engine.sampling import batch_size
from .plan import WorkBlock

# Below this length a delta is rounding error of float32 embeddings, not a direction.
_STILL = 1e-5


@dataclass(frozen=True, eq=False)
class BlockSums:
    """What a block adds to the rows of its k channels.

    Args:
        unit: sum over the images of the unit deltas, float64 (k, D).
        length: sum over the images of the lengths of the raw deltas, float64 (k,).
    """

    unit: NDArray[np.float64]
    length: NDArray[np.float64]


@torch.inference_mode()
def sweep_block(
    generator: Generator,
    encoder: JointEncoder,
    block: WorkBlock,
    styles: Tensor,
    centre: Tensor,
    step: Tensor,
) -> BlockSums:
    """Renders and encodes both sides of every pair of a block: its channel at centre +- step.

    styles (images, C), centre and step (C,), all on the generator's device.
    """
    channels = torch.from_numpy(block.channels).to(styles.device)
    images = block.last - block.first
    unit = torch.zeros(len(channels), encoder.width, dtype=torch.float64)
    length = torch.zeros(len(channels), dtype=torch.float64)
    pairs = torch.arange(block.pairs, device=styles.device)
    for part in pairs.split(max(1, batch_size(generator) // 2)):
        position = part // images  # in the block's channels
        channel = channels[position]
        base = styles[block.first + part % images]  # (n, C), a copy
        delta = _delta(generator, encoder, base, channel, centre, step)
        size = delta.norm(dim=1)
        delta = torch.where((size > _STILL)[:, None], delta / size[:, None].clamp(min=_STILL), 0)
        where = position.cpu()
        unit.index_add_(0, where, delta.cpu().double())
        length.index_add_(0, where, size.cpu().double())
    return BlockSums(unit.numpy(), length.numpy())


def _delta(
    generator: Generator,
    encoder: JointEncoder,
    base: Tensor,
    channel: Tensor,
    centre: Tensor,
    step: Tensor,
) -> Tensor:
    """Each pair's embedding at centre + step minus that at centre - step: (n, D)."""
    rows = torch.arange(len(base), device=base.device)
    up, down = base.clone(), base
    up[rows, channel] = centre[channel] + step[channel]
    down[rows, channel] = centre[channel] - step[channel]
    embeddings = encoder.images(generator.render(torch.cat([up, down]))).float()
    return embeddings[: len(base)] - embeddings[len(base) :]
