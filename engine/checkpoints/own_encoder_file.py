"""A generator's own photo encoder in a file: safetensors in half precision, with the numbers of the
network and where it comes from as JSON in the header's metadata under `styleatlas-encoder`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ...store.errors import AtlasFormatError, CheckpointError, FingerprintError, OptionError
from ...store.fingerprint import ModelIdentity, from_json, to_json, weights_sha256
from ...store.output import ENCODER, replacing
from ..networks.own_encoder import OwnEncoderConfig
from .checkpoint import excerpt, require_same_shapes
from .mapper_checkpoint import MAX_HEADER_BYTES, identity_from, is_utc, one_line_of
from .native import METADATA_KEY as GENERATOR_KEY
from .native import read_safetensors

METADATA_KEY = "styleatlas-encoder"
VERSION = 1
MOST_PASSES = 20
_MISSING_SHA = "0" * 64


@dataclass(frozen=True, kw_only=True)
class OwnEncoderRecord:
    """Where an encoder comes from.

    Args:
        library: what trained it, such as ``styleatlas 0.1.0``.
        generator: that it is of.
        passes: how often it looks again at how its generator draws what it found, 1 to 20.
        samples: SHA-256 of the atlas's samples that it starts from, by look-up; None where it
            starts from the average w.
        settings: how it was trained, and `measured`, what its validation found: JSON values only.
            They are taken through JSON, so that a record equals the same record read again.
        created: when, ISO 8601 in UTC; empty in a training.

    Raises:
        AtlasFormatError: another type, settings that JSON cannot hold, no printable library,
            another time, passes or digest out of range.
    """

    library: str
    generator: ModelIdentity
    passes: int
    samples: str | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.library, str) or not self.library or not self.library.isprintable():
            raise AtlasFormatError("library: must be a printable text")
        if not isinstance(self.generator, ModelIdentity):
            raise AtlasFormatError("generator: must be told")
        if type(self.passes) is not int or not 1 <= self.passes <= MOST_PASSES:
            raise AtlasFormatError(f"passes: must be 1 to {MOST_PASSES}")
        digest = _MISSING_SHA if self.samples is None else self.samples
        if (
            not isinstance(digest, str)
            or len(digest) != 64
            or set(digest) - set("0123456789abcdef")
        ):
            raise AtlasFormatError("samples: must be a SHA-256 in lower case, or null")
        if not isinstance(self.created, str) or (self.created and not is_utc(self.created)):
            raise AtlasFormatError("created: must be ISO 8601 in UTC")
        for name in ("settings", "measured"):
            values = from_json(name, to_json(name, dict(getattr(self, name))))
            object.__setattr__(self, name, values)

    def require_generator(self, identity: ModelIdentity) -> None:
        """Raise FingerprintError unless the encoder is of this generator, or of the one that this
        was tuned from."""
        if not identity.is_of(self.generator):
            raise FingerprintError(
                f"encoder and generator do not belong together: the encoder was trained with "
                f"{self.generator}, this generator is {identity}; load the encoder's generator, or "
                f"train an encoder for this one with `styleatlas encoder train`"
            )


@dataclass(frozen=True)
class OwnEncoderCheckpoint:
    """The content of an encoder's file; build it with :meth:`of`.

    `tensors` are float32, contiguous, on the CPU, none sharing memory with another, and exactly
    the state dict of the network that `config` describes; `sha256` is their identity.
    """

    config: OwnEncoderConfig
    tensors: dict[str, Tensor]
    record: OwnEncoderRecord
    sha256: str

    @classmethod
    def of(
        cls,
        path: Path,
        config: OwnEncoderConfig,
        tensors: Mapping[str, Tensor],
        record: OwnEncoderRecord,
    ) -> OwnEncoderCheckpoint:
        """Check the tensors before a network is built, and round them as a file holds them.

        Raises:
            CheckpointError: they do not fit `config`: a missing, surplus or misshapen one, one
                that is not of floats, or not finite in half precision; or a scale of 0 or less.
        """
        wanted = {name: torch.empty(n, device="meta") for name, n in config.shapes().items()}
        require_same_shapes(path, wanted, tensors)
        whole = {
            name: tensors[name].detach().to("cpu", torch.float16).float().contiguous()
            for name in wanted
        }
        require_same_shapes(path, wanted, whole)  # what float16 cannot hold is infinite by now
        if not whole["scale"] > 0:
            raise CheckpointError(f"{path}: its scale is not above 0; get it from its source again")
        sha256 = weights_sha256((name, tensor.numpy()) for name, tensor in whole.items())
        return cls(config, whole, record, sha256)


def read_own_encoder_file(path: Path) -> OwnEncoderCheckpoint:
    """The encoder in a file.

    Raises:
        CheckpointError: the file is unreadable, or holds none.
    """
    metadata, tensors = read_safetensors(path)
    config, record = header_from_json(path, _header(path, metadata))
    return OwnEncoderCheckpoint.of(path, config, tensors, record)


def write_own_encoder_file(path: Path, checkpoint: OwnEncoderCheckpoint) -> None:
    """Write an encoder as one file, the same bytes for the same content.

    Raises:
        OutputError: the name does not end in .safetensors, or the file cannot be written; nothing
            half-written is left behind.
    """
    ENCODER.require(path)
    header = header_to_json(checkpoint.config, checkpoint.record)
    halves = {name: tensor.half() for name, tensor in checkpoint.tensors.items()}
    content = save(halves, {METADATA_KEY: header})
    with replacing(path) as file:
        file.write(content)


def holds_own_encoder(path: Path) -> bool:
    """Whether a file is one that `read_own_encoder_file` is for, sound or not."""
    try:
        with safe_open(path, framework="pt") as file:
            return METADATA_KEY in (file.metadata() or {})
    except (SafetensorError, OSError, ValueError, RuntimeError):
        return False


def summarise_own_encoder(path: Path) -> tuple[OwnEncoderConfig, OwnEncoderRecord]:
    """What an encoder's file says of itself; no tensors are read.

    Raises:
        CheckpointError: the file is unreadable, or holds none.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: is not a readable safetensors file; get it from its source again"
        ) from error
    return header_from_json(path, _header(path, metadata))


