"""Inversions of crops in the user's cache: what they are found by, and what is taken from there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...store.atlas import Atlas
from ...store.cache import InversionCache
from ..checkpoints.tuning import crop_sha256
from ..models.protocols import Generator
from ..models.sampling import w_shape
from .photo import Pixels
from .settings import InvertSettings

Arrays = dict[str, NDArray[Any]]
FIGURES = ("label", "farther", "cosine", "distance", "first_distance", "steps")
_WHOLE = ("label", "steps")
_FORMAT = 1  # another one where the same settings come to something else


class Remembered:
    """The inversions of one `Inverter` in a cache, and without one what they would be found by.

    The arrays of an inversion are `styles` (C,), `w` (num_ws, w_dim), and the `FIGURES`, (1,) each.

    Args:
        about: what decides an inversion beside generator, atlas, crop and settings, as JSON values.
    """

    def __init__(
        self,
        generator: Generator,
        atlas: Atlas,
        about: Mapping[str, Any],
        cache: InversionCache | None,
    ) -> None:
        self._cache = cache
        self._about = {
            "format": _FORMAT,
            "generator": generator.identity.key,
            "atlas": _digest(atlas),
            **about,
        }
        self._shapes: dict[str, tuple[int, ...]] = {
            "styles": (generator.layout.size,),
            "w": w_shape(generator),
            **dict.fromkeys(FIGURES, (1,)),
        }

    def key(self, crop: Pixels, settings: InvertSettings) -> str:
        """What the inversion of a crop is remembered by: all that decides it."""
        parts = {**self._about, "crop": crop_sha256(crop), "settings": settings.record()}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def find(self, key: str) -> Arrays | None:
        """What is remembered by a key, if it is what this generator takes."""
        arrays = None if self._cache is None else self._cache.find(key)
        if arrays is None or arrays.keys() != self._shapes.keys():
            return None
        for name, array in arrays.items():
            kind = np.int32 if name in _WHOLE else np.float32
            if array.shape != self._shapes[name] or array.dtype != kind:
                return None
        sound = np.isfinite(arrays["styles"]).all() and np.isfinite(arrays["w"]).all()
        return arrays if sound else None

    def keep(self, key: str, arrays: Arrays) -> None:
        """For later runs."""
        if self._cache is not None:
            self._cache.remember(key, arrays)


def _digest(atlas: Atlas) -> str:
    """Of what a look-up learns from, and of the units of steps."""
    digest = hashlib.sha256(np.ascontiguousarray(atlas.style_std).data)
    if (samples := atlas.samples) is not None:
        for array in (samples.w, samples.label, samples.embedding, *samples.features.values()):
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
