"""Checks shared by everything that holds arrays; each names the place inside the atlas."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .errors import AtlasCorruptError, AtlasFormatError

# Unit vectors and mean lengths come out of float32 arithmetic, so they are exact to about 1e-6;
# this leaves room for embeddings that were once stored as float16.
TOLERANCE = 1e-3


def as_array(
    place: str, values: ArrayLike, dtype: DTypeLike, shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """``values`` as a C-contiguous array of ``dtype``; ``None`` in ``shape`` takes any length.

    Raises:
        AtlasFormatError: another shape, or a type that does not convert within its kind.
        AtlasCorruptError: NaN or infinity.
    """
    array = np.asarray(values)
    wanted = np.dtype(dtype)
    if not np.can_cast(array.dtype, wanted, casting="same_kind"):
        raise AtlasFormatError(f"{place}: is {array.dtype}, must be {wanted}; convert it first")
    if array.ndim != len(shape) or any(
        want not in (None, have) for want, have in zip(shape, array.shape, strict=True)
    ):
        expected = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise AtlasFormatError(f"{place}: has shape {array.shape}, must have {expected}")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
        array = np.ascontiguousarray(array, dtype=wanted)
    if wanted.kind == "f" and not np.isfinite(array).all():
        raise AtlasCorruptError(f"{place}: holds NaN or infinity; compute it again")
    return array


def require_range(place: str, values: NDArray[Any], low: float, high: float) -> None:
    """Raise AtlasFormatError unless all ``values`` lie in [low, high]."""
    if values.size and not (values.min() >= low and values.max() <= high):
        raise AtlasFormatError(
            f"{place}: ranges from {values.min():g} to {values.max():g}, "
            f"must lie in {low:g} to {high:g}"
        )


def row_norms(rows: NDArray[np.float32] | NDArray[np.float16]) -> NDArray[np.float32]:
    """The lengths of ``rows`` (n, D), without a temporary of their size: (n,). Half precision is
    summed in single."""
    within = np.float32 if rows.dtype == np.float16 else None
    norms: NDArray[np.float32] = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=within))
    return norms


def require_unit(place: str, norms: NDArray[np.float32]) -> None:
    """Raise AtlasCorruptError unless all ``norms`` are 1 within the tolerance."""
    off = np.abs(norms - 1.0) > TOLERANCE
    if off.any():
        row = int(off.argmax())
        raise AtlasCorruptError(
            f"{place}: row {row} has length {norms[row]:.4g}, must be a unit vector; normalise it"
        )
