"""Who drew an atlas: the identity of a model, and the check that it is still that one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import AtlasFormatError, CheckpointError, FingerprintError
from .registry import see_alike

CONFIGURATION = {
    "quick_gelu": "its activation",
    "network": "its layers",
    "preprocessing": "its preparation of images",
    "tokenizer": "its tokenizer",
}
"""What decides a CLIP's embeddings beside its weights, as a `ModelIdentity` has it among its sizes:
`quick_gelu` is 0 or 1, the others are digests (`digest`). In a message each is called so."""
UNRECORDED = (
    "not recorded: that activation, preparation of images and tokenizer are the same is not proven"
)
IMPORTED = "imported"
"""The setting `table` of an atlas whose rows another program drew."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def weights_sha256(tensors: Iterable[tuple[str, NDArray[Any]]]) -> str:
    """The identity of a model's weights: 64 hex digits.

    Each tensor is hashed over its name, shape and values as little-endian float32; the digests
    are hashed in the order of the names. So neither the order of a checkpoint nor a storage type
    that float32 holds exactly (float16, for one) changes the identity, and tensors may be
    streamed: only one is held at a time.

    Raises:
        CheckpointError: no tensors, or a name twice.
    """
    digests: dict[str, bytes] = {}
    for name, tensor in tensors:
        if name in digests:
            raise CheckpointError(f"tensor {name}: occurs twice in the checkpoint; name it once")
        values = np.asarray(tensor)
        head = json.dumps([name, list(values.shape)]).encode()
        body = np.ascontiguousarray(values, dtype="<f4")
        digests[name] = hashlib.sha256(head + b"\n" + hashlib.sha256(body.data).digest()).digest()
    if not digests:
        raise CheckpointError("checkpoint: holds no tensors; check that it is a generator or CLIP")
    return hashlib.sha256(b"".join(digests[name] for name in sorted(digests))).hexdigest()


def digest(value: Mapping[str, Any]) -> int:
    """A number below 2^52, which every reader of JSON holds exactly, to tell JSON objects apart."""
    text = to_json("configuration", dict(value))
    return int(hashlib.sha256(text.encode()).hexdigest()[:13], 16)


@dataclass(frozen=True)
class ModelIdentity:
    """A model's name for people, the hash of its weights, and the numbers that matter: its sizes,
    and for a CLIP what is told of CONFIGURATION.

    `tuned_from` is the hash of the weights that a generator's were tuned from, as to a photo, where
    that is known: atlases and mappers of those are taken for this one, too.

    Raises:
        AtlasFormatError: an empty name, a hash that is not 64 lower-case hex digits, or sizes
            that are not integers.
    """

    name: str
    sha256: str
    sizes: dict[str, int]
    tuned_from: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise AtlasFormatError(f"model identity: name {self.name!r} must be a text, not empty")
        for sha256 in (self.sha256, self.sha256 if self.tuned_from is None else self.tuned_from):
            if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
                raise AtlasFormatError(
                    f"model identity {self.name!r}: sha256 must be 64 lower-case hex digits; "
                    "compute it with weights_sha256"
                )
        if not isinstance(self.sizes, dict) or not all(
            isinstance(key, str) and type(size) is int for key, size in self.sizes.items()
        ):
            raise AtlasFormatError(
                f"model identity {self.name!r}: sizes must map names to whole numbers"
            )

    def __str__(self) -> str:
        return f'"{self.name}" ({self.sha256[:12]})'

    def differences(self, other: ModelIdentity) -> list[str]:
        """What is not the same in another model, in words. Names do not count, nor numbers that
        only one of the two has: the CLIPs of before have nothing of CONFIGURATION."""
        if self.sha256 != other.sha256:
            return ["its weights"]
        return [
            CONFIGURATION.get(name, f"its {name}")
            for name, number in self.sizes.items()
            if other.sizes.get(name, number) != number
        ]

    def sees_alike(self, other: ModelIdentity) -> bool:
        """Whether another CLIP is known to see images as this one does, however it reads texts."""
        images = replace(other, sha256=self.sha256)
        return see_alike(self.sha256, other.sha256) and not self.differences(images)

    @property
    def configuration(self) -> dict[str, int]:
        """What is told of CONFIGURATION: nothing of a generator, and of a CLIP of before."""
        return {name: number for name, number in self.sizes.items() if name in CONFIGURATION}

    @property
    def key(self) -> str:
        """A text that two models share only if nothing that is told of them differs."""
        told = self.configuration
        return f"{self.sha256} {to_json('configuration', told)}" if told else self.sha256

    def record(self) -> dict[str, Any]:
        """Name, sha256, sizes and, where it is known, tuned_from as JSON values."""
        sizes = {name: size for name, size in self.sizes.items() if name not in CONFIGURATION}
        tuned = {} if self.tuned_from is None else {"tuned_from": self.tuned_from}
        return {"name": self.name, "sha256": self.sha256, **sizes, **tuned}

    def clip_record(self) -> dict[str, Any]:
        """The same of a CLIP, with its activation and one text for its whole configuration."""
        told = self.configuration
        if not told:
            return {**self.record(), "configuration": UNRECORDED}
        activation = "QuickGELU" if told.get("quick_gelu") else "GELU"
        return {**self.record(), "activation": activation, "configuration": f"{digest(told):013x}"}

    def is_of(self, other: ModelIdentity) -> bool:
        """Whether these weights are the other's, or known to be tuned from them."""
        return other.sha256 in (self.sha256, self.tuned_from)

    def fields(self) -> dict[str, Any]:
        """As files hold it: `tuned_from` only where it is known, which earlier versions do not
        know."""
        fields = {"name": self.name, "sha256": self.sha256, "sizes": self.sizes}
        return fields if self.tuned_from is None else {**fields, "tuned_from": self.tuned_from}

    def to_json(self) -> str:
        """One JSON object: name, sha256, sizes, and tuned_from where it is known."""
        return to_json("model identity", self.fields())

    @classmethod
    def from_json(cls, text: str) -> ModelIdentity:
        """Read what :meth:`to_json` wrote; AtlasFormatError if it is anything else."""
        fields = from_json("model identity", text)
        if fields.keys() - {"tuned_from"} != {"name", "sha256", "sizes"}:
            raise AtlasFormatError("model identity: must hold exactly name, sha256 and sizes")
        return cls(**fields)


