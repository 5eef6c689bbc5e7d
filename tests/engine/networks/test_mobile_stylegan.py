"""What is MobileStyleGAN's alone: its style space, its wavelet, and its renders by rows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.networks import rows
from styleatlas.engine.networks.mobile_stylegan import MobileStyleGANConfig, inverse_haar
from styleatlas.store.fingerprint import ModelIdentity

from ...checkpoint_files import small_mobile_stylegan
from ...memory import growth_of
from ...near import assert_near

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))
import plain_stylegan

PUBLISHED = MobileStyleGANConfig(
    z_dim=512,
    w_dim=512,
    mapping_layers=8,
    channels={**dict.fromkeys((4, 8, 16, 32, 64), 512), 128: 256, 256: 128, 512: 64},
)
LARGE = {4: 12, 8: 8, 16: 8, 32: 8, 64: 8, 128: 8, 256: 4}  # with features that go in strips
GIBIBYTE = 2**30


def generator_of(network) -> StyleGANGenerator:
    return StyleGANGenerator(network, ModelIdentity("random", "0" * 64, {}))


def styles_of(generator, n: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randn(n, generator.layout.size, generator=random) + 1


def test_style_space_of_the_published_generator():
    layers = PUBLISHED.styled_layers()
    assert sum(layer.size for layer in layers) == 6752
    assert sum(layer.size for layer in layers if ".up" not in layer.name) == 3808
    assert [layer.row for layer in layers] == list(range(23)) == list(range(PUBLISHED.num_ws))
    names = [layer.name for layer in layers]
    assert names[:5] == ["b4.conv1", "b8.up", "b8.conv1", "b8.conv2", "b16.up"]
    assert names[-3:] == ["b512.conv1", "b512.conv2", "b512.torgb"]
    assert [layer.size for layer in layers[:5]] == [512, 512, 128, 512, 512]
    assert [layer.size for layer in layers[-4:]] == [128, 32, 64, 64]
    assert layers[-1].resolution == PUBLISHED.resolution == 1024


def test_wavelet_of_each_band_is_the_pattern_of_its_name():
    low, down, right, both = inverse_haar(torch.eye(4)[:, :, None, None])[:, 0] * 2
    assert low.tolist() == [[1, 1], [1, 1]]
    assert down.tolist() == [[1, 1], [-1, -1]]
    assert right.tolist() == [[1, -1], [1, -1]]
    assert both.tolist() == [[1, -1], [-1, 1]]


def test_wavelet_keeps_the_sum_of_squares():
    bands = torch.randn(2, 12, 5, 3, dtype=torch.float64)
    image = inverse_haar(bands)
    assert image.shape == (2, 3, 10, 6)
    torch.testing.assert_close(image.square().sum(), bands.square().sum())


def test_style_is_the_affine_map_of_w_alone(make_network):
    generator = generator_of(make_network(config=small_mobile_stylegan()))
    w, other = torch.randn(2, 1, generator.network.config.num_ws, 6).unbind()
    mean = generator.styles((w + other) / 2)
    assert_near(mean, (generator.styles(w) + generator.styles(other)) / 2)


def test_row_of_w_reaches_its_layer_alone(make_network):
    generator = generator_of(make_network(config=small_mobile_stylegan()))
    w = torch.randn(1, generator.network.config.num_ws, 6)
    before = generator.styles(w)
    for layer, row in zip(generator.layout, generator.rows, strict=True):
        changed = w.clone()
        changed[:, row] += 1
        moved = (generator.styles(changed) != before)[0]
        assert moved[layer.slice].all()
        assert moved.sum() == layer.size, layer.name


@pytest.mark.parametrize("tile", [1, 100, 2**18])
@pytest.mark.parametrize("noise", ["const", "none"])
@torch.no_grad()
def test_render_by_rows_is_the_plain_formula(tile, noise, make_network, monkeypatch):
    network = make_network(config=small_mobile_stylegan()).double()
    generator = generator_of(network)
    styles = styles_of(generator, 1).double()
    wanted = plain_stylegan.mobile_stylegan(network, generator.by_layer(styles), noise)
    monkeypatch.setattr(rows, "TILE", tile)
    found = generator.render(styles, noise)
    assert float((found - wanted).abs().max()) <= 1e-9 * float(wanted.std())


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets how many threads PyTorch computes on, for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("noise", ["const", "random", "none"])
@torch.no_grad()
def test_strips_of_several_threads_make_the_image_of_one(noise, make_network, threads):
    network = make_network(config=small_mobile_stylegan(channels=LARGE)).double()
    generator = generator_of(network)
    styles = styles_of(generator, 1).double()
    images = []
    for count in (1, 2, 3, 7):
        threads(count)
        torch.manual_seed(3)
        images.append(generator.render(styles, noise))
        assert torch.get_num_threads() == count
    for image in images[1:]:
        assert_near(image, images[0], 1e-9)


@torch.no_grad()
def test_strips_end_at_any_layer(make_network, threads):
    network = make_network(config=small_mobile_stylegan(channels=LARGE)).double()
    generator = generator_of(network)
    styles = generator.by_layer(styles_of(generator, 1).double())
    for layer in range(len(styles) - 7, len(styles)):
        threads(1)
        whole = network.synthesis.before(layer, styles)
        threads(3)
        assert_near(network.synthesis.before(layer, styles), whole, 1e-9)


@torch.no_grad()
def test_strips_render_under_vmap(make_network, threads):
    generator = generator_of(make_network(config=small_mobile_stylegan(channels=LARGE)).double())
    styles = styles_of(generator, 2).double()
    threads(2)
    found = torch.func.vmap(lambda style: generator.render(style[None])[0])(styles)
    torch.testing.assert_close(found, generator.render(styles))


def test_tiles_are_as_small_as_they_are_said_to_be(monkeypatch):
    monkeypatch.setattr(rows, "TILE", 24)
    tiles = list(rows.doubled(iter([torch.randn(7, 3, 4)]), torch.ones(4)))
    assert [len(tile) for tile in tiles] == [4, 4, 4, 2]


@torch.no_grad()
def test_noise_by_rows_differs_from_call_to_call_where_it_is_random(make_network):
    generator = generator_of(make_network(config=small_mobile_stylegan()))
    styles = styles_of(generator, 1)
    first, second = (generator.render(styles, "random") for _ in range(2))
    assert float((first - second).abs().mean()) > 0.01


def test_render_without_gradients_works_under_vmap(make_network):
    generator = generator_of(make_network(config=small_mobile_stylegan()).double())
    styles = styles_of(generator, 3).double()
    with torch.no_grad():
        found = torch.func.vmap(lambda style: generator.render(style[None])[0])(styles)
    torch.testing.assert_close(found, generator.render(styles))


def test_image_of_1024_pixels_takes_less_than_a_gibibyte(make_network):
    generator = generator_of(make_network(config=PUBLISHED))
    styles = styles_of(generator, 1)
    with torch.inference_mode():
        assert growth_of(lambda: generator.render(styles)) < GIBIBYTE / 4
