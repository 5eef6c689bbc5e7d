"""What StyleGAN3 is for: images that move with their input, and filters that alias little."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import signal, special
from torch import Tensor

from styleatlas.engine.networks import filters
from styleatlas.engine.networks.stylegan3 import StyleGAN3, stylegan3_config

DESIGNS = [(12, 2.0, 12.0, 32), (24, 4.0, 8.0, 64), (12, 25.4, 14.7, 128), (7, 3.0, 1.0, 16)]


@pytest.mark.parametrize(("taps", "cutoff", "width", "rate"), DESIGNS)
def test_low_pass_is_scipys_kaiser_window_design(taps, cutoff, width, rate):
    wanted = signal.firwin(taps, cutoff, width=width, fs=rate)
    assert np.abs(filters.low_pass(taps, cutoff, width, rate).numpy() - wanted).max() < 1e-6


@pytest.mark.parametrize(("taps", "cutoff", "width", "rate"), DESIGNS)
def test_radial_low_pass_is_a_windowed_jinc(taps, cutoff, width, rate):
    steps = (np.arange(taps) - (taps - 1) / 2) / rate
    radius = np.hypot(*np.meshgrid(steps, steps))
    with np.errstate(invalid="ignore"):
        jinc = special.j1(2 * cutoff * np.pi * radius) / (np.pi * radius)
    jinc[np.isnan(jinc)] = cutoff
    window = np.kaiser(taps, signal.kaiser_beta(signal.kaiser_atten(taps, width / (rate / 2))))
    wanted = jinc * np.outer(window, window)
    found = filters.radial_low_pass(taps, cutoff, width, rate).numpy()
    assert np.abs(found - wanted / wanted.sum()).max() < 1e-6


def moved(network: StyleGAN3, transform: Tensor, styles: list[Tensor]) -> Tensor:
    network.synthesis.input.transform.copy_(transform)
    return network.synthesis(styles)


def network_of(**numbers) -> StyleGAN3:
    """A random network whose features stay of the size that its nonlinearity is made for."""
    config = stylegan3_config(
        z_dim=16, w_dim=16, resolution=64, channel_base=2048, channel_max=32, **numbers
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = StyleGAN3(config).requires_grad_(False)
    network.synthesis.input.affine.weight.zero_()
    network.synthesis.input.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    return network


def styles_of(network: StyleGAN3) -> list[Tensor]:
    random = torch.Generator().manual_seed(2)
    layers = network.config.styled_layers()[1:]
    styles = [torch.randn(1, layer.size, generator=random) + 1 for layer in layers]
    return [torch.tensor([[1.0, 0.0, 0.0, 0.0]]), *styles]


def inner(image: Tensor) -> Tensor:
    """Without the margin that the other image may not know."""
    return image[..., 12:-12, 12:-12]


def error_in_decibels(found: Tensor, wanted: Tensor) -> float:
    """Peak signal-to-noise ratio, the peak being that of the wanted image's spread."""
    spread = float(wanted.max() - wanted.min())
    return 10 * math.log10(spread**2 / float((found - wanted).square().mean()))


@pytest.mark.parametrize("numbers", [{}, {"conv_kernel": 1, "use_radial_filters": True}])
def test_input_moved_by_whole_pixels_moves_the_image_and_nothing_else(numbers):
    network = network_of(**numbers)
    styles, still = styles_of(network), torch.eye(3)
    shifted = still.clone()
    shifted[0, 2], shifted[1, 2] = 4 / 64, -8 / 64  # of the image: 4 and 8 pixels
    image, other = moved(network, still, styles), moved(network, shifted, styles)
    best = max(
        error_in_decibels(
            other[:, :, 12:-12, 12:-12], image.roll((dy, dx), (2, 3))[:, :, 12:-12, 12:-12]
        )
        for dy, dx in ((8, -4), (-8, 4))
    )
    assert best > 35


def test_half_a_pixel_at_the_coarsest_rate_moves_the_image_without_aliasing():
    """An eighth of a sample of the first layers is half a pixel of the image; ordinary up-sampling
    networks stick to their grid there."""
    network = network_of()
    styles, still = styles_of(network), torch.eye(3)
    shifted = still.clone()
    shifted[0, 2] = 0.5 / 64
    image, other = moved(network, still, styles), moved(network, shifted, styles)
    frequencies = torch.fft.fftfreq(64)
    phases = [torch.exp(2j * math.pi * frequencies * distance) for distance in (0.5, -0.5)]
    best = max(
        error_in_decibels(inner(other), inner(torch.fft.ifft2(torch.fft.fft2(image) * phase).real))
        for phase in phases
    )
    unmoved = error_in_decibels(inner(other), inner(image))
    assert best > unmoved + 6


def test_quarter_turn_of_the_input_turns_the_image_of_configuration_r():
    network = network_of(conv_kernel=1, use_radial_filters=True)
    styles, still = styles_of(network), torch.eye(3)
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    image, other = moved(network, still, styles), moved(network, turn, styles)
    best = max(error_in_decibels(other, torch.rot90(image, k, (2, 3))) for k in (1, -1))
    assert best > 40


def test_styles_of_the_input_rotate_and_translate_as_its_transform_does():
    network = network_of()
    _, *others = styles_of(network)
    angle = 0.3
    cosine, sine = math.cos(angle), math.sin(angle)
    by_style = moved(network, torch.eye(3), [torch.tensor([[cosine, sine, 0.0, 0.0]]), *others])
    twice = moved(network, torch.eye(3), [torch.tensor([[2 * cosine, 2 * sine, 0, 0]]), *others])
    rotation = torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    still = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    by_transform = moved(network, rotation, [still, *others])
    assert torch.allclose(by_style, by_transform, atol=1e-4 * float(by_style.std()))
    assert torch.allclose(by_style, twice, atol=1e-4 * float(by_style.std()))
    translation = torch.eye(3)
    translation[:2, 2] = torch.tensor([-0.2, 0.1])
    moved_style = torch.tensor([[1.0, 0.0, 0.2, -0.1]])
    by_style = moved(network, torch.eye(3), [moved_style, *others])
    by_transform = moved(network, translation, [still, *others])
    assert torch.allclose(by_style, by_transform, atol=1e-4 * float(by_style.std()))
