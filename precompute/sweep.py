"""The sweep of StyleCLIP: what a channel at mean +- strength sigma does to the CLIP embedding.

Source: Patashnik et al. 2021, section 6 and its public table builders. One fault of these is not
repeated, unless the reference table is asked for: here every pair starts from the image's own
styles, so no channel sees another's change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..engine.models.preprocess import to_bytes
from ..engine.models.protocols import Generator, JointEncoder
from .batches import Batches
from .plan import WorkBlock, reference_channels

# Below this length a delta is rounding error of float32 embeddings, not a direction.
STILL = 1e-5


@torch.inference_mode()
def sweep_block(
    generator: Generator,
    encoder: JointEncoder,
    block: WorkBlock,
    styles: Tensor,
    centre: Tensor,
    step: Tensor,
    batches: Batches,
) -> dict[str, NDArray[np.float64]]:
    """Both sides of every channel of a block on each of its images, the channel at centre +- step.

    styles (images, C), centre and step (C,), all on the generator's device. Returns sums over the
    images: `unit` (k, D) of the unit deltas and `length` (k,) of the lengths of the raw ones.
    """
    ends = torch.stack([centre + step, centre - step])  # (2, C)

    def deltas(first: int, last: int) -> Iterator[Tensor]:
        images = styles[block.first + first : block.first + last]
        reached, prefix = None, None
        for flat in block.channels.tolist():
            layer, channel = generator.layout.locate(flat)
            if prefix is None or layer is not reached:
                reached, prefix = layer, generator.prefix(images, layer)
            yield _delta(encoder, prefix.render(channel, ends[:, flat]))

    return _sums(block, encoder.width, batches, deltas)


@torch.inference_mode()
def reference_block(
    generator: Generator,
    encoder: JointEncoder,
    block: WorkBlock,
    styles: Tensor,
    centre: Tensor,
    step: Tensor,
    batches: Batches,
) -> dict[str, NDArray[np.float64]]:
    """The same as StyleCLIP's public builders compute it, for tables that compare with theirs.

    A channel that was swept is left at its mean for all that follow it, and images are rounded to
    8 bits (facts of `global_directions` and `global_torch`).
    """
    swept = torch.zeros_like(centre, dtype=torch.bool)
    swept[torch.from_numpy(reference_channels(generator.layout))] = True
    order = torch.arange(len(centre), device=centre.device)

    def deltas(first: int, last: int) -> Iterator[Tensor]:
        images = styles[block.first + first : block.first + last]
        for flat in block.channels.tolist():
            up = torch.where(swept & (order < flat), centre, images)
            down = up.clone()
            up[:, flat], down[:, flat] = centre[flat] + step[flat], centre[flat] - step[flat]
            pixels = to_bytes(generator.render(torch.cat([up, down]))).permute(0, 3, 1, 2)
            yield _delta(encoder, pixels.float() / 127.5 - 1)

    return _sums(block, encoder.width, batches, deltas)


def _delta(encoder: JointEncoder, images: Tensor) -> Tensor:
    """Embeddings of the first half of a batch minus those of the second: (n, D)."""
    up, down = encoder.images(images).float().chunk(2)
    return up - down


def _sums(
    block: WorkBlock,
    width: int,
    batches: Batches,
    deltas: Callable[[int, int], Iterator[Tensor]],
) -> dict[str, NDArray[np.float64]]:
    """Sums over the images of a block of what `deltas` yields for each channel, (n, D)."""

    def part(first: int, last: int) -> tuple[Tensor, Tensor]:
        units, lengths = [], []
        for delta in deltas(first, last):
            delta = delta.double()
            length = delta.norm(dim=1, keepdim=True)
            units.append(torch.where(length > STILL, delta / length, 0).sum(0))
            lengths.append(length.sum())
        return torch.stack(units).cpu(), torch.stack(lengths).cpu()

    unit = torch.zeros(len(block.channels), width, dtype=torch.float64)
    length = torch.zeros(len(block.channels), dtype=torch.float64)
    for more, longer in batches.over(block.images, part):
        unit += more
        length += longer
    return {"unit": unit.numpy(), "length": length.numpy()}
