"""What calls of edit are made of in the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

PAIR = ("--neutral", "a picture", "--target", "a picture channel7")
SEVEN = "a picture -> a picture channel7"
TWELVE = "a picture -> a picture channel12"
EASY = ("--beta", "0.05")
ALPHA = ("--alpha", "4")
SMILE = ("--neutral", "a face", "--target", "a smiling face")
GLASSES = ("--neutral", "a face", "--target", "a face with glasses")


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)
