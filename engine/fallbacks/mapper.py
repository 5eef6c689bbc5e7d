"""Latent mappers: networks trained for one pair of prompts, each in a file of its own."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...store.bank import normalise_prompt
from ...store.errors import CheckpointError, OptionError, OutputError
from ...store.fingerprint import ModelIdentity
from ...store.library import (
    MAPPER_SUFFIXES,
    MAPPERS_VARIABLE,
    OWN_SUFFIX,
    library_folder,
)
from ..checkpoints.mapper_checkpoint import MapperCheckpoint, MapperRecord
from ..checkpoints.mapper_file import (
    MapperSummary,
    read_mapper_file,
    summarise_mapper,
    write_mapper_file,
)
from ..models.protocols import Generator
from ..networks.mapper import LatentMapper
from .mapper_fit import fitted

__all__ = [
    "Mapper",
    "MapperRecord",
    "MapperSummary",
    "find_mapper",
    "library_path",
    "list_mappers",
    "mapper_record",
    "read_mapper",
    "summarise_mapper",
    "write_mapper",
]

_LONGEST_NAME = 60


@dataclass(frozen=True, eq=False)
class Mapper:
    """A network that moves latents towards a prompt, and where it comes from."""

    network: LatentMapper
    about: MapperRecord

    def edited(
        self, generator: Generator, styles: Tensor, w: Tensor | None, strength: float = 1.0
    ) -> Tensor:
        """Styles (n, C) of the same images after the edit; differentiable.

        Args:
            styles: (n, C), before the edit; a mapper in w+ looks at w alone.
            w: (n, num_ws, w_dim) of the same images, or None where they have none.
            strength: times the residual: 0 leaves the images as they were, 1 is as trained.

        Raises:
            OptionError: a mapper in w+ without w, latents of another shape, or a strength that is
                not finite.
        """
        if not math.isfinite(strength):
            raise OptionError(f"strength {strength}: must be a finite number")
        if self.network.config.space == "s":
            return styles + strength * self.residual(styles)
        if w is None:
            raise OptionError(
                "these images are of styles alone; a mapper in w+ needs w: give seeds, z or w"
            )
        return generator.styles(w + strength * self.residual(w))

    def residual(self, latents: Tensor) -> Tensor:
        """What the mapper adds to latents, (n, num_ws, w_dim) in w+ or (n, C) in style space."""
        residual: Tensor = self.network(latents)
        return residual


def read_mapper(path: str | os.PathLike[str], generator: Generator, tuned: bool = False) -> Mapper:
    """The mapper in a file of any dialect, on the generator's device and for use only. A generator
    that was `tuned` from the mapper's own, as to a photo, is taken for it.

    StyleAtlas's own files, StyleCLIP's and those of xomyakes/styleclip-gan3 are told apart by
    content. Nothing in a file is run.

    Raises:
        CheckpointError: the file holds no mapper, or one that does not fit the generator.
        FingerprintError: the mapper is known to be of another generator.
    """
    source = Path(path)
    checkpoint = fitted(source, read_mapper_file(source), generator, tuned)
    network = LatentMapper(checkpoint.config)
    network.load_state_dict(checkpoint.tensors)
    return Mapper(network.eval().requires_grad_(False).to(generator.device), checkpoint.record)


def write_mapper(path: str | os.PathLike[str], mapper: Mapper) -> None:
    """Write a mapper as safetensors, the same bytes for the same mapper.

    Raises:
        CheckpointError: weights that are not finite.
        OutputError: the name does not end in .safetensors, or the file cannot be written; nothing
            half-written is left behind.
    """
    target = Path(path)
    network = mapper.network
    write_mapper_file(
        target, MapperCheckpoint.of(target, network.config, network.state_dict(), mapper.about)
    )


def library_path(generator: ModelIdentity, clip: ModelIdentity, neutral: str, target: str) -> Path:
    """Where in the library a mapper for these prompts and models is kept: named after the target
    and the generator, and after a hash of all four, so that no other mapper has the name.

    Makes the folder if there is none.

    Raises:
        OutputError: it cannot be made.
        PromptError: a text that cannot serve as a prompt.
    """
    folder = library_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: the library folder cannot be made ({error.strerror or error}); name a file "
            f"by -o, or another folder by {MAPPERS_VARIABLE}"
        ) from error
    prompts = map(normalise_prompt, (neutral, target))
    whole = "\n".join([generator.key, clip.key, *prompts])
    digest = hashlib.sha256(whole.encode()).hexdigest()
    words = re.sub(r"\W+", "-", f"{target}-{generator.name}".lower()).strip("-")
    return folder / f"{words[:_LONGEST_NAME]}-{digest[:8]}{OWN_SUFFIX}"


def list_mappers(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """What the mappers of a folder say of themselves, by name, as JSON values; no tensors are read.

    Each has `name`, of the file, and `bytes`; then `problem`, a text, where the file is no mapper,
    or else `target`, `neutral` and `created` (empty where they are not told), `space` ("w+" or
    "s"), `groups` by name, and `generator` and `clip`, each an object with `name` and the first 12
    digits of `sha256`, or null; that of `clip` has `configuration`, too, a text.

    Raises:
        CheckpointError: the folder does not exist.
    """
    listed = []
    for path in _files(folder):
        entry: dict[str, Any] = {"name": path.name}
        try:
            entry |= {"bytes": path.stat().st_size} | mapper_record(summarise_mapper(path))
        except (CheckpointError, OSError) as error:
            entry["problem"] = str(error)
        listed.append(entry)
    return listed


def find_mapper(
    folder: str | os.PathLike[str],
    generator: ModelIdentity,
    clip: ModelIdentity,
    neutral: str,
    target: str,
) -> Path | None:
    """One of our own mappers, trained with these models for exactly these prompts; the newest.

    Raises:
        CheckpointError: the folder does not exist.
        PromptError: a text that cannot serve as a prompt.
    """
    found: list[tuple[str, Path]] = []
    for path in _files(folder):
        if path.suffix.lower() != OWN_SUFFIX:
            continue
        try:
            record = summarise_mapper(path).record
        except CheckpointError:
            continue  # `list_mappers` tells
        if record.is_for(neutral, target) and _is_of(record, generator, clip):
            found.append((record.created.replace("Z", "+00:00"), path))
    return max(found)[1] if found else None


def _is_of(record: MapperRecord, generator: ModelIdentity, clip: ModelIdentity) -> bool:
    """Whether a mapper learned with this generator and this CLIP, or one that sees images alike:
    what it learned to make, it makes."""
    if record.generator is None or record.clip is None:
        return False
    alike = not record.clip.differences(clip) or record.clip.sees_alike(clip)
    return generator.is_of(record.generator) and alike


def mapper_record(summary: MapperSummary) -> dict[str, Any]:
    """What `list_mappers` tells of a sound file, without its name and size."""
    record = summary.record
    models: dict[str, dict[str, Any] | None] = {
        key: None if model is None else {"name": model.name, "sha256": model.sha256[:12]}
        for key, model in (("generator", record.generator), ("clip", record.clip))
    }
    if record.clip is not None and models["clip"] is not None:
        models["clip"]["configuration"] = record.clip.clip_record()["configuration"]
    return {
        "target": record.target,
        "neutral": record.neutral,
        "created": record.created,
        "space": summary.space,
        "groups": list(summary.groups),
        **models,
    }


def _files(folder: str | os.PathLike[str]) -> Iterator[Path]:
    root = Path(folder)
    if not root.is_dir():
        raise CheckpointError(f"{root}: no such folder of mappers; check the path")
    for path in sorted(root.iterdir()):
        if path.suffix.lower() in MAPPER_SUFFIXES and not path.name.startswith("."):
            yield path
