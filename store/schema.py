"""What format 1 of the atlas file holds: names, types, shapes and limits (docs/atlas-format.md)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .errors import AtlasFormatError

FORMAT = "styleatlas"
FORMAT_VERSION = 1

TEXT_ATTRIBUTES = ("created", "library", "settings", "generator", "clip")
MAX_ATTRIBUTE_BYTES = 2**20
MAX_TEXT_BYTES = 1024

Axis = Literal[
    "layers",
    "channels",
    "rows",
    "prompts",
    "width",
    "samples",
    "pulled",
    "latent",
    "null",
    "one",
    "numbers",
]

# Far above any generator or vocabulary known, far below what would harm a machine.
MAX_LENGTHS: dict[Axis, int] = {
    "layers": 10_000,
    "channels": 1_000_000,
    "rows": 1_000_000,
    "prompts": 4_000_000,
    "width": 16_384,
    "samples": 1_000_000,
    "pulled": 1_000_000,
    "latent": 16_384,
    "null": 10_000,
    "one": 1,
    "numbers": 16_384,
}
_OWN: Axis = "numbers"  # of each feature; all other axes are the same wherever they appear
MAX_FEATURES = 64


@dataclass(frozen=True)
class Field:
    """One dataset: its path, its element type and the axes it spans.

    ``dtype`` is a numpy type string, or ``text`` for UTF-8 of a fixed number of bytes.
    """

    path: str
    dtype: Literal["<f2", "<f4", "<f8", "<i4", "<i8", "text"]
    axes: tuple[Axis, ...]

    def __str__(self) -> str:
        return f"{self.dtype.lstrip('<')} ({', '.join(self.axes)})"


FIELDS: tuple[Field, ...] = (
    Field("/layout/name", "text", ("layers",)),
    Field("/layout/kind", "text", ("layers",)),
    Field("/layout/resolution", "<i4", ("layers",)),
    Field("/layout/size", "<i4", ("layers",)),
    Field("/style/mean", "<f4", ("channels",)),
    Field("/style/std", "<f4", ("channels",)),
    Field("/relevance/channel", "<i8", ("rows",)),
    Field("/relevance/rows", "<f4", ("rows", "width")),
    Field("/relevance/consistency", "<f4", ("rows",)),
    Field("/relevance/strength", "<f4", ("rows",)),
    Field("/relevance/images", "<i4", ("rows",)),
    Field("/prompts/text", "text", ("prompts",)),
    Field("/prompts/embedding", "<f4", ("prompts", "width")),
)

_SAMPLES = (
    Field("/samples/w", "<f2", ("samples", "latent")),
    Field("/samples/label", "<i4", ("samples",)),
    Field("/samples/embedding", "<f2", ("samples", "width")),
    Field("/samples/pulled", "<f2", ("pulled", "width")),
    Field("/samples/pulled_psi", "<f8", ("one",)),
    Field("/samples/centre", "<f4", ("latent",)),
    Field("/samples/null_gain", "<f4", ("null",)),
    Field("/samples/null_spread", "<f4", ("null",)),
)
_AFFINE = (
    Field("/samples/weight", "<f4", ("channels", "latent")),
    Field("/samples/bias", "<f4", ("channels",)),
)
_STYLES = (Field("/samples/styles", "<f2", ("samples", "channels")),)

SAMPLE_FIELDS = (*_SAMPLES, *_AFFINE, *_STYLES)
"""What an atlas with samples holds besides: all of them, but either the map from w to styles
(weight and bias) or the styles themselves."""


FEATURES = "/samples/features"
"""The group of features of samples, each a dataset by its name, which an atlas with samples may
hold."""


def fields_of(paths: Collection[str]) -> tuple[Field, ...]:
    """What an atlas must hold of which these paths are known: its samples, too, where it holds any
    field of them, and with them the features that are among the paths.

    Raises:
        AtlasFormatError: the styles of samples, and the map that they follow from.
    """
    found = [field for field in SAMPLE_FIELDS if field.path in paths]
    if not found:
        return FIELDS
    affine = [field for field in found if field in _AFFINE]
    if affine and _STYLES[0] in found:
        raise AtlasFormatError(
            f"{_STYLES[0].path}: stands beside {affine[0].path}, from which styles follow; "
            "leave out one of them"
        )
    features = sorted(path for path in paths if path.startswith(f"{FEATURES}/"))
    if len(features) > MAX_FEATURES:
        raise AtlasFormatError(f"{FEATURES}: holds {len(features)}, more than {MAX_FEATURES}")
    read = [Field(path, "<f4", ("samples", _OWN)) for path in features]
    return (*FIELDS, *_SAMPLES, *(_STYLES if _STYLES[0] in found else _AFFINE), *read)


def check_shapes(fields: Sequence[Field], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise AtlasFormatError unless every axis has one length wherever it appears, in its limit.

    Args:
        shapes: the shape of each of these fields, by its path.
    """
    lengths: dict[Axis, tuple[int, str]] = {}
    for field in fields:
        shape = shapes[field.path]
        if len(shape) != len(field.axes):
            raise AtlasFormatError(f"{field.path}: has shape {shape}, must be {field}")
        for axis, length in zip(field.axes, shape, strict=True):
            here = length, field.path
            known, place = here if axis == _OWN else lengths.setdefault(axis, here)
            if length != known:
                raise AtlasFormatError(
                    f"{field.path}: has {length} {axis}, but {place} has {known}; write it again"
                )
            if length > MAX_LENGTHS[axis]:
                raise AtlasFormatError(
                    f"{field.path}: declares {length} {axis}, more than format "
                    f"{FORMAT_VERSION}'s {MAX_LENGTHS[axis]}"
                )
