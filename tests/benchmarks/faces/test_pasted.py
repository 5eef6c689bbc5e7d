"""The photo that the comparison makes, and what it measures."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from styleatlas.engine.photos.paste import Pasted

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks" / "faces"))

import pasted


@pytest.mark.parametrize("side", [60.0, 128.0, 200.0])
def test_an_image_is_laid_where_the_crop_says(side: float) -> None:
    image = torch.zeros(3, 128, 128) - 1
    image[:, 30:34, 94:98] = 1  # its middle at three quarters across, one quarter down
    crop = pasted.square(0.8 * side, 0.75 * side, side, 10)
    photo = pasted.laid(image, crop, side)[..., 0].astype(float)
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]] + 0.5
    wanted = crop[0] + 0.75 * (crop[3] - crop[0]) + 0.25 * (crop[1] - crop[0])
    near = np.hypot(x - wanted[0], y - wanted[1]) < 0.1 * side
    light = np.where(near, (photo - 15).clip(0), 0)
    found = np.array([(light * x).sum(), (light * y).sum()]) / light.sum()
    assert np.hypot(*(found - wanted)) < 0.6


class _SumOfSquares:
    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().sum((1, 2, 3))


def test_what_should_have_come_out_is_at_no_distance_and_all_else_is_at_one() -> None:
    rng = np.random.default_rng(0)
    photo, wanted = rng.integers(0, 256, (2, 50, 60, 3), dtype=np.uint8)
    mask = np.ones((40, 50), np.float32)
    mask[:5] = np.linspace(0, 0.8, 5)[:, None]
    old, new = (x[5:45, 5:55].astype(float) for x in (photo, wanted))
    right = photo.copy()
    right[5:45, 5:55] = (old + mask[..., None] * (new - old)).round()
    box = (5, 5, 55, 45)
    same = pasted.distances(_SumOfSquares(), Pasted(right, box, mask, 1.0, 0.0), photo, wanted)
    far = pasted.distances(_SumOfSquares(), Pasted(photo, box, mask, 1.0, 0.0), photo, wanted)
    assert same[0] < 0.01 * far[0] and same[2] < 0.05 * far[2]
    moved = (np.abs(old - new).mean(2) * mask).sum()
    assert far[1] == pytest.approx(moved / mask.sum(), rel=1e-4)
