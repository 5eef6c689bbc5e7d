from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from styleatlas.engine.photos.photo import Photo


@pytest.fixture
def make_photo() -> Callable[..., Photo]:
    """A photo of these pixels, as a PNG without more has it."""

    def make(pixels: np.ndarray, **more: object) -> Photo:
        plain = dict.fromkeys(["alpha", "profile", "exif", "tables", "subsampling", "dpi"])
        return Photo("me.png", pixels, **{**plain, "format": "PNG", "notes": (), **more})

    return make
