"""The ordered style channels of a generator, and how people write them."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import pairwise
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from .errors import LayoutError

LayerKind = Literal["conv", "rgb", "input"]

_LABEL = re.compile(r"(?P<layer>.+):(?P<channel>[0-9]{1,9})", re.DOTALL)


@dataclass(frozen=True)
class Layer:
    """A run of style channels that modulate one layer of the generator.

    ``size`` channels begin at flat index ``start``; ``resolution`` is in pixels.
    """

    name: str
    kind: LayerKind
    resolution: int
    size: int
    start: int

    def __post_init__(self) -> None:
        if not self.name or ":" in self.name or not self.name.isprintable():
            raise LayoutError(
                f"layer name {self.name!r}: must be printable, not empty and without ':', "
                "which separates layer and channel; rename the layer"
            )
        if self.kind not in get_args(LayerKind):
            kinds = ", ".join(get_args(LayerKind))
            raise LayoutError(f"layer {self.name}: unknown kind {self.kind!r}; use one of {kinds}")
        if self.size < 1 or self.resolution < 1:
            raise LayoutError(
                f"layer {self.name}: size {self.size} and resolution {self.resolution} "
                "must be positive"
            )

    @property
    def slice(self) -> builtins.slice:
        """Where this layer's channels lie in a flat style (..., C)."""
        return builtins.slice(self.start, self.start + self.size)


@dataclass(frozen=True)
class StyleLayout:
    """The layers of a generator in execution order; build it with :meth:`of`.

    This is the only code that turns a flat channel index into a layer and channel and back.
    For people a channel is written ``b64.conv0:217``.
    """

    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, layers: Iterable[tuple[str, str, int, int]]) -> StyleLayout:
        """Lay out ``(name, kind, resolution, size)`` one after the other.

        Raises:
            LayoutError: no layers, a name twice or with a colon, an unknown kind, a size below 1.
        """
        built: list[Layer] = []
        start = 0
        for name, kind, resolution, size in layers:
            built.append(Layer(name, cast(LayerKind, kind), resolution, size, start))
            start += size
        return cls(tuple(built))

    def __post_init__(self) -> None:
        if not self.layers:
            raise LayoutError("style layout: has no layers; a generator has at least one")
        if self.layers[0].start != 0 or any(a.slice.stop != b.start for a, b in pairwise(self)):
            raise LayoutError("style layout: layers must adjoin; build it with StyleLayout.of")
        seen: set[str] = set()
        for layer in self.layers:
            if layer.name in seen:
                raise LayoutError(f"style layout: layer {layer.name} occurs twice; rename one")
            seen.add(layer.name)

    @property
    def size(self) -> int:
        """The number of style channels of all layers, C."""
        return self.layers[-1].slice.stop  # type: ignore[no-any-return]

    @cached_property
    def resolution(self) -> int:
        """The largest resolution of a layer, in pixels: that of the images."""
        return max(layer.resolution for layer in self)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, name: str) -> Layer:
        """The layer called ``name``; LayoutError names the nearest when there is none."""
        layer = self._by_name.get(name)
        if layer is None:
            nearest = get_close_matches(name, self._by_name, n=1, cutoff=0.0)[0]
            raise LayoutError(f"layer {name!r}: this generator has none; did you mean {nearest!r}?")
        return layer

    def locate(self, flat: int) -> tuple[Layer, int]:
        """The layer of flat index ``flat`` (0 to C - 1) and the channel inside it."""
        if not 0 <= flat < self.size:
            raise LayoutError(
                f"channel index {flat}: out of range; this generator's go from 0 to {self.size - 1}"
            )
        layer = self.layers[int(np.searchsorted(self._starts, flat, side="right")) - 1]
        return layer, int(flat) - layer.start

    def label(self, flat: int) -> str:
        """Flat index ``flat`` as people write it: ``b64.conv0:217``."""
        layer, channel = self.locate(flat)
        return f"{layer.name}:{channel}"

    def parse(self, label: str) -> int:
        """The flat index of a channel written ``b64.conv0:217``; the inverse of :meth:`label`."""
        match = _LABEL.fullmatch(label)
        if match is None:
            example = self.label(self.size - 1)
            raise LayoutError(f"channel {label!r}: write it as layer:number, such as {example}")
        layer, channel = self[match["layer"]], int(match["channel"])
        if channel >= layer.size:
            raise LayoutError(
                f"channel {label!r}: out of range; the channels of {layer.name} "
                f"go from 0 to {layer.size - 1}"
            )
        return layer.start + channel

    @cached_property
    def kinds(self) -> NDArray[np.str_]:
        """The kind of every channel, (C,)."""
        return np.repeat([layer.kind for layer in self], [layer.size for layer in self])

    def indices(self, *kinds: LayerKind) -> NDArray[np.int64]:
        """The flat indices of all channels of these kinds, ascending, int64 (n,)."""
        for kind in kinds:
            if kind not in get_args(LayerKind):
                known = ", ".join(get_args(LayerKind))
                raise LayoutError(f"layer kind {kind!r}: unknown; use one of {known}")
        return np.flatnonzero(np.isin(self.kinds, kinds)).astype(np.int64)

    def matching(self, patterns: Sequence[str]) -> NDArray[np.bool_]:
        """Whether each channel's layer is one of these, (C,): names, patterns of shells such as
        ``b32.*``, or kinds.

        Raises:
            LayoutError: one that fits no layer; the nearest is named.
        """
        chosen = np.zeros(self.size, bool)
        for pattern in patterns:
            found = [x for x in self if pattern == x.kind or fnmatchcase(x.name, pattern)]
            if not found:
                known = [*self._by_name, *dict.fromkeys(layer.kind for layer in self)]
                nearest = get_close_matches(pattern, known, n=1, cutoff=0.0)[0]
                raise LayoutError(
                    f"layer {pattern!r}: this generator has none; did you mean {nearest!r}? "
                    f"Its layers are called like {', '.join(list(self._by_name)[:3])}"
                )
            for layer in found:
                chosen[layer.slice] = True
        return chosen

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self}

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.array([layer.start for layer in self], dtype=np.int64)
