"""An edited crop goes back into its photo."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...store.errors import OptionError
from ..models.landmarks import Picture, require_picture
from ..models.preprocess import as_rgb
from .membrane import membrane

_GRID = 256
"""Cells a side at most of what is found out about a crop; all that is found is smooth."""
# In shares of the crop's side.
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
_REPLACED, _KEPT = 0.3, 0.8
_BAND_PIXELS = 2**20
_FARTHEST = 2.0**31
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
    crop: NDArray[np.float64],
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
        crop: corners of the square that was cut out, (4, 2), as x and y in pixels from the corner
            of the photo's first pixel: top left, bottom left, bottom right, top right as the crop
            is seen. It may be turned and reach beyond the photo.
        inversion, edit: the crop as the generator draws it before and after the edit, (1, 3 or 4,
            S, S) each, in [-1, 1] or clipped to it.
        only: uint8 (H, W), where the photo may change: 0 nowhere, 255 fully.

    Raises:
        OptionError: something of another shape or type, a crop that is no square, a render with
            values that are not finite.
    """
    photo = require_picture(photo)
    square = _Square.of(crop)
    before, after = _levels("inversion", inversion), _levels("edit", edit)
    if before.shape != after.shape:
        raise OptionError(
            f"edit: has {after.shape[-1]} pixels a side, the inversion {before.shape[-1]}; "
            "give renders by one generator"
        )
    if only is not None:
        _require_mask(only, photo)
    pasted = photo.copy()
    cells = min(before.shape[-1], _GRID)
    seen, there = square.seen(photo, cells)
    old, new = _at(before, cells), _at(after, cells)
    edges = _edges(square, photo)
    mask = changed(old, new) * _fade(edges, cells)
    box = square.box(mask, photo)
    if box is None:
        return Pasted(pasted, (0, 0, 0, 0), np.zeros((0, 0), np.float32), 1.0, 0.0)
    keep = torch.maximum(alike(old, new), (mask <= 0).float())
    missed = _missed(seen - old, there, keep)
    kept = float((keep * mask).sum() / mask.sum())
    side = before.shape[-1]
    mask, keep, missed = (_at(x, side) for x in (mask, keep, missed))
    # photo + mask (edit + keep (photo - inversion) + (1 - keep) missed - photo), in two parts: one
    # that is added, one that is taken of the photo.
    added = mask * (after + (1 - keep) * missed - keep * before)
    layers = square.fitted(torch.cat([added, mask * (1 - keep), mask]))
    left, top, right, bottom = box
    masks = np.zeros((bottom - top, right - left), np.float32)
    for rows, layer in square.bands(layers, box):
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
    """Where two pictures (3, n, n) of 0 to 255 differ, (1, n, n) of 0 to 1, soft.

    By more than 6 levels, and by a fifth of what the hundredth of the places that changes most
    does: an edit that changes one thing moves all others a little. Small holes are closed.
    """
    cells = old.shape[-1]
    change = _blurred((new - old).abs().amax(0, keepdim=True), _BLUR * cells)
    most = float(torch.quantile(change, 0.99))
    there = (change > max(_LEAST_CHANGE, _SHARE_OF_CHANGE * most)).float()
    there = -_grown(-_grown(there, _CLOSED * cells), _CLOSED * cells)
    return _ramp(_blurred(_grown(there, _GROWN * cells), _FEATHER * cells), 0, 1)


def alike(old: Tensor, new: Tensor) -> Tensor:
    """How far two pictures (3, n, n) of 0 to 255 show the same things, (1, n, n): 1 where only
    light and tint differ, 0 where other lines or another colour are seen there or near it."""
    cells = old.shape[-1]
    luma = old.new_tensor(_LUMA)[:, None, None]
    pair = torch.stack([(old * luma).sum(0), (new * luma).sum(0)])  # (2, n, n)
    mean = _blurred(pair, _WINDOW * cells)
    square, both = (
        _blurred(pair**2, _WINDOW * cells),
        _blurred(pair[:1] * pair[1:], _WINDOW * cells),
    )
    variance = (square - mean**2).clamp(min=0).sum(0, keepdim=True)
    covariance = both - mean[:1] * mean[1:]
    structure = (2 * covariance + _STABILISER) / (variance + _STABILISER)
    same = _ramp(_blurred(structure, _CLEAR * cells / 3), _REPLACED, _KEPT)
    recoloured = _blurred((new - old).abs().mean(0, keepdim=True), _CLEAR * cells)
    same = torch.minimum(same, 1 - _ramp(recoloured, *_OTHER_COLOUR))
    return _blurred(-_grown(-same, _CLEAR * cells), _CLEAR * cells / 2)


