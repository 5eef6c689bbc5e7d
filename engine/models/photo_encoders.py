"""Encoders of photos on a device: from a crop to the latent by which a generator draws it."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ...store.errors import CheckpointError, FingerprintError, require_path
from ...store.fingerprint import ModelIdentity, weights_sha256
from ...store.registry import known_as, part_of
from ..checkpoints.native import is_safetensors
from ..checkpoints.photo_encoder_file import PhotoEncoderCheckpoint, read_photo_encoder
from ..networks.photo_encoder import SIDE, PhotoEncoderNetwork
from .generator import AVERAGE, StyleGANGenerator
from .own_encoder import read_own_encoder
from .preprocess import as_rgb
from .protocols import Generator, PhotoEncoder
from .sampling import batch_size, w_shape

UNPROVEN = "photo encoder {}: does not hold its generator, so that it is of this one is not proven"
_AT_ONCE = 8  # crops, whose features take some 60 MB each


def load_photo_encoder(source: str | os.PathLike[str], generator: Generator) -> PhotoEncoder:
    """The encoder of photos in a file, here or on the Hub, or of a bundle of models by its name,
    for the generator that it was trained with or one that was tuned from it: what `styleatlas
    encoder train` made, or another program's. Nothing in the file is run.

    Raises:
        OptionError: the bundle has none.
        CheckpointError: the file cannot be read as an encoder, or does not fit the generator.
        FingerprintError: it is known to be of another generator.
    """
    require_path("photo encoder", source)
    path = part_of(source, "photo_encoder")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; check the path of the photo encoder")
    if is_safetensors(path):
        return read_own_encoder(path, generator, known_as(source))
    return NetworkPhotoEncoder.of(path, read_photo_encoder(path), generator, known_as(source))


class NetworkPhotoEncoder:
    """`PhotoEncoder` by a network of pSp, e4e or ReStyle: one pass, or some, each of which sees
    what the generator drew by the last one's latents beside the crop."""

    side = SIDE

    def __init__(
        self,
        checkpoint: PhotoEncoderCheckpoint,
        identity: ModelIdentity,
        generator: Generator,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.identity, self.notes = identity, notes
        self._generator, self._rows = generator, checkpoint.rows
        self._passes = checkpoint.passes
        self._average = checkpoint.origin.to(generator.device)
        network = PhotoEncoderNetwork(checkpoint.config)
        network.load_state_dict(checkpoint.tensors, strict=False, assign=True)
        self._network = network.to(generator.device).eval().requires_grad_(False)

    @classmethod
    def of(
        cls, path: Path, checkpoint: PhotoEncoderCheckpoint, generator: Generator, name: str
    ) -> NetworkPhotoEncoder:
        """For a generator; see `load_photo_encoder`."""
        identity = checkpoint.identity(name)
        notes = (
            () if _require_trained_with(path, checkpoint, generator) else (UNPROVEN.format(name),)
        )
        takes, makes = w_shape(generator), tuple(checkpoint.origin.shape)
        if takes != makes:
            raise CheckpointError(
                f"{path}: its encoder makes w of {makes[0]} x {makes[1]}, and this generator takes "
                f"{takes[0]} x {takes[1]}; load the generator it was trained with"
            )
        return cls(checkpoint, identity, generator, notes)

    @torch.no_grad()
    def encode(self, crops: Tensor, start: Tensor) -> Tensor:
        """See `PhotoEncoder.encode`."""
        size = min(_AT_ONCE, batch_size(self._generator))
        return torch.cat([self._encoded(self._seen(part)) for part in crops.split(size)])

    def _encoded(self, pictures: Tensor) -> Tensor:
        """Of pictures as the network sees them, (n, 3, rows, 256)."""
        w = self._average.expand(len(pictures), -1, -1)
        if self._passes == 1:
            answer: Tensor = w + self._network(pictures)
            return answer
        drawn = self._first.expand(len(pictures), -1, -1, -1)
        for number in range(self._passes):
            if number:
                drawn = self._drawn(w)
            w = w + self._network(torch.cat([pictures, drawn], 1))
        return w

    @cached_property
    def _first(self) -> Tensor:
        """What the first pass sees beside the crop: the image of the average."""
        return self._drawn(self._average[None])

    def _drawn(self, w: Tensor) -> Tensor:
        """What the generator draws by w (n, num_ws, w_dim), as the network sees it."""
        return self._seen(self._generator.render(self._generator.styles(w)))

    def _seen(self, images: Tensor) -> Tensor:
        """Images (n, channels, H, W) as the network sees them: RGB, averaged to 256 pixels, smaller
        ones resized bilinearly, and of those the rows that it was trained on."""
        images = as_rgb(images).float()
        if min(images.shape[2:]) < SIDE:
            size = (SIDE, SIDE)
            images = F.interpolate(images, size, mode="bilinear", align_corners=False)
        else:
            images = F.adaptive_avg_pool2d(images, SIDE)
        return images[:, :, self._rows]


def _require_trained_with(
    path: Path, checkpoint: PhotoEncoderCheckpoint, generator: Generator
) -> bool:
    """Whether the file proves that the encoder is of this generator; False where it holds none.

    Average w and noise maps are no part of what an encoder learns by, and often not those of the
    generator's own file: they are taken from the generator at hand.

    Raises:
        FingerprintError: it is of another one.
    """
    decoder = checkpoint.generator(path)
    if decoder is None:
        return False
    trained = decoder.identity(f"the decoder in {path.name}")
    if generator.identity.is_of(trained):
        return True
    if isinstance(generator, StyleGANGenerator):
        mine = {**generator.network.state_dict(), AVERAGE: generator.average}
        noise = [name for name in decoder.tensors if name.endswith(".noise_const")]
        weights = dict(decoder.tensors)
        for names in ([AVERAGE], noise):
            weights |= {name: mine[name].cpu() for name in names if name in mine}
            sha256 = weights_sha256((name, x.float().numpy()) for name, x in weights.items())
            if sha256 in (generator.identity.sha256, generator.identity.tuned_from):
                return True
    raise FingerprintError(
        f"photo encoder and generator do not belong together: the encoder was trained with "
        f"{trained}, this generator is {generator.identity}; load the encoder's generator, which "
        f"`styleatlas convert {path.name} generator.safetensors` takes out of it, or an encoder "
        "that was trained with this one"
    )
