"""The drawings that a bundle's generator imitates: what an image of known attributes looks like.

The file is safetensors. Every look of a part is a tensor `PART.NUMBER`, uint8 (4, h, w),
premultiplied RGBA. Its metadata `drawings` is JSON:

- `side`: of the square that is drawn, in pixels;
- `attributes`: each with its values;
- `background`: the `attribute` that decides it, and the `colours` of its values, `#rrggbb`;
- `parts`, bottom to top: the `name`, the `attributes` that decide it, `looks`, the number of the
  look of every combination of their values, the last attribute fastest, and `corners`, where the
  top and left of every look lie;
- `hidden`: an `attribute`, and `where` it cannot be seen: the values that others have to have.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...store.errors import CheckpointError, OptionError
from ..checkpoints.native import read_safetensors

METADATA_KEY = "drawings"
MAX_BYTES, MAX_SIDE, MAX_PARTS, MAX_ATTRIBUTES = 2**24, 256, 64, 64
MAX_PIXELS = 2**22
"""Of all looks of all parts, drawn at full size."""
_MERGED = 2**20  # pixels that the looks of a layer of several parts may have
_BATCH = 2**20  # pixels of candidates at once
_BETTER = 1e-6  # of a difference: what a step has to gain, so that rounding goes in no circle
_COLOUR = re.compile("#[0-9a-fA-F]{6}")


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest drawings of n images.

    Args:
        values: their attributes, int16 (n, A).
        distance: mean absolute difference of the pixels on a scale from 0 to 1, float32 (n,).
    """

    values: NDArray[np.int16]
    distance: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Layer:
    """All looks of some parts: `attributes` are the numbers of those that decide it, `looks`
    float32 (values of the first, values of the second, ..., 4, side, side)."""

    attributes: tuple[int, ...]
    looks: Tensor

    def under(self, top: _Layer) -> _Layer:
        """Every look of this layer with every look of `top` over it that can be together."""
        attributes = (*self.attributes, *(a for a in top.attributes if a not in self.attributes))
        below, above = self._spread(attributes), top._spread(attributes)
        return _Layer(attributes, above + (1 - above[..., 3:, :, :]) * below)

    def _spread(self, attributes: tuple[int, ...]) -> Tensor:
        """The looks with an axis for each of these attributes."""
        kept = [a for a in attributes if a in self.attributes]
        order = [self.attributes.index(a) for a in kept]
        end = len(order)
        looks = self.looks.permute(*order, end, end + 1, end + 2)
        for axis, attribute in enumerate(attributes):
            if attribute not in self.attributes:
                looks = looks.unsqueeze(axis)
        return looks

    def box(self, attribute: int) -> Tensor:
        """Where it looks different for different values of an attribute, bool (side, side)."""
        axis = self.attributes.index(attribute)
        varies = self.looks.amax(axis) != self.looks.amin(axis)
        return varies.flatten(0, -3).any(0)


