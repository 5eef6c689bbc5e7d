"""Slopes against closed forms, and what is known of rows that probes see in part."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from styleatlas.engine.models.load import load_encoder
from styleatlas.precompute.blocks import Models
from styleatlas.precompute.probes import Probes
from styleatlas.precompute.relevance import RelevanceTable, sloped_table
from styleatlas.precompute.slopes import SlopesBlock
from styleatlas.precompute.statistics import image_styles, style_statistics
from styleatlas.store.layout import StyleLayout

from .setups import setup_of

NO_PROMPTS = 0


def full_basis(width: int) -> Probes:
    return Probes.of(np.zeros((NO_PROMPTS, width), np.float32), width, 0)


def table_of(generator, encoder, styles: Tensor, step: Tensor, probes: Probes) -> RelevanceTable:
    channels, images = generator.layout.indices("conv", "rgb"), len(styles)
    block = SlopesBlock(channels, 0, images, probes.count)
    sums = block.run(Models(generator, encoder), setup_of(styles, step=step, probes=probes))
    return sloped_table(channels, images, encoder.width, probes, [(block, sums)])


# All of CLIP's dimensions


def closed_form(generator, encoder, styles: Tensor, step: Tensor) -> np.ndarray:
    """What slopes at each image predict for +- step: (n, C, D). Pixel k of an image is an angle a:
    the embedding holds (cos a, sin a) in plane k, and `effect(k, a)` is the derivative of that."""
    changes = np.zeros((*styles.shape, encoder.width))
    for image, style in enumerate(styles.double().numpy()):
        for channel, angle in enumerate(style):
            mirrored = channel == generator.GATED and style[generator.gate] < 0
            sign = -1 if mirrored else 1
            slope = sign * encoder.effect(channel, sign * angle) / np.sqrt(encoder.channels)
            changes[image, channel] = 2 * float(step[channel]) * slope
    changes[:, generator.DEAD] = 0
    return changes


def test_slopes_along_all_dimensions_are_the_closed_form(generator, encoder):
    _, std = style_statistics(generator, 500, 0.7, 0)
    step, styles = torch.from_numpy(5 * std), image_styles(generator, 24, 0.7, 0)
    table = table_of(generator, encoder, styles, step, full_basis(encoder.width))
    changes = closed_form(generator, encoder, styles, step)[:, table.channels]
    lengths = np.linalg.norm(changes, axis=2, keepdims=True)
    mean = np.divide(changes, lengths, where=lengths > 0, out=changes * 0).mean(0)
    consistency = np.linalg.norm(mean, axis=1)
    live = table.channels != generator.DEAD
    assert np.abs(table.rows[live] - mean[live] / consistency[live, None]).max() < 1e-5
    assert table.consistency == pytest.approx(consistency, abs=1e-5)
    assert table.strength == pytest.approx(lengths[..., 0].mean(0), abs=1e-5)
    assert table.consistency[table.channels == generator.GATED] < 0.9, "images disagree"


def test_precompute_draws_the_table_of_those_slopes(generator, encoder, draw):
    atlas = draw(generator, encoder, table="jacobian")
    styles = image_styles(generator, 24, 0.7, 0)
    step = torch.from_numpy(5 * atlas.style_std)
    table = table_of(generator, encoder, styles, step, full_basis(encoder.width))
    assert np.array_equal(atlas.channels, table.channels)
    for name in ("rows", "consistency", "strength"):
        assert np.abs(getattr(atlas, name) - getattr(table, name)).max() < 1e-6, name


@pytest.mark.parametrize("probes", [None, 8])
def test_dead_channel_has_a_zero_row(generator, encoder, draw, probes):
    phrases = tuple(f"word{i}" for i in range(12))
    atlas = draw(generator, encoder, phrases, table="jacobian", probes=probes)
    row = atlas.row_of(generator.DEAD)
    assert not atlas.rows[row].any()
    assert atlas.consistency[row] == atlas.strength[row] == 0
    assert atlas.consistency[atlas.row_of(7)] > 0.5


def test_slopes_of_a_stylegan2_and_a_clip_are_central_differences(stylegan2, clip_folder):
    encoder, images, small = load_encoder(clip_folder, "cpu"), 3, 1e-3
    styles, step = image_styles(stylegan2, images, 0.7, 0), torch.ones(stylegan2.layout.size)
    table = table_of(stylegan2, encoder, styles, step, full_basis(encoder.width))
    slopes = []
    with torch.inference_mode():
        for channel in table.channels:
            up, down = styles.clone(), styles.clone()
            up[:, channel] += small
            down[:, channel] -= small
            ends = [encoder.images(stylegan2.render(x)).double() for x in (up, down)]
            slopes.append((ends[0] - ends[1]) / (2 * small))
    slopes = torch.stack(slopes, 1).numpy()  # (n, k, D)
    lengths = np.linalg.norm(slopes, axis=2, keepdims=True)
    mean = (slopes / lengths).mean(0)
    consistency = np.linalg.norm(mean, axis=1)
    assert table.strength == pytest.approx(2 * lengths[..., 0].mean(0), rel=0.01)
    assert table.consistency == pytest.approx(consistency, rel=0.01)
    cosines = (table.rows * mean).sum(1) / consistency
    assert cosines.min() > 0.9999


@pytest.mark.parametrize("at_once", [2, 5, 16])
@pytest.mark.parametrize("which", ["countable", "stylegan2"])
def test_products_many_at_once_are_those_of_one_at_a_time(
    which, at_once, generator, encoder, stylegan2, clip_folder, monkeypatch
):
    """As on a GPU, where one backward pass takes many cotangents."""
    models = (generator, encoder)
    if which == "stylegan2":
        models = (stylegan2, load_encoder(clip_folder, "cpu"))
    styles, step = image_styles(models[0], 3, 0.7, 0), torch.ones(models[0].layout.size)
    tables = []
    for count in (1, at_once):
        monkeypatch.setattr("styleatlas.precompute.slopes._AT_ONCE", {"cpu": count})
        tables.append(table_of(*models, styles, step, full_basis(models[1].width)))
    one, many = tables
    assert one.rows.any()
    for name in ("rows", "consistency", "strength"):
        assert np.abs(getattr(one, name) - getattr(many, name)).max() < 1e-5, name


def test_attention_takes_many_products_as_one_batch(stylegan2, clip_folder, monkeypatch):
    """Its fused form has no gradients of batches: PyTorch would take them one after the other."""
    monkeypatch.setattr("styleatlas.precompute.slopes._AT_ONCE", {"cpu": 4})
    encoder = load_encoder(clip_folder, "cpu")
    styles, step = image_styles(stylegan2, 2, 0.7, 0), torch.ones(stylegan2.layout.size)
    torch._C._debug_only_display_vmap_fallback_warnings(True)
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            table_of(stylegan2, encoder, styles, step, full_basis(encoder.width))
    finally:
        torch._C._debug_only_display_vmap_fallback_warnings(False)
    assert not [str(one.message) for one in told if "attention" in str(one.message)]


# Sums of blocks


@pytest.fixture
def probes(encoder) -> Probes:
    return Probes.of(encoder.texts([f"word{i}" for i in range(12)]).numpy(), 12, 5)


def sums_of(generator, encoder, probes: Probes, first: int, last: int) -> dict[str, np.ndarray]:
    styles, step = image_styles(generator, 9, 0.7, 0), torch.full((14,), 0.25)
    block = SlopesBlock(np.array([7, 9, 10]), first, last, probes.count)
    return block.run(Models(generator, encoder), setup_of(styles, step=step, probes=probes))


def test_sums_over_parts_of_the_images_add_up(generator, encoder, probes):
    whole, one, other = (
        sums_of(generator, encoder, probes, *ends) for ends in ((0, 9), (0, 4), (4, 9))
    )
    assert set(whole) == {"unit", "length", "inside", "outside"}
    for name, sums in whole.items():
        assert np.allclose(sums, one[name] + other[name], atol=1e-6), name
        assert not np.allclose(one[name], other[name], atol=1e-3), name


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_sums_do_not_depend_on_the_batch_size(generator, encoder, probes, monkeypatch, size):
    whole = sums_of(generator, encoder, probes, 0, 9)
    monkeypatch.setattr("styleatlas.precompute.batches.batch_size", lambda generator: size)
    images, most = encoder.images, []
    monkeypatch.setattr(encoder, "images", lambda x: most.append(len(x)) or images(x))
    parts = sums_of(generator, encoder, probes, 0, 9)
    assert max(most) == min(size, 9)
    for name, sums in whole.items():
        assert np.abs(sums - parts[name]).max() < 1e-6, name


def test_styles_are_left_as_they_were_and_no_graph_stays(generator, encoder):
    styles = image_styles(generator, 6, 0.7, 0)
    before = styles.clone()
    table_of(generator, encoder, styles, torch.ones(14), full_basis(encoder.width))
    assert torch.equal(styles, before) and not styles.requires_grad


# Rows that lie partly outside of the basis


class Painter:
    """64 style channels, each a pixel of the red channel."""

    layout = StyleLayout.of([("b8.conv", "conv", 8, 64)])
    device = torch.device("cpu")
    image_size = (8, 8)

    def render(self, styles: Tensor) -> Tensor:
        red = styles.unflatten(1, (8, 8))
        return torch.stack([red, red * 0, red * 0], 1)


@pytest.fixture(scope="module")
def estimated(make_encoder) -> SimpleNamespace:
    """64 channels of which a basis of 28 in 128 dimensions sees parts; the truth beside it."""
    encoder, images = make_encoder(64), 48
    random = np.random.default_rng(1)
    offset = random.uniform(-0.5, 0.5, 64)
    styles = offset + random.normal(size=(images, 64)) * 0.1
    styles, step = torch.from_numpy(styles).float(), torch.full((64,), 0.5)
    # Differences of prompts lie near some channels' planes, so that shares differ.
    prompts = random.normal(size=(200, 14)) @ encoder.planes[:, :14].T
    prompts += 0.3 * random.normal(size=(200, 20)) @ random.normal(size=(20, 128))
    probes = Probes.of(prompts.astype(np.float32), 32, 0)
    table = table_of(Painter(), encoder, styles, step, probes)
    truth = table_of(Painter(), encoder, styles, step, full_basis(128))
    basis = probes.basis.astype(float)
    share = np.linalg.norm(truth.rows @ basis.T, axis=1)
    found = np.linalg.norm(table.rows @ basis.T, axis=1)
    return SimpleNamespace(table=table, truth=truth, share=share, found=found)


def test_share_of_a_row_inside_of_the_basis_is_known_within_a_few_percent(estimated):
    assert estimated.share.min() < 0.5 and estimated.share.max() > 0.9, "all kinds of rows"
    assert estimated.found.mean() == pytest.approx(estimated.share.mean(), rel=0.03)
    assert np.abs(estimated.found / estimated.share - 1).mean() < 0.1


def test_rows_keep_their_lengths_though_most_of_them_lies_outside(estimated):
    ratio = estimated.table.strength / estimated.truth.strength
    assert ratio.mean() == pytest.approx(1, abs=0.03)
    assert np.abs(ratio - 1).mean() < 0.1


def test_part_outside_points_where_it_should_as_far_as_random_probes_tell(estimated):
    cosines = (estimated.table.rows * estimated.truth.rows).sum(1)
    inside_alone = estimated.share**2 / estimated.share  # rows of the basis alone, at length 1
    assert cosines.mean() > inside_alone.mean()
    assert cosines.min() > 0.3
    assert np.linalg.norm(estimated.table.rows, axis=1) == pytest.approx(1)
