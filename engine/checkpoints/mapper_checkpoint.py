"""A latent mapper as every dialect ends: its numbers, its tensors, each checked against the other,
and what is told of where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...store.bank import normalise_prompt
from ...store.errors import (
    AtlasFormatError,
    CheckpointError,
    FingerprintError,
    OptionError,
    PromptError,
)
from ...store.fingerprint import ModelIdentity, from_json, to_json, told
from ..networks.mapper import MapperConfig, MapperGroup
from .checkpoint import excerpt, require_same_shapes

VERSION = 1
MAX_HEADER_BYTES = 2**20
MAX_NAME_LETTERS = 200


@dataclass(frozen=True, kw_only=True)
class MapperRecord:
    """Where a mapper comes from, as far as it is told.

    Args:
        library: what trained it, such as ``styleatlas 0.1.0``.
        neutral, target: the prompts it was trained for; empty where they are not told.
        generator, clip: the models it was trained with, or None.
        settings: how it was trained, and `measured`, what its validation found: JSON values only.
            They are taken through JSON, so that a record equals the same record read again.
        created: when, ISO 8601 in UTC; empty where it is not told.

    Raises:
        AtlasFormatError: settings that JSON cannot hold, no printable library, another time.
        PromptError: a prompt that is too long or holds control characters.
    """

    library: str
    neutral: str = ""
    target: str = ""
    generator: ModelIdentity | None = None
    clip: ModelIdentity | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""

    def __post_init__(self) -> None:
        for name in ("neutral", "target", "created", "library"):
            if not isinstance(getattr(self, name), str):
                raise AtlasFormatError(f"{name}: must be a text")
        for prompt in (self.neutral, self.target):
            if prompt:
                normalise_prompt(prompt)
        for name in ("settings", "measured"):
            values = from_json(name, to_json(name, dict(getattr(self, name))))
            object.__setattr__(self, name, values)
        if not self.library or not self.library.isprintable():
            raise AtlasFormatError("library: must be a printable text")
        if self.created and not is_utc(self.created):
            raise AtlasFormatError(
                "created: must be ISO 8601 in UTC, such as 2026-11-22T05:40:00+00:00"
            )

    def require_generator(self, identity: ModelIdentity) -> None:
        """Raise FingerprintError if the mapper is known to be of another generator than this one or
        that it was tuned from."""
        if self.generator is not None and not identity.is_of(self.generator):
            raise FingerprintError(
                f"mapper and generator do not belong together: the mapper was trained with "
                f"{self.generator}, this generator is {identity}; load the mapper's generator, "
                f"train a mapper for this one with `styleatlas mapper train` or, if this one was "
                f"tuned from it, take it by --tuned"
            )

    def require_clip(self, identity: ModelIdentity) -> None:
        """Raise FingerprintError if the mapper is known to be of another CLIP."""
        different = [] if self.clip is None else self.clip.differences(identity)
        if different:
            raise FingerprintError(
                f"mapper and CLIP do not belong together: the mapper was trained with {self.clip}, "
                f"this CLIP is {identity}{told(different)}; load the mapper's CLIP or "
                f"train a mapper with this one by `styleatlas mapper train --clip`"
            )

    def is_for(self, neutral: str, target: str) -> bool:
        """Whether the mapper was trained for exactly these prompts."""
        told = (self.neutral, self.target)
        return all(told) and list(map(normalise_prompt, told)) == [
            normalise_prompt(neutral),
            normalise_prompt(target),
        ]


@dataclass(frozen=True)
class MapperCheckpoint:
    """The content of a mapper's file; build it with :meth:`of`.

    `tensors` are float32, contiguous, on the CPU, none sharing memory with another, and exactly
    the state dict of the network that `config` describes.
    """

    config: MapperConfig
    tensors: dict[str, Tensor]
    record: MapperRecord

    @classmethod
    def of(
        cls,
        path: Path,
        config: MapperConfig,
        tensors: Mapping[str, Tensor],
        record: MapperRecord,
    ) -> MapperCheckpoint:
        """Check the tensors before a network is built.

        Raises:
            CheckpointError: they do not fit `config`: a missing, surplus or misshapen one, one
                that is not of floats or not finite.
        """
        # Without memory, since a file may claim any size.
        wanted = {name: torch.empty(n, device="meta") for name, n in config.shapes().items()}
        require_same_shapes(path, wanted, tensors)
        whole = {
            name: tensors[name].detach().to("cpu", torch.float32, copy=True).contiguous()
            for name in wanted
        }
        require_same_shapes(path, wanted, whole)  # what float32 cannot hold is infinite by now
        return cls(config, whole, record)


def header_to_json(config: MapperConfig, record: MapperRecord) -> str:
    """What stands beside the tensors of a mapper, as one JSON object."""
    return to_json(
        "mapper", {"version": VERSION, "network": asdict(config), "record": asdict(record)}
    )


def header_from_json(path: Path, text: str) -> tuple[MapperConfig, MapperRecord]:
    """Read what :func:`header_to_json` wrote.

    Raises:
        CheckpointError: it is anything else, or of a later version.
    """
    try:
        if len(text) > MAX_HEADER_BYTES:
            raise ValueError(f"is longer than {MAX_HEADER_BYTES} bytes")
        fields = from_json("header", text)
        if (version := fields.pop("version")) != VERSION:
            raise CheckpointError(
                f"{path}: is a mapper of version {excerpt(version)}, and this library reads "
                f"version {VERSION}; update StyleAtlas"
            )
        network, record = dict(fields.pop("network")), dict(fields.pop("record"))
        if fields:
            raise ValueError(f"{excerpt(sorted(fields)[0])} is no field of a mapper")
        network["shape"] = tuple(network["shape"])
        network["groups"] = tuple(MapperGroup(**group) for group in network["groups"])
        for name in ("generator", "clip"):
            if record[name] is not None:
                record[name] = identity_from(record[name])
        return MapperConfig(**network), MapperRecord(**record)
    except (
        *(AtlasFormatError, OptionError, PromptError),
        *(TypeError, ValueError, LookupError, RecursionError),
    ) as error:
        raise CheckpointError(
            f"{path}: does not describe a latent mapper ({one_line_of(str(error))}); "
            "get it from its source again"
        ) from error


def identity_from(fields: Mapping[str, Any]) -> ModelIdentity:
    """A model's identity with a name that is fit for a message."""
    identity = ModelIdentity(**fields)
    if identity.name.isprintable() and len(identity.name) <= MAX_NAME_LETTERS:
        return identity
    return replace(identity, name=one_line_of(identity.name))


def one_line_of(text: str) -> str:
    """What may come from a file, fit for one line of a message."""
    return text.encode("unicode_escape").decode("ascii")[:MAX_NAME_LETTERS]


def is_utc(text: str) -> bool:
    """Whether a text is a time in UTC, ISO 8601."""
    try:
        # Python 3.10 does not read the Z that ISO 8601 allows for UTC.
        return datetime.fromisoformat(text.replace("Z", "+00:00")).utcoffset() == timedelta(0)
    except ValueError:
        return False
