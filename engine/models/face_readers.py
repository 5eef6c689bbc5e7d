"""What networks read from faces: expression, age, gender as they present. All are often wrong of
single images (docs/faces.md has how often), and ages and genders are what strangers guessed of
pictures, not facts about people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ...store.errors import OptionError
from ...store.fingerprint import ModelIdentity
from ...store.weights import fetched_file
from ..checkpoints.face_api_file import read_face_api
from ..networks.face_api import SIDE, AgeGenderNetwork, DenseNetwork

EXPRESSIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
YEARS = ("years",)
GENDERS = ("male", "female")

TOP, BOTTOM, LEFT, RIGHT = 3 / 16, 15 / 16, 1 / 8, 7 / 8
"""The part of an aligned image that is read, a square. Its side and middle are those of the square
around the box of a detector, MTCNN, in the mean of 64 generated faces; tighter squares, which cut
chins and brows, are read less alike with their mirror images."""


class FaceReader(Protocol):
    """Reads faces; `name` is what people call it, `identity` what is remembered of its weights,
    `crop` the part of an image that it looks at: left, top, right and bottom in shares of its
    side."""

    name: str
    identity: ModelIdentity
    crop: tuple[float, float, float, float]

    @property
    def readings(self) -> Mapping[str, tuple[str, ...]]:
        """What it reads, each with the names of its numbers."""
        ...

    def read(self, images: Tensor) -> dict[str, Tensor]:
        """Images (n, 3, H, H) in [-1, 1], RGB, aligned as FFHQ's are, on its device -> each of
        `readings`, (n, its numbers), float32; differentiable where it is not said otherwise.

        Raises:
            OptionError: images of another shape or type.
        """
        ...


class ExpressionReader:
    """face-api's network of seven expressions, whose probabilities it gives."""

    name = "expression"
    crop = (LEFT, TOP, RIGHT, BOTTOM)

    def __init__(self, path: Path, device: torch.device) -> None:
        network, sha256 = read_face_api(path, DenseNetwork(len(EXPRESSIONS)))
        self.identity = ModelIdentity(self.name, sha256, {"side": SIDE})
        self.readings: Mapping[str, tuple[str, ...]] = {"expression": EXPRESSIONS}
        self._network = network.to(device)

    def read(self, images: Tensor) -> dict[str, Tensor]:
        """See `FaceReader.read`."""
        return {"expression": self._network(cropped(images)).softmax(1)}


class AgeGenderReader:
    """face-api's network of age, in years, and gender, whose probabilities it gives."""

    name = "age and gender"
    crop = (LEFT, TOP, RIGHT, BOTTOM)

    def __init__(self, path: Path, device: torch.device) -> None:
        network, sha256 = read_face_api(path, AgeGenderNetwork())
        self.identity = ModelIdentity(self.name, sha256, {"side": SIDE})
        self.readings: Mapping[str, tuple[str, ...]] = {"age": YEARS, "gender": GENDERS}
        self._network = network.to(device)

    def read(self, images: Tensor) -> dict[str, Tensor]:
        """See `FaceReader.read`."""
        ages, genders = self._network(cropped(images))
        return {"age": ages, "gender": genders.softmax(1)}


def load_face_readers(device: torch.device) -> tuple[FaceReader, ...]:
    """The readers whose weights `styleatlas models fetch` fetches.

    Raises:
        CheckpointError: the weights were not fetched, or are damaged.
    """
    return (
        ExpressionReader(fetched_file("face-api", "face_expression_model.bin"), device),
        AgeGenderReader(fetched_file("face-api", "age_gender_model.bin"), device),
    )


def cropped(images: Tensor) -> Tensor:
    """The faces of images (n, 3, H, H), aligned as FFHQ's are: (n, 3, 112, 112), clipped to
    [-1, 1]; resized bilinearly, with averaging where they shrink. Differentiable.

    Raises:
        OptionError: images of another shape or type.
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise OptionError(
            f"face readers: read square RGB images (n, 3, H, H), not images of shape "
            f"{tuple(images.shape)}; give the pictures of a generator of faces"
        )
    if not images.is_floating_point() or images.shape[2] < 16:
        raise OptionError(
            f"face readers: read floats in [-1, 1] of 16 pixels a side at least, not "
            f"{images.dtype} of {images.shape[2]}; give the pictures of a generator of faces"
        )
    side = images.shape[2]
    rows = slice(round(TOP * side), round(BOTTOM * side))
    columns = slice(round(LEFT * side), round(RIGHT * side))
    faces = images[:, :, rows, columns].float().clamp(-1, 1)
    return F.interpolate(faces, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
