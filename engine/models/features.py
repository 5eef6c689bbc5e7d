"""What is read of the samples of an atlas beside CLIP's embedding: features by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...store.errors import OptionError
from ...store.features import FeatureSource
from ...store.registry import FETCHED
from ...store.weights import fetched_file
from .face_readers import FaceReader, cropped, load_face_readers
from .identity import CHIP_COLUMNS, CHIP_ROWS, CHIP_SIDE, DLIB, DlibIdentity, load_dlib
from .landmarks import POINTS, FaceFinder, load_face_finder
from .mtcnn import resized
from .preprocess import to_bytes
from .protocols import Generator

FACES = "faces"
FOUND_SIDE = 256
UNITS: Mapping[str, str] = {
    "identity": "dlib's distance",
    "expression": "probability",
    "age": "years",
    "gender": "probability",
    "landmarks": "image's side",
}
"""Of the features of faces, by their names."""
_FILES = (
    FETCHED[DLIB],
    *(("face-api", f"{name}_model.bin") for name in ("face_expression", "age_gender")),
    *(("mtcnn", f"{name}.pt") for name in ("pnet", "rnet", "onet")),
)


class IdentityReader:
    """dlib's network, whose embeddings tell people apart by their distance (`SAME_PERSON`)."""

    crop = (
        CHIP_COLUMNS.start / CHIP_SIDE,
        CHIP_ROWS.start / CHIP_SIDE,
        CHIP_COLUMNS.stop / CHIP_SIDE,
        CHIP_ROWS.stop / CHIP_SIDE,
    )

    def __init__(self, identity: DlibIdentity) -> None:
        self.name, self.identity = identity.name, identity.identity
        numbers = tuple(map(str, range(identity.identity.sizes["width"])))
        self.readings: Mapping[str, tuple[str, ...]] = {"identity": numbers}
        self._network = identity

    def read(self, images: Tensor) -> dict[str, Tensor]:
        """See `FaceReader.read`."""
        return {"identity": self._network.describe(images.float())}


class LandmarksReader:
    """The points of the largest face that a finder finds, x and y of each in shares of the image's
    side from its upper left corner; NaN where it finds none. Not differentiable.

    Faces that fill an aligned image are looked for in `FOUND_SIDE` pixels: an eighth of the time
    of 1,024, for points that are as good (docs/faces.md)."""

    crop = (0.0, 0.0, 1.0, 1.0)
    readings: Mapping[str, tuple[str, ...]] = {
        "landmarks": tuple(f"{point}, {axis}" for point in POINTS for axis in "xy")
    }

    def __init__(self, finder: FaceFinder) -> None:
        sizes = {**finder.identity.sizes, "side": FOUND_SIDE}
        self.name, self.identity = finder.name, replace(finder.identity, sizes=sizes)
        self._finder = finder

    def read(self, images: Tensor) -> dict[str, Tensor]:
        """See `FaceReader.read`."""
        points = np.full((len(images), 2 * len(POINTS)), np.nan, np.float32)
        images = images.float()
        if images.shape[3] > FOUND_SIDE:
            images = resized(images, (FOUND_SIDE, FOUND_SIDE))
        pictures = to_bytes(images).cpu().numpy()
        for row, faces in zip(points, self._finder.find(list(pictures)), strict=True):
            if faces:
                row[:] = faces[0].points.ravel() / images.shape[3]
        return {"landmarks": torch.from_numpy(points).to(images.device)}


class Features:
    """Readers of images, and what they read by name.

    Args:
        name: of them together, as `load_features` takes it.
        readers: that read different things.

    Attributes:
        sources: who reads each feature.
    """

    def __init__(self, name: str, readers: Sequence[FaceReader]) -> None:
        self.name, self.readers = name, tuple(readers)
        self.sources: Mapping[str, FeatureSource] = {
            read: FeatureSource(reader.identity, numbers, UNITS[read], reader.crop)
            for reader in self.readers
            for read, numbers in reader.readings.items()
        }

    @property
    def widths(self) -> dict[str, int]:
        """How many numbers each feature has."""
        return {name: len(source.numbers) for name, source in self.sources.items()}

    @torch.inference_mode()
    def read(self, images: Tensor) -> dict[str, NDArray[np.float64]]:
        """Images (n, 3, H, H) in [-1, 1], RGB -> each feature (n, its numbers), rows of NaN where a
        reader found nothing.

        Raises:
            OptionError: images of another shape or type.
        """
        found: dict[str, Tensor] = {}
        for reader in self.readers:
            found |= reader.read(images)
        return {name: values.double().cpu().numpy() for name, values in found.items()}


def load_features(name: str, generator: Generator) -> Features:
    """All that is read of the images of a generator: of `faces` identity, expression, age, gender
    and landmarks, by the weights that `styleatlas models fetch faces` fetches.

    Raises:
        CheckpointError: the weights were not fetched, or are damaged.
        OptionError: nothing is known by this name, or the generator's images are none that faces
            can be read of.
    """
    if name != FACES:
        raise OptionError(f"features {name!r}: unknown; use {FACES}")
    for weights, file in _FILES:
        fetched_file(weights, file, by=FACES)
    with torch.inference_mode():
        styles = torch.zeros(1, generator.layout.size, device=generator.device)
        cropped(generator.render(styles))  # refuses what is no square RGB image
    device = generator.device
    identity, landmarks = load_dlib(device), load_face_finder(device)
    readers = IdentityReader(identity), *load_face_readers(device), LandmarksReader(landmarks)
    return Features(FACES, readers)
