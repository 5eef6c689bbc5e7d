"""Whether two pictures show the same person: R of the identity loss 1 - <R(before), R(after)>."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ...store.errors import OptionError
from ...store.fingerprint import ModelIdentity
from ...store.registry import FETCHED, Bundle, bundle_of, file_of, find_bundle, known_as
from ...store.weights import fetched_file
from ..checkpoints.identity_file import (
    FaceNetwork,
    read_dlib_network,
    read_face_network,
    read_identity_network,
)
from ..networks.attributes import IMAGE_SHAPE, IdentityNetwork
from ..networks.dlib_resnet import DlibResNet
from .protocols import Generator, JointEncoder

OFF, CLIP, DLIB = "off", "clip", "dlib"

ALIGNED_SIDE = 256
FACE_ROWS, FACE_COLUMNS = slice(35, 223), slice(32, 220)

CHIP_SIDE = 216
CHIP_ROWS, CHIP_COLUMNS = slice(56, 206), slice(33, 183)
SAME_PERSON = 0.6
"""dlib's rule: two embeddings less than this apart are of one person."""


class Identity(Protocol):
    """Embeds people so that the cosine of two embeddings tells how much they are the same;
    `name` is what people call it, `identity` what a fingerprint remembers of its weights."""

    name: str
    identity: ModelIdentity

    def embed(self, images: Tensor) -> Tensor:
        """Images (n, channels, H, W) in [-1, 1], on its device -> unit (n, D); differentiable.

        Raises:
            OptionError: it cannot read such images.
        """
        ...


class ClipIdentity:
    """The similarity of a CLIP's image embeddings, for what no identity network was trained on."""

    name = CLIP

    def __init__(self, encoder: JointEncoder) -> None:
        self.identity = encoder.identity
        self._encoder = encoder

    def embed(self, images: Tensor) -> Tensor:
        """See `Identity.embed`."""
        return self._encoder.images(images)


class NetworkIdentity:
    """`Identity` over a network, frozen on a device, and over what makes its inputs of images."""

    def __init__(
        self,
        network: FaceNetwork | IdentityNetwork | DlibResNet,
        identity: ModelIdentity,
        prepare: Callable[[Tensor], Tensor],
        device: torch.device,
    ) -> None:
        self.name = identity.name
        self.identity = identity
        network = network.to(device).to(memory_format=torch.channels_last)
        self.network = network.eval().requires_grad_(False)
        self._prepare = prepare

    def embed(self, images: Tensor) -> Tensor:
        """See `Identity.embed`. Computes in the type of the weights, float32."""
        weights = next(self.network.parameters())
        embeddings: Tensor = self.network(self._prepare(images).to(weights.dtype))
        return embeddings


class DlibIdentity(NetworkIdentity):
    """`Identity` by dlib's network, whose own measure is the distance of embeddings that have any
    length, 1.4 to 1.7 for faces."""

    def __init__(self, network: DlibResNet, identity: ModelIdentity, device: torch.device) -> None:
        super().__init__(network, identity, crop_chips, device)

    def describe(self, images: Tensor) -> Tensor:
        """Images as `embed` takes them -> (n, 128), of which two are `SAME_PERSON` apart or less
        where they are of one; differentiable."""
        return super().embed(images)

    def embed(self, images: Tensor) -> Tensor:
        """See `Identity.embed`."""
        return F.normalize(self.describe(images), dim=1)


def load_identity(source: str, encoder: JointEncoder, device: torch.device) -> Identity | None:
    """None for `off`, the images of `encoder` by the name `clip`, dlib's network, once fetched, by
    `dlib`, the network of a registered bundle by its name, or a face recogniser from a file:
    `model_ir_se50.pth` or `resnet18_110.pth`, told apart by their tensors. Nothing in a file is
    run.

    Raises:
        CheckpointError: the file cannot be read as a face recogniser, or dlib's was not fetched.
        OptionError: the bundle has no such network.
        FetchError, OutputError: see `fetched`.
    """
    if source == OFF:
        return None
    if source == CLIP:
        return ClipIdentity(encoder)
    if source == DLIB:
        return load_dlib(device)
    if bundle := find_bundle(source):
        return _of_bundle(bundle, device)
    faces, sha256 = read_face_network(file_of(source))
    identity = ModelIdentity(known_as(source), sha256, {"width": faces.width})
    return NetworkIdentity(faces, identity, partial(crop_faces, side=faces.side), device)


