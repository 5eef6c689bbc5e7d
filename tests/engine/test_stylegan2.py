"""StyleGAN2 against arrays that NVIDIA's own code computed, and its behaviour as a `Generator`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from styleatlas.engine.generator import StyleGAN2Generator
from styleatlas.engine.networks.stylegan2 import StyleGAN2, StyleGAN2Config
from styleatlas.store.errors import OptionError
from styleatlas.store.fingerprint import ModelIdentity

GOLDEN = Path(__file__).parents[1] / "goldens" / "sg2_skip_map8.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def meta(golden) -> dict:
    return json.loads(str(golden["meta"]))


@pytest.fixture(scope="module")
def reference(golden) -> StyleGAN2Generator:
    channels = {4: 32, 8: 32, 16: 32, 32: 32, 64: 16}
    network = StyleGAN2(StyleGAN2Config(64, 64, 8, channels))
    state = {key[3:]: torch.tensor(golden[key]) for key in golden if key.startswith("sd/")}
    network.load_state_dict(state)
    return StyleGAN2Generator(network, ModelIdentity("golden", "0" * 64, {}))


def styles_of(golden, meta, prefix: str) -> torch.Tensor:
    layers = meta["style_order"]
    return torch.tensor(np.concatenate([golden[f"{prefix}{name}.affine"] for name in layers], 1))


def assert_same_image(found: torch.Tensor, known: np.ndarray) -> None:
    assert np.abs(found.numpy() - known).max() <= 1e-4 * known.std()


def test_layout_is_the_execution_order_of_the_network(reference, meta):
    layout = reference.layout
    assert [layer.name for layer in layout] == meta["style_order"]
    assert layout.size == 4 * 3 * 32 - 32 + 32 + 2 * 16
    assert {layer.name: layer.kind for layer in layout if "torgb" in layer.name} == {
        f"b{size}.torgb": "rgb" for size in (4, 8, 16, 32, 64)
    }
    assert (layout["b64.conv0"].size, layout["b64.conv1"].size) == (32, 16)
    assert layout["b16.conv0"].resolution == 16


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("w_psi1", {}),
        ("ws", {"truncation": 0.7}),
        ("ws_cutoff3", {"truncation": 0.7, "truncation_cutoff": 3}),
    ],
)
def test_w_equals_the_golden(reference, golden, key, options):
    w = reference.map(torch.tensor(golden["z"]), **options).numpy()
    known = golden[key] if golden[key].ndim == 3 else golden[key][:, None]
    assert np.abs(w - known).max() <= 1e-5
    assert w.shape[1] == 10


def test_cutoff_at_the_ends_truncates_nothing_or_all(reference, golden):
    z = torch.tensor(golden["z"])
    nowhere, everywhere = (reference.map(z, truncation=0.7, truncation_cutoff=n) for n in (0, 10))
    assert torch.allclose(nowhere, reference.map(z), atol=1e-6)
    assert torch.equal(everywhere, reference.map(z, truncation=0.7))


@pytest.mark.parametrize(("w", "prefix"), [("ws", "styles/"), ("wplus", "wplus_styles/")])
def test_styles_equal_the_golden(reference, golden, meta, w, prefix):
    styles = reference.styles(torch.tensor(golden[w]))
    known = styles_of(golden, meta, prefix)
    assert styles.shape == known.shape
    assert float((styles - known).abs().max()) <= 1e-5


@pytest.mark.parametrize(
    ("prefix", "noise", "image"),
    [
        ("styles/", "const", "img"),
        ("styles/", "none", "img_noise_none"),
        ("wplus_styles/", "const", "wplus_img"),
    ],
)
def test_render_equals_the_golden(reference, golden, meta, prefix, noise, image):
    assert_same_image(reference.render(styles_of(golden, meta, prefix), noise), golden[image])


def test_a_channel_changed_changes_the_image_as_in_the_golden(reference, golden, meta):
    for i, change in enumerate(meta["perturb"]):
        styles = styles_of(golden, meta, "styles/")
        styles[:, reference.layout.parse(f"{change['layer']}:{change['channel']}")] += change[
            "delta"
        ]
        assert_same_image(reference.render(styles), golden[f"perturb{i}_img"])
        assert np.abs(golden[f"perturb{i}_img"] - golden["img"]).max() > 0.01 * golden["img"].std()


def test_random_noise_differs_from_call_to_call_and_const_noise_does_not(stylegan2):
    styles = stylegan2.styles(stylegan2.map(torch.ones(2, 6)))
    with torch.random.fork_rng():
        one, other = (stylegan2.render(styles, "random") for _ in range(2))
    assert not torch.isclose(one, other).all()
    assert torch.equal(stylegan2.render(styles), stylegan2.render(styles, "const"))


def test_noise_of_strength_zero_is_no_noise(make_network):
    network = make_network()
    for layer in network.synthesis.styled_layers():
        if layer.kind == "conv":
            layer.module.noise_strength.data.zero_()
    generator = StyleGAN2Generator(network, ModelIdentity("still", "0" * 64, {}))
    styles = generator.styles(generator.map(torch.ones(1, 6)))
    images = [generator.render(styles, noise) for noise in ("const", "random", "none")]
    assert torch.allclose(images[0], images[1], atol=1e-6)
    assert torch.allclose(images[0], images[2], atol=1e-6)


def test_gradient_flows_from_the_image_to_every_style(stylegan2):
    styles = stylegan2.styles(stylegan2.map(torch.ones(1, 6))).requires_grad_()
    (gradient,) = torch.autograd.grad(stylegan2.render(styles).square().sum(), styles)
    assert gradient.isfinite().all() and (gradient != 0).all()


def test_gradient_is_that_of_the_function(make_network):
    identity = ModelIdentity("double", "0" * 64, {})
    generator = StyleGAN2Generator(make_network().double(), identity)
    styles = generator.styles(generator.map(torch.ones(1, 6, dtype=torch.float64)))
    assert torch.autograd.gradcheck(generator.render, styles.requires_grad_(), fast_mode=True)


def test_images_of_a_batch_do_not_see_each_other(stylegan2):
    z = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    styles = stylegan2.styles(stylegan2.map(z))
    alone = torch.cat([stylegan2.render(part) for part in styles.split(1)])
    assert torch.allclose(stylegan2.render(styles), alone, atol=1e-5)


def test_one_image_channel_gives_grey_images(make_network):
    network = make_network(config=StyleGAN2Config(6, 6, 2, {4: 5, 8: 4}, image_channels=1))
    generator = StyleGAN2Generator(network, ModelIdentity("grey", "0" * 64, {}))
    assert generator.render(torch.ones(2, generator.layout.size)).shape == (2, 1, 8, 8)


def test_input_of_another_shape_is_refused_with_the_shape_it_should_have(stylegan2):
    with pytest.raises(OptionError, match=r"latent z: has shape \(2, 5\); .* takes \(n, 6\)"):
        stylegan2.map(torch.zeros(2, 5))
    with pytest.raises(OptionError, match=r"latent z: has shape \(6,\)"):
        stylegan2.map(torch.zeros(6))
    with pytest.raises(OptionError, match=r"styles: have shape \(1, 22\); .* takes \(n, 23\)"):
        stylegan2.render(torch.zeros(1, 22))
    for cutoff in (-1, 5):
        with pytest.raises(OptionError, match=f"truncation cutoff {cutoff}: must be 0 to 4"):
            stylegan2.map(torch.zeros(1, 6), truncation_cutoff=cutoff)
