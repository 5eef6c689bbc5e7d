"""Images as bad photographs show them."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from styleatlas.precompute import augment
from styleatlas.precompute.augment import like_photographs

EVERY = np.array([True])


@pytest.fixture
def images() -> torch.Tensor:
    """Smooth pictures of several colours, 32 pixels."""
    coarse = torch.rand(40, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8
    return torch.nn.functional.interpolate(coarse, size=32, mode="bilinear")


def test_share_stays_and_the_rest_is_spoilt_each_in_its_own_way(images):
    same = images[:1].repeat(400, 1, 1, 1)
    found = like_photographs(same, np.random.default_rng(0))
    untouched = [torch.equal(a, b) for a, b in zip(found, same, strict=True)]
    assert 0.2 < np.mean(untouched) < 0.35, "a quarter, and those to which nothing happened"
    assert len({x.numpy().tobytes() for x in found}) > 250
    assert found.shape == same.shape and found.dtype == same.dtype and bool(found.isfinite().all())


def test_same_numbers_spoil_alike(images):
    one, other, third = (like_photographs(images, np.random.default_rng(s)) for s in (3, 3, 4))
    assert torch.equal(one, other) and not torch.equal(one, third)


def test_picture_is_still_seen(images):
    found = like_photographs(images, np.random.default_rng(0)).clamp(-1, 1)
    apart = (found - images).abs().mean((1, 2, 3)) / 2
    others = (images.roll(1, 0) - images).abs().mean((1, 2, 3)) / 2
    assert apart.max() < 0.35 and apart.mean() < 0.5 * others.mean()


def test_moving_by_known_numbers_moves_the_picture(images, monkeypatch):
    monkeypatch.setattr(augment, "_TURN", 0.0)
    monkeypatch.setattr(augment, "_GROW", 0.0)
    numbers = np.random.default_rng(5)
    moved = augment._moved(images[:1], numbers, EVERY)
    again = np.random.default_rng(5)
    again.uniform(size=2)
    shift = 32 * again.uniform(-augment._SHIFT, augment._SHIFT, (1, 2))[0]
    x = np.clip(np.arange(32)[None] + shift[0], 0, 31)
    y = np.clip(np.arange(32)[:, None] + shift[1], 0, 31)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, low = np.minimum(left + 1, 31), np.minimum(top + 1, 31)
    a, b = x - left, y - top
    picture = images[0].numpy()
    wanted = (1 - b) * ((1 - a) * picture[:, top, left] + a * picture[:, top, right])
    wanted += b * ((1 - a) * picture[:, low, left] + a * picture[:, low, right])
    inside = (slice(None), slice(3, 29), slice(3, 29))
    np.testing.assert_allclose(moved[0].numpy()[inside], wanted[inside], atol=1e-4)


def test_light_of_nothing_changes_nothing_and_grey_stays_grey_in_any_but_a_tint(images):
    never = np.zeros(40, bool)
    torch.testing.assert_close(augment._lit(images, np.random.default_rng(0), never, never), images)
    grey = images[:, :1].repeat(1, 3, 1, 1)
    lit = augment._lit(grey, np.random.default_rng(0), ~never, never)
    torch.testing.assert_close(lit[:, 0], lit[:, 2])
    assert not torch.allclose(lit, grey)


def test_blur_keeps_what_is_even_and_softens_what_is_not(images):
    always = np.ones(40, bool)
    even = torch.full((40, 3, 16, 16), 0.3)
    blurred = augment._soft(even, np.random.default_rng(0), always)
    torch.testing.assert_close(blurred, even)
    noise = torch.randn(40, 3, 32, 32)
    assert augment._soft(noise, np.random.default_rng(0), always).std() < 0.95 * noise.std()
    left = augment._soft(noise, np.random.default_rng(0), ~always)
    torch.testing.assert_close(left, noise)


def test_compressed_is_what_pillow_writes(images):
    quality = np.array([30, 90])
    found = augment._compressed(images[:2], quality, np.array([True, False]))
    assert torch.equal(found[1], images[1])
    pixels = ((images[0].permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=30)
    wanted = np.asarray(Image.open(file)).astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(found[0].permute(1, 2, 0).numpy(), wanted, atol=1e-6)
