"""What optimisation and the training of mappers make small: pure tensor maths, a loss an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_SMALLEST_CROP = 0.8  # of the picture's side
_STILL = 1e-3  # a movement of the embedding as short as this has no direction yet


def clip_loss(embeddings: Tensor, target: Tensor) -> Tensor:
    """1 - cosine of unit image embeddings (n, D) with unit text embeddings (D,) or (n, D): (n,),
    0 to 2 (StyleCLIP, Patashnik et al. 2021, section 4)."""
    return 1 - (embeddings * target).sum(-1)


def directional_loss(embeddings: Tensor, before: Tensor, text: Tensor) -> Tensor:
    """1 - cosine of the movement from unit embeddings `before` (n, D) with the unit text direction
    (D,) or (n, D): (n,), 0 to 2 (StyleGAN-NADA, Gal et al. 2021, equation 3).

    The CLIP loss alone may be made small by exaggerating one thing of many that a text asks for,
    and by changing what it does not speak of; this one minds the rest.
    """
    moved = embeddings - before
    # Under the root, whose gradient at 0 is infinite.
    length = moved.square().sum(-1).clamp(min=_STILL**2).sqrt()
    return 1 - (moved * text).sum(-1) / length


def l2_loss(step: Tensor) -> Tensor:
    """The sum of the squares of every image's step (n, ...): (n,). StyleCLIP's convention in
    optimisation; a mean would make the weight depend on the number of latents."""
    return step.square().flatten(1).sum(1)


def identity_loss(embeddings: Tensor, before: Tensor) -> Tensor:
    """1 - cosine of unit identity embeddings (n, D) with those before the edit: (n,), 0 to 2."""
    return 1 - (embeddings * before).sum(-1)


def perceptual_loss(embeddings: Tensor, before: Tensor) -> Tensor:
    """LPIPS of images with those before the edit, of either what `Perceptual.embed` gives, (n, D):
    (n,)."""
    return (embeddings - before).square().sum(1)


def random_crops(images: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Crops of every image, (n, channels, H, W) -> (count * n, channels, H, W), first one of each:
    .8 to 1 of both sides anywhere inside, brought back to the size. All images get the same ones,
    so that none depends on the others. Differentiable; drawn on the CPU, so that they do not depend
    on the device."""
    n = len(images)
    scale = torch.rand(count, generator=random) * (1 - _SMALLEST_CROP) + _SMALLEST_CROP
    offset = (2 * torch.rand(count, 2, generator=random) - 1) * (1 - scale)[:, None]
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = offset
    repeated = images.repeat(count, 1, 1, 1)
    theta = theta.repeat_interleave(n, 0).to(images)
    grid = F.affine_grid(theta, list(repeated.shape), align_corners=False)
    return F.grid_sample(repeated, grid, padding_mode="border", align_corners=False)
