"""Drafts: smaller images of the same render, computed without what comes after."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, unfold

from styleatlas import load_generator
from styleatlas.engine.models.draft import Draft, reaching
from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.engine.networks.mobile_stylegan import MobileStyleGANConfig
from styleatlas.engine.networks.stylegan2 import StyleGAN2Config
from styleatlas.store.errors import OptionError
from styleatlas.store.fingerprint import ModelIdentity
from styleatlas.store.weights import fetched_file

from ...checkpoint_files import small_stylegan2, small_stylegan3
from ...near import assert_near

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))
import plain_stylegan

SKIP = {
    "skip": small_stylegan2(),
    "binding clamp": small_stylegan2(conv_clamp=0.4),
    "not square": small_stylegan2(constant=(3, 5)),
    "conditional": small_stylegan2(c_dim=3),
}
MOBILE = MobileStyleGANConfig(
    z_dim=5, w_dim=6, mapping_layers=2, channels={4: 16, 8: 12, 16: 8}, image_channels=3
)
NONE = {
    "resnet": small_stylegan2(architecture="resnet"),
    "orig": small_stylegan2(architecture="orig"),
    "StyleGAN3": small_stylegan3(),
}


@pytest.fixture
def make_model(make_network):
    def make(config) -> StyleGANGenerator:
        return StyleGANGenerator(
            make_network(config=config), ModelIdentity("made up", "0" * 64, {})
        )

    return make


def styles_of(model: StyleGANGenerator, n: int = 3) -> Tensor:
    return torch.randn(n, model.layout.size, generator=torch.Generator().manual_seed(1)) + 1


def plain_partial(model: StyleGANGenerator, styles: Tensor, last: int) -> Tensor:
    """The partial image of a block by the plain loop, left there."""
    config = model.network.config
    assert isinstance(config, StyleGAN2Config)
    lower = {block: width for block, width in config.channels.items() if block <= last}
    left = SimpleNamespace(
        config=replace(config, channels=lower), synthesis=model.network.synthesis
    )
    return plain_stylegan.stylegan2(left, model.by_layer(styles))


def plain_features(model: StyleGANGenerator, styles: Tensor, last: int) -> Tensor:
    """What that block's toRGB takes in, by the plain loop."""
    config, x = (
        model.network.config,
        model.network.synthesis.b4.const.expand(len(styles), -1, -1, -1),
    )
    parts = dict(zip((layer.name for layer in model.layout), model.by_layer(styles), strict=True))
    for name, style in parts.items():
        block, part = name.split(".")
        if part != "torgb" and int(block[1:]) <= last:
            layer = getattr(getattr(model.network.synthesis, block), part)
            up = part == "conv0"
            x = plain_stylegan._stylegan2_layer(config, layer, x, style, "const", 1.0, up)
    return x


def plain_draft(model: StyleGANGenerator, styles: Tensor, draft: Draft) -> Tensor:
    """The partial image and the convolution that was fitted, by the plain loop."""
    x = plain_features(model, styles, 8)
    numbers = torch.tensor(np.frombuffer(draft.fitted, np.float32))
    weight, bias = numbers[:-3].view(3, x.shape[1], 3, 3), numbers[-3:]
    return plain_partial(model, styles, 8) + conv2d(x, weight, bias, padding=1)


@pytest.mark.parametrize("config", SKIP.values(), ids=SKIP.keys())
def test_draft_of_skip_connections_before_it_is_fitted_is_the_partial_image(make_model, config):
    model = make_model(config)
    styles = styles_of(model)
    for block in (4, 8):
        height, width = config.size(block)
        draft = Draft(model, max(height, width), bytes(4 * 3 * (9 * config.channels[block] + 1)))
        with torch.no_grad():
            found, wanted = draft.render(styles), plain_partial(model, styles, block)
        assert found.shape == (3, 3, *draft.image_size) == (3, 3, height, width)
        assert float((found - wanted).abs().max()) <= 2e-5 * float(wanted.std())


def test_draft_of_skip_connections_adds_what_was_fitted_to_the_partial_image(make_model):
    model = make_model(SKIP["skip"])
    styles, draft = styles_of(model), Draft(model, 8)
    with torch.no_grad():
        assert_near(draft.render(styles), plain_draft(model, styles, draft), 2e-5)


