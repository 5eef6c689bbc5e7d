"""Layers as loops over places, in NumPy and float64: what networks of faces are compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def convolution(x: Array, weight: Array, bias: Array | None = None, stride: int = 1) -> Array:
    """x (c, h, w), weight (out, c, k, k) -> (out, h', w'), without padding."""
    size = weight.shape[2]
    places = [(n - size) // stride + 1 for n in x.shape[1:]]
    result = np.zeros((len(weight), *places))
    for row in range(places[0]):
        for column in range(places[1]):
            top, left = row * stride, column * stride
            window = x[:, top : top + size, left : left + size]
            result[:, row, column] = np.tensordot(weight, window, 3)
    return result if bias is None else result + bias[:, None, None]


def depthwise(x: Array, weight: Array, stride: int = 1) -> Array:
    """x (c, h, w), weight (c, 1, k, k): every channel by its own filter."""
    parts = [convolution(x[[i]], weight[[i]], stride=stride) for i in range(len(x))]
    return np.concatenate(parts)


def maximum(x: Array, size: int) -> Array:
    """The greatest of windows 2 apart of x (c, h, w); the last ones may reach beyond it."""
    places = [-(-max(n - size, 0) // 2) + 1 for n in x.shape[1:]]
    result = np.zeros((len(x), *places))
    for row in range(places[0]):
        for column in range(places[1]):
            window = x[:, 2 * row : 2 * row + size, 2 * column : 2 * column + size]
            result[:, row, column] = window.max((1, 2))
    return result


def padded(x: Array, before: int, after: int) -> Array:
    return np.pad(x, ((0, 0), (before, after), (before, after)))


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max())
    result: Array = powers / powers.sum()
    return result
