"""What networks read of the images of samples: features by name, and who read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import as_array
from .errors import AtlasFormatError
from .fingerprint import ModelIdentity, from_json, to_json
from .records import Record
from .schema import FEATURES

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_FIELDS = {"reader", "numbers", "unit", "crop"}


@dataclass(frozen=True)
class FeatureSource:
    """Who read a feature, and what its numbers are.

    Args:
        reader: the network.
        numbers: what each of its F numbers is, in their order.
        unit: of all of them, such as `years`.
        crop: the part of an image that was looked at: left, top, right and bottom in shares of its
            side.

    Raises:
        AtlasFormatError: no numbers, a text that is empty or not printable, or a crop that is no
            part of an image.
    """

    reader: ModelIdentity
    numbers: tuple[str, ...]
    unit: str
    crop: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        texts = [*self.numbers, self.unit]
        if not self.numbers or not all(isinstance(x, str) and x and x.isprintable() for x in texts):
            raise AtlasFormatError(
                "source of a feature: numbers and unit must be printable texts, one number at least"
            )
        shares = all(type(x) in (int, float) and 0 <= x <= 1 for x in self.crop)
        if len(self.crop) != 4 or not shares or not _is_part(*self.crop):
            raise AtlasFormatError(
                f"source of a feature: crop {self.crop!r:.80} must be left, top, right and bottom, "
                "0 to 1"
            )

    def fields(self) -> Record:
        """As JSON values."""
        return {
            "reader": self.reader.fields(),
            "numbers": list(self.numbers),
            "unit": self.unit,
            "crop": list(self.crop),
        }

    def to_json(self) -> str:
        """One JSON object: reader, numbers, unit, crop."""
        return to_json("source of a feature", self.fields())

    @classmethod
    def from_json(cls, text: str) -> FeatureSource:
        """Read what `to_json` wrote; AtlasFormatError if it is anything else."""
        fields = from_json("source of a feature", text)
        lists = all(isinstance(fields.get(name), list) for name in ("numbers", "crop"))
        if fields.keys() != _FIELDS or not lists or not isinstance(fields["reader"], dict):
            raise AtlasFormatError(
                "source of a feature: must hold exactly reader, numbers, unit and crop"
            )
        try:
            reader = ModelIdentity(**fields["reader"])
        except TypeError as error:
            raise AtlasFormatError(
                "source of a feature: its reader must hold exactly name, sha256 and sizes"
            ) from error
        return cls(reader, tuple(fields["numbers"]), fields["unit"], tuple(fields["crop"]))


@dataclass(frozen=True, eq=False)
class Feature:
    """A feature of N images.

    Args:
        values: F numbers each, float32 (N, F); a row of NaN where the reader found nothing.
        source: who read it, and what the numbers are.
    """

    values: NDArray[np.float32]
    source: FeatureSource

    @property
    def lost(self) -> int:
        """Of how many images nothing could be read."""
        return int(unread(self.values).sum())

    def record(self) -> Record:
        """What it is, for people and machines."""
        source = self.source
        return {
            "numbers": len(source.numbers),
            "unit": source.unit,
            "reader": source.reader.name,
            "sha256": source.reader.sha256,
            "not_found": self.lost,
        }

    def checked(self, name: str, samples: int) -> Feature:
        """The same with its values in the type of the file, where it is a feature of so many
        samples.

        Raises:
            AtlasFormatError: a name or shape that none has.
            AtlasCorruptError: infinity, or NaN in a part of a row.
        """
        require_name(name)
        width = len(self.source.numbers)
        lost = np.zeros((samples, 1), bool)
        if np.shape(self.values) == (samples, width) and np.asarray(self.values).dtype.kind == "f":
            lost = unread(self.values)[:, None]
        known = np.where(lost, np.float32(0), self.values) if lost.any() else self.values
        values = as_array(feature_path(name), known, np.float32, (samples, width))
        return Feature(np.where(lost, np.float32(np.nan), values), self.source)


def _is_part(left: float, top: float, right: float, bottom: float) -> bool:
    return left < right and top < bottom


def unread(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Of which images nothing could be read: (N,) of values (N, F)."""
    lost: NDArray[np.bool_] = np.isnan(values).all(1)
    return lost


def feature_path(name: str) -> str:
    """The dataset of a feature in the file."""
    return f"{FEATURES}/{name}"


def require_name(name: str) -> None:
    """Raise AtlasFormatError unless a feature may have this name: small letters, digits and
    underscores, a letter first, 63 of them at most."""
    if not _NAME.fullmatch(name):
        raise AtlasFormatError(
            f"{FEATURES}: {name[:80]!a} is no name of a feature; take up to 63 small letters, "
            "digits and underscores, a letter first"
        )
