"""An edited crop goes back into its photo."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...store.errors import OptionError
from ..models.landmarks import Picture, require_picture
from ..models.preprocess import as_rgb
from .align import SHAPE, Quadrilateral, crop_to_photo
from .membrane import membrane
from .resample import inverse, moved, resampled

_GRID = 256
"""Cells of the longer side, at most, of what is found out about a crop: all of it is smooth."""
# In shares of the crop's longer side.
_BLUR = 2 / 256
_CLOSED, _GROWN, _FEATHER = 10 / 256, 6 / 256, 4 / 256
_EDGE = 16 / 256
_WINDOW = 2.5 / 256
_CLEAR = 3 / 256
_REACH = 25 / 256
# In levels of 255.
_LEAST_CHANGE = 6.0
_SHARE_OF_CHANGE = 0.2
_STABILISER = (0.03 * 255) ** 2
_OTHER_COLOUR = 30.0, 90.0
_EVEN, _SMOOTH = 10.0, 20.0
_REPLACED, _KEPT = 0.3, 0.8
_BAND_PIXELS = 2**20
_LARGEST = 8
"""Sides of a crop, in longer sides of the photo: no face that is found is as large."""
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, eq=False)
class Pasted:
    """A photo with an edit in it.

    Args:
        photo: uint8 (H, W, 3), an array of its own.
        box: left, top, right, bottom of what may differ from the photo it was, in pixels; all 0
            where nothing does.
        mask: how much of each pixel of the box was changed, 0 to 1, float32
            (bottom - top, right - left). Where it is 0, and outside of the box, the photo is as it
            was, bit for bit.
        kept: how much of the photo's own detail stayed in what was changed, 0 to 1: 1 is the
            photo plus the difference of two renders, 0 is the render in the photo's colours.
    """

    photo: Picture
    box: tuple[int, int, int, int]
    mask: NDArray[np.float32]
    kept: float
    cut: float


def paste(
    photo: Picture,
    crop: Quadrilateral,
    inversion: Tensor,
    edit: Tensor,
    only: NDArray[np.uint8] | None = None,
) -> Pasted:
    """Puts into a photo what an edit changed in its crop; docs/photos.md says how.

    A place of the crop changes where the renders of inversion and edit differ. Where they show the
    same things there, as a cheek in another light, it gets their difference, and all of the photo
    that the inversion missed stays. Where the edit shows other things, as hair before a wall, it
    gets the edit, shifted in colour as the photo differs from the inversion around it (see
    `membrane`). Whether they show the same is told by
    the structure term of SSIM (Wang et al. 2004) and by the colour; see `alike`.

    Args:
        photo: uint8 (H, W, 3), RGB.
        crop: corners of what was cut out, (4, 2), see `align`: a rectangle of the renders' shape,
            as `align_whole` takes it. It may be turned and reach beyond the photo.
        inversion, edit: the crop as the generator draws it before and after the edit, (1, 3 or 4,
            H, W) each, in [-1, 1] or clipped to it.
        only: uint8 (H, W), where the photo may change: 0 nowhere, 255 fully.

    Raises:
        OptionError: something of another shape or type, a crop of another shape, a render with
            values that are not finite.
    """
    photo = require_picture(photo)
    before, after = _levels("inversion", inversion), _levels("edit", edit)
    if before.shape != after.shape:
        sizes = [f"{x.shape[2]} x {x.shape[1]}" for x in (after, before)]
        raise OptionError(
            f"edit: is of {sizes[0]} pixels, the inversion of {sizes[1]}; give renders by one "
            "generator"
        )
    size = (before.shape[1], before.shape[2])
    quad = _require_quad(crop, size, photo)
    if only is not None:
        _require_mask(only, photo)
    pasted = photo.copy()
    cells = _cells(size)
    old, new = _at(before, cells), _at(after, cells)
    edges = _edges(quad, photo)
    light = backdrop_light(old, new, edges)
    new, after = new - light, after - _at(light, size)
    seen, there = _seen(photo, quad, cells)
    mask = changed(old, new) * _fade(edges, cells)
    box = _box(mask, quad, photo)
    if box is None:
        return Pasted(pasted, (0, 0, 0, 0), np.zeros((0, 0), np.float32), 1.0, 0.0)
    keep = torch.maximum(alike(old, new), (mask <= 0).float())
    missed = _missed(seen - old, there, keep)
    kept = float((keep * mask).sum() / mask.sum())
    mask, keep, missed = (_at(x, size) for x in (mask, keep, missed))
    # photo + mask (edit + keep (photo - inversion) + (1 - keep) missed - photo), in two parts: one
    # that is added, one that is taken of the photo.
    added = mask * (after + (1 - keep) * missed - keep * before)
    layers = _fitted(torch.cat([added, mask * (1 - keep), mask]), quad)
    left, top, right, bottom = box
    masks = np.zeros((bottom - top, right - left), np.float32)
    for rows, layer in _bands(layers, quad, box):
        there_now = photo[rows, left:right]
        share = layer[..., 4].clip(0, 1)
        step = layer[..., :3] - layer[..., 3:4] * there_now
        if only is not None:
            allowed = only[rows, left:right].astype(np.float32) / 255
            step, share = step * allowed[..., None], share * allowed
        values = (there_now + step).round().clip(0, 255).astype(np.uint8)
        pasted[rows, left:right] = np.where(share[..., None] > 0, values, there_now)
        masks[rows.start - top : rows.stop - top] = share
    return Pasted(pasted, box, masks, kept, _cut(new - old, there, edges))


def changed(old: Tensor, new: Tensor) -> Tensor:
    """Where two pictures (3, h, w) of 0 to 255 differ, (1, h, w) of 0 to 1, soft.

    By more than 6 levels, and by a fifth of what the hundredth of the places that changes most
    does: an edit that changes one thing moves all others a little. Small holes are closed.
    """
    cells = max(old.shape[1:])
    change = _blurred((new - old).abs().amax(0, keepdim=True), _BLUR * cells)
    most = float(torch.quantile(change, 0.99))
    there = (change > max(_LEAST_CHANGE, _SHARE_OF_CHANGE * most)).float()
    there = -_grown(-_grown(there, _CLOSED * cells), _CLOSED * cells)
    return _ramp(_blurred(_grown(there, _GROWN * cells), _FEATHER * cells), 0, 1)


def alike(old: Tensor, new: Tensor) -> Tensor:
    """How far two pictures (3, h, w) of 0 to 255 show the same things, (1, h, w): 1 where only
    light and tint differ, 0 where other lines or another colour are seen there or near it."""
    cells = max(old.shape[1:])
    structure = _structure(old, new)
    same = _ramp(_blurred(structure, _CLEAR * cells / 3), _REPLACED, _KEPT)
    recoloured = _blurred((new - old).abs().mean(0, keepdim=True), _CLEAR * cells)
    same = torch.minimum(same, 1 - _ramp(recoloured, *_OTHER_COLOUR))
    return _blurred(-_grown(-same, _CLEAR * cells), _CLEAR * cells / 2)


def _structure(old: Tensor, new: Tensor) -> Tensor:
    """The structure term of SSIM of two pictures (3, h, w) of 0 to 255, (1, h, w)."""
    cells = max(old.shape[1:])
    luma = old.new_tensor(_LUMA)[:, None, None]
    pair = torch.stack([(old * luma).sum(0), (new * luma).sum(0)])  # (2, n, n)
    mean = _blurred(pair, _WINDOW * cells)
    square, both = (
        _blurred(pair**2, _WINDOW * cells),
        _blurred(pair[:1] * pair[1:], _WINDOW * cells),
    )
    variance = (square - mean**2).clamp(min=0).sum(0, keepdim=True)
    covariance = both - mean[:1] * mean[1:]
    structure: Tensor = (2 * covariance + _STABILISER) / (variance + _STABILISER)
    return structure


def backdrop_light(old: Tensor, new: Tensor, edges: Sequence[bool]) -> Tensor:
    """By how much two pictures (3, h, w) of 0 to 255 differ in light and tint alone in what goes on
    beyond those sides that are edges, (3, h, w): there the photo stays as it is, or the crop would
    show in it. Inside it ends within `_REACH`.

    What goes on beyond an edge is what is reached, from where it differs there, over cells that are
    smooth, show the same, and differ as their neighbours do: a wall, out of focus, and not hair.
    """
    cells = max(old.shape[1:])
    difference = _blurred(new - old, _BLUR * cells)
    even = (_spread(difference, _WINDOW * cells) < _EVEN) & (_structure(old, new)[0] > _KEPT)
    even &= _spread(_blurred(old, _BLUR * cells), 2 * _WINDOW * cells) < _SMOOTH
    narrow = 2 * _WINDOW * cells  # ways that lead along an outline or through a gap
    even = _grown(-_grown(-even[None].float(), narrow), narrow)[0] > 0
    reached = torch.zeros_like(even)
    left, lower, right, upper = edges
    reached[:, 0] |= left
    reached[-1] |= lower
    reached[:, -1] |= right
    reached[0] |= upper
    reached &= even & (difference.abs().amax(0) > _LEAST_CHANGE)
    count = -1
    while count < (count := int(reached.sum())):
        reached = (_grown(reached[None].float(), 1)[0] > 0) & even
    if not count:
        return torch.zeros_like(difference)
    found = membrane(difference.double().numpy(), reached.numpy(), _REACH * cells)
    return torch.from_numpy(found).float()


def _spread(picture: Tensor, radius: float) -> Tensor:
    """How far levels of (c, h, w) differ in a square around each, of the channel where they differ
    most, (h, w)."""
    return (_grown(picture, radius) + _grown(-picture, radius)).amax(0)


def _missed(difference: Tensor, there: Tensor, keep: Tensor) -> Tensor:
    """What the photo has more than the inversion, (3, h, w), carried on from where it is kept to
    where it is not; far from there it is what it is on average."""
    known = ((keep > 0.999) & there)[0]
    weight = there * (0.1 + 0.9 * known)
    if not bool(there.any()):
        return torch.zeros_like(difference)
    usual = (difference * weight).sum((1, 2), keepdim=True) / weight.sum()
    reach = _REACH * max(keep.shape[1:])
    found = membrane((difference - usual).double().numpy(), known.numpy(), reach)
    return torch.from_numpy(found).float() + usual


def _require_quad(crop: object, size: tuple[int, int], photo: Picture) -> Quadrilateral:
    """The corners, where they are those of a rectangle of the shape of renders of a size (height,
    width), not turned over, and not so large that the photo would be a speck in it."""
    quad = np.asarray(crop, np.float64) if isinstance(crop, np.ndarray) else np.empty(0)
    if quad.shape != (4, 2) or not np.isfinite(quad).all():
        raise OptionError("crop: has no four corners; give numbers (4, 2), in pixels")
    height, width = size
    across, down = (quad[3] - quad[0]) / width, (quad[1] - quad[0]) / height
    turned = np.array([-across[1], across[0]])
    longer = float(np.hypot(*across)) * max(size)
    if not longer <= _LARGEST * max(photo.shape[:2]):
        raise OptionError(
            f"crop: has sides of {longer:.3g} pixels, more than {_LARGEST} times the photo's; give "
            "one that was aligned with it"
        )
    leans = np.abs(quad[2] - quad[1] - quad[3] + quad[0]).max() > 1e-3 * longer
    other = np.hypot(*(down - turned)) > (SHAPE + 1e-3) * np.hypot(*across)
    if longer < 1 - 1e-3 or leans or other:
        raise OptionError(
            f"crop: is no rectangle of a pixel or more of the renders' shape, {width} x {height}; "
            "give its corners top left, bottom left, bottom right, top right"
        )
    return quad


def _cells(size: tuple[int, int]) -> tuple[int, int]:
    """Of a grid over renders of a size (height, width), of the same shape."""
    share = min(1, _GRID / max(size))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def _seen(photo: Picture, quad: Quadrilateral, cells: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The photo in the crop, (3, *cells) of 0 to 255, and whether there is any, (1, *cells)."""
    to_photo = crop_to_photo(quad, cells)
    rows, columns = np.mgrid[: cells[0], : cells[1]] + 0.5
    places = moved(np.stack([columns, rows], -1), to_photo)
    there = np.all((places >= 0) & (places <= photo.shape[1::-1]), axis=-1)
    seen = torch.from_numpy(resampled(photo, to_photo, cells))
    return seen.permute(2, 0, 1).float(), torch.from_numpy(there)[None]


