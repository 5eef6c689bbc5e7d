"""What the file of a generator that was tuned to photos tells of itself, as JSON."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...store.fingerprint import ModelIdentity, from_json, to_json
from ...store.records import Record

FORMAT = 1
MOST_CROPS, LONGEST = 1_000, 500
"""Crops of a file, and letters of a name."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEYS = {"format", "parent", "file", "tuned_from", "sha256", "crops", "told"}


@dataclass(frozen=True, eq=False)
class Pivot:
    """A crop of a photo that a generator was tuned to, and the latent that stayed as it was.

    Args:
        name: as people call it.
        sha256: of the crop's pixels, uint8 (H, W, 3).
        label: its class; -1 where the generator is not conditional.
        w: float32 (num_ws, w_dim), by which the tuned generator draws the crop.
    """

    name: str
    sha256: str
    label: int
    w: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Tuning:
    """What a generator was tuned from, and to.

    Args:
        parent: the weights that it is a difference from; a registered name, or what people know
            their file by.
        file: what that file or folder was called; None of a registered name.
        tuned_from: the sha256 of the generator that atlases know: the parent's, or that which the
            parent itself was tuned from.
        sha256: of the tuned weights.
        pivots: the photos' crops.
        told: how it went, numbers and texts by name; see `Tuned.record`.
    """

    parent: ModelIdentity
    file: str | None
    tuned_from: str
    sha256: str
    pivots: tuple[Pivot, ...]
    told: Record

    def pivot_of(self, crop: NDArray[np.uint8]) -> Pivot | None:
        """That of a crop, uint8 (H, W, 3), if it is one of those tuned to."""
        sha256 = crop_sha256(crop)
        return next((pivot for pivot in self.pivots if pivot.sha256 == sha256), None)

    def to_json(self) -> str:
        """All but the latents, which are a tensor."""
        crops = [{"name": x.name, "sha256": x.sha256, "label": x.label} for x in self.pivots]
        return to_json(
            "tuning",
            {
                "format": FORMAT,
                "parent": self.parent.fields(),
                "file": self.file,
                "tuned_from": self.tuned_from,
                "sha256": self.sha256,
                "crops": crops,
                "told": self.told,
            },
        )

    @classmethod
    def from_json(cls, text: str, w: NDArray[np.float32]) -> Tuning:
        """What `to_json` wrote.

        Args:
            w: the latents (n, num_ws, w_dim) of the crops.

        Raises:
            AtlasFormatError, ValueError, TypeError, LookupError: it wrote something else.
        """
        told = from_json("tuning", text)
        if told.get("format") != FORMAT:
            raise ValueError(f"format is {told.get('format')!r:.20}, known is {FORMAT}")
        if told.keys() != _KEYS:
            raise ValueError(f"must hold exactly {', '.join(sorted(_KEYS))}")
        crops, parent = told["crops"], told["parent"]
        if not isinstance(parent, dict) or not isinstance(told["told"], dict):
            raise ValueError("parent and told must be objects")
        if not isinstance(crops, list) or len(crops) != len(w) or len(crops) > MOST_CROPS:
            raise ValueError(f"crops must be a list, one of each latent, {MOST_CROPS} at most")
        return cls(
            ModelIdentity(**parent),
            None if told["file"] is None else _file_name(told["file"]),
            _digest(told["tuned_from"]),
            _digest(told["sha256"]),
            tuple(_pivot(crop, own) for crop, own in zip(crops, w, strict=True)),
            _flat(told["told"]),
        )

    def record(self) -> Record:
        """For people and programs that ask."""
        parent = self.parent
        return {
            "tuned_from": {"name": parent.name, "sha256": self.tuned_from, "file": self.file},
            "tuning": self.told,
            "photos": [pivot.name for pivot in self.pivots],
        }


def crop_sha256(crop: NDArray[np.uint8]) -> str:
    """By which the crop of a photo, uint8 (H, W, 3), is known."""
    return hashlib.sha256(np.ascontiguousarray(crop).data).hexdigest()


def _pivot(crop: Mapping[str, Any], w: NDArray[np.float32]) -> Pivot:
    if not isinstance(crop, dict) or crop.keys() != {"name", "sha256", "label"}:
        raise ValueError("a crop must hold exactly name, sha256 and label")
    if type(crop["label"]) is not int or not -1 <= crop["label"] < 2**31:
        raise ValueError("a crop's label must be a class, or -1")
    return Pivot(_text(crop["name"]), _digest(crop["sha256"]), crop["label"], w)


def _flat(told: Mapping[str, Any]) -> Record:
    for value in told.values():
        if not (value is None or isinstance(value, bool | int | float | str)):
            raise ValueError("told must hold numbers and texts")
        if isinstance(value, str):
            _text(value)
    return dict(told)


def _text(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST:
        raise ValueError(f"a name or text must have 1 to {LONGEST} letters")
    return value


def _file_name(value: object) -> str:
    """The name of a file in the same folder: never one that leads anywhere else."""
    name = _text(value)
    if any(letter in name for letter in "/\\:\0") or name in (".", ".."):
        raise ValueError("file must be the name of a file, without folders")
    return name


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError("a sha256 must be 64 lower-case hex digits")
    return value
