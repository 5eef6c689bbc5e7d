"""CLIP's preprocessing on tensors against the PIL pipeline that CLIP was trained behind."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image

from styleatlas.engine.preprocess import preprocess, to_bytes
from styleatlas.store.errors import OptionError

SIZE = 32
MEAN, STD = torch.tensor([0.48, 0.46, 0.41]), torch.tensor([0.27, 0.26, 0.28])

# PIL rounds to 8 bits after each of its two passes, half a step each, and the second weighs the
# first one's error by at most the sum of a bicubic kernel's absolute weights, about 1.3.
STEPS = 1.25


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Noise on top of hard edges, full range: the worst case for a resize."""
    random = np.random.default_rng(height * 1000 + width)
    pixels = random.integers(0, 256, (height, width, channels))
    pixels[height // 3 :, : width // 2] = [[[255, 0, 128][:channels]]]
    return pixels.astype(np.uint8)


def as_images(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1


def by_pil(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resize the shorter side with PIL's bicubic filter, crop the centre: values in [0, 1]."""
    image = Image.fromarray(pixels.squeeze()).convert("RGB")
    width, height = image.size
    short = min(width, height)
    image = image.resize((size * width // short, size * height // short), Image.Resampling.BICUBIC)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size))) / 255


SHAPES = [
    (64, 64),  # square
    (67, 67),
    (48, 91),  # wide
    (91, 48),  # tall
    (11, 11),  # upscaled
    (9, 20),
    (32, 32),  # as it is
    (32, 51),  # only cropped
    (40, 256),  # taller than wide by more than two, Pillow's order of passes depends on its version
]


@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize("channels", [3, 1])
def test_tensor_preprocessing_equals_pils_bicubic_resize_and_centre_crop(height, width, channels):
    pixels = picture(height, width, channels)
    found = preprocess(as_images(pixels), SIZE, torch.zeros(3), torch.ones(3))
    assert found.shape == (1, 3, SIZE, SIZE)
    difference = found[0].permute(1, 2, 0).numpy() - by_pil(pixels, SIZE)
    assert np.abs(difference).max() <= STEPS / 255


def test_mean_and_std_are_those_of_each_colour():
    images = as_images(picture(40, 40))
    plain = preprocess(images, SIZE, torch.zeros(3), torch.ones(3))
    whitened = preprocess(images, SIZE, MEAN, STD)
    assert torch.allclose(whitened, (plain - MEAN[:, None, None]) / STD[:, None, None])


def test_values_beyond_the_range_are_clipped_as_in_a_picture():
    images = as_images(picture(40, 40))
    loud = images * 3
    zero, one = torch.zeros(3), torch.ones(3)
    assert torch.equal(
        preprocess(loud, SIZE, zero, one), preprocess(loud.clamp(-1, 1), SIZE, zero, one)
    )


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 91), (11, 11), (32, 51)])
def test_gradient_reaches_every_pixel_that_is_not_cropped_away(height, width):
    images = (torch.rand(1, 3, height, width) * 1.6 - 0.8).requires_grad_()
    preprocess(images, SIZE, MEAN, STD).sum().backward()
    assert images.grad.isfinite().all()
    short = min(height, width)
    inside = images.grad[..., height // 2 - short // 3 :, width // 2 - short // 3 :]
    assert (inside[..., : short // 2, : short // 2] > 0).all()


def test_bytes_are_rounded_and_clipped():
    images = torch.tensor([-2.0, -1.0, -0.996, 0.0, 0.9999, 1.0, 5.0]).reshape(1, 1, 1, 7)
    assert to_bytes(images).flatten().tolist() == [0, 0, 1, 128, 255, 255, 255]
    assert to_bytes(torch.zeros(2, 3, 4, 5)).shape == (2, 4, 5, 3)


def test_8_bit_pictures_survive_the_way_to_tensors_and_back():
    pixels = picture(16, 16)
    assert np.array_equal(to_bytes(as_images(pixels))[0].numpy(), pixels)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 2, 8, 8), (1, 4, 8, 8), (1, 3, 0, 8)])
def test_images_of_another_shape_are_refused_by_it(shape):
    with pytest.raises(OptionError, match=re.escape(f"images: have shape {shape}; CLIP takes")):
        preprocess(torch.zeros(shape), 8, torch.zeros(3), torch.ones(3))