def _box(mask: Tensor, quad: Quadrilateral, photo: Picture) -> tuple[int, int, int, int] | None:
    """The pixels in which a mask (1, h, w) over the crop is not 0; None if in none."""
    rows, columns = (mask[0].amax(i).nonzero()[:, 0].numpy() for i in (1, 0))
    if not len(rows):
        return None
    cells, (height, width) = mask.shape[1:], photo.shape[:2]
    u = np.array([columns[0] - 1, columns[-1] + 2]).clip(0, cells[1])
    v = np.array([rows[0] - 1, rows[-1] + 2]).clip(0, cells[0])
    corners = np.array([[x, y] for x in u for y in v], np.float64)
    reached = moved(corners, crop_to_photo(quad, (cells[0], cells[1])))
    # Clipped before they are whole: corners may lie farther away than integers reach.
    ends = np.array([width, height])
    left, top = (np.floor(reached.min(0)) - 1).clip(0, ends).astype(int).tolist()
    right, bottom = (np.ceil(reached.max(0)) + 1).clip(0, ends).astype(int).tolist()
    return (left, top, right, bottom) if left < right and top < bottom else None


def _fitted(layers: Tensor, quad: Quadrilateral) -> Tensor:
    """Layers (c, H, W) no finer than the photo's pixels, so that they can be sampled there."""
    sides = [np.hypot(*(quad[i] - quad[0])) for i in (1, 3)]
    size = [max(1, round(float(side))) for side in sides]
    if size[1] >= layers.shape[2]:
        return layers
    return F.interpolate(layers[None], size, mode="bicubic", antialias=True, align_corners=False)[0]


