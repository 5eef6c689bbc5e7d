"""How unlike an image and its mirror image are read. Nothing that is read of a face changes with
its mirroring, so what differs is the reader's own error, and the least of its error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...store.errors import OptionError
from ..models.face_readers import FaceReader
from ..models.landmarks import Face, FaceFinder, Picture
from ..models.mtcnn import MIRRORED

BATCH = 32


@torch.inference_mode()
def mirror_differences(reader: FaceReader, images: Tensor) -> dict[str, float]:
    """How far a reader differs between images and their mirror images, for each of its readings.

    Args:
        reader: of one number, or of the probabilities of values that exclude each other, as those
            of `load_face_readers` are.
        images: (n, 3, H, H) in [-1, 1], aligned as FFHQ's are.

    Returns:
        Of values that exclude each other, the share of the images whose likeliest value flips, 0 to
        1; of one number, the mean absolute difference, in its unit.

    Raises:
        OptionError: images of another shape or type, or none.
    """
    if not len(images):
        raise OptionError("mirror images: there are no images to read; give one at least")
    parts: dict[str, list[Tensor]] = {name: [] for name in reader.readings}
    for some in images.split(BATCH):
        before, after = reader.read(some), reader.read(some.flip(-1))
        for name, labels in reader.readings.items():
            if len(labels) == 1:
                differ = (before[name] - after[name]).abs()[:, 0]
            else:
                differ = (before[name].argmax(1) != after[name].argmax(1)).float()
            parts[name].append(differ)
    return {name: float(torch.cat(found).mean()) for name, found in parts.items()}


def mirrored_distance(finder: FaceFinder, pictures: Sequence[Picture]) -> tuple[float, float]:
    """How far the points of the largest face of each picture lie from those of its mirror image.

    Args:
        pictures: uint8 (H, W, 3) each.

    Returns:
        The mean distance, in distances between the eyes, of the pictures in which a face is found
        either way, NaN where there are none; and the share of the pictures that these are.

    Raises:
        OptionError: no pictures.
    """
    if not len(pictures):
        raise OptionError("mirror images: there are no pictures to look at; give one at least")
    found = finder.find(pictures)
    flipped = finder.find([np.ascontiguousarray(picture[:, ::-1]) for picture in pictures])
    distances = [
        _distance(one[0], other[0], picture.shape[1])
        for one, other, picture in zip(found, flipped, pictures, strict=True)
        if one and other
    ]
    mean = float(np.mean(distances)) if distances else float("nan")
    return mean, len(distances) / len(pictures)


def _distance(face: Face, mirrored: Face, width: int) -> float:
    back = mirrored.points[MIRRORED] * [-1, 1] + [width, 0]
    return float(np.linalg.norm(face.points - back, axis=1).mean() / face.between_eyes)
