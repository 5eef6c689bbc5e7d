"""The sweep of StyleCLIP: what a channel at mean +- strength sigma does to the CLIP embedding.

Source: Patashnik et al. 2021, section 6 and its public table builders. One fault of these is not
repeated here: every pair starts from the image's own styles, so no channel sees another's change.
What the builders do to the letter is in `reference.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..engine.models.protocols import JointEncoder
from ..store.layout import StyleLayout
from ..store.shards import Shapes
from .blocks import STILL, Arrays, ChannelsBlock, Models, Setup

_STILL_SHARE = 0.15
"""Of a whole render with its embedding, what every channel takes, the embedding above all: .08 for
FFHQ, .2 for the embedded pair."""


@dataclass(frozen=True, eq=False)
class SweepBlock(ChannelsBlock):
    """Both sides of every channel on each of the images, the channel at centre +- step.

    Its arrays are sums over the images: `unit` (k, D) of the unit deltas of the embedding and
    `length` (k,) of the lengths of the raw ones.
    """

    kind: ClassVar[str] = "sweep"

    @property
    def renders(self) -> int:
        return 2 * len(self.channels) * self.count

    def cost(self, layout: StyleLayout) -> float:
        layers = [layout.locate(flat)[0] for flat in self.channels.tolist()]
        after = _shares_after(layout)
        return 2.0 * self.count * sum(_STILL_SHARE + after.get(x.name, 0.0) for x in layers)

    def shapes(self, width: int) -> Shapes:
        k = len(self.channels)
        return {"unit": (k, width), "length": (k,)}

    @torch.inference_mode()
    def run(self, models: Models, setup: Setup) -> Arrays:
        generator, encoder = models.generator, models.encoder
        styles, centre, step = map(models.tensor, (setup.styles, setup.centre, setup.step))
        ends = torch.stack([centre + step, centre - step])  # (2, C)

        def deltas(first: int, last: int) -> Iterator[Tensor]:
            images = styles[self.first + first : self.first + last]
            reached, prefix = None, None
            for flat in self.channels.tolist():
                layer, channel = generator.layout.locate(flat)
                if prefix is None or layer is not reached:
                    reached, prefix = layer, generator.prefix(images, layer)
                yield delta_of(encoder, prefix.render(channel, ends[:, flat]))

        return self.sums(models, deltas)

    def sums(self, models: Models, deltas: Callable[[int, int], Iterator[Tensor]]) -> Arrays:
        """Sums over the images of what `deltas` yields for each channel, (n, D)."""

        def part(first: int, last: int) -> tuple[Tensor, Tensor]:
            units, lengths = [], []
            for delta in deltas(first, last):
                delta = delta.double()
                length = delta.norm(dim=1, keepdim=True)
                units.append(torch.where(length > STILL, delta / length, 0).sum(0))
                lengths.append(length.sum())
            return torch.stack(units).cpu(), torch.stack(lengths).cpu()

        unit = torch.zeros(len(self.channels), models.encoder.width, dtype=torch.float64)
        length = torch.zeros(len(self.channels), dtype=torch.float64)
        for more, longer in models.renders.over(self.count, part):
            unit += more
            length += longer
        return {"unit": unit.numpy(), "length": length.numpy()}


def _shares_after(layout: StyleLayout) -> dict[str, float]:
    """By the name of a convolution, about which share of a render is behind its style: by the
    values that it and all later ones take in. Behind a toRGB's it is next to nothing."""
    values = {x.name: x.size * x.resolution**2 for x in layout if x.kind == "conv"}
    names, whole = list(values), max(1, sum(values.values()))
    return {
        name: (1 - _STILL_SHARE) * sum(values[x] for x in names[i:]) / whole
        for i, name in enumerate(names)
    }


def delta_of(encoder: JointEncoder, images: Tensor) -> Tensor:
    """Embeddings of the first half of a batch minus those of the second: (n, D)."""
    up, down = encoder.images(images).float().chunk(2)
    return up - down
