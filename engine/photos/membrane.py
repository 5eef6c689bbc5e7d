"""Values that are known in places, carried on into the gaps between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_STEPS = 2000


def membrane(
    values: Floats, known: NDArray[np.bool_], reach: float, tolerance: float = 0.05
) -> Floats:
    """What is known stays; in the gaps the values go on smoothly, and to 0 far from all that is
    known.

    The screened Poisson equation, laplacian(x) = x / reach^2, with the known values at the boundary
    of each gap and nothing flowing over the edge of the array. With an infinite reach it is the
    correction of a seamless blend, as two pictures of equal gradients differ by a harmonic function
    (Pérez, Gangnet and Blake 2003, "Poisson image editing"). Solved by conjugate gradients
    (Hestenes and Stiefel 1952).

    Args:
        values: (channels, H, W), finite; where they are not known they do not count.
        known: (H, W).
        reach: how far a known value is carried, in cells: over it to 1/e.
        tolerance: how far the equation, of four neighbours, may be missed, as a root mean square
            over the gaps, in the unit of `values`.

    Returns:
        (channels, H, W).
    """
    gap = ~known
    screened = _around(np.ones(known.shape)) + reach**-2.0
    planes = np.where(known, values, 0.0)
    for plane in planes:
        residual = np.where(gap, _around(plane) - screened * plane, 0.0)
        step, size = residual.copy(), float((residual**2).sum())
        for _ in range(_STEPS):
            if size <= tolerance**2 * gap.sum():
                break
            along = np.where(gap, screened * step - _around(step), 0.0)
            length = size / float((step * along).sum())
            plane += length * step
            residual -= length * along
            before, size = size, float((residual**2).sum())
            step = residual + (size / before) * step
    return planes


def _around(plane: Floats) -> Floats:
    """The sum of each value's neighbours: four, or fewer at the edge."""
    total = np.zeros_like(plane)
    total[1:] += plane[:-1]
    total[:-1] += plane[1:]
    total[:, 1:] += plane[:, :-1]
    total[:, :-1] += plane[:, 1:]
    return total
