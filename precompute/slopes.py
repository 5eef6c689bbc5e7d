"""What every channel does to the CLIP embedding, by the slope at the image as it is.

One vector-Jacobian product gives the derivative of one component of the embedding with respect to
all style channels at once, so an image costs as many products as components, not two renders a
channel. A slope says what a small step does. A step of 5 sigma of a channel that matters leaves
the range in which it holds: measured in `docs/methods.md`.

Instead of all D components, K probes may do: most are the leading components of the differences
between the prompts of the bank, in which the differences of prompts lie nearly whole; the others
are random in what is left, new for every image, and measure how much of a row lies there, so that
rows keep their lengths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..engine.models.protocols import Generator, JointEncoder
from ..store.errors import OptionError
from .batches import Batches
from .plan import WorkBlock
from .sweep import STILL

MIN_PROBES = 8
_RANDOM_STREAM = 2  # beside those of `statistics.py`
# Cotangents in one backward pass: a GPU is busier with many, a CPU loses by it (9 against 7 ms a
# product of the embedded pair).
_AT_ONCE = {"cpu": 1}
_ELSEWHERE = 16


@dataclass(frozen=True, eq=False)
class Probes:
    """The directions of CLIP's space along which slopes are taken.

    Args:
        basis: orthonormal rows, float32 (k, D).
        complement: orthonormal rows of what is left, float32 (D - k, D).
        random: how many directions of the complement are drawn for an image; 0 if there is none.
        seed: of the drawing.
    """

    basis: NDArray[np.float32]
    complement: NDArray[np.float32]
    random: int
    seed: int

    @classmethod
    def of(cls, embeddings: NDArray[np.float32], count: int, seed: int) -> Probes:
        """`count` probes for prompts with these embeddings (N, D); all D components if there
        are no fewer.

        Raises:
            OptionError: fewer than 8, or fewer prompts than would fill them.
        """
        width = embeddings.shape[1]
        if count >= width:
            return cls(np.eye(width, dtype=np.float32), np.zeros((0, width), np.float32), 0, seed)
        require_probes(count)
        random = max(2, count // 8)
        leading = count - random
        if len(embeddings) <= leading:
            raise OptionError(
                f"probes {count}: are chosen by the prompts of the bank, which holds only "
                f"{len(embeddings)}; take --probes {width}, all of CLIP's dimensions"
            )
        apart = embeddings.astype(np.float64) - embeddings.mean(0, dtype=np.float64)
        components = np.linalg.svd(apart.T @ apart)[0].T.astype(np.float32)  # (D, D), leading first
        return cls(components[:leading], components[leading:], random, seed)

    @property
    def count(self) -> int:
        """Products an image."""
        return len(self.basis) + self.random

    def of_image(self, image: int) -> NDArray[np.float32]:
        """The random directions of an image, orthonormal (random, D)."""
        drawn = np.random.default_rng([self.seed, _RANDOM_STREAM, image])
        normal = drawn.normal(size=(len(self.complement), self.random))
        directions: NDArray[np.float32] = np.linalg.qr(normal)[0].T @ self.complement
        return directions.astype(np.float32)


def require_probes(count: int) -> None:
    """Raise OptionError if there are fewer than 8."""
    if count < MIN_PROBES:
        raise OptionError(f"probes {count}: must be at least {MIN_PROBES}")


def slopes_block(
    generator: Generator,
    encoder: JointEncoder,
    block: WorkBlock,
    styles: Tensor,
    step: Tensor,
    probes: Probes,
    batches: Batches,
) -> dict[str, NDArray[np.float64]]:
    """The change of the embedding that slopes predict between both sides of every channel.

    styles (images, C) and step (C,), on the generator's device. Returns sums over the images of
    the block: `unit` (k, D), of the part along the probes' basis with length 1 and with it, at
    the same scale, the part outside as the random probes see it; `length`, `inside` and
    `outside`, (k,) each: the length of the part along the basis, its square, and the square of
    the part outside as estimated.
    """
    channels = torch.from_numpy(block.channels).to(styles.device)
    basis = torch.from_numpy(probes.basis).to(styles.device)
    both_sides = 2 * step[channels]

    def part(first: int, last: int) -> list[Tensor]:
        numbers = range(block.first + first, block.first + last)
        cotangents = basis[:, None].expand(-1, len(numbers), -1)  # (p, n, D)
        if probes.random:
            drawn = np.stack([probes.of_image(number) for number in numbers], 1)
            cotangents = torch.cat([cotangents, torch.from_numpy(drawn).to(basis)])
        products = _products(generator, encoder, styles[list(numbers)], cotangents, channels)
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

    count = len(channels)
    shapes = {"unit": (count, encoder.width), "length": (count,)}
    shapes |= {"inside": (count,), "outside": (count,)}
    total = [torch.zeros(shape, dtype=torch.float64) for shape in shapes.values()]
    for sums in batches.over(block.images, part):
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
    with torch.inference_mode(False), torch.enable_grad():
        leaf = styles.clone().requires_grad_()
        embeddings = encoder.images(generator.render(leaf))
        at_once = _AT_ONCE.get(leaf.device.type, _ELSEWHERE)
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
