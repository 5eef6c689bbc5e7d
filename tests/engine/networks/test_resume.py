"""Renders that go on from a layer against whole renders."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.store.errors import OptionError
from styleatlas.store.fingerprint import ModelIdentity

from ...checkpoint_files import small_mobile_stylegan, small_stylegan2, small_stylegan3

CONFIGS = {
    "skip": small_stylegan2(),
    "resnet": small_stylegan2(architecture="resnet", conv_clamp=0.4),
    "orig": small_stylegan2(architecture="orig"),
    "not square": small_stylegan2(constant=(3, 5)),
    "grey, 3 taps, no noise": small_stylegan2(image_channels=1, filter_taps=3, use_noise=False),
    "MobileStyleGAN": small_mobile_stylegan(),
    "StyleGAN3-T": small_stylegan3(),
    "StyleGAN3-R": small_stylegan3(conv_kernel=1, use_radial_filters=True),
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def model(request, make_network) -> StyleGANGenerator:
    return StyleGANGenerator(
        make_network(config=request.param), ModelIdentity("random", "0" * 64, {})
    )


def base_and_edits(model: StyleGANGenerator, n: int, k: int, start: int) -> tuple[Tensor, Tensor]:
    """Styles (n, C), and (k * n, C) that differ from them from channel `start` on."""
    random = torch.Generator().manual_seed(1)
    base = torch.randn(n, model.layout.size, generator=random) + 1
    edited = base.repeat(k, 1)
    edited[:, start:] += torch.randn(k * n, model.layout.size - start, generator=random)
    return base, edited


@pytest.mark.parametrize(("n", "k"), [(1, 3), (2, 2), (2, 1)])
def test_resumed_render_is_the_whole_render_at_every_layer(model, n, k):
    for layer in model.layout:
        base, edited = base_and_edits(model, n, k, layer.start)
        resumed = model.resume(base, layer)
        for styles in (edited, edited.flip(0) if n == 1 else edited):
            with torch.inference_mode():
                wanted = model.render(styles)
            found = resumed.render(styles)
            assert found.shape == wanted.shape
            assert float((found - wanted).abs().max()) <= 2e-5 * float(wanted.std()), layer.name


def test_resumed_render_is_the_whole_render_where_samples_go_one_by_one(model, monkeypatch):
    monkeypatch.setattr("styleatlas.engine.networks.style.LARGE", 1)
    for layer in model.layout:
        base, edited = base_and_edits(model, 2, 2, layer.start)
        with torch.inference_mode():
            wanted = model.render(edited)
        found = model.resume(base, layer).render(edited)
        assert float((found - wanted).abs().max()) <= 2e-5 * float(wanted.std()), layer.name


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_resumed_render_in_reduced_precision_is_the_whole_one(model, precision):
    model.network.synthesis.reduced_dtype = getattr(torch, precision)
    for layer in model.layout:
        base, edited = base_and_edits(model, 1, 2, layer.start)
        with torch.inference_mode():
            wanted = model.render(edited)
            exact = float((wanted - model.render(base)).square().mean().sqrt())
        found = model.resume(base, layer).render(edited)
        # A batch is summed in another order than a single sample, and rounded again.
        error = float((found - wanted).square().mean().sqrt())
        assert error <= (0.05 if precision == "bfloat16" else 0.01) * exact, layer.name


def test_resumed_render_computes_no_layer_before(make_network):
    model = StyleGANGenerator(
        make_network(config=CONFIGS["skip"]), ModelIdentity("random", "0" * 64, {})
    )
    layer = model.layout["b8.conv1"]
    base, edited = base_and_edits(model, 1, 2, layer.start)
    resumed = model.resume(base, layer)
    seen = []
    for name, module in model.network.synthesis.named_modules():
        module.register_forward_pre_hook(lambda module, inputs, name=name: seen.append(name))
    resumed.render(edited)
    assert not [name for name in seen if name.startswith("b4.") or name == "b8.conv0"]
    assert "b16.conv0" in seen


def test_styles_that_differ_before_the_layer_are_refused(stylegan2):
    layer = stylegan2.layout["b8.conv0"]
    base, edited = base_and_edits(stylegan2, 2, 2, layer.start)
    resumed = stylegan2.resume(base, layer)
    edited[3, layer.start - 1] += 0.01
    with pytest.raises(OptionError, match=r"styles: differ before layer b8\.conv0 from those"):
        resumed.render(edited)
    with pytest.raises(OptionError, match="styles: are 3, no multiple of the 2 that were rendered"):
        resumed.render(base[[0, 1, 0]])
    with pytest.raises(OptionError, match=r"styles: have shape \(2, 22\)"):
        resumed.render(base[:, 1:])