class Drawings:
    """Draws images of known attributes, and finds the drawing that an image is nearest to.

    Args:
        path: the file.

    Raises:
        CheckpointError: it cannot be read, or does not hold what this module describes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise self._wrong(f"is larger than {MAX_BYTES // 2**20} MiB")
        metadata, tensors = read_safetensors(path)
        if METADATA_KEY not in metadata:
            raise self._wrong(f"has no metadata `{METADATA_KEY}`")
        try:
            about = json.loads(metadata[METADATA_KEY])
            self._read(about, tensors)
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
            reason = f"needs {error}" if isinstance(error, KeyError) else str(error)[:100]
            raise self._wrong(f"metadata `{METADATA_KEY}`: {reason}") from error

    def draw(self, values: Tensor) -> Tensor:
        """Attributes, integers (n, A), -> images, float32 (n, 3, side, side) in [-1, 1].

        Raises:
            OptionError: a value that an attribute does not have.
        """
        self._require(values)
        whole = (slice(0, self.side), slice(0, self.side))
        return self._compose(values.long(), whole) * 2 - 1

    def visible(self, values: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """Whether drawings of these attributes (n, A) show each of them, (n, A)."""
        seen = np.ones(values.shape, bool)
        for attribute, where in self._hidden:
            hidden = np.all([np.isin(values[:, a], among) for a, among in where.items()], 0)
            seen[hidden, attribute] = False
        return seen

    def nearest(self, images: Tensor, start: NDArray[np.integer[Any]]) -> Nearest:
        """The nearest drawings of images (n, 3, side, side) in [-1, 1], by coordinate descent from
        a start (n, A): the best value of one attribute after the other, until none can be bettered.

        Raises:
            OptionError: images of another size, or a start that no drawing has.
        """
        if images.shape[1:] != (3, self.side, self.side):
            shape = " x ".join(map(str, images.shape[1:]))
            raise OptionError(
                f"images: are {shape}, drawings 3 x {self.side} x {self.side}; give images of that "
                "size"
            )
        values = torch.from_numpy(start.astype(np.int64))
        self._require(values)
        shown = images.detach().float().cpu().clamp(-1, 1) / 2 + 0.5
        moving = torch.arange(len(shown))
        while len(moving):
            moved = torch.zeros(len(moving), dtype=torch.bool)
            for attribute in range(len(self.attributes)):
                found = self._best(shown[moving], values[moving], attribute)
                moved |= found != values[moving, attribute]
                values[moving, attribute] = found
            moving = moving[moved]
        return Nearest(values.numpy().astype(np.int16), self.distance(images, values.numpy()))

    def distance(self, images: Tensor, values: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Mean absolute difference of images (n, 3, side, side) in [-1, 1] to the drawings of these
        attributes (n, A), on a scale from 0 to 1: float32 (n,)."""
        shown = images.detach().float().cpu().clamp(-1, 1)
        parts = zip(shown.split(256), torch.from_numpy(values).split(256), strict=True)
        apart = [(x - self.draw(v)).abs().flatten(1).mean(1) / 2 for x, v in parts]
        return torch.cat(apart).numpy() if apart else np.zeros(0, np.float32)

    def region(
        self,
        values: NDArray[np.integer[Any]],
        attribute: int,
        wanted: Sequence[int],
        margin: int,
    ) -> NDArray[np.bool_]:
        """The pixels of an attribute: where drawings of these attributes (n, A) differ from the
        same ones with a wanted value, any of them, and `margin` pixels around; (n, side, side)."""
        before = torch.from_numpy(values.astype(np.int64))
        drawn = self.draw(before)
        differ = torch.zeros(len(before), self.side, self.side, dtype=torch.bool)
        for value in wanted:
            after = before.clone()
            after[:, attribute] = value
            differ |= (self.draw(after) != drawn).any(1)
        wide = F.max_pool2d(differ.float()[:, None], 2 * margin + 1, 1, margin)[:, 0] > 0
        region: NDArray[np.bool_] = wide.numpy()
        return region

    def _best(self, shown: Tensor, values: Tensor, attribute: int) -> Tensor:
        """The value (n,) of an attribute that brings drawings of all other values nearest to images
        (n, 3, side, side) in [0, 1]; as it was where none is better."""
        window, count = self._windows[attribute], self._sizes[attribute]
        pixels = (window[0].stop - window[0].start) * (window[1].stop - window[1].start)
        best = []
        step = max(1, _BATCH // max(1, pixels * count))
        choices = torch.arange(count)
        for part, old in zip(shown.split(step), values.split(step), strict=True):
            candidates = old[:, None].repeat(1, count, 1)  # (n, values, A)
            candidates[:, :, attribute] = choices
            drawn = self._compose(candidates.flatten(0, 1), window).unflatten(0, (-1, count))
            apart = drawn.sub_(part[:, None, :, window[0], window[1]]).abs_().sum((2, 3, 4))
            now = apart.gather(1, old[:, attribute, None])[:, 0]
            least, number = apart.min(1)
            better = least < now * (1 - _BETTER)
            best.append(torch.where(better, number, old[:, attribute]))
        return torch.cat(best)

    def _compose(self, values: Tensor, window: tuple[slice, slice]) -> Tensor:
        """The drawings (n, 3, h, w) in [0, 1] in a window of the square."""
        height, width = (side.stop - side.start for side in window)
        backdrop = self._background[values[:, self._backdrop], :, None, None]
        image = backdrop.repeat(1, 1, height, width)
        for layer in self._layers:
            looks = layer.looks[..., window[0], window[1]]
            if layer.attributes:
                chosen = looks[tuple(values[:, a] for a in layer.attributes)]
            else:
                chosen = looks[None]
            image = torch.addcmul(chosen[:, :3], 1 - chosen[:, 3:], image)
        return image

    def _require(self, values: Tensor) -> None:
        sizes = torch.tensor(self._sizes)
        if values.ndim != 2 or values.shape[1] != len(sizes):
            raise OptionError(
                f"values: are of shape {tuple(values.shape)}; give a column for each of "
                f"{', '.join(self.attributes)}"
            )
        wrong = (values < 0) | (values >= sizes)
        if wrong.any():
            column = int(wrong.any(0).nonzero()[0, 0])
            name, known = list(self.attributes)[column], self._sizes[column]
            raise OptionError(f"values: one of {name!r} is unknown; give 0 to {known - 1}")

    @cached_property
    def _layers(self) -> list[_Layer]:
        """The parts, neighbours merged while they have few looks together."""
        merged: list[_Layer] = []
        for part in self._parts:
            if merged:
                both = {*merged[-1].attributes, *part.attributes}
                if self.side**2 * math.prod(self._sizes[a] for a in both) <= _MERGED:
                    merged[-1] = merged[-1].under(part)
                    continue
            merged.append(part)
        return merged

    @cached_property
    def _windows(self) -> list[tuple[slice, slice]]:
        """The box of the pixels that each attribute may change."""
        windows = []
        for attribute in range(len(self.attributes)):
            varies = torch.full((self.side, self.side), attribute == self._backdrop)
            for part in self._parts:
                if attribute in part.attributes:
                    varies = varies | part.box(attribute)
            rows, columns = (varies.any(axis).nonzero()[:, 0] for axis in (1, 0))
            if len(rows):
                box = (slice(int(rows[0]), int(rows[-1]) + 1),)
                windows.append((*box, slice(int(columns[0]), int(columns[-1]) + 1)))
            else:
                windows.append((slice(0, 1), slice(0, 1)))
        return windows

    def _read(self, about: Any, tensors: Mapping[str, Tensor]) -> None:
        self.side: int = _within("side", about["side"], MAX_SIDE)
        self.attributes = {name: tuple(v) for name, v in about["attributes"].items()}
        names = list(self.attributes)
        self._sizes = [len(values) for values in self.attributes.values()]
        texts = [*names, *(value for values in self.attributes.values() for value in values)]
        if not 0 < len(names) <= MAX_ATTRIBUTES or not all(isinstance(t, str) for t in texts):
            raise ValueError(f"attributes has to name 1 to {MAX_ATTRIBUTES}, and texts as values")
        if min(self._sizes) < 1:
            raise ValueError("an attribute has no values")
        self._backdrop = names.index(about["background"]["attribute"])
        colours = about["background"]["colours"]
        if len(colours) != self._sizes[self._backdrop] or not all(map(_COLOUR.fullmatch, colours)):
            raise ValueError("background needs a colour #rrggbb for each of its values")
        numbers = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours]
        self._background = torch.tensor(numbers) / 255
        if len(about["parts"]) > MAX_PARTS:
            raise ValueError(f"there are more than {MAX_PARTS} parts")
        chosen = [tuple(names.index(a) for a in part["attributes"]) for part in about["parts"]]
        looks = sum(math.prod(self._sizes[a] for a in attributes) for attributes in chosen)
        if looks * self.side**2 > MAX_PIXELS:
            raise ValueError(f"the parts have {looks} looks, which is too many")
        pairs = zip(about["parts"], chosen, strict=True)
        self._parts = [_Layer(a, self._looks(part, a, tensors)) for part, a in pairs]
        self._hidden = [
            (
                names.index(rule["attribute"]),
                {
                    names.index(name): [self.attributes[name].index(value) for value in values]
                    for name, values in rule["where"].items()
                },
            )
            for rule in about["hidden"]
        ]
        if not all(where for _, where in self._hidden):
            raise ValueError("a rule of hidden has no values")

    def _looks(
        self, part: Any, attributes: tuple[int, ...], tensors: Mapping[str, Tensor]
    ) -> Tensor:
        """Every look of a part at its place in the square."""
        name, sizes = part["name"], [self._sizes[a] for a in attributes]
        if len(set(attributes)) < len(attributes) or len(part["looks"]) != math.prod(sizes):
            raise ValueError(f"part {name!r} needs a look for every combination of its values")
        if len(part["corners"]) > len(part["looks"]):
            raise ValueError(f"part {name!r} has more corners than looks")
        squares = []
        for number, (top, left) in enumerate(part["corners"]):
            key = f"{name}.{number}"
            look = tensors[key]
            _within("a corner", top + 1, self.side)
            _within("a corner", left + 1, self.side)
            if look.dtype != torch.uint8 or look.ndim != 3 or look.shape[0] != 4:
                raise ValueError(f"tensor {key!r} is not uint8 (4, h, w)")
            bottom, right = self.side - top - look.shape[1], self.side - left - look.shape[2]
            if min(bottom, right) < 0:
                raise ValueError(f"tensor {key!r} reaches out of the square")
            squares.append(F.pad(look.float() / 255, (left, right, top, bottom)))
        order = [_within("a look", number + 1, len(squares)) - 1 for number in part["looks"]]
        looks = torch.stack([squares[number] for number in order])
        return looks.reshape(*sizes, 4, self.side, self.side)

    def _wrong(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {what}; it holds no drawings, name another file")


def _within(what: str, value: Any, most: int) -> int:
    """A whole number from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"{what} is out of its range")
    return value
