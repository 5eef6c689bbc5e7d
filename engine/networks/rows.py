"""A MobileStyleGAN's layers over one image a few rows at a time, for a CPU: what one layer puts
out, the next takes while it is in the cache, and no features of a high resolution are ever whole.

Layers are generators, each over that before it. Rows are (h, w, channels) and come from the top.
Operators on so little gain nothing from several threads, so each thread takes a strip of the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

Rows = Iterator[Tensor]

# The most numbers of what goes from layer to layer at once: 1 MiB in float32.
TILE = 2**18


class Layer(Protocol):
    """A layer by rows."""

    def __call__(self, rows: Rows, *, noise: Tensor | None) -> Rows: ...


@dataclass(frozen=True, eq=False)
class Pass:
    """A layer that one image is to pass.

    Args:
        layer: it, given all but the rows and the noise that belongs to them.
        side: the height of the features that it computes with.
        reach: how many rows above and below a row it looks at.
        noise: of the whole height, (side, width); None without.
    """

    layer: Layer
    side: int
    reach: int
    noise: Tensor | None


def through(
    passes: Sequence[Pass], features: Tensor, along: int, top: int = 0, of: int | None = None
) -> Tensor:
    """Features (h, w, channels) through layers, `top` rows down from the uppermost of so many; what
    comes out has its rows along one dimension."""
    rows: Rows = iter([features])
    height = len(features) if of is None else of
    for step in passes:
        scale = step.side // height
        part = slice(top * scale, (top + len(features)) * scale)
        rows = step.layer(rows, noise=None if step.noise is None else step.noise[part])
    return torch.cat(list(rows), along)


def in_strips(passes: Sequence[Pass], features: Tensor, along: int) -> Tensor:
    """`through`, a strip of the features on each of PyTorch's threads. Strips overlap by what the
    layers reach over."""
    height, threads = len(features), torch.get_num_threads()
    count = min(threads, height)
    if count == 1 or is_functorch_wrapped_tensor(features):  # no other thread can read those
        return through(passes, features, along)
    margin = math.ceil(sum(step.reach * height / step.side for step in passes))
    inference = torch.is_inference_mode_enabled()

    def strip(first: int, last: int) -> Tensor:
        torch.set_num_threads(1)  # of this thread
        above, below = max(first - margin, 0), min(last + margin, height)
        with torch.no_grad(), torch.inference_mode(inference):
            found = through(passes, features[above:below], along, above, height)
            scale = found.shape[along] // (below - above)
            return found.narrow(along, (first - above) * scale, (last - first) * scale)

    bounds = [height * k // count for k in range(count + 1)]
    with ThreadPoolExecutor(count) as pool:
        strips = list(pool.map(strip, bounds[:-1], bounds[1:]))
    torch.set_num_threads(threads)  # which threads that start later take over from the last asked
    return torch.cat(strips, along)


def doubled(rows: Rows, style: Tensor) -> Rows:
    """Bands (h, w, 4c), scaled by a style (4c,), -> (2h, 2w, c) by the inverse Haar wavelet."""
    low_scale, down_scale, right_scale, both_scale = (style * 0.5).view(4, -1)
    for bands in _small(rows):
        height, width, channels = bands.shape[0], bands.shape[1], bands.shape[2] // 4
        low, down, right, both = bands.unflatten(2, (4, channels)).unbind(2)
        low, right = low * low_scale, right * right_scale
        above, below = (torch.addcmul(low, down, down_scale, value=sign) for sign in (1, -1))
        change = [torch.addcmul(right, both, both_scale, value=sign) for sign in (1, -1)]
        corners = bands.new_empty(height, 2, width, 2, channels)
        for i, (mean, step) in enumerate(zip((above, below), change, strict=True)):
            corners[:, i, :, 0] = mean + step
            corners[:, i, :, 1] = mean - step
        yield corners.view(2 * height, 2 * width, channels)


def convolved(
    rows: Rows, depthwise: Tensor, pointwise: Tensor, bias: Tensor, noise: Tensor | None
) -> Rows:
    """(h, w, in) -> (h, w, out): 3x3 in every channel by `depthwise` (in, 1, 3, 3), then
    `pointwise` (out, in), bias (out,), noise (height, width) of the whole map, leaky ReLU 0.2."""
    done = 0
    for window in _windows(_small(rows)):
        y = F.conv2d(
            window[None].permute(0, 3, 1, 2), depthwise, padding=(0, 1), groups=len(depthwise)
        )
        height, width = y.shape[2:]
        # A product and two passes over what is in the cache are faster than a bias of the product.
        y = y[0].permute(1, 2, 0).flatten(0, 1) @ pointwise.t()
        y += bias
        if noise is not None:
            y += noise[done : done + height].reshape(-1, 1)
        done += height
        yield F.leaky_relu_(y, 0.2).unflatten(0, (height, width))


def pictured(rows: Rows, weight: Tensor, bias: Tensor) -> Rows:
    """(h, w, in) -> (channels, 2h, 2w), a picture's: `weight` (4 channels, in) and `bias` lead to
    the corners of each square of 2 x 2 pixels."""
    for x in _small(rows):
        y = weight @ x.flatten(0, 1).t()  # (4 channels, h w)
        y += bias[:, None]
        yield F.pixel_shuffle(y.unflatten(1, x.shape[:2]), 2)


def _small(rows: Rows) -> Rows:
    """The same rows in tiles of bounded size."""
    for tile in rows:
        yield from tile.split(max(1, TILE // tile[0].numel()))


def _windows(rows: Rows) -> Rows:
    """The same rows, each tile between the row before and the row after it; zeros around all."""
    above: Tensor | None = None
    for tile in rows:
        if above is None:
            above = tile.new_zeros(1, *tile.shape[1:])
        window = torch.cat([above, tile])
        above = window[-2:]
        if len(window) > 2:
            yield window
    if above is not None:
        yield torch.cat([above, above.new_zeros(1, *above.shape[1:])])
