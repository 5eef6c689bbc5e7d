"""What is read of samples beside their embeddings, as blocks of work carry it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..engine.models.features import Features
from ..store.errors import OptionError
from ..store.features import Feature, FeatureSource
from ..store.shards import Shapes
from .blocks import Arrays, Models

Floats = NDArray[np.float64]


def widths_of(features: Features | None) -> dict[str, int]:
    """How many numbers each feature has; none without features."""
    return {} if features is None else features.widths


def sources_of(features: Features | None) -> Mapping[str, FeatureSource]:
    """Who reads each feature; nobody without features."""
    return {} if features is None else features.sources


def feature_shapes(count: int, widths: Mapping[str, int]) -> Shapes:
    """Of what `read_features` gives of so many images."""
    return {_array(name): (count, width + 1) for name, width in widths.items()}


def read_features(models: Models, widths: Mapping[str, int], images: Tensor) -> Arrays:
    """These features of images (n, 3, H, H), as arrays of a block, whose numbers are all finite:
    beside the numbers of an image stands 1, or 0 where nothing was found and they say nothing."""
    if not widths:
        return {}
    if models.features is None:
        raise OptionError("features: these models have no readers; load them by load_features")
    found = models.features.read(images)
    return {_array(name): _packed(found[name]) for name in widths}


def readings_of(
    sources: Mapping[str, FeatureSource], known: Mapping[str, Feature], blocks: Sequence[Arrays]
) -> dict[str, Feature]:
    """The features of samples: of the first ones those that are known, of all others what blocks
    read."""
    found = {}
    for name, source in sources.items():
        parts = [known[name].values] if name in known else []
        parts += [_unpacked(arrays[_array(name)]) for arrays in blocks]
        found[name] = Feature(np.concatenate(parts), source)
    return found


def _array(name: str) -> str:
    return f"features/{name}"


def _packed(values: Floats) -> Floats:
    found = np.isfinite(values).all(1, keepdims=True)
    return np.hstack([np.where(found, values, 0), found])


def _unpacked(array: Floats) -> NDArray[np.float32]:
    values = array[:, :-1].astype(np.float32)
    values[array[:, -1] == 0] = np.nan
    return values
