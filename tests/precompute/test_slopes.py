"""Slopes against closed forms, and probes against what they leave out."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from styleatlas.engine.models.load import load_encoder
from styleatlas.precompute.batches import Batches
from styleatlas.precompute.build import Settings
from styleatlas.precompute.plan import WorkBlock
from styleatlas.precompute.slopes import Probes, slopes_block
from styleatlas.precompute.statistics import image_styles, style_statistics
from styleatlas.precompute.tables import Table, sloped_table
from styleatlas.store.errors import OptionError
from styleatlas.store.layout import StyleLayout

NO_PROMPTS = 0


def full_basis(width: int) -> Probes:
    return Probes.of(np.zeros((NO_PROMPTS, width), np.float32), width, 0)


def block_of(channels, first: int, last: int) -> WorkBlock:
    return WorkBlock("slopes", np.array(channels), first, last, 0)


def table_of(generator, encoder, styles: Tensor, step: Tensor, probes: Probes) -> Table:
    channels, images = generator.layout.indices("conv", "rgb"), len(styles)
    block = block_of(channels, 0, images)
    sums = slopes_block(generator, encoder, block, styles, step, probes, Batches(generator))
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
    atlas = draw(generator, encoder, method="jacobian")
    styles = image_styles(generator, 24, 0.7, 0)
    step = torch.from_numpy(5 * atlas.style_std)
    table = table_of(generator, encoder, styles, step, full_basis(encoder.width))
    assert np.array_equal(atlas.channels, table.channels)
    for name in ("rows", "consistency", "strength"):
        assert np.abs(getattr(atlas, name) - getattr(table, name)).max() < 1e-6, name


@pytest.mark.parametrize("probes", [None, 8])
def test_dead_channel_has_a_zero_row(generator, encoder, draw, probes):
    phrases = tuple(f"word{i}" for i in range(12))
    atlas = draw(generator, encoder, phrases, method="jacobian", probes=probes)
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


# Sums of blocks


@pytest.fixture
def probes(encoder) -> Probes:
    return Probes.of(encoder.texts([f"word{i}" for i in range(12)]).numpy(), 12, 5)


def sums_of(generator, encoder, probes: Probes, first: int, last: int) -> dict[str, np.ndarray]:
    styles, step = image_styles(generator, 9, 0.7, 0), torch.full((14,), 0.25)
    block = block_of([7, 9, 10], first, last)
    return slopes_block(generator, encoder, block, styles, step, probes, Batches(generator))


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


# Probes


def embeddings_of_rank(rank: int, width: int, count: int = 60) -> np.ndarray:
    """Unit embeddings whose differences span `rank` dimensions."""
    random = np.random.default_rng(rank)
    spread = random.normal(size=(count, rank)) @ random.normal(size=(rank, width))
    embeddings = 3 * random.normal(size=width) + 0.1 * spread
    return embeddings.astype(np.float32)


@pytest.mark.parametrize(("count", "random"), [(8, 2), (16, 2), (24, 3), (32, 4)])
def test_basis_and_complement_are_an_orthonormal_basis_together(count, random):
    probes = Probes.of(embeddings_of_rank(40, 64), count, 0)
    assert (len(probes.basis), probes.random, probes.count) == (count - random, random, count)
    square = np.concatenate([probes.basis, probes.complement])
    assert square.shape == (64, 64) and square.dtype == np.float32
    assert np.abs(square @ square.T - np.eye(64)).max() < 1e-5


def test_basis_captures_differences_of_low_rank_wholly():
    embeddings = embeddings_of_rank(14, 64)
    probes = Probes.of(embeddings, 16, 0)
    apart = embeddings - embeddings[:1]
    outside = apart - apart @ probes.basis.T @ probes.basis
    assert np.linalg.norm(outside, axis=1).max() < 1e-4 * np.linalg.norm(apart, axis=1)[1:].min()
    mean = embeddings.mean(0)
    lost = np.linalg.norm(mean - mean @ probes.basis.T @ probes.basis) / np.linalg.norm(mean)
    assert lost > 0.5, "what all prompts share is no difference"


def test_basis_holds_the_leading_differences_where_there_are_more():
    embeddings = embeddings_of_rank(64, 64) * np.geomspace(1, 0.01, 64, dtype=np.float32)
    basis = Probes.of(embeddings, 16, 0).basis
    apart = embeddings.astype(float) - embeddings.mean(0)
    values = np.linalg.svd(apart)[1]
    assert np.linalg.norm(apart @ basis.T) ** 2 == pytest.approx((values[:14] ** 2).sum(), rel=1e-4)


def test_random_probes_are_orthonormal_to_one_another_and_to_the_basis():
    probes = Probes.of(embeddings_of_rank(40, 64), 32, 0)
    for image in (0, 1, 70_000):
        directions = probes.of_image(image)
        assert directions.shape == (4, 64) and directions.dtype == np.float32
        assert np.abs(directions @ directions.T - np.eye(4)).max() < 1e-5
        assert np.abs(directions @ probes.basis.T).max() < 1e-5


def test_random_probes_follow_from_the_seed_and_the_image_alone():
    embeddings = embeddings_of_rank(40, 64)
    one, same, other = (Probes.of(embeddings, 16, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.of_image(5), same.of_image(5))
    assert not np.allclose(one.of_image(5), one.of_image(6), atol=0.01)
    assert not np.allclose(one.of_image(5), other.of_image(5), atol=0.01)


@pytest.mark.parametrize("count", [64, 65, 1000])
def test_as_many_probes_as_dimensions_are_all_of_them_whatever_the_prompts(count):
    probes = Probes.of(np.zeros((0, 64), np.float32), count, 0)
    assert np.array_equal(probes.basis, np.eye(64))
    assert (len(probes.complement), probes.random, probes.count) == (0, 0, 64)


def test_probes_need_enough_prompts():
    embeddings = embeddings_of_rank(40, 64)
    assert Probes.of(embeddings[:15], 16, 0).count == 16
    with pytest.raises(OptionError, match=r"probes 16: .* only 14; take --probes 64, all"):
        Probes.of(embeddings[:14], 16, 0)


def test_probes_of_a_bank_that_is_too_small_are_refused(generator, encoder, draw):
    with pytest.raises(OptionError, match=r"probes 8: .* only 4; take --probes 28, all"):
        draw(generator, encoder, method="jacobian", probes=8)


@pytest.mark.parametrize("method", ["jacobian", "screened"])
@pytest.mark.parametrize("probes", [7, 0, -1])
def test_fewer_than_eight_probes_are_refused(method, probes):
    with pytest.raises(OptionError, match=f"probes {probes}: must be at least 8"):
        Settings(method=method, probes=probes)
    if probes > 0:
        with pytest.raises(OptionError, match="must be at least 8"):
            Probes.of(embeddings_of_rank(40, 64), probes, 0)


@pytest.mark.parametrize("method", ["sweep", "reference"])
def test_probes_for_a_method_without_slopes_are_refused(method):
    with pytest.raises(OptionError, match=f"probes 16: the method {method} takes no slopes"):
        Settings(method=method, probes=16)


# Rows that lie partly outside of the basis


class Painter:
    """64 style channels, each a pixel of the red channel."""

    layout = StyleLayout.of([("b8.conv", "conv", 8, 64)])
    device = torch.device("cpu")

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
