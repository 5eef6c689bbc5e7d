"""A generator's own photo encoder: from the look-up's w by a few looks at crop and render."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...store.errors import OptionError
from ...store.fingerprint import ModelIdentity
from ...store.sample_set import SampleSet
from ..checkpoints.own_encoder_file import (
    OwnEncoderCheckpoint,
    OwnEncoderRecord,
    read_own_encoder_file,
    write_own_encoder_file,
)
from ..networks.own_encoder import OwnEncoderNetwork, averaged
from .draft import Draft, draft_sides
from .memory import Batches
from .preprocess import as_rgb
from .protocols import Generator
from .sampling import batch_size

__all__ = ["OwnEncoder", "OwnEncoderRecord", "drawn_small", "read_own_encoder", "write_own_encoder"]


@dataclass(eq=False)
class OwnEncoder:
    """`PhotoEncoder` that `styleatlas encoder train` makes.

    Args:
        network: on the generator's device, for use only.
        about: where it comes from.
        identity: of its weights.
        generator: that it is of.
    """

    network: OwnEncoderNetwork
    about: OwnEncoderRecord
    identity: ModelIdentity
    generator: Generator
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.side = self.network.config.side

    def notes_beside(self, samples: SampleSet | None) -> list[str]:
        """What there is to say of it beside the samples of an atlas, as sentences for people."""
        found = None if samples is None else samples.sha256
        if found == self.about.samples:
            return []
        learned = "at the average w" if self.about.samples is None else "in other samples"
        return [
            f"photo encoder {self.identity.name}: learned to begin {learned}, not where this atlas "
            "has it begin; train one for the atlas by `styleatlas encoder train`"
        ]

    @torch.no_grad()
    def encode(self, crops: Tensor, start: Tensor) -> Tensor:
        """See `PhotoEncoder.encode`; the same step in all rows.

        Raises:
            OptionError: latents of another width.
        """
        if start.shape[2] != self.network.config.w_dim:
            raise OptionError(
                f"latents: have shape {tuple(start.shape)}; this encoder takes (n, num_ws, "
                f"{self.network.config.w_dim})"
            )
        batches = Batches(batch_size(self.generator), self.generator.device)
        parts = batches.over(len(crops), lambda a, b: self._encoded(crops[a:b], start[a:b]))
        return torch.cat(list(parts))

    def _encoded(self, crops: Tensor, w: Tensor) -> Tensor:
        seen = averaged(crops, self.side)
        for _ in range(self.about.passes):
            images = as_rgb(self.generator.render(self.generator.styles(w)).float())
            pair = torch.cat([seen, averaged(images, self.side)], 1)
            w = w + self.network(pair, w.mean(1))[:, None]
        return w


def drawn_small(generator: Generator, side: int) -> Generator:
    """The generator, or its smallest draft that has an image of a side, if that is smaller: what is
    averaged to fewer pixels need not be drawn in more. That of a StyleGAN2 takes some tens of
    renders, and is not quite the image."""
    sides = [known for known in draft_sides(generator) if known >= side]
    return Draft(generator, min(sides)) if sides else generator


def read_own_encoder(
    path: str | os.PathLike[str], generator: Generator, name: str | None = None
) -> OwnEncoder:
    """The encoder in a file, for its generator or one that was tuned from it, on its device.

    Args:
        name: what it is called; as the file if not given.

    Raises:
        CheckpointError: the file holds no encoder, or one that does not fit the generator.
        FingerprintError: it is of another generator.
    """
    source = Path(path)
    checkpoint = read_own_encoder_file(source)
    checkpoint.record.require_generator(generator.identity)
    network = OwnEncoderNetwork(checkpoint.config)
    network.load_state_dict(checkpoint.tensors)
    network = network.eval().requires_grad_(False).to(generator.device)
    identity = ModelIdentity(name or source.stem, checkpoint.sha256, {})
    return OwnEncoder(network, checkpoint.record, identity, generator)


def write_own_encoder(path: str | os.PathLike[str], encoder: OwnEncoder) -> None:
    """Write an encoder as safetensors, the same bytes for the same encoder.

    Raises:
        CheckpointError: weights that half precision cannot hold.
        OutputError: the name does not end in .safetensors, or the file cannot be written; nothing
            half-written is left behind.
    """
    target, network = Path(path), encoder.network
    checkpoint = OwnEncoderCheckpoint.of(
        target, network.config, network.state_dict(), encoder.about
    )
    write_own_encoder_file(target, checkpoint)
