"""Encoders of photos against a plain formulation from the same state dict."""

from __future__ import annotations

import pytest
import torch

from styleatlas.engine.networks.photo_encoder import PhotoEncoderConfig, PhotoEncoderNetwork

from ...encoder_files import (
    DIFFERENCES,
    PYRAMIDS,
    REAL,
    SMALL,
    TYPES,
    encoder_state,
    plain_encoder,
)
from ...near import assert_near


def network_of(kind: str, rows: int, w_dim: int, channels: int, widths=SMALL):
    config = PhotoEncoderConfig(
        rows, w_dim, channels, kind in PYRAMIDS, kind in DIFFERENCES, widths
    )
    state = encoder_state(kind, rows, w_dim, channels, widths)
    network = PhotoEncoderNetwork(config).eval()
    network.load_state_dict(state)
    return config, network, state


@pytest.mark.parametrize("channels", [3, 6])
@pytest.mark.parametrize("kind", TYPES)
@torch.inference_mode()
def test_rows_are_those_of_the_plain_formulation(kind, channels) -> None:
    _, network, state = network_of(kind, 9, 6, channels)
    pictures = torch.rand(2, channels, 256, 256) * 2 - 1
    wanted = plain_encoder(kind, state, pictures)
    assert wanted.shape == (2, 9, 6) and wanted.std() > 0.1
    assert (wanted[0] - wanted[1]).abs().max() > 1e-3, "it sees the pictures"
    assert_near(network(pictures), wanted)


@torch.inference_mode()
def test_pictures_of_cars_are_192_pixels_high() -> None:
    _, network, state = network_of("Encoder4Editing", 8, 5, 3)
    pictures = torch.rand(1, 3, 192, 256) * 2 - 1
    assert_near(network(pictures), plain_encoder("Encoder4Editing", state, pictures))


@pytest.mark.parametrize("kind", TYPES)
def test_shapes_are_those_of_the_network(kind) -> None:
    config, network, _ = network_of(kind, 8, 6, 6)
    built = {
        name: tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
        if not name.endswith(".num_batches_tracked")
    }
    assert config.shapes() == built


@pytest.mark.long
@torch.inference_mode()
def test_an_encoder_of_real_size_is_that_of_the_plain_formulation() -> None:
    """stylegan3-editing's, of 16 rows and 512 numbers."""
    _, network, state = network_of("BackboneEncoder", 16, 512, 6, REAL)
    assert sum(tensor.numel() for tensor in state.values()) > 150_000_000
    pictures = torch.rand(1, 6, 256, 256) * 2 - 1
    assert_near(network(pictures), plain_encoder("BackboneEncoder", state, pictures), 1e-4)