def test_what_is_fitted_is_the_least_squares_of_what_whole_images_have_more(make_model):
    model = make_model(SKIP["skip"])
    rows, wanted = [], []
    random = torch.Generator().manual_seed(0)
    for seed in range(48):
        styles = styles_from_seeds(model, [seed], 1.0)
        with torch.no_grad():
            image = plain_stylegan.stylegan2(model.network, model.by_layer(styles))
            missing = avg_pool2d(image, 2) - plain_partial(model, styles, 8)
            x = unfold(plain_features(model, styles, 8), 3, padding=1)[0]  # (9 c, 64)
        some = torch.randperm(64, generator=random)[:46]  # 9 x 5 weights and a bias
        rows.append(np.vstack([x.numpy()[:, some], np.ones(46)]).T)
        wanted.append(missing[0].flatten(1).numpy()[:, some].T)
    solution = np.linalg.lstsq(np.concatenate(rows), np.concatenate(wanted), rcond=None)[0]
    found = np.frombuffer(Draft(model, 8).fitted, np.float32)
    weight, bias = found[:-3].reshape(3, 45), found[-3:]
    assert np.abs(weight - solution[:-1].T).max() < 0.01 * np.abs(solution).max()
    assert np.abs(bias - solution[-1]).max() < 0.01 * np.abs(solution).max()


def test_fitted_draft_is_nearer_to_whole_images_that_it_was_not_fitted_to(make_model):
    model = make_model(small_stylegan2(channels={4: 12, 8: 12, 16: 12}))
    styles = styles_from_seeds(model, range(1000, 1020), 1.0)
    partial = Draft(model, 8, bytes(4 * 3 * (9 * 12 + 1)))
    with torch.no_grad():
        wanted = avg_pool2d(model.render(styles), 2)
        errors = [
            float((draft.render(styles) - wanted).square().mean())
            for draft in (partial, Draft(model, 8))
        ]
    assert errors[1] < 0.5 * errors[0]


def test_what_one_draft_found_serves_another_and_no_random_number_is_drawn(make_model):
    for config, side in ((SKIP["skip"], 8), (MOBILE, 16)):
        model = make_model(config)
        torch.manual_seed(5)
        first = Draft(model, side)
        after = torch.rand(3)
        torch.manual_seed(5)
        assert torch.equal(torch.rand(3), after)
        other, styles = Draft(model, side, first.fitted), styles_of(model)
        with torch.no_grad():
            assert torch.equal(other.render(styles), first.render(styles))


def test_draft_of_wavelets_is_the_mean_of_every_four_pixels(make_model):
    model = make_model(MOBILE)
    draft, styles = Draft(model, 16), styles_of(model)
    assert draft.image_size == (16, 16) and model.image_size == (32, 32)
    for some in (styles, styles[:1]):  # a single one goes by rows
        with torch.no_grad():
            found, wanted = draft.render(some), avg_pool2d(model.render(some), 2)
        assert float((found - wanted).abs().max()) <= 1e-5 * float(wanted.std())


