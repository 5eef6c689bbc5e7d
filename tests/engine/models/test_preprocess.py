"""CLIP's preprocessing on tensors against the PIL pipeline that CLIP was trained behind."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import PIL
import pytest
import torch
from PIL import Image

from styleatlas.engine.models.preprocess import (
    Preprocessing,
    as_rgb,
    padded,
    preprocess,
    to_bytes,
)
from styleatlas.store.errors import OptionError

SIZE = 32
MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
PLAIN = Preprocessing(SIZE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
WHITENED = Preprocessing(SIZE, MEAN, STD)

# PIL rounds to 8 bits after each of its two passes, half a step each, and the second weighs the
# first one's error by at most the sum of a bicubic kernel's absolute weights, about 1.3.
STEPS = 1.25


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Noise on top of hard edges, full range: the worst case for a resize."""
    random = np.random.default_rng(height * 1000 + width)
    pixels = random.integers(0, 256, (height, width, channels))
    pixels[height // 3 :, : width // 2] = [[[255, 0, 128, 255][:channels]]]
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


def require_order_of_passes(height: int, width: int) -> None:
    """Skip what Pillow 12 and older resize in the other order."""
    if height > 2 * width and int(PIL.__version__.partition(".")[0]) < 13:
        pytest.skip("this Pillow resizes tall pictures in another order")


SHAPES = [
    (64, 64),  # square
    (67, 67),
    (48, 91),  # wide
    (91, 48),  # tall
    (11, 11),  # upscaled
    (9, 20),
    (20, 7),
    (32, 32),  # as it is
    (32, 51),  # only cropped
    (71, 32),
    (40, 81),  # from here on more than 1:2, up to 1:8, both ways
    (81, 40),
    (40, 120),
    (120, 40),
    (37, 148),
    (148, 37),
    (40, 200),
    (200, 40),
    (50, 303),
    (303, 50),
    (40, 320),
    (320, 40),
    (3, 24),
    (24, 3),
]


@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize("channels", [3, 1])
def test_tensor_preprocessing_equals_pils_bicubic_resize_and_centre_crop(height, width, channels):
    require_order_of_passes(height, width)
    pixels = picture(height, width, channels)
    found = preprocess(as_images(pixels), PLAIN)
    assert found.shape == (1, 3, SIZE, SIZE)
    difference = found[0].permute(1, 2, 0).numpy() - by_pil(pixels, SIZE)
    assert np.abs(difference).max() <= STEPS / 255


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("resize_mode", ["shortest", "squash"])
@pytest.mark.parametrize("shape", [(64, 64), (48, 91), (93, 31), (25, 200), (200, 25), (9, 40)])
def test_preprocessing_equals_open_clips_own_pipeline_in_all_its_modes(
    interpolation, resize_mode, shape
):
    from open_clip.transform import image_transform

    require_order_of_passes(*shape)
    pipeline = image_transform(
        SIZE,
        is_train=False,
        mean=MEAN,
        std=STD,
        interpolation=interpolation,
        resize_mode=resize_mode,
    )
    pixels = picture(*shape)
    settings = Preprocessing(SIZE, MEAN, STD, interpolation, resize_mode)
    difference = preprocess(as_images(pixels), settings)[0] - pipeline(Image.fromarray(pixels))
    assert float(difference.abs().max()) <= STEPS / 255 / min(STD)


def test_mean_and_std_are_those_of_each_colour():
    images = as_images(picture(40, 40))
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    whitened = preprocess(images, WHITENED)
    assert torch.allclose(whitened, (preprocess(images, PLAIN) - mean) / std, atol=1e-6)


def test_values_beyond_the_range_are_clipped_as_in_a_picture():
    loud = as_images(picture(40, 40)) * 3
    assert torch.equal(preprocess(loud, PLAIN), preprocess(loud.clamp(-1, 1), PLAIN))


@pytest.mark.parametrize(
    ("height", "width"), [(64, 64), (48, 91), (11, 11), (32, 51), (30, 240), (240, 30)]
)
def test_gradient_reaches_every_pixel_that_is_not_cropped_away(height, width):
    images = (torch.rand(1, 3, height, width) * 1.6 - 0.8).requires_grad_()
    preprocess(images, WHITENED).sum().backward()
    assert images.grad.isfinite().all()
    short = min(height, width)
    inside = images.grad[..., height // 2 - short // 3 :, width // 2 - short // 3 :]
    assert (inside[..., : short // 2, : short // 2] > 0).all()


@pytest.mark.parametrize("resize_mode", ["shortest", "squash"])
@pytest.mark.parametrize(("height", "width"), [(7, 5), (13, 5), (4, 3)])
def test_gradient_is_that_of_finite_differences(height, width, resize_mode):
    settings = replace(WHITENED, size=4, resize_mode=resize_mode)
    # Far from where values are clipped, even by bicubic's overshoot.
    images = (torch.rand(1, 3, height, width, dtype=torch.float64) - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: preprocess(x, settings), images)


def test_result_has_the_precision_of_the_images_but_at_least_float32():
    images = as_images(picture(40, 56))
    whole = preprocess(images, WHITENED)
    assert whole.dtype == torch.float32
    exact = preprocess(images.double(), WHITENED)
    assert exact.dtype == torch.float64 and torch.allclose(whole.double(), exact, atol=1e-5)
    half = preprocess(images.bfloat16(), WHITENED)
    assert half.dtype == torch.float32
    assert torch.equal(half, preprocess(images.bfloat16().float(), WHITENED))


def test_gradients_go_through_what_inference_kept():
    settings = replace(WHITENED, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    images = torch.zeros(1, 3, SIZE, SIZE)
    with torch.inference_mode():
        preprocess(images, settings)
        padded(torch.zeros(1, 3, 8, 4), settings)
    leaf = images.clone().requires_grad_()
    preprocess(leaf, settings).sum().backward()
    assert leaf.grad is not None
    wanted = 1 / (2 * torch.tensor(settings.std))[:, None, None].expand(3, SIZE, SIZE)
    torch.testing.assert_close(leaf.grad[0], wanted)


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(64, 48), (40, 200), (200, 40), (9, 20)])
def test_preprocessing_on_a_gpu_stays_there_and_equals_the_cpus(shape):
    images = as_images(picture(*shape))
    found = preprocess(images.cuda(), WHITENED)
    assert found.is_cuda
    assert torch.allclose(found.cpu(), preprocess(images, WHITENED), atol=1e-4)


def test_bytes_are_rounded_and_clipped():
    images = torch.tensor([-2.0, -1.0, -0.996, 0.0, 0.9999, 1.0, 5.0]).reshape(1, 1, 1, 7)
    assert to_bytes(images).flatten().tolist() == [0, 0, 1, 128, 255, 255, 255]
    assert to_bytes(torch.zeros(2, 3, 4, 5)).shape == (2, 4, 5, 3)


def test_8_bit_pictures_survive_the_way_to_tensors_and_back():
    pixels = picture(16, 16)
    assert np.array_equal(to_bytes(as_images(pixels))[0].numpy(), pixels)


def test_transparent_pictures_are_laid_over_white_as_pillow_does():
    pixels = picture(20, 31, 4)
    pixels[..., 3] = np.random.default_rng(0).integers(0, 256, (20, 31))
    pixels[:5, :, 3], pixels[5:9, :, 3] = 0, 255
    seen = Image.fromarray(pixels)
    white = Image.new("RGBA", seen.size, "white")
    wanted = np.asarray(Image.alpha_composite(white, seen).convert("RGB")).astype(int)
    found = to_bytes(as_rgb(as_images(pixels)))[0].numpy().astype(int)
    assert np.abs(found - wanted).max() <= 1
    assert (found[:5] == 255).all() and np.array_equal(found[5:9], pixels[5:9, :, :3])
    flat = torch.tensor([3.0, -1.0, 0.0, 9.0]).reshape(1, 4, 1, 1)  # beyond what a picture holds
    assert as_rgb(flat).flatten().tolist() == [1, -1, 0]


def test_padded_pictures_are_whole_and_what_is_around_them_says_nothing():
    for shape, rows, columns in (((2, 3, 7, 4), (0, 7), (1, 5)), ((2, 3, 3, 8), (2, 5), (0, 8))):
        images = torch.rand(shape) * 2 - 1
        square = padded(images, WHITENED)
        assert square.shape == (2, 3, max(shape), max(shape))
        inside = torch.zeros(square.shape, dtype=torch.bool)
        inside[:, :, slice(*rows), slice(*columns)] = True
        assert torch.equal(square[inside], images.flatten())
        outside = preprocess(square, replace(WHITENED, size=max(shape)))[~inside]
        assert float(outside.abs().max()) < 1e-6
    square = torch.rand(2, 3, 5, 5)
    assert padded(square, WHITENED) is square


def test_padding_and_white_pass_gradients_on():
    images = torch.rand(1, 4, 3, 6, dtype=torch.float64) - 0.5
    images.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: padded(as_rgb(x), WHITENED), images)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 2, 8, 8), (1, 5, 8, 8), (1, 3, 0, 8)])
def test_images_of_another_shape_are_refused_by_it(shape):
    with pytest.raises(OptionError, match=re.escape(f"images: have shape {shape}; pictures have")):
        preprocess(torch.zeros(shape), PLAIN)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int64, torch.bool])
def test_images_that_are_no_floats_are_refused_by_their_type(kind):
    with pytest.raises(
        OptionError, match=re.escape(f"images: have type {kind}; pictures have floats")
    ):
        preprocess(torch.zeros(1, 3, 8, 8, dtype=kind), PLAIN)
