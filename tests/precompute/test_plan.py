from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleatlas.engine.networks.stylegan2 import StyleGAN2Config
from styleatlas.precompute.blocks import WorkBlock
from styleatlas.precompute.plan import Plan, slope_blocks, sweep_blocks
from styleatlas.precompute.reference import TorchBlock, reference_channels
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.store.errors import OptionError
from styleatlas.store.layout import StyleLayout

MOST_PAIRS = 512
RESOLUTIONS = st.sampled_from([4, 8, 64, 100, 256, 512, 1024, 4096])
KINDS = st.tuples(st.sampled_from(["conv", "rgb", "input"]), st.integers(1, 90))


def layout_of(layers: list[tuple[str, int]], resolution: int = 4) -> StyleLayout:
    return StyleLayout.of(
        (f"l{i}", kind, resolution, size) for i, (kind, size) in enumerate(layers)
    )


def published(resolution: int, base: int) -> StyleLayout:
    """A StyleGAN2 of the published widths."""
    sizes = [4 * 2**i for i in range((resolution // 4).bit_length())]
    channels = {size: min(base // size, 512) for size in sizes}
    config = StyleGAN2Config(z_dim=512, w_dim=512, mapping_layers=8, channels=channels)
    return StyleLayout.of((x.name, x.kind, x.resolution, x.size) for x in config.styled_layers())


FFHQ = published(1024, 32768)


def covered(blocks: list[WorkBlock], layout: StyleLayout, images: int) -> np.ndarray:
    """How many times blocks take each channel on each image."""
    times = np.zeros((layout.size, images), int)
    for block in blocks:
        times[block.channels, block.first : block.last] += 1
    return times


@given(st.lists(KINDS, min_size=1, max_size=6), RESOLUTIONS, st.integers(1, 1500), st.data())
def test_sweep_takes_every_channel_on_every_image_once_in_small_blocks(
    layers, resolution, images, data
):
    layout = layout_of(layers, resolution)
    chosen = data.draw(st.sets(st.integers(0, layout.size - 1), min_size=1))
    channels = np.array(sorted(chosen))
    blocks = sweep_blocks(layout, channels, images)
    times = covered(blocks, layout, images)
    assert (times[channels] == 1).all() and times.sum() == len(channels) * images
    for block in blocks:
        pairs = len(block.channels) * block.count
        assert block.kind == "sweep"
        assert 1 <= pairs <= MOST_PAIRS and block.renders == 2 * pairs
        assert (np.diff(block.channels) > 0).all()


@pytest.mark.parametrize(("resolution", "most"), [(64, 512), (256, 256), (1024, 64), (8192, 16)])
def test_blocks_of_the_sweep_are_smaller_at_high_resolutions(resolution, most):
    blocks = sweep_blocks(layout_of([("conv", 600)], resolution), np.arange(600), 100)
    pairs = [len(block.channels) * block.count for block in blocks]
    assert max(pairs) == most
    assert np.mean(pairs) > most / 2, "and no smaller than they need be"


def test_few_images_do_not_make_many_small_blocks():
    blocks = sweep_blocks(layout_of([("conv", 600)]), np.arange(600), 2)
    assert [len(block.channels) * block.count for block in blocks] == [512, 512, 176]


def test_block_of_the_sweep_shares_an_image_among_many_channels():
    for block in sweep_blocks(FFHQ, FFHQ.indices("conv", "rgb"), 100)[:-7]:
        assert len(block.channels) >= block.count


def test_blocks_of_the_reference_are_marked_as_such():
    channels = reference_channels(FFHQ)
    blocks = sweep_blocks(FFHQ, channels, 3, TorchBlock)
    assert {block.kind for block in blocks} == {"reference-torch"}


@given(st.lists(KINDS, min_size=1, max_size=4), RESOLUTIONS, st.integers(1, 99), st.integers(8, 99))
def test_slopes_take_all_channels_at_every_image_once_at_the_cost_of_their_products(
    layers, resolution, images, products
):
    layout = layout_of(layers, resolution)
    channels = np.arange(layout.size)
    blocks = slope_blocks(layout, channels, images, products)
    assert (covered(blocks, layout, images) == 1).all()
    assert sum(block.renders for block in blocks) == products * images
    for block in blocks:
        assert block.kind == "slopes" and np.array_equal(block.channels, channels)
        assert 1 <= block.count <= 16 and block.renders == products * block.count


def test_blocks_of_slopes_hold_fewer_images_at_high_resolutions():
    most = []
    for resolution in (8, 64, 128, 256, 1024):
        layout = layout_of([("conv", 3)], resolution)
        most.append(max(block.count for block in slope_blocks(layout, np.arange(3), 40, 8)))
    assert most == sorted(most, reverse=True)
    assert most[0] == most[1] >= 8 and most[1] > most[2] > most[-1] == 1


def test_reference_of_ffhq_1024_has_5376_channels_of_eleven_convolutions():
    channels = reference_channels(FFHQ)
    layers = {FFHQ.locate(int(channel))[0].name for channel in channels}
    assert len(channels) == len(np.unique(channels)) == 5376
    assert layers == {layer.name for layer in list(FFHQ)[:17] if layer.kind == "conv"}
    assert len(layers) == 11


def test_reference_takes_convolutions_of_the_first_17_layers_alone():
    layout = layout_of([("conv", 2), ("rgb", 3), *[("conv", 1)] * 20])
    assert reference_channels(layout).tolist() == [0, 1, *range(5, 20)]


def plan_of(layout: StyleLayout, width: int = 512, **settings) -> Plan:
    return PrecomputeSettings(**{"samples": 0, **settings}).plan(
        SimpleNamespace(layout=layout), width
    )


@pytest.mark.parametrize(
    "method", ["screened", "sweep", "jacobian", "reference-tensorflow", "reference-torch"]
)
def test_plan_counts_the_renders_of_every_method(method):
    plan = plan_of(FFHQ, table=method, images=10)
    swept = {"sweep": 9088, "screened": 909 + 32, "jacobian": 0}.get(method, 5376)
    products = {"jacobian": 512, "screened": 32}.get(method, 0)
    assert sum(plan.renders) == 2 * 10 * swept + 10 * products
    assert plan.renders[0] == 0, "the prompt bank"
    assert len(plan.channels) == (5376 if method.startswith("reference") else 9088)


@pytest.mark.parametrize(
    ("method", "probes", "width", "products"),
    [
        ("jacobian", None, 512, 512),
        ("jacobian", 64, 512, 64),
        ("jacobian", 600, 512, 512),
        ("screened", None, 512, 32),
        ("screened", None, 28, 28),
        ("screened", 64, 512, 64),
    ],
)
def test_products_an_image_are_the_probes_or_all_dimensions(method, probes, width, products):
    plan = plan_of(FFHQ, width, table=method, probes=probes, images=1)
    assert sum(block.renders for block in plan.slopes) == products


def test_shapes_of_blocks_follow_their_kinds():
    plan = plan_of(layout_of([("conv", 3), ("rgb", 2)]), 8, table="screened", images=1)
    numbers = {"length": (5,)}
    assert plan.shapes(phrases=4, width=8) == [
        {"embedding": (4, 8)},
        {"unit": (5, 8), **numbers, "inside": (5,), "outside": (5,)},
        {"unit": (5, 8), **numbers},
    ]


@pytest.mark.parametrize(
    "method", ["screened", "sweep", "jacobian", "reference-tensorflow", "reference-torch"]
)
def test_generator_without_channels_to_measure_is_refused(method):
    with pytest.raises(OptionError, match="no style channels of convolutions"):
        plan_of(layout_of([("input", 3)]), table=method)