def test_generator_renders_as_before_once_it_has_a_draft(make_model):
    for config in (SKIP["skip"], MOBILE):
        model = make_model(config)
        styles = styles_of(model)
        with torch.no_grad():
            before = model.render(styles)
            Draft(model, max(model.image_size) // 2)
            assert torch.equal(model.render(styles), before)


def test_draft_is_of_the_same_styles_and_depends_on_the_first_layers_alone(make_model):
    model = make_model(SKIP["skip"])
    draft = Draft(model, 8)
    assert (draft.layout, draft.identity, draft.rows) == (model.layout, model.identity, model.rows)
    z = torch.randn(2, 5)
    w = draft.map(z, truncation=0.5, truncation_cutoff=3)
    assert torch.equal(w, model.map(z, truncation=0.5, truncation_cutoff=3))
    assert torch.equal(draft.styles(w), model.styles(w))
    names = [layer.name for layer in draft.reaching]
    assert names == ["b4.conv1", "b4.torgb", "b8.conv0", "b8.conv1", "b8.torgb"]
    assert reaching(draft) == draft.reaching and reaching(model) == model.layout
    styles = styles_of(model).requires_grad_()
    draft.render(styles).square().sum().backward()
    touched = (styles.grad != 0).any(0)
    assert touched[: draft.reaching.size].all() and not touched[draft.reaching.size :].any()


@pytest.mark.parametrize("side", [8, 16])
def test_gradients_flow_through_a_draft_as_through_what_it_is_of(make_model, side):
    model = make_model(SKIP["skip"] if side == 8 else MOBILE)
    draft, styles = Draft(model, side), styles_of(model).requires_grad_()
    weights = torch.randn(3, 3, side, side)
    (found,) = torch.autograd.grad((draft.render(styles) * weights).sum(), styles)
    image = plain_draft(model, styles, draft) if side == 8 else avg_pool2d(model.render(styles), 2)
    (wanted,) = torch.autograd.grad((image * weights).sum(), styles)
    assert_near(found, wanted)


@pytest.mark.parametrize("side", [8, 16])
def test_renders_that_go_on_from_a_layer_are_whole_drafts(make_model, side):
    model = make_model(SKIP["skip"] if side == 8 else MOBILE)
    draft, styles = Draft(model, side), styles_of(model, 2)
    for layer in draft.layout:
        changed = styles.repeat(2, 1)
        changed[:, layer.start :] += torch.randn(4, model.layout.size - layer.start)
        with torch.inference_mode():
            wanted = draft.render(changed)
        found = draft.resume(styles, layer).render(changed)
        assert_near(found, wanted, 2e-5)
    for layer in draft.reaching:
        values = torch.tensor([-1.0, 2.0])
        changed = styles.repeat(2, 1)
        changed[:, layer.start] = values.repeat_interleave(2)
        with torch.inference_mode():
            wanted = draft.render(changed)
        found = draft.prefix(styles, layer).render(0, values)
        assert_near(found, wanted, 2e-5)


def test_layer_that_does_not_reach_a_draft_is_refused_where_it_alone_changes(make_model):
    model = make_model(SKIP["skip"])
    draft = Draft(model, 8)
    with pytest.raises(OptionError, match=r"layer b16\.conv0: does not reach the draft of 8 px"):
        draft.prefix(styles_of(model), model.layout["b16.conv0"])
    with pytest.raises(OptionError, match=r"styles: have shape \(3, 20\)"):
        draft.render(styles_of(model)[:, :20])


def test_draft_for_a_clip_is_the_smallest_that_it_need_not_enlarge(make_model):
    model = make_model(small_stylegan2(channels={4: 7, 8: 5, 16: 4, 32: 2}))
    for sees, side in ((3, 4), (4, 4), (5, 8), (9, 16), (16, 16)):
        assert Draft.for_clip(model, SimpleNamespace(image_size=sees)).side == side
    wide = make_model(small_stylegan2(constant=(3, 5)))
    assert Draft.for_clip(wide, SimpleNamespace(image_size=10)).image_size == (6, 10)
    assert Draft.for_clip(make_model(MOBILE), SimpleNamespace(image_size=3)).side == 16


@pytest.mark.parametrize("config", NONE.values(), ids=NONE.keys())
def test_generator_without_partial_images_is_refused(make_model, config):
    with pytest.raises(OptionError) as refused:
        Draft.for_clip(make_model(config), SimpleNamespace(image_size=4))
    assert str(refused.value) == (
        "draft: the generator made up gives no image between its own 16 px and the 4 px that CLIP "
        "sees, as MobileStyleGAN and StyleGAN2 with skip connections do where they are large "
        "enough; leave out --draft"
    )


def test_generator_that_is_no_larger_than_what_clip_sees_is_refused(make_model):
    for config, sees in ((SKIP["skip"], 9), (MOBILE, 17)):
        with pytest.raises(OptionError, match=f"own {2 * sees - 2} px and the {sees} px that CLIP"):
            Draft.for_clip(make_model(config), SimpleNamespace(image_size=sees))
    with pytest.raises(OptionError, match="draft of 7 px: the generator made up has none"):
        Draft(make_model(MOBILE), 7)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_draft_in_reduced_precision_is_near_the_exact_one(make_network, precision):
    for config, side in ((SKIP["skip"], 8), (MOBILE, 16)):
        identity = ModelIdentity("made up", "0" * 64, {})
        exact = StyleGANGenerator(make_network(config=config), identity)
        styles = styles_of(exact)
        with torch.inference_mode():
            wanted = Draft(exact, side).render(styles)
            reduced = StyleGANGenerator(make_network(config=config), identity, precision)
            found = Draft(reduced, side).render(styles)
        assert found.dtype == torch.float32 and not torch.equal(found, wanted)
        assert float((found - wanted).square().mean().sqrt()) <= 0.03 * float(wanted.std())


@pytest.mark.faces
def test_draft_of_the_published_weights_is_the_mean_of_every_four_pixels():
    folder = fetched_file("mobile-stylegan", "SynthesisNetwork.xml").parent
    model = load_generator(folder / "SynthesisNetwork.xml", "cpu")
    styles = styles_from_seeds(model, [1], 0.7)
    with torch.no_grad():
        found, wanted = Draft(model, 512).render(styles), avg_pool2d(model.render(styles), 2)
    assert found.shape == (1, 3, 512, 512)
    assert float((found - wanted).abs().max()) <= 1e-5
