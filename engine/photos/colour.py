"""Colours: between a photo's own profile and sRGB, which the networks know."""

from __future__ import annotations

import io
import struct
from typing import Literal

import numpy as np
from PIL import Image, ImageCms

from .photo import Pixels

MOST_BYTES = 2**22
"""Of a profile: those of printing presses have some 2 MiB."""
SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""What a profile calls its space, and the mode of pictures of it."""

_DATE = 24  # where it stands in a profile
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION


def space_of(profile: bytes) -> str | None:
    """The mode of the pictures that a profile can serve, `RGB`, `L` or `CMYK`; None where it is
    damaged, too large or of another kind."""
    if len(profile) > MOST_BYTES:
        return None
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = SPACES.get(opened.profile.xcolor_space.strip())
        if mode is not None:
            _transform(opened, _srgb(), mode, "RGB")
    except (OSError, ImageCms.PyCMSError):
        return None
    return mode


def leads_back(profile: bytes) -> bool:
    """Whether colours can be brought into a profile of RGB, too: those of some scanners and cameras
    only lead out."""
    try:
        _transform(_srgb(), ImageCms.ImageCmsProfile(io.BytesIO(profile)), "RGB", "RGB")
    except (OSError, ImageCms.PyCMSError):
        return False
    return True


def srgb_profile() -> bytes:
    """sRGB, as a file holds it, of a fixed date: a photo is written twice alike."""
    profile = _srgb().tobytes()
    return profile[:_DATE] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[_DATE + 12 :]


def srgb_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    """What brings pictures of a mode and its profile to sRGB, by `ImageCms.applyTransform`."""
    return _transform(ImageCms.ImageCmsProfile(io.BytesIO(profile)), _srgb(), mode, "RGB")


def to_srgb(pixels: Pixels, profile: bytes | None) -> Pixels:
    """Pixels (H, W, 3) of a photo's profile (None: of sRGB already) in sRGB, with what lies
    outside of it brought to its edge: relative colorimetric, with the black point compensated."""
    return _brought(pixels, profile, "out")


def from_srgb(pixels: Pixels, profile: bytes | None) -> Pixels:
    """Pixels (H, W, 3) of sRGB in a photo's profile; see `to_srgb`."""
    return _brought(pixels, profile, "in")


def _brought(pixels: Pixels, profile: bytes | None, way: Literal["in", "out"]) -> Pixels:
    if profile is None:
        return pixels
    ends = ImageCms.ImageCmsProfile(io.BytesIO(profile)), _srgb()
    transform = _transform(*(ends if way == "out" else ends[::-1]), "RGB", "RGB")
    picture = ImageCms.applyTransform(Image.fromarray(pixels), transform)
    return np.asarray(picture)


def _transform(
    start: ImageCms.ImageCmsProfile, end: ImageCms.ImageCmsProfile, mode: str, end_mode: str
) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(start, end, mode, end_mode, _INTENT, _FLAGS)


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
