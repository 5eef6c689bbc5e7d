"""Drafts: networks whose images are smaller ones of the same render, without what comes after.

A draft has the layers that a network begins with, and shares their modules. In StyleGAN2 with skip
connections it ends with a lower block: its image is the partial one of that block's toRGB. In
MobileStyleGAN it has every layer, and its image is the low band before the last wavelet: the mean
of every 2 x 2 pixels of the whole image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from .mapping import MappingConfig
from .mobile_stylegan import MobileStyleGAN, MobileStyleGANConfig, ToRGB
from .rows import Rows
from .style import NoiseMode
from .stylegan2 import StyleGAN2, StyleGAN2Config
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

    def rows(self, rows: Rows, style: Tensor, noise: NoiseMode, dtype: torch.dtype) -> Rows:
        weight = self.weight[:, :, 0, 0] * (style * self.gain)  # (channels, in)
        for x in rows:
            y = weight @ x.flatten(0, 1).t().to(weight.dtype)
            yield (y + self.bias[:, None]).unflatten(1, x.shape[:2])


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


def draft_network(
    network: StyleGAN2 | StyleGAN3 | MobileStyleGAN, config: DraftConfig
) -> StyleGAN2 | MobileStyleGAN:
    """The draft of a network that `draft_configs` names."""
    with torch.device("meta"):  # for its form alone: all that is in it is replaced
        draft: StyleGAN2 | MobileStyleGAN = (
            MobileStyleGAN(config) if isinstance(config, LowBandConfig) else StyleGAN2(config)
        )
    draft.mapping = network.mapping
    for number in config.channels:
        block = network.synthesis.get_submodule(f"b{number}")
        if isinstance(config, LowBandConfig) and number == config.last:
            block = _with_low_band(block, config)
        setattr(draft.synthesis, f"b{number}", block)
    return draft


def _with_low_band(block: nn.Module, config: LowBandConfig) -> nn.Module:
    """The last block of a MobileStyleGAN with another toRGB."""
    changed, whole = nn.Module(), block.torgb
    assert isinstance(whole, ToRGB)
    for part in (*block.named_children(), *block.named_parameters(recurse=False)):
        setattr(changed, *part)
    changed.torgb = LowBand(config, whole)
    return changed
