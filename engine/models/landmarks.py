"""Where faces are in photographs, and where their eyes and mouths: what alignment needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ...store.errors import OptionError
from ...store.fingerprint import ModelIdentity
from ...store.weights import fetched_file
from ..checkpoints.mtcnn_file import read_mtcnn
from .mtcnn import LONGEST, SMALLEST, Mtcnn

Picture = NDArray[np.uint8]
"""(H, W, 3), RGB."""

POINTS = ("left eye", "right eye", "nose", "left corner of the mouth", "right corner")
"""Of a face, in their order; left and right as they are seen in the picture."""
MOST_PIXELS = 2**27
"""Of a picture: 128 million."""


@dataclass(frozen=True, eq=False)
class Face:
    """A face that was found, in pixels of its picture, x to the right and y down from the corner
    of its first pixel, whose own middle is (.5, .5). It may reach beyond the picture.

    Args:
        box: left, top, right, bottom, float64 (4,).
        points: x and y of `POINTS`, float64 (5, 2).
        score: how likely it is a face, to 1.
    """

    box: NDArray[np.float64]
    points: NDArray[np.float64]
    score: float

    @property
    def area(self) -> float:
        """Of its box, in pixels."""
        return float(np.prod(self.box[2:] - self.box[:2]))

    @property
    def between_eyes(self) -> float:
        """The distance between the eyes, in pixels."""
        return float(np.linalg.norm(self.points[1] - self.points[0]))


class FaceFinder(Protocol):
    """Finds faces; `name` is what people call it, `identity` what is remembered of its weights."""

    name: str
    identity: ModelIdentity

    def find(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        """The faces of each picture, the largest first; no faces are an empty list.

        Args:
            pictures: uint8 (H, W, 3) each, RGB, upright, of any sizes: an array (n, H, W, 3) will
                do.

        Raises:
            OptionError: no such pictures, or one of more than `MOST_PIXELS`.
        """
        ...


class MtcnnFinder:
    """MTCNN, which looks for faces from 20 pixels on, of pictures of more than 1,024 pixels a side
    from 1/51 of the longer side on."""

    name = "MTCNN"

    def __init__(self, device: torch.device) -> None:
        files = (fetched_file("mtcnn", f"{name}.pt") for name in ("pnet", "rnet", "onet"))
        networks, sha256 = read_mtcnn(*files)
        self.identity = ModelIdentity(self.name, sha256, {"longest": LONGEST, "smallest": SMALLEST})
        self._cascade = Mtcnn(networks, device)

    def find(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        """See `FaceFinder.find`."""
        return [self._faces(require_picture(picture)) for picture in pictures]

    def _faces(self, picture: Picture) -> list[Face]:
        found = self._cascade.find(picture)
        boxes, points, scores = (part.double().cpu().numpy() for part in found)
        faces = [Face(b, p, float(s)) for b, p, s in zip(boxes, points, scores, strict=True)]
        return sorted(faces, key=lambda face: -face.area)


def load_face_finder(device: torch.device) -> FaceFinder:
    """The face finder whose weights `styleatlas models fetch` fetches; docs/faces.md says why this
    one.

    Raises:
        CheckpointError: the weights were not fetched, or are damaged.
    """
    return MtcnnFinder(device)


def require_picture(picture: object) -> Picture:
    """The picture, where it is one that faces can be looked for in.

    Raises:
        OptionError: it is none: no uint8 array (H, W, 3), or one without pixels or of too many.
    """
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
        kind = getattr(picture, "dtype", type(picture).__name__)
        raise OptionError(f"picture: is of {kind}; give uint8 arrays (H, W, 3), RGB")
    if picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise OptionError(f"picture: has shape {picture.shape}; give uint8 arrays (H, W, 3), RGB")
    height, width = picture.shape[:2]
    if height * width > MOST_PIXELS:
        raise OptionError(
            f"picture: has {width} x {height} pixels, more than {MOST_PIXELS // 2**20} million; "
            "make it smaller"
        )
    return picture
