"""Drafts: networks whose images are smaller ones of the same render, without what comes after.

A draft has the layers that a network begins with, and shares their modules. In MobileStyleGAN it
has every layer, and its image is the low band before the last wavelet: the mean of every 2 x 2
pixels of the whole image. In StyleGAN2 with skip connections it ends with a lower block. The
partial image of that block's toRGB lacks colour and contrast that the blocks above add, so that
CLIP sees other things in it; most of what they add at its resolution follows from the features
before that toRGB, by a 3x3 convolution that least squares find.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .mapping import MappingConfig
from .mobile_stylegan import MobileStyleGAN, MobileStyleGANConfig, ToRGB
from .rows import Rows
from .style import NoiseMode
from .stylegan2 import StyleGAN2, StyleGAN2Config
from .stylegan2 import ToRGB as SkipToRGB
from .stylegan3 import StyleGAN3


@dataclass(frozen=True, kw_only=True)
class LowBandConfig(MobileStyleGANConfig):
    """Of the draft of a MobileStyleGAN: its image is as large as its last block."""

    @property
    def resolution(self) -> int:
        return self.last


class LowBand(ToRGB):
    """The low band of another's image, halved: the orthonormal wavelet makes it twice the mean."""

    def __init__(self, config: LowBandConfig, whole: ToRGB) -> None:
        super().__init__(config, whole.weight.shape[1])
        self.affine = whole.affine
        weight, bias = (x.detach()[: config.image_channels] / 2 for x in (whole.weight, whole.bias))
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def finish(self, y: Tensor, noise: NoiseMode) -> Tensor:
        return y + self.bias[:, None, None]

    def rows(self, rows: Rows, style: Tensor, noise: Tensor | None, dtype: torch.dtype) -> Rows:
        weight = self.weight[:, :, 0, 0] * (style * self.gain)  # (channels, in)
        for x in rows:
            y = weight @ x.flatten(0, 1).t().to(weight.dtype)
            yield (y + self.bias[:, None]).unflatten(1, x.shape[:2])


class FittedToRGB(SkipToRGB):
    """Another's toRGB, and beside it what the blocks above add, as far as `added` foretells it:
    nothing, until it is fitted."""

    def __init__(self, config: StyleGAN2Config, whole: SkipToRGB) -> None:
        inputs = whole.weight.shape[1]
        super().__init__(config, inputs, whole.block)
        self.affine, self.weight, self.bias = whole.affine, whole.weight, whole.bias
        self.added = nn.Conv2d(inputs, config.image_channels, 3, padding=1)
        self.added.to_empty(device=whole.weight.device)
        for parameter in self.added.parameters():
            nn.init.zeros_(parameter)
            parameter.requires_grad_(False)

    def linear(self, x: Tensor, style: Tensor) -> Tensor:
        added: Tensor = self.added(x.to(self.added.weight.dtype))
        return super().linear(x, style) + added


Network = StyleGAN2 | StyleGAN3 | MobileStyleGAN
DraftConfig = StyleGAN2Config | LowBandConfig


def draft_configs(config: MappingConfig) -> dict[int, DraftConfig]:
    """The drafts that a network of this configuration has, by the longer side of their images,
    ascending: none of a StyleGAN3, nor of a StyleGAN2 without skip connections."""
    if isinstance(config, MobileStyleGANConfig):
        return {config.last: LowBandConfig(**vars(config))}
    if not isinstance(config, StyleGAN2Config) or config.architecture != "skip":
        return {}
    drafts: dict[int, DraftConfig] = {}
    for last in sorted(config.channels)[:-1]:
        lower = {block: width for block, width in config.channels.items() if block <= last}
        drafts[max(config.size(last))] = replace(config, channels=lower)
    return drafts


def draft_network(network: Network, config: DraftConfig) -> StyleGAN2 | MobileStyleGAN:
    """The draft of a network that `draft_configs` names."""
    with torch.device("meta"):  # for its form alone: all that is in it is replaced
        draft: StyleGAN2 | MobileStyleGAN = (
            MobileStyleGAN(config) if isinstance(config, LowBandConfig) else StyleGAN2(config)
        )
    draft.mapping = network.mapping
    for number in config.channels:
        block = network.synthesis.get_submodule(f"b{number}")
        if number == config.last:
            block = _ending(block, config)
        setattr(draft.synthesis, f"b{number}", block)
    return draft


@torch.no_grad()
def fit(network: Network, draft: Network, styles: Iterable[Sequence[Tensor]]) -> None:
    """Fit what a draft adds to its partial image to whole images, shrunk to its size by means;
    nothing where it adds nothing.

    Args:
        styles: of single images, each one (1, channels) a layer. Of each so many pixels count as
            there are numbers to find for a colour, or all.
    """
    convolution = added(draft)
    if convolution is None or not (isinstance(network, StyleGAN2) and isinstance(draft, StyleGAN2)):
        return
    synthesis = draft.synthesis
    drawn = torch.Generator().manual_seed(0)
    weight, bias = convolution.parameters()
    columns = weight[0].numel() + 1
    squares = torch.zeros(columns, columns, dtype=torch.float64)
    products = torch.zeros(columns, len(bias), dtype=torch.float64)
    for image in styles:
        lower, upper = image[: len(synthesis.layers)], image[len(synthesis.layers) :]
        features = synthesis.run(synthesis.start(1), 0, lower)
        partial = features.images[-1]
        whole = network.synthesis.run(features, len(lower), upper).images[-1]
        missing = F.adaptive_avg_pool2d(whole, draft.config.image_size) - partial
        pixels = torch.randperm(missing[0, 0].numel(), generator=drawn)[:columns]
        x = _patches(features.x[0].float(), pixels)  # (k, columns)
        squares += x.t() @ x
        products += x.t() @ missing[0].flatten(1).cpu().double()[:, pixels].t()
    # So that features which are always zero do no harm.
    squares.diagonal().add_(1e-6 * squares.diagonal().mean())
    found = torch.linalg.solve(squares, products).t()  # (image channels, columns)
    weight.copy_(found[:, :-1].unflatten(1, weight.shape[1:]))
    bias.copy_(found[:, -1])


def added(draft: nn.Module) -> nn.Conv2d | None:
    """What a draft adds to its partial image; None where it adds nothing."""
    return next((x.added for x in draft.modules() if isinstance(x, FittedToRGB)), None)


def _patches(x: Tensor, pixels: Tensor) -> Tensor:
    """The 3 x 3 features (c, h, w) around some pixels, and 1: float64 (k, 9 c + 1)."""
    width, near = x.shape[2], torch.arange(3)
    rows, columns = pixels // width, pixels % width
    around = F.pad(x.cpu(), (1, 1, 1, 1))[
        :, rows[:, None, None] + near[:, None], columns[:, None, None] + near
    ]  # (c, k, 3, 3)
    patches = around.transpose(0, 1).flatten(1)
    return torch.cat([patches, torch.ones(len(patches), 1)], 1).double()


def _ending(block: nn.Module, config: DraftConfig) -> nn.Module:
    """The last block of a draft: another's, with a toRGB of its own."""
    changed, whole = copy.copy(block), block.torgb
    changed._modules = dict(block._modules)  # the copy shares it
    with torch.device("meta"):  # what is drawn for new layers is replaced
        if isinstance(whole, ToRGB) and isinstance(config, LowBandConfig):
            changed.torgb = LowBand(config, whole)
        elif isinstance(whole, SkipToRGB) and isinstance(config, StyleGAN2Config):
            changed.torgb = FittedToRGB(config, whole)
    return changed
