"""Pictures resampled along affine maps: the one way from a photo to its crop, and back.

Places are in pixels, x to the right and y down, from the corner of the first pixel, whose own
middle is (.5, .5).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .photo import Pixels

Affine = NDArray[np.float64]
"""(2, 3): a place (x, y, 1) of one picture to one (x, y) of another."""


def moved(points: NDArray[np.float64], by: Affine) -> NDArray[np.float64]:
    """Points (..., 2), moved."""
    result: NDArray[np.float64] = points @ by[:, :2].T + by[:, 2]
    return result


def inverse(affine: Affine) -> Affine:
    """What leads back."""
    back = np.linalg.inv(affine[:, :2])
    return np.column_stack([back, -back @ affine[:, 2]])


def resampled(source: Pixels, to_source: Affine, size: tuple[int, int]) -> Pixels:
    """A picture of size (height, width) whose place p shows place `to_source` (p) of the source
    (H, W, 3), mirrored at its edges as often as need be.

    Where it is reduced, pixels are averaged: over squares of whole pixels of the source, then over
    samples at most a pixel apart. Samples are linear between pixels that Lanczos's filter doubled,
    which comes nearer to the picture than bicubic ones do. A map from pixels
    onto pixels returns them as they are.
    """
    height, width = size
    scale = math.sqrt(abs(np.linalg.det(to_source[:, :2])))  # pixels of the source in one
    whole = max(1, math.floor(scale + 1e-9))
    finer = math.ceil(scale / whole - 1e-9)  # samples to a side: 1 or 2
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    reached = moved(corners, to_source)
    margin = 4 * whole  # what a sample reaches: 3 pixels by Lanczos's filter, and its neighbour
    left, top = np.floor(reached.min(0) - margin).astype(int)
    right, bottom = np.ceil(reached.max(0) + margin).astype(int)
    columns = mirrored(left, left + math.ceil((right - left) / whole) * whole, source.shape[1])
    rows = mirrored(top, top + math.ceil((bottom - top) / whole) * whole, source.shape[0])
    region = _reduced(source, rows, columns, whole)
    # From the finer result's places to those of the region, doubled so that every other pixel has
    # its middle, and its value, where one of the region has.
    matrix = to_source[:, :2] * 2 / (finer * whole)
    shift = (to_source[:, 2] - [left, top]) * 2 / whole - 0.5
    data = (*matrix[0], shift[0], *matrix[1], shift[1])
    finest = (width * finer, height * finer)
    high, wide = region.shape[:2]
    doubled, between = (2 * wide - 1, 2 * high - 1), (0.25, 0.25, wide - 0.25, high - 0.25)
    result = np.empty((height, width, 3), np.uint8)
    for channel in range(3):  # as floats: Pillow rounds bytes down here, which darkens a picture
        level = Image.fromarray(region[:, :, channel].astype(np.float32))
        level = level.resize(doubled, Image.Resampling.LANCZOS, between)
        level = level.transform(finest, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
        level = level.reduce(finer) if finer > 1 else level
        result[:, :, channel] = np.rint(np.asarray(level).clip(0, 255))
    return result


def mirrored(start: int, stop: int, length: int) -> NDArray[np.intp]:
    """The pixels from start to stop of a row of `length`, mirrored at its ends: of 3, from -2 on,
    1 0 0 1 2 2 1 0 0 1 ..."""
    place = np.arange(start, stop) % (2 * length)
    return np.minimum(place, 2 * length - 1 - place)


def _reduced(
    source: Pixels, rows: NDArray[np.intp], columns: NDArray[np.intp], whole: int
) -> Pixels:
    """Those rows and columns of the source, averaged over squares of `whole` pixels a side: a few
    rows at a time, since of a large photo they may be all."""
    if whole == 1:
        return source[rows[:, None], columns]
    some = max(1, 2**20 // (len(columns) * whole)) * whole
    strips = []
    for top in range(0, len(rows), some):
        strip = source[rows[top : top + some, None], columns]
        strips.append(np.asarray(Image.fromarray(strip).reduce(whole)))
    return np.concatenate(strips)
