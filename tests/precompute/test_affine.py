"""The map from w to styles, of networks whose styles are affine in w and of one whose are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.networks.stylegan2 import StyleGAN2Config
from styleatlas.precompute.affine import TOLERANCE, affine_map, styles_of
from styleatlas.store.fingerprint import ModelIdentity

from ..checkpoint_files import small_mobile_stylegan, small_stylegan3
from ..near import assert_near

CONFIGS = {
    "StyleGAN2": StyleGAN2Config(z_dim=6, w_dim=70, mapping_layers=2, channels={4: 5, 8: 4}),
    "StyleGAN3": small_stylegan3(),
    "MobileStyleGAN": small_mobile_stylegan(),
    "StyleGAN3 R": small_stylegan3(use_radial_filters=True, conv_kernel=1),
}


@pytest.fixture(params=CONFIGS)
def network(request, make_network) -> StyleGANGenerator:
    """With weights of no special form: random ones would have affine biases of 1."""
    made = make_network(config=CONFIGS[request.param])
    for name, parameter in made.synthesis.named_parameters():
        if name.endswith("affine.bias"):
            parameter.data.normal_()
    return StyleGANGenerator(made, ModelIdentity("random", "0" * 64, {}))


def test_map_gives_the_styles_of_any_latents_layer_by_layer(network):
    random = np.random.default_rng(0)
    proven, others = random.normal(size=(2, 9, network.network.config.w_dim)).astype("f4")
    weight, bias = affine_map(network, proven)
    assert weight.shape == (network.layout.size, others.shape[1]) and bias.shape == weight.shape[:1]
    rows = 1 + max(network.rows)
    known = network.styles(torch.from_numpy(others)[:, None].expand(-1, rows, -1)).numpy()
    found = others @ weight.T + bias
    for layer in network.layout:
        assert_near(found[:, layer.slice], known[:, layer.slice])
    assert_near(styles_of(network, others), known)


def test_input_layer_of_stylegan3_is_part_of_the_map(make_network):
    generator = StyleGANGenerator(
        make_network(config=small_stylegan3()), ModelIdentity("random", "0" * 64, {})
    )
    layer = next(iter(generator.layout))
    assert layer.kind == "input"
    weight, _ = affine_map(generator, np.ones((1, generator.network.config.w_dim), "f4"))
    assert weight[layer.slice].any()


@pytest.mark.parametrize("channel", [0, 9])
def test_one_channel_that_is_not_affine_is_enough_for_no_map(generator, monkeypatch, channel):
    affine = generator.styles

    def bent(w):
        styles = affine(w)
        styles[:, channel] += 0.1 * torch.sin(7 * w[:, 0, 0])
        return styles

    w = np.random.default_rng(1).normal(size=(20, 5)).astype("f4")
    assert affine_map(generator, w) is not None
    monkeypatch.setattr(generator, "styles", bent)
    assert affine_map(generator, w) is None


def test_map_that_is_off_by_rounding_alone_is_one(generator, monkeypatch):
    affine = generator.styles
    w = np.random.default_rng(1).normal(size=(20, 5)).astype("f4")
    spread = float(affine(torch.from_numpy(w)[:, None].expand(-1, 2, -1)).std())
    for share, there in ((0.01, True), (10, False)):
        error = share * TOLERANCE * spread
        monkeypatch.setattr(
            generator, "styles", lambda w, e=error: affine(w) + e * w[:, 0, :1] ** 2
        )
        assert (affine_map(generator, w) is not None) == there
