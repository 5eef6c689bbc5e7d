"""What a checkpoint of a generator or an encoder of photos is, for people and programs that ask."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ...store.errors import CheckpointError
from ..networks.mobile_stylegan import MobileStyleGANConfig
from ..networks.photo_encoder import SIDE
from ..networks.stylegan2 import StyleGAN2Config
from .checkpoint import Dialect, GeneratorCheckpoint
from .own_encoder_file import summarise_own_encoder
from .photo_encoder_file import PhotoEncoderCheckpoint
from .read import read_checkpoint
from .tuned_file import read_tuning

# The state that training does not learn, by the last part of its name.
BUFFERS = {
    *("w_avg", "noise_const", "resample_filter"),
    *("freqs", "phases", "transform", "magnitude_ema", "up_filter", "down_filter"),
}

# By the number of an image's channels; what else there is makes no pictures.
PICTURES = {
    1: "grey",
    3: "RGB",
    4: "RGBA, which CLIP and films see over white",
}
UNDRAWN = "none: neither grey (1 channel), RGB (3) nor RGBA (4), so it can only be converted"

NVIDIA_LICENCE = (
    "The weights keep the licence of whoever published them: NVIDIA's own pickles are for "
    "non-commercial use. Converting the file does not change that."
)
DISTILLED_LICENCE = (
    "The weights keep the licence of whoever trained them: that project's code is Apache-2.0, but "
    "its published weights were distilled from NVIDIA's FFHQ generator, which is for "
    "non-commercial use: treat them so. Converting the file does not change that."
)
ENCODER_LICENCE = (
    "The weights keep the licence of whoever published them: the code of pSp, e4e, ReStyle and "
    "stylegan3-editing is MIT, but they were trained on NVIDIA's generators, most of which are for "
    "non-commercial use."
)
LICENCES: dict[Dialect, str] = {
    "nvidia": NVIDIA_LICENCE,
    "tensorflow": NVIDIA_LICENCE,
    "rosinality": (
        "The weights keep the licence of whoever trained them: that project's code is MIT, but "
        "weights converted from NVIDIA's stay under NVIDIA's non-commercial terms."
    ),
    "mobile_stylegan": DISTILLED_LICENCE,
    "openvino": DISTILLED_LICENCE,
    "styleatlas": (
        "The weights keep the licence of the checkpoint they were converted from; ask whoever "
        "published it."
    ),
}


def checkpoint_record(path: Path, checkpoint: GeneratorCheckpoint) -> dict[str, Any]:
    """The checkpoint in numbers, texts and lists that JSON holds.

    `layers` are those with a style, in execution order; `style_channels` counts all of theirs and
    `conv_channels` those that are not of toRGB or the input. `parameters` are the learned numbers,
    `notes` what the file lacks and what stands for it.
    """
    config = checkpoint.config
    architecture: str
    if isinstance(config, StyleGAN2Config):
        architecture = config.architecture
    elif isinstance(config, MobileStyleGANConfig):
        architecture = "wavelets"
    else:
        radial = any(layer.down_radial for layer in config.layers)
        architecture = "config R" if radial else "config T"
    layers = config.styled_layers()
    return {
        "kind": "generator",
        "path": str(path),
        "dialect": checkpoint.dialect,
        "family": checkpoint.family,
        "architecture": architecture,
        "resolution": config.resolution,
        "height": config.image_size[0],
        "width": config.image_size[1],
        "image_channels": config.image_channels,
        "pictures": PICTURES.get(config.image_channels, UNDRAWN),
        "conditional": config.c_dim > 0,
        "c_dim": config.c_dim,
        "z_dim": config.z_dim,
        "w_dim": config.w_dim,
        "mapping_layers": config.mapping_layers,
        "num_ws": config.num_ws,
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "resolution": layer.resolution,
                "channels": layer.size,
            }
            for layer in layers
        ],
        "style_channels": sum(layer.size for layer in layers),
        "conv_channels": sum(layer.size for layer in layers if layer.kind == "conv"),
        "parameters": sum(
            math.prod(tensor.shape)
            for name, tensor in checkpoint.tensors.items()
            if name.rpartition(".")[2] not in BUFFERS
        ),
        "sha256": checkpoint.sha256(),
        "licence": LICENCES[checkpoint.dialect],
        "notes": list(checkpoint.notes),
    }


def tuned_record(path: Path) -> dict[str, Any]:
    """The same of a tuned generator's file, with what it was tuned from and to, how that went, and
    which photos; where its parent is not to be found, that alone. Empty of any other file.

    Raises:
        CheckpointError: such a file that is not sound.
    """
    tuning = None if path.is_dir() else read_tuning(path)
    if tuning is None:
        return {}
    own = {"kind": "tuned generator", "path": str(path), "sha256": tuning.sha256, **tuning.record()}
    try:
        whole = read_checkpoint(path)
    except CheckpointError as error:
        return {**own, "notes": [f"cannot be used here: {error}"]}
    return {**checkpoint_record(path, whole), **own}


def own_encoder_record(path: Path) -> dict[str, Any]:
    """The same of what `styleatlas encoder train` made; no tensors are read."""
    config, record = summarise_own_encoder(path)
    return {
        "kind": "photo encoder",
        "path": str(path),
        "family": "StyleAtlas's own",
        "sees": f"the photo, and what its last answer looks like, {config.side} x {config.side} px",
        "passes": record.passes,
        "w_dim": config.w_dim,
        "origin": "the average w" if record.samples is None else "the look-up",
        "samples": record.samples,
        "generator": record.generator.record(),
        "measured": record.measured,
        "library": record.library,
        "created": record.created,
    }


def photo_encoder_record(path: Path, encoder: PhotoEncoderCheckpoint) -> dict[str, Any]:
    """An encoder of photos in numbers and texts: its `family`, how many `passes` it makes,
    `origin`, from where its latents count, and the `generator` it was trained with, None where the
    file does not hold it."""
    generator = encoder.generator(path)
    sees = "the photo" if encoder.passes == 1 else "the photo, and what its last answer looks like"
    return {
        "kind": "photo encoder",
        "path": str(path),
        "family": encoder.family,
        "encoder_type": encoder.encoder_type,
        "sees": f"{sees}, {SIDE} x {len(range(SIDE)[encoder.rows])} px",
        "passes": encoder.passes,
        "num_ws": encoder.config.rows,
        "w_dim": encoder.config.w_dim,
        "origin": "the average w" if bool(encoder.origin.any()) else "zero",
        "parameters": sum(tensor.numel() for tensor in encoder.tensors.values()),
        "sha256": encoder.sha256(),
        "generator": None if generator is None else generator.identity("its decoder").record(),
        "licence": ENCODER_LICENCE,
    }
