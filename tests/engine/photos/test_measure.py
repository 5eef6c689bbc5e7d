"""What refinements make small, against numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from styleatlas.engine.models.features import IdentityReader
from styleatlas.engine.models.identity import load_dlib
from styleatlas.engine.models.perceptual import Perceptual, load_perceptual
from styleatlas.engine.photos.measure import (
    CLIP_WEIGHT,
    IDENTITY_WEIGHT,
    PerceptualMeasure,
    PixelMeasure,
    WithIdentity,
    measure_of,
    reduced,
)
from styleatlas.store.fingerprint import ModelIdentity
from tests import lpips_files

IDENTITY = ModelIdentity("made up", "0" * 64, {})


class Turned:
    """A CLIP that sees the mean of red as an angle."""

    identity = IDENTITY

    def images(self, images: Tensor) -> Tensor:
        angle = images[:, 0].flatten(1).mean(1)
        return torch.stack([angle.cos(), angle.sin()], 1)


class Reader:
    """Tells people apart by the mean of green, and looks nothing else up."""

    name, identity = "made up", IDENTITY
    readings = {"identity": ("0",)}  # noqa: RUF012

    def read(self, images: Tensor) -> dict[str, Tensor]:
        return {"identity": images[:, 1].flatten(1).mean(1, keepdim=True)}


class Ages(Reader):
    readings = {"age": ("0",)}  # noqa: RUF012


@pytest.fixture(scope="module")
def perceptual(tmp_path_factory) -> Perceptual:
    path = lpips_files.write_flax(tmp_path_factory.mktemp("lpips") / "alexnet.ckpt", "alex")
    return load_perceptual([str(path)], torch.device("cpu"))


def grey(level: float, side: int = 32) -> Tensor:
    return torch.full((1, 3, side, side), level)


def of(measure, one: Tensor, other: Tensor) -> float:
    (distance,) = measure.distance(measure.seen(one), measure.seen(other)).tolist()
    return distance


def test_pixels_and_clip_by_hand() -> None:
    measure = PixelMeasure(Turned())
    assert of(measure, grey(0.2), grey(0.2)) == pytest.approx(0, abs=1e-6)
    told = 0.25 + CLIP_WEIGHT * (1 - np.cos(0.5))
    assert of(measure, grey(-0.2), grey(0.3)) == pytest.approx(told, abs=1e-5)


def test_larger_shapes_count_more_than_noise() -> None:
    """Of the same difference of pixels, that which is left at coarser scales."""
    measure = PixelMeasure(Turned())
    checks = torch.ones(32, 32)
    checks[::2, ::2], checks[1::2, 1::2] = -1, -1
    halves = torch.ones(32, 32)
    halves[:, :16] = -1
    fine, coarse = (grey(0.0) + 0.5 * x for x in (checks, halves))
    assert of(measure, grey(0.0), fine) == pytest.approx(0.25 / 4, abs=1e-5)
    assert of(measure, grey(0.0), coarse) == pytest.approx(0.25, abs=1e-5)


def test_lpips_is_seen_at_256_pixels(perceptual) -> None:
    measure = PerceptualMeasure(perceptual)
    assert measure.name == "LPIPS (alex)"
    one, other = (torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(i)) * 2 - 1
                  for i in (1, 2))  # fmt: skip
    small = [torch.nn.functional.avg_pool2d(x, 2) for x in (one, other)]
    assert of(measure, one, other) == pytest.approx(float(perceptual.distance(*small)), rel=1e-4)
    assert reduced(one, 256).shape[2:] == (256, 256) and reduced(small[0], 256) is small[0]


def test_a_picture_that_is_not_square_keeps_its_shape() -> None:
    assert reduced(torch.zeros(1, 3, 512, 384), 256).shape == (1, 3, 256, 192)


def test_who_is_seen_counts_beside() -> None:
    plain = PixelMeasure(Turned())
    measure = WithIdentity(plain, Reader())
    told = of(plain, grey(0.0), grey(0.4)) + IDENTITY_WEIGHT * 0.4**2
    assert of(measure, grey(0.0), grey(0.4)) == pytest.approx(told, abs=1e-5)
    assert measure.name == "pixels and CLIP and identity (made up)"


def test_lpips_where_it_is_had_and_can_see(perceptual) -> None:
    clip = Turned()
    assert isinstance(measure_of((64, 64), clip, None), PixelMeasure)
    assert isinstance(measure_of((64, 64), clip, perceptual), PerceptualMeasure)
    assert isinstance(measure_of((64, 8), clip, perceptual), PixelMeasure)
    assert isinstance(measure_of((64, 64), clip, perceptual, (Ages(),)), PerceptualMeasure)
    assert isinstance(measure_of((64, 64), clip, perceptual, (Ages(), Reader())), WithIdentity)


def test_gradients_reach_the_images(perceptual) -> None:
    for measure in (PixelMeasure(Turned()), WithIdentity(PerceptualMeasure(perceptual), Reader())):
        image = grey(0.1).requires_grad_()
        distance = measure.distance(measure.seen(image), measure.seen(grey(0.5)))
        (gradient,) = torch.autograd.grad(distance.sum(), image)
        moved = image.detach() - 0.01 * gradient / gradient.abs().max()
        assert of(measure, moved, grey(0.5)) < distance.item()


@pytest.mark.faces
def test_dlibs_gradients_reach_the_images() -> None:
    reader = IdentityReader(load_dlib(torch.device("cpu")))
    measure = WithIdentity(PixelMeasure(Turned()), reader)
    one, other = (torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(i)) * 2 - 1
                  for i in (1, 2))  # fmt: skip
    seen, image = measure.seen(other), one.clone().requires_grad_()
    before = (reader.read(one)["identity"] - seen[-1]).square().sum()
    (gradient,) = torch.autograd.grad((measure.seen(image)[-1] - seen[-1]).square().sum(), image)
    moved = one - 0.02 * gradient / gradient.abs().max()
    assert (reader.read(moved)["identity"] - seen[-1]).square().sum() < before