def _bands(
    layers: Tensor, quad: Quadrilateral, box: tuple[int, int, int, int]
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Rows of the box, and the layers (c, H, W) over the crop at their pixels, (rows, columns, c),
    0 outside of the crop."""
    left, top, right, bottom = box
    (a, b, c), (d, e, f) = inverse(crop_to_photo(quad, (1, 1)))  # to 0 to 1 in the crop
    high = max(1, _BAND_PIXELS // (right - left))
    x = np.arange(left, right)[None, :] + 0.5
    for start in range(top, bottom, high):
        rows = slice(start, min(start + high, bottom))
        y = np.arange(rows.start, rows.stop)[:, None] + 0.5
        u, v = a * x + b * y + c, d * x + e * y + f
        inside = (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
        grid = torch.from_numpy(np.stack([u, v], -1) * 2 - 1).float()[None]
        found = F.grid_sample(
            layers[None], grid, mode="bicubic", padding_mode="border", align_corners=False
        )
        yield rows, found[0].permute(1, 2, 0).numpy() * inside[..., None]


def _edges(quad: Quadrilateral, photo: Picture) -> tuple[bool, ...]:
    """Whether the left, lower, right and upper side of the crop are edges in the photo: not where
    it ends there or before."""
    height, width = photo.shape[:2]
    found = []
    for i in range(4):
        across, down = quad[[i, i - 3]].T
        ends = across.max() <= 0.5 or across.min() >= width - 0.5
        found.append(not (ends or down.max() <= 0.5 or down.min() >= height - 0.5))
    return tuple(found)


def _fade(edges: tuple[bool, ...], cells: tuple[int, int]) -> Tensor:
    """(1, *cells): 0 at those sides of a crop that are edges, 1 inside."""
    down, across = (
        _ramp((torch.arange(count) + 0.5) / (_EDGE * max(cells)), 0, 1) for count in cells
    )  # from the top and from the left
    across, down = across[None, :], down[:, None]
    fade = torch.ones(cells)
    for ramp, edge in zip((across, down.flip(0), across.flip(1), down), edges, strict=True):
        fade = fade * ramp if edge else fade
    return fade[None]


def _cut(difference: Tensor, there: Tensor, edges: tuple[bool, ...]) -> float:
    """The mean of the largest of the channels of a difference (3, h, w) along those sides of a
    square that are edges, as far as they are there, (1, h, w); as a share of 255."""
    size, seen = difference.abs().amax(0), there[0]
    left, lower, right, upper = edges
    at = torch.zeros_like(seen)
    at[:, 0] |= left
    at[-1] |= lower
    at[:, -1] |= right
    at[0] |= upper
    cells = size[at & seen]
    return float(cells.mean()) / 255 if len(cells) else 0.0


def _levels(name: str, render: Tensor) -> Tensor:
    """A render as RGB (3, H, W) of 0 to 255, float32 on the CPU; out of range values clipped."""
    if not isinstance(render, Tensor) or render.ndim != 3:
        shape = tuple(getattr(render, "shape", ()))
        raise OptionError(f"{name}: has shape {shape}; give a render (channels, H, W)")
    rgb = as_rgb(render.detach()[None])[0].float().cpu()
    if not bool(rgb.isfinite().all()):
        raise OptionError(f"{name}: has values that are not finite; give another render")
    return (rgb.clamp(-1, 1) + 1) * 127.5


def _require_mask(only: object, photo: Picture) -> None:
    """Raise OptionError unless it is uint8 of the photo's size."""
    wanted = "give uint8 (H, W) of the photo's size, 255 where it may change"
    if not isinstance(only, np.ndarray) or only.dtype != np.uint8:
        raise OptionError(f"mask: is of {getattr(only, 'dtype', type(only).__name__)}; {wanted}")
    if only.shape != photo.shape[:2]:
        raise OptionError(f"mask: has shape {only.shape}, the photo {photo.shape[:2]}; {wanted}")


def _at(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """A picture (c, h, w) at another size: means of what falls into a cell, or bilinear."""
    if picture.shape[1:] == size:
        return picture
    if max(picture.shape[1:]) > max(size):
        return F.interpolate(picture[None], size, mode="area")[0]
    return F.interpolate(picture[None], size, mode="bilinear", align_corners=False)[0]


def _ramp(x: Tensor, low: float, high: float) -> Tensor:
    """From 0 at `low` to 1 at `high`, level at both ends."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _grown(x: Tensor, radius: float) -> Tensor:
    """The largest value in a square around each, of (c, h, w)."""
    cells = round(radius)
    return F.max_pool2d(x[None], 2 * cells + 1, 1, cells)[0]


def _blurred(x: Tensor, sigma: float) -> Tensor:
    """(c, h, w) by a Gaussian; beyond the edge the last value goes on."""
    reach = max(1, math.ceil(3 * sigma))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).to(x)
    padded = F.pad(x[:, None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, weights[None, None, :, None]), weights[None, None, None])[:, 0]