def load_dlib(device: torch.device) -> DlibIdentity:
    """dlib's network.

    Raises:
        CheckpointError: it was not fetched, or is damaged.
    """
    network, sha256 = read_dlib_network(fetched_file(*FETCHED[DLIB]))
    return DlibIdentity(network, ModelIdentity(DLIB, sha256, {"width": network.width}), device)


def usual_identity(generator: Generator) -> str:
    """What `load_identity` is to load where nobody says: the network of the generator's bundle, or
    none."""
    bundle = bundle_of(generator.identity)
    return OFF if bundle is None or bundle.identity is None else bundle.name


def _of_bundle(bundle: Bundle, device: torch.device) -> Identity:
    if bundle.identity is None:
        raise OptionError(f"identity {bundle.name}: has none; choose clip or off")
    network, sha256 = read_identity_network(bundle.identity)
    identity = ModelIdentity(bundle.name, sha256, {"width": network.width})
    return NetworkIdentity(network, identity, partial(require_aligned, name=bundle.name), device)


def require_aligned(images: Tensor, name: str) -> Tensor:
    """The images as they are, where the network `name` can read them: (n, 3, 64, 64).

    Raises:
        OptionError: images of another shape.
    """
    if images.ndim != 4 or images.shape[1:] != IMAGE_SHAPE:
        raise OptionError(
            f"identity {name}: reads images of (n, 3, 64, 64), not of shape "
            f"{tuple(images.shape)}; choose clip or off, or name a face recogniser's file"
        )
    return images


def crop_faces(images: Tensor, side: int) -> Tensor:
    """The faces of images aligned as FFHQ's are: (n, 3, H, H) of any H -> (n, 3, side, side).

    The crop is StyleCLIP's for IR-SE50: averaged to 256 pixels (a smaller image is resized
    bilinearly), rows 35 to 222 and columns 32 to 219 of these, averaged to `side`. resnet_face18
    has no published crop for such images and takes the same one.

    Raises:
        OptionError: images of another shape.
    """
    _require_square(images)
    if images.shape[2] < ALIGNED_SIDE:
        images = F.interpolate(images, ALIGNED_SIDE, mode="bilinear", align_corners=False)
    else:
        images = F.adaptive_avg_pool2d(images, ALIGNED_SIDE)
    return F.adaptive_avg_pool2d(images[:, :, FACE_ROWS, FACE_COLUMNS], side)


def crop_chips(images: Tensor) -> Tensor:
    """The faces of images aligned as FFHQ's are, as dlib crops them: (n, 3, H, H) of any H ->
    (n, 3, 150, 150).

    dlib's chips are turned and scaled to each face's landmarks. In aligned images they lie in much
    the same place: over 32 generated faces their centre is at .504 (standard deviation .009) of the
    width and .605 (.009) of the height, their side .696 (.023), their turn .003 (.026) by
    `benchmarks/identity.py`. Here the image is brought to 216 pixels, bilinear and without aliases,
    and a square of 150 pixels taken out of its middle columns; mirrored images give mirrored chips.

    Raises:
        OptionError: images of another shape.
    """
    _require_square(images)
    size = (CHIP_SIDE, CHIP_SIDE)
    if images.shape[2] != CHIP_SIDE:
        images = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
    return images[:, :, CHIP_ROWS, CHIP_COLUMNS]


def _require_square(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise OptionError(
            f"identity: a face recogniser reads square RGB images (n, 3, H, H), not images of "
            f"shape {tuple(images.shape)}; choose clip or off"
        )