def header_to_json(config: OwnEncoderConfig, record: OwnEncoderRecord) -> str:
    """What stands beside the tensors of an encoder, as one JSON object."""
    return to_json(
        "encoder", {"version": VERSION, "network": asdict(config), "record": asdict(record)}
    )


def header_from_json(path: Path, text: str) -> tuple[OwnEncoderConfig, OwnEncoderRecord]:
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
                f"{path}: is an encoder of version {excerpt(version)}, and this library reads "
                f"version {VERSION}; update StyleAtlas"
            )
        network, record = dict(fields.pop("network")), dict(fields.pop("record"))
        if fields:
            raise ValueError(f"{excerpt(sorted(fields)[0])} is no field of an encoder")
        network["widths"] = tuple(network["widths"])
        record["generator"] = identity_from(record["generator"])
        return OwnEncoderConfig(**network), OwnEncoderRecord(**record)
    except (AtlasFormatError, OptionError, TypeError, ValueError, LookupError, RecursionError) as e:
        raise CheckpointError(
            f"{path}: does not describe a photo encoder ({one_line_of(str(e))}); "
            "get it from its source again"
        ) from e


def _header(path: Path, metadata: Mapping[str, str]) -> str:
    if METADATA_KEY in metadata:
        return metadata[METADATA_KEY]
    what = "a generator" if GENERATOR_KEY in metadata else "tensors of something else"
    raise CheckpointError(
        f"{path}: holds {what}, no photo encoder; `styleatlas encoder train` makes one"
    )
