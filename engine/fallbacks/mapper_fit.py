"""A mapper from a file, fitted to the generator at hand: is it that one's, and which latents do its
groups move?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ...store.errors import CheckpointError, OptionError
from ...store.fingerprint import ModelIdentity
from ..checkpoints.mapper_checkpoint import MapperCheckpoint
from ..checkpoints.mapper_file import (
    STYLEGAN2_SPLITS,
    STYLEGAN3_SPLITS,
    ForeignMapper,
    refusal,
)
from ..checkpoints.rosinality import is_rosinality, read_rosinality
from ..checkpoints.tensors import load_tensors
from ..models.protocols import Generator
from ..models.sampling import one_hot_labels
from ..networks.mapper import MapperConfig, MapperGroup


def fitted(
    path: Path,
    content: MapperCheckpoint | ForeignMapper,
    generator: Generator,
    tuned: bool = False,
) -> MapperCheckpoint:
    """What `read_mapper_file` found at `path`, for a generator, or for one that was `tuned` from
    the mapper's own.

    Raises:
        CheckpointError: the mapper does not fit the generator.
        FingerprintError: it is known to be of another generator.
    """
    average = _average_w(generator)
    if isinstance(content, ForeignMapper):
        identity = _decoder_identity(path, content.decoder, generator, average)
        record = replace(content.record, generator=identity)
        if not tuned:
            record.require_generator(generator.identity)
        return _fitted(path, replace(content, record=record), generator, tuple(average.shape))
    if not tuned:
        content.record.require_generator(generator.identity)
    config = content.config
    shape = tuple(average.shape) if config.space == "w+" else (generator.layout.size,)
    if config.shape != shape:
        raise CheckpointError(
            f"{path}: its mapper takes latents of shape {config.shape}, this generator's are "
            f"{shape}; load the generator it was trained with"
        )
    return content


def _fitted(
    path: Path, foreign: ForeignMapper, generator: Generator, w_shape: tuple[int, ...]
) -> MapperCheckpoint:
    spans = _spans(path, foreign, generator, w_shape[0])
    shape = w_shape if foreign.space == "w+" else (generator.layout.size,)
    depths = {len(named) // 2 for named in foreign.networks.values()}
    if len(depths) != 1:
        raise refusal(path, "has networks of different depths")
    try:
        config = MapperConfig(
            shape=shape,
            groups=tuple(MapperGroup(*span) for span in spans.values()),
            norm=foreign.norm,
            depth=depths.pop(),
            scale=foreign.scale,
            lr=foreign.lr,
        )
    except OptionError as error:
        raise refusal(path, f"cannot be built ({error})") from error
    tensors: dict[str, Tensor] = {}
    for number, (key, group) in enumerate(zip(spans, config.groups, strict=True)):
        width = config.width(group)
        found = load_tensors(path, foreign.networks[key])
        for index, (name, tensor) in enumerate(found.items()):
            part, wanted = ("bias", (width,)) if index % 2 else ("weight", (width, width))
            if tuple(tensor.shape) != wanted:
                raise CheckpointError(
                    f"{path}: its mapper's {name} has shape {tuple(tensor.shape)}, and this "
                    f"generator's latents need {wanted}; load the generator it was trained with"
                )
            tensors[f"groups.{number}.{index // 2}.{part}"] = tensor
    return MapperCheckpoint.of(path, config, tensors, foreign.record)


def _spans(
    path: Path, foreign: ForeignMapper, generator: Generator, rows: int
) -> dict[str, tuple[str, int, int]]:
    """Name, start and stop of each group, by its key among `networks`, rising."""
    layers = generator.layout.layers
    is_stylegan3 = layers[0].kind == "input"
    spans = {}
    if foreign.space == "s":
        for key in foreign.networks:
            number = int(key.removeprefix("style "))
            if is_stylegan3 or number >= len(layers):
                raise refusal(
                    path, f"is of a layer {number} of styles that this generator does not have"
                )
            spans[key] = (layers[number].name, layers[number].start, layers[number].slice.stop)
    else:
        medium, fine = foreign.splits or (STYLEGAN3_SPLITS if is_stylegan3 else STYLEGAN2_SPLITS)
        bounds = {"coarse": (0, medium), "medium": (medium, fine), "fine": (fine, rows)}
        for key in foreign.networks:
            start, stop = (0, rows) if key == "all" else bounds[key]
            if start >= rows:
                raise refusal(path, f"edits w from row {start} on, and this generator has {rows}")
            spans[key] = (key, start, min(stop, rows))
    return dict(sorted(spans.items(), key=lambda item: item[1][1]))


def _decoder_identity(
    path: Path, decoder: dict[str, object], generator: Generator, average: Tensor
) -> ModelIdentity | None:
    """Which generator the mapper was trained with, if the file tells.

    The average w is not among its decoder's weights, though it counts for a generator's identity:
    so the decoder is first asked whether it is the generator at hand but for that.
    """
    if not is_rosinality(decoder):
        return None
    name = f"the decoder in {path.name}"
    for latent_avg in (average.numpy(), None):
        try:
            identity = read_rosinality(path, decoder, latent_avg).identity(name)
        except CheckpointError:
            continue  # of another width, or no generator
        if latent_avg is None:
            return identity
        if identity.sha256 == generator.identity.sha256:
            return generator.identity
    return None


@torch.no_grad()
def _average_w(generator: Generator) -> Tensor:
    """The average w as the generator holds it, (num_ws, w_dim) on the CPU."""
    z = torch.zeros(1, generator.z_dim, device=generator.device)
    return generator.map(z, one_hot_labels(generator, [0], None), truncation=0.0)[0].cpu()
