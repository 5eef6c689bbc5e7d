"""How well dlib's network, by the crop that StyleAtlas takes, tells people in aligned pictures.

    python benchmarks/identity.py FACES --edited EDITED --dlib MODELS

FACES is a folder of square PNG pictures aligned as FFHQ's are, each of another person; EDITED one
of the same names, each a little changed. With --dlib, a folder of dlib's own models (of the PyPI
package face-recognition-models), and the package dlib-bin, the same is told of the chips that dlib
cuts by 68 landmarks, by our network and by dlib's, and where in the pictures these chips lie. The
weights of our network are those that `styleatlas models fetch face-api` fetches.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from styleatlas.engine.models.identity import SAME_PERSON, DlibIdentity, load_identity

Picture = NDArray[np.uint8]
"""(side, side, 3)"""
Describe = Callable[[Picture], NDArray[np.float32]]
"""The embedding of a picture, (128,)."""
DETECTED_SIDE = 512  # dlib finds faces of 80 pixels and more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--edited", type=Path)
    parser.add_argument("--dlib", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    paths = sorted(given.faces.glob("*.png"))
    faces = [read(path) for path in paths]
    edited = [read(given.edited / path.name) for path in paths] if given.edited else []
    network = load_identity("dlib", None, torch.device("cpu"))  # type: ignore[arg-type]
    if not isinstance(network, DlibIdentity):
        raise SystemExit("dlib: is no network of dlib's")

    def by_crop(picture: Picture) -> NDArray[np.float32]:
        with torch.inference_mode():
            return network.describe(as_images(picture))[0].numpy()

    tell("our crop, our network", by_crop, faces, edited)
    if given.dlib:
        chips = Chips(given.dlib)

        def by_chip(picture: Picture) -> NDArray[np.float32]:
            with torch.inference_mode():
                return network.network(as_images(chips.cut(picture)))[0].numpy()

        tell("dlib's chips, our network", by_chip, faces, edited)
        tell("dlib's chips and network", chips.describe, faces, edited)
        apart = [
            [norm(f(face) - chips.describe(face)) for face in faces] for f in (by_crop, by_chip)
        ]
        print(
            f"from dlib's chips and network: our crop {spread(apart[0])}, chips {spread(apart[1])}"
        )
        places = np.array([chips.place(face) for face in faces])
        for name, values in zip(("centre x", "centre y", "side", "turn"), places.T, strict=True):
            print(f"chips, {name}: mean {values.mean():.4f}, deviation {values.std():.4f}")


def tell(name: str, describe: Describe, faces: list[Picture], edited: list[Picture]) -> None:
    """The distances from every face to its mirror image, its edit and the others, least, median
    and largest, and what share of them is one person by dlib's rule."""
    own = np.stack([describe(face) for face in faces])
    mirrored = np.stack([describe(np.ascontiguousarray(face[:, ::-1])) for face in faces])
    first, second = np.triu_indices(len(faces), 1)
    apart = {"mirror": norm(own - mirrored)}
    if edited:
        apart["edited"] = norm(own - np.stack([describe(face) for face in edited]))
    apart["others"] = norm(own[first] - own[second])
    unit = own / norm(own)[:, None]
    cosines = (unit[first] * unit[second]).sum(1)
    print(f"{name}: lengths {spread(norm(own))}, cosines of others {spread(cosines)}")
    for kind, distances in apart.items():
        share = 100 * np.mean(distances < SAME_PERSON)
        print(f"  {kind}: {spread(distances)}, below {SAME_PERSON} {share:.1f} %")


class Chips:
    """dlib's own detector, landmarks, crop and network."""

    def __init__(self, folder: Path) -> None:
        import dlib

        self._dlib = dlib
        self._detect = dlib.get_frontal_face_detector()
        landmarks, network = (
            str(folder / name)
            for name in (
                "shape_predictor_68_face_landmarks.dat",
                "dlib_face_recognition_resnet_model_v1.dat",
            )
        )
        self._landmarks = dlib.shape_predictor(landmarks)
        self._network = dlib.face_recognition_model_v1(network)

    def cut(self, picture: Picture) -> Picture:
        """The chip of the largest face, (150, 150, 3)."""
        chip: Picture = self._dlib.get_face_chip(picture, self._shape(picture), 150, 0.25)
        return chip

    def describe(self, picture: Picture) -> NDArray[np.float32]:
        """See `Describe`."""
        return np.array(self._network.compute_face_descriptor(self.cut(picture)), np.float32)

    def place(self, picture: Picture) -> tuple[float, float, float, float]:
        """The centre and the side of the chip in sides of the picture, and its turn in radians."""
        chip = self._dlib.get_face_chip_details(self._shape(picture), 150, 0.25)
        side, rect = len(picture), chip.rect
        x, y = (rect.left() + rect.right()) / 2, (rect.top() + rect.bottom()) / 2
        turn = (chip.angle + np.pi) % (2 * np.pi) - np.pi
        return x / side, y / side, rect.width() / side, turn

    def _shape(self, picture: Picture) -> object:
        factor = max(1, len(picture) // DETECTED_SIDE)
        found = self._detect(np.ascontiguousarray(picture[::factor, ::factor]), 0)
        if not found:
            raise SystemExit("dlib finds no face in one of the pictures; leave it out")
        best = max(found, key=lambda face: face.width())
        corners = (best.left(), best.top(), best.right(), best.bottom())
        return self._landmarks(picture, self._dlib.rectangle(*(factor * at for at in corners)))


def read(path: Path) -> Picture:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def as_images(picture: Picture) -> torch.Tensor:
    """(1, 3, side, side) in [-1, 1]"""
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1


def norm(x: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.linalg.norm(x, axis=-1)
    return lengths


def spread(values: object) -> str:
    low, middle, high = np.percentile(np.asarray(values), (0, 50, 100))
    return f"{low:.2f}, {middle:.2f}, {high:.2f}"


if __name__ == "__main__":
    main()
