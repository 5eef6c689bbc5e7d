"""What every channel does to the CLIP embedding, by the slope at the image as it is.

One vector-Jacobian product gives the derivative of one component of the embedding with respect to
all style channels at once, so an image costs as many products as components, or as `probes.py`
chooses in their stead, not two renders a channel. A slope says what a small step does. A step of
5 sigma of a channel that matters leaves the range in which it holds: measured in `docs/methods.md`.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..engine.models.protocols import Generator, JointEncoder
from ..store.layout import StyleLayout
from ..store.shards import Shapes
from .blocks import STILL, Arrays, ChannelsBlock, Models, Setup

# Cotangents in one backward pass: a GPU is busier with many, a CPU loses by it (9 against 7 ms a
# product of the embedded pair).
_AT_ONCE = {"cpu": 1}
_ELSEWHERE = 16


def products_at_once(device: torch.device) -> int:
    """How many vector-Jacobian products a device takes in one backward pass."""
    return _AT_ONCE.get(device.type, _ELSEWHERE)


@dataclass(frozen=True, eq=False)
class SlopesBlock(ChannelsBlock):
    """The change of the embedding that slopes predict between both sides of every channel.

    Its arrays are sums over the images: `unit` (k, D), of the part along the probes' basis with
    length 1 and with it, at the same scale, the part outside as the random probes see it; `length`,
    `inside` and `outside`, (k,) each: the length of the part along the basis, its square, and the
    square of the part outside as estimated.

    Args:
        products: vector-Jacobian products an image, as many as the run has probes.
    """

    kind: ClassVar[str] = "slopes"

    products: int

    @property
    def renders(self) -> int:
        return self.products * self.count

    def cost(self, layout: StyleLayout) -> float:
        # A pass back; measured in docs/methods.md, 1.7 of them for FFHQ, 2.3 for the embedded pair.
        return 2.0 * self.renders

    def shapes(self, width: int) -> Shapes:
        k = len(self.channels)
        return {"unit": (k, width), "length": (k,), "inside": (k,), "outside": (k,)}

    def run(self, models: Models, setup: Setup) -> Arrays:
        probes, encoder = setup.probes, models.encoder
        styles, step, basis = map(models.tensor, (setup.styles, setup.step, probes.basis))
        channels = models.tensor(self.channels)
        both_sides = 2 * step[channels]

        def part(first: int, last: int) -> list[Tensor]:
            numbers = range(self.first + first, self.first + last)
            cotangents = basis[:, None].expand(-1, len(numbers), -1)  # (p, n, D)
            if probes.random:
                drawn = np.stack([probes.of_image(number) for number in numbers], 1)
                cotangents = torch.cat([cotangents, models.tensor(drawn)])
            images = styles[list(numbers)]
            products = _products(models.generator, encoder, images, cotangents, channels)
            along, rest = (products * both_sides).double().split([len(basis), probes.random])
            length = along.norm(dim=0)  # (n, k)
            scale = torch.where(length > STILL, 1 / length, 0)
            unit = torch.einsum("pnk,pd->kd", along * scale, basis.double())
            outside = torch.zeros_like(length)
            if probes.random:
                share = len(probes.complement) / probes.random
                outside = rest.square().sum(0) * share
                directions = cotangents[len(basis) :].double()
                unit += torch.einsum("pnk,pnd->kd", rest * scale, directions) * share
            sums = [unit, length.sum(0), length.square().sum(0), outside.sum(0)]
            return [tensor.cpu() for tensor in sums]

        shapes = self.shapes(encoder.width)
        total = [torch.zeros(shape, dtype=torch.float64) for shape in shapes.values()]
        for sums in models.gradients.over(self.count, part):
            for into, more in zip(total, sums, strict=True):
                into += more
        return {name: tensor.numpy() for name, tensor in zip(shapes, total, strict=True)}


def _products(
    generator: Generator,
    encoder: JointEncoder,
    styles: Tensor,
    cotangents: Tensor,
    channels: Tensor,
) -> Tensor:
    """Derivatives along cotangents (p, n, D) of the embeddings of styles (n, C) with respect to
    some channels (k,): (p, n, k)."""
    at_once = products_at_once(styles.device)
    # The gradients of fused attention know no batches: they would come one after the other.
    attention = sdpa_kernel(SDPBackend.MATH) if at_once > 1 else nullcontext()
    with torch.inference_mode(False), torch.enable_grad(), attention:
        leaf = styles.clone().requires_grad_()
        embeddings = encoder.images(generator.render(leaf))
        parts = []
        for some in cotangents.to(embeddings).split(at_once):
            batched = at_once > 1
            (found,) = torch.autograd.grad(
                embeddings,
                leaf,
                some if batched else some[0],
                retain_graph=True,
                is_grads_batched=batched,
            )
            parts.append(found[..., channels].reshape(len(some), len(styles), -1))
    return torch.cat(parts)
