"""Colours into sRGB and back, against the formulas that profiles stand for."""

from __future__ import annotations

import numpy as np

from styleatlas.engine.photos.colour import (
    MOST_BYTES,
    from_srgb,
    leads_back,
    space_of,
    srgb_profile,
    to_srgb,
)

from ... import photo_files as files
from ...photo_files import DISPLAY_P3

# XYZ of D50 to linear sRGB (IEC 61966-2-1, adapted by Bradford's matrix).
TO_SRGB = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)
COLOURS = np.random.default_rng(0).integers(60, 190, (40, 50, 3), np.uint8)


def test_display_p3_by_its_matrix():
    light = (COLOURS / 255.0) ** (round(2.2 * 256) / 256)
    linear = np.clip(light @ np.array(DISPLAY_P3) @ TO_SRGB.T, 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(to_srgb(COLOURS, files.rgb_profile()) - 255 * curved).max() < 2


def test_there_and_back_within_rounding():
    """Of colours that sRGB holds: those with little of themselves."""
    muted = (COLOURS // 4 + 96).astype(np.uint8)
    profile = files.rgb_profile()
    back = from_srgb(to_srgb(muted, profile), profile)
    assert np.abs(back.astype(int) - muted).max() <= 2


def test_no_profile_is_srgb():
    assert to_srgb(COLOURS, None) is COLOURS and from_srgb(COLOURS, None) is COLOURS


def test_srgb_is_itself():
    assert np.abs(to_srgb(COLOURS, srgb_profile()).astype(int) - COLOURS).max() <= 1


def test_spaces_are_told():
    assert space_of(files.rgb_profile()) == "RGB"
    assert space_of(files.grey_profile()) == "L"
    assert space_of(files.cmyk_profile()) == "CMYK"
    assert space_of(b"no profile") is None
    assert space_of(files.rgb_profile()[:200]) is None
    assert space_of(files.rgb_profile().ljust(MOST_BYTES + 1, b"\0")) is None
    assert leads_back(files.rgb_profile()) and not leads_back(files.scanner_profile())
