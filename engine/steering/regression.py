"""Regression of latents on who has what: the pieces, on arrays. Without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_RIDGE = 1e-2  # of the mean variance of w
_DISCOVERY = 1e-3  # share of the channels moved that are moved by chance


def discovered(step: NDArray[np.float32], error: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which channels (C,) move by more than chance; the one that is surest, if none."""
    z = np.abs(step) / np.maximum(error, 1e-12)
    chances = np.array([math.erfc(value / math.sqrt(2)) for value in z.tolist()])
    order = np.sort(chances)
    below = np.flatnonzero(order <= _DISCOVERY * np.arange(1, len(order) + 1) / len(order))
    least = order[below[-1]] if len(below) else order[0]
    passed: NDArray[np.bool_] = chances <= least
    return passed


def slopes_on(w: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far values (N, k) move with w around its mean (N, w_dim), by ridge regression:
    (w_dim, k)."""
    gram = w.T @ w
    gram[np.diag_indices_from(gram)] += max(_RIDGE * np.trace(gram) / len(gram), 1e-9)
    slopes: NDArray[np.float32] = np.linalg.solve(gram, w.T @ (values - values.mean(0)))
    return slopes


def unit_columns(columns: NDArray[Any]) -> NDArray[Any]:
    """Columns (N, k) around their means, of length 1."""
    around = columns - columns.mean(0)
    units: NDArray[Any] = around / np.maximum(np.linalg.norm(around, axis=0), 1e-12)
    return units


def partial_correlations(values: Array, columns: NDArray[Any], basis: Array) -> Array:
    """The partial correlations of values (N,) around their mean with unit columns (N, k), once what
    a basis (N, b) tells of both is taken out; 0 for a column of which it tells nearly all."""
    inside = basis.T @ columns
    lengths = np.sqrt((1 - np.square(inside).sum(0)).clip(1e-12))
    left = values - basis @ (basis.T @ values)
    partial = (left @ columns) / (lengths * max(float(np.linalg.norm(left)), 1e-12))
    found: Array = np.where(lengths > 0.5, partial, 0)
    return found


def inflation(values: Array, columns: Sequence[Array]) -> float:
    """The variance inflation factor of values (N,) among columns (N,): how much less a regression
    knows of them than it would without the columns, at least 1."""
    around = values - values.mean()
    basis = orthonormal(columns, len(values))
    left = around - basis @ (basis.T @ around)
    return float(around @ around) / max(float(left @ left), 1e-12)


def orthonormal(columns: Sequence[Array], count: int) -> Array:
    """An orthonormal basis of columns around their means, (N, k)."""
    if not columns:
        return np.zeros((count, 0))
    basis: Array = np.linalg.qr(unit_columns(np.stack(columns, 1)))[0]
    return basis


def of_two(posterior: Array) -> float:
    """The variance of having a thing or not, by how likely each sample has it."""
    share = float(posterior.mean())
    return max(share * (1 - share), 1e-12)


def class_means(
    values: NDArray[np.float32], label: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The means of values (N, k) over every class, in the order of their labels (N,): (classes, k);
    and the values around those of their own."""
    classes, number, counts = np.unique(label, return_inverse=True, return_counts=True)
    means = np.zeros((len(classes), values.shape[1]), np.float64)
    np.add.at(means, number, values)
    means /= counts[:, None]
    around: NDArray[np.float32] = (values - means[number]).astype(np.float32)
    return means.astype(np.float32), around


def within_classes(values: NDArray[np.float32], label: NDArray[np.int32]) -> NDArray[np.float32]:
    """Values (N, k) around the mean of all instead of that of their class."""
    if len(np.unique(label)) < 2:
        return values
    around: NDArray[np.float32] = class_means(values, label)[1] + values.mean(0)
    return around