def view_of(generator: ModelIdentity) -> str | None:
    """How CLIP is shown the pictures of a generator: `whole` on a square where they are not square,
    `over white` where they have a transparency, or both. None: as they are."""
    sizes = generator.sizes
    ways = {
        "whole": sizes.get("height") != sizes.get("width"),
        "over white": sizes.get("image_channels") == 4,
    }
    return ", ".join(way for way, is_so in ways.items() if is_so) or None


@dataclass(frozen=True)
class Fingerprint:
    """The generator and CLIP an atlas was drawn with, and the settings it was drawn by.

    Args:
        settings: method, strength, images, truncation, seed, ...: JSON values only; `view` is
            what `view_of` says, where it says anything.

    Raises:
        AtlasFormatError: settings that JSON cannot hold.
    """

    generator: ModelIdentity
    clip: ModelIdentity
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        # Through JSON and back, so that an atlas in memory equals the same atlas read again.
        settings = from_json("settings", to_json("settings", dict(self.settings)))
        object.__setattr__(self, "settings", settings)

    def require_generator(self, identity: ModelIdentity, alike: bool = False) -> None:
        """Raise FingerprintError unless ``identity`` has the weights the atlas was drawn with, or
        such as are known to be tuned from them, and CLIP is shown its pictures as it was then;
        ``alike``: whether its layers are the same."""
        if not identity.is_of(self.generator):
            tuned = (
                "; or, if this one was tuned from it, as to a photo, take it by --tuned (in Python "
                "tuned=True)"
            )
            raise FingerprintError(
                f"atlas and generator do not belong together: the atlas was drawn with "
                f"{self.generator}, this generator is {identity}; load the atlas's generator or "
                f"draw an atlas for this one with `styleatlas precompute`{tuned * alike}"
            )
        if (drawn := self.settings.get("view")) != (view := view_of(identity)):
            raise FingerprintError(
                f"atlas {self.generator}: when it was drawn, CLIP was shown the pictures "
                f"{_told(drawn)}, and is now shown them {_told(view)}; draw it again with "
                "`styleatlas precompute`"
            )

    def require_clip(self, identity: ModelIdentity) -> None:
        """Raise FingerprintError unless ``identity`` is the CLIP the atlas was drawn with."""
        if different := self.clip.differences(identity):
            mend = (
                "they see images alike: embed the atlas's prompts anew with `styleatlas prompts "
                f"renew ATLAS --clip {identity.name}`"
                if self.clip.sees_alike(identity)
                else "load the atlas's CLIP or draw an atlas with this one by `styleatlas "
                "precompute --clip`"
            )
            raise FingerprintError(
                f"atlas and CLIP do not belong together: the atlas was drawn with {self.clip}, "
                f"this CLIP is {identity}{told(different)}; {mend}"
            )


def told(different: list[str]) -> str:
    """How a message goes on after two models that `ModelIdentity.differences` tells apart by more
    than the hashes they are printed with."""
    if different == ["its weights"]:
        return ""
    return f", of the same weights, but not the same in {' and '.join(different)}"


def _told(view: object) -> str:
    return "as they are" if view is None else ascii(str(view)[:40])


def todays_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an atlas or a run under the names that they have today.

    Before an atlas could hold samples, `samples` was the number of latents behind the statistics,
    now `statistics`, and `table` was called `method`.
    """
    renamed = {} if "statistics" in settings else {"samples": "statistics"}
    if "table" not in settings:
        renamed["method"] = "table"
    return {renamed.get(name, name): value for name, value in settings.items()}


def to_json(place: str, value: dict[str, Any]) -> str:
    """``value`` as canonical JSON; AtlasFormatError naming ``place`` if JSON cannot hold it."""
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise AtlasFormatError(f"{place}: {error}; use JSON values only") from error


def from_json(place: str, text: str) -> dict[str, Any]:
    """The JSON object in ``text``; AtlasFormatError naming ``place`` if it is anything else."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise AtlasFormatError(f"{place}: is not valid JSON ({error}); write it again") from error
    if not isinstance(value, dict):
        raise AtlasFormatError(f"{place}: must be a JSON object, not a {type(value).__name__}")
    return value


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")
