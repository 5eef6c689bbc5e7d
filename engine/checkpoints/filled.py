"""What stands for the tensors that a file may lack, or that a network holds and never uses: the
same for every reader and every dialect."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks.mapping import MappingConfig
from ..networks.stylegan2 import StyleGAN2Config

AVERAGED_LATENTS = 10_000
NO_AVERAGE = (
    f"has no average w (latent_avg, w_avg): the mean over {AVERAGED_LATENTS:,} latents of a fixed "
    "seed stands for it"
)
NO_NOISE = "has no noise maps: normal ones of a fixed seed stand for them"


def average_w(config: MappingConfig, tensors: Mapping[str, Tensor]) -> Tensor:
    """The mean of the mapping network over seeded latents: (w_dim,); of a conditional one over
    seeded classes, too.

    In double precision, so that the order in which a machine sums does not show in the float32
    that the identity of the weights is made of.
    """
    random = np.random.RandomState(0)
    total = torch.zeros(config.w_dim, dtype=torch.float64)
    for _ in range(AVERAGED_LATENTS // 1000):
        x = _normalised(torch.from_numpy(random.standard_normal((1000, config.z_dim))))
        if config.c_dim:
            classes = torch.from_numpy(random.randint(config.c_dim, size=1000))
            weight = tensors["mapping.embed.weight"].double() / math.sqrt(config.c_dim)
            embedded = weight.t()[classes] + tensors["mapping.embed.bias"].double()
            x = torch.cat([x, _normalised(embedded)], 1)
        for i in range(config.mapping_layers):
            weight = tensors[f"mapping.fc{i}.weight"].double()
            scale = config.mapping_lr / math.sqrt(weight.shape[1])
            bias = tensors[f"mapping.fc{i}.bias"].double() * config.mapping_lr
            x = F.leaky_relu(F.linear(x, weight * scale, bias), 0.2) * math.sqrt(2)
        total += x.sum(0)
    return (total / AVERAGED_LATENTS).float()


def _normalised(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


def noise_names(sides: Sequence[int]) -> Iterator[str]:
    """The noise maps of a StyleGAN2 of these resolutions, in the order of its layers."""
    for side in sides:
        if side > 4:
            yield f"synthesis.b{side}.conv0.noise_const"
        yield f"synthesis.b{side}.conv1.noise_const"


def seeded_noise(sides: Sequence[int], constant: tuple[int, int]) -> dict[str, Tensor]:
    """Noise maps for a file without any, whose pictures start from a constant of this height and
    width. Zeros would smooth the pictures."""
    random = np.random.RandomState(0)  # its stream is promised never to change
    maps = {}
    for name in noise_names(sides):
        times = int(name.split(".")[1].removeprefix("b")) // 4
        size = constant[0] * times, constant[1] * times
        maps[name] = torch.from_numpy(random.standard_normal(size)).float()
    return maps


def with_unused_filters(
    config: StyleGAN2Config, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """`tensors` with the filters that the network never uses in the size of those that it does.

    NVIDIA's code gives a layer that does not up-sample the default filter of four taps, whatever
    the generator was made with; where four are what is used, they stay as they are in the file.
    """
    found, sides = dict(tensors), sorted(config.channels)
    used = {f"synthesis.b{side}.conv0.resample_filter" for side in sides[1:]}
    if config.architecture == "skip":
        used |= {f"synthesis.b{side}.resample_filter" for side in sides[1:]}
    if config.architecture == "resnet":
        used |= {f"synthesis.b{side}.skip.resample_filter" for side in sides[1:]}
    first = up_sampling_filter(sides)
    wanted = tensors.get(first)
    if wanted is None:
        return found
    for side in sides:
        for layer in ("conv1.", ""):
            name = f"synthesis.b{side}.{layer}resample_filter"
            other = found.get(name)
            if name not in used and (other is None or other.shape != wanted.shape):
                found[name] = wanted
    return found


def up_sampling_filter(sides: Sequence[int]) -> str:
    """The name of the first filter that a StyleGAN2 of these resolutions up-samples with."""
    return (
        f"synthesis.b{sides[1]}.conv0.resample_filter"
        if sides[1:]
        else ("synthesis.b4.resample_filter")
    )