def _missed(difference: Tensor, there: Tensor, keep: Tensor) -> Tensor:
    """What the photo has more than the inversion, (3, n, n), carried on from where it is kept to
    where it is not; far from there it is what it is on average."""
    known = ((keep > 0.999) & there)[0]
    weight = there * (0.1 + 0.9 * known)
    if not bool(there.any()):
        return torch.zeros_like(difference)
    usual = (difference * weight).sum((1, 2), keepdim=True) / weight.sum()
    reach = _REACH * keep.shape[-1]
    found = membrane((difference - usual).double().numpy(), known.numpy(), reach)
    return torch.from_numpy(found).float() + usual


@dataclass(frozen=True)
class _Square:
    """A square in a photo: its first corner, its upper and its left side as vectors."""

    corner: NDArray[np.float64]
    across: NDArray[np.float64]
    down: NDArray[np.float64]

    @classmethod
    def of(cls, crop: object) -> _Square:
        corners = np.asarray(crop, np.float64) if isinstance(crop, np.ndarray) else np.empty(0)
        if corners.shape != (4, 2) or not (np.abs(corners) < _FARTHEST).all():
            raise OptionError("crop: has no four corners; give numbers (4, 2), in pixels")
        across, down = corners[3] - corners[0], corners[1] - corners[0]
        side = float(np.hypot(*across))
        turned = np.array([-across[1], across[0]])
        wrong = np.abs(np.stack([down - turned, corners[2] - corners[0] - across - down])).max()
        if side < 1 - 1e-3 or wrong > 1e-3 * side:
            raise OptionError(
                "crop: is no square of a pixel or more; give its corners top left, bottom left, "
                "bottom right, top right"
            )
        return cls(corners[0], across, down)

    @property
    def side(self) -> float:
        """In pixels of the photo."""
        return float(np.hypot(*self.across))

    def seen(self, photo: Picture, cells: int) -> tuple[Tensor, Tensor]:
        """The photo in the square, (3, cells, cells) of 0 to 255, without aliasing, and whether
        there is any, (1, cells, cells); beyond the photo its edge goes on."""
        height, width = photo.shape[:2]
        middle = (np.arange(cells) + 0.5) / cells
        x, y = self._points(middle[None, :], middle[:, None])
        there = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
        found = torch.from_numpy(there)[None]
        if not there.any():
            return torch.zeros(3, cells, cells), found
        left, right = (int(f(x[there])) for f in (np.min, np.max))
        top, bottom = (int(f(y[there])) for f in (np.min, np.max))
        margin = math.ceil(self.side / cells) + 2
        left, top = max(left - margin, 0), max(top - margin, 0)
        right, bottom = min(right + margin, width), min(bottom + margin, height)
        shrink = max(self.side / cells, 1)
        size = [max(1, math.ceil((b - a) / shrink)) for a, b in ((left, right), (top, bottom))]
        part = Image.fromarray(np.ascontiguousarray(photo[top:bottom, left:right]))
        small = torch.from_numpy(np.array(part.resize((size[0], size[1]), Image.Resampling.BOX)))
        small = small.permute(2, 0, 1)[None].float()
        where = np.stack([(x - left) / (right - left), (y - top) / (bottom - top)], -1) * 2 - 1
        return _sampled(small, where, "bilinear").permute(2, 0, 1), found

    def box(self, mask: Tensor, photo: Picture) -> tuple[int, int, int, int] | None:
        """The pixels in which a mask (1, n, n) over the square is not 0; None if in none."""
        rows, columns = (mask[0].amax(i).nonzero()[:, 0].numpy() for i in (1, 0))
        if not len(rows):
            return None
        cells, (height, width) = mask.shape[-1], photo.shape[:2]
        u = np.array([columns[0] - 1, columns[-1] + 2]).clip(0, cells) / cells
        v = np.array([rows[0] - 1, rows[-1] + 2]).clip(0, cells) / cells
        x, y = self._points(u[None, :], v[:, None])
        left, top = max(math.floor(x.min()) - 1, 0), max(math.floor(y.min()) - 1, 0)
        right, bottom = min(math.ceil(x.max()) + 1, width), min(math.ceil(y.max()) + 1, height)
        return (left, top, right, bottom) if left < right and top < bottom else None

    def fitted(self, layers: Tensor) -> Tensor:
        """Layers (c, S, S) no finer than the photo's pixels, so that they can be sampled there."""
        side = max(1, round(self.side))
        if side >= layers.shape[-1]:
            return layers
        return F.interpolate(
            layers[None], (side, side), mode="bicubic", antialias=True, align_corners=False
        )[0]

    def bands(
        self, layers: Tensor, box: tuple[int, int, int, int]
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Rows of the box, and the layers (c, S, S) over the square at their pixels,
        (rows, columns, c), 0 outside of the square."""
        left, top, right, bottom = box
        high = max(1, _BAND_PIXELS // (right - left))
        x = np.arange(left, right)[None, :] + 0.5 - self.corner[0]
        for start in range(top, bottom, high):
            rows = slice(start, min(start + high, bottom))
            y = np.arange(rows.start, rows.stop)[:, None] + 0.5 - self.corner[1]
            u = (x * self.across[0] + y * self.across[1]) / self.side**2
            v = (x * self.down[0] + y * self.down[1]) / self.side**2
            inside = (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
            found = _sampled(layers[None], np.stack([u, v], -1) * 2 - 1, "bicubic").numpy()
            yield rows, found * inside[..., None]

    def corners(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x and y of the four, in the order of a crop's."""
        return self._points(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0]))

    def _points(
        self, u: NDArray[np.float64], v: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x and y of places of the square, of 0 to 1 to the right and down."""
        x, y = (self.corner[i] + u * self.across[i] + v * self.down[i] for i in (0, 1))
        return x, y


def _edges(square: _Square, photo: Picture) -> tuple[bool, ...]:
    """Whether the left, lower, right and upper side of the square are edges in the photo: not where
    it ends there or before."""
    height, width = photo.shape[:2]
    x, y = square.corners()
    found = []
    for i in range(4):
        across, down = x[[i, i - 3]], y[[i, i - 3]]
        ends = across.max() <= 0.5 or across.min() >= width - 0.5
        found.append(not (ends or down.max() <= 0.5 or down.min() >= height - 0.5))
    return tuple(found)


def _fade(edges: tuple[bool, ...], cells: int) -> Tensor:
    """(1, cells, cells): 0 at those sides of a square that are edges, 1 inside."""
    rise = _ramp((torch.arange(cells) + 0.5) / (_EDGE * cells), 0, 1)
    across, down = rise[None, :], rise[:, None]  # from the left and from the top
    fade = torch.ones(cells, cells)
    for ramp, edge in zip((across, down.flip(0), across.flip(1), down), edges, strict=True):
        fade = fade * ramp if edge else fade
    return fade[None]


def _cut(difference: Tensor, there: Tensor, edges: tuple[bool, ...]) -> float:
    """The mean of the largest of the channels of a difference (3, n, n) along those sides of a
    square that are edges, as far as they are there, (1, n, n); as a share of 255."""
    size, seen = difference.abs().amax(0), there[0]
    left, lower, right, upper = edges
    at = torch.zeros_like(seen)
    at[:, 0] |= left
    at[-1] |= lower
    at[:, -1] |= right
    at[0] |= upper
    cells = size[at & seen]
    return float(cells.mean()) / 255 if len(cells) else 0.0


def _sampled(layers: Tensor, where: NDArray[np.float64], mode: str) -> Tensor:
    """Layers (1, c, H, W) at places (h, w, 2) of -1 to 1 -> (h, w, c)."""
    grid = torch.from_numpy(where).float()[None]
    found = F.grid_sample(layers, grid, mode=mode, padding_mode="border", align_corners=False)
    return found[0].permute(1, 2, 0)


def _levels(name: str, render: Tensor) -> Tensor:
    """A render as RGB (3, S, S) of 0 to 255, float32 on the CPU; out of range values clipped."""
    if not isinstance(render, Tensor) or render.ndim != 3 or render.shape[1] != render.shape[2]:
        shape = tuple(getattr(render, "shape", ()))
        raise OptionError(f"{name}: has shape {shape}; give a square render (channels, S, S)")
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


def _at(picture: Tensor, side: int) -> Tensor:
    """A picture (c, n, n) at another size: means of what falls into a cell, or bilinear."""
    if picture.shape[-1] == side:
        return picture
    if picture.shape[-1] > side:
        return F.interpolate(picture[None], (side, side), mode="area")[0]
    return F.interpolate(picture[None], (side, side), mode="bilinear", align_corners=False)[0]


def _ramp(x: Tensor, low: float, high: float) -> Tensor:
    """From 0 at `low` to 1 at `high`, level at both ends."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _grown(x: Tensor, radius: float) -> Tensor:
    """The largest value in a square around each, of (c, n, n)."""
    cells = round(radius)
    return F.max_pool2d(x[None], 2 * cells + 1, 1, cells)[0]


def _blurred(x: Tensor, sigma: float) -> Tensor:
    """(c, n, n) by a Gaussian; beyond the edge the last value goes on."""
    reach = max(1, math.ceil(3 * sigma))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).to(x)
    padded = F.pad(x[:, None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, weights[None, None, :, None]), weights[None, None, None])[:, 0]
