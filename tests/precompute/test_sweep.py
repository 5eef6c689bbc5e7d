"""The sweep on a generator and a CLIP whose every effect is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.models.load import load_encoder
from styleatlas.precompute import methods
from styleatlas.precompute.blocks import Models
from styleatlas.precompute.plan import sweep_blocks
from styleatlas.precompute.reference import TensorFlowBlock, TorchBlock
from styleatlas.precompute.statistics import image_styles
from styleatlas.precompute.sweep import SweepBlock
from styleatlas.store.fingerprint import ModelIdentity

from ..checkpoint_files import small_stylegan3
from .setups import setup_of

ROWS = ("rows", "consistency", "strength")


def plain(generator) -> list[int]:
    """The swept channels whose effect is the same in every image."""
    swept = generator.layout.indices("conv", "rgb")
    return [int(c) for c in swept if c not in (generator.DEAD, generator.GATED)]


def test_every_conv_and_rgb_channel_is_swept_and_no_input_channel(countable_atlas):
    assert np.array_equal(countable_atlas.channels, countable_atlas.layout.indices("conv", "rgb"))
    assert countable_atlas.channels[0] == 2, "an input layer comes first"
    assert (countable_atlas.images == 24).all()


def test_table_recovers_the_known_effect_of_every_channel(countable_atlas, generator, encoder):
    for channel in plain(generator):
        known = encoder.effect(channel, countable_atlas.style_mean[channel])
        row = countable_atlas.rows[countable_atlas.row_of(channel)]
        assert np.abs(row - known).max() < 1e-6, channel


def test_consistency_is_one_where_all_images_agree(countable_atlas, generator):
    rows = [countable_atlas.row_of(channel) for channel in plain(generator)]
    assert countable_atlas.consistency[rows] == pytest.approx(1, abs=1e-6)


def test_row_and_consistency_weigh_images_that_disagree(countable_atlas, generator, encoder):
    settings = countable_atlas.fingerprint.settings
    styles = image_styles(generator, settings["images"], settings["truncation"], settings["seed"])
    share = float((styles[:, generator.gate] > 0).double().mean())
    assert 0.1 < share < 0.9 and share != 0.5, "the fake must disagree, and not cancel"
    angle = countable_atlas.style_mean[generator.GATED]
    # Behind a closed gate the pixel is mirrored: it falls through -angle.
    open_, closed = (encoder.effect(generator.GATED, side) for side in (angle, -angle))
    mean = share * open_ - (1 - share) * closed
    row = countable_atlas.row_of(generator.GATED)
    assert countable_atlas.consistency[row] == pytest.approx(np.linalg.norm(mean), abs=1e-6)
    assert countable_atlas.consistency[row] < 0.9
    assert np.abs(countable_atlas.rows[row] - mean / np.linalg.norm(mean)).max() < 1e-6


def test_dead_channel_has_a_zero_row(countable_atlas, generator):
    row = countable_atlas.row_of(generator.DEAD)
    assert not countable_atlas.rows[row].any()
    assert countable_atlas.consistency[row] == 0
    assert countable_atlas.strength[row] < 1e-6


def test_strength_is_the_mean_length_of_the_movement(countable_atlas, generator, encoder):
    for channel in [*plain(generator), generator.GATED]:
        known = encoder.length(5 * countable_atlas.style_std[channel])
        found = countable_atlas.strength[countable_atlas.row_of(channel)]
        assert found == pytest.approx(known, abs=1e-6), channel


def test_step_is_strength_times_sigma(draw, generator, encoder):
    atlas = draw(generator, encoder, strength=1.5, images=2)
    assert atlas.strength[0] == pytest.approx(encoder.length(1.5 * atlas.style_std[2]), abs=1e-6)


@pytest.fixture(scope="module")
def stylegan3(make_network) -> StyleGANGenerator:
    identity = ModelIdentity("tiny 3", "3" * 64, {"resolution": 16})
    return StyleGANGenerator(make_network(config=small_stylegan3()), identity)


@pytest.mark.parametrize("which", ["countable", "stylegan2", "stylegan3"])
def test_row_does_not_depend_on_which_channels_were_swept_before(
    make_generator, make_encoder, stylegan2, stylegan3, draw, monkeypatch, which
):
    # In each of them one swept channel changes what another does.
    entangled = {"countable": make_generator(gate=2), "stylegan2": stylegan2}
    generator, encoder = {**entangled, "stylegan3": stylegan3}[which], make_encoder(24)
    whole = draw(generator, encoder)
    reverse = sweep_blocks(generator.layout, whole.channels, 24)[::-1]
    assert len(reverse) > 1
    monkeypatch.setattr(methods, "sweep_blocks", lambda layout, channels, images: reverse)
    backwards = draw(generator, encoder)
    for name in ROWS:
        assert np.allclose(getattr(backwards, name), getattr(whole, name), atol=1e-5), name
    alone = [SweepBlock(np.array([c]), 0, 24) for c in whole.channels]
    monkeypatch.setattr(methods, "sweep_blocks", lambda layout, channels, images: alone)
    single = draw(generator, encoder)
    for name in ROWS:
        difference = np.abs(getattr(single, name) - getattr(whole, name))
        assert difference.max() < 1e-5, name


def test_styles_are_left_as_they_were(generator, encoder):
    styles = image_styles(generator, 6, 0.7, 0)
    before = styles.clone()
    setup = setup_of(styles, torch.zeros(14), torch.ones(14))
    for kind in (SweepBlock, TensorFlowBlock, TorchBlock):
        kind(np.array([7, 8, 9, 10]), 1, 5).run(Models(generator, encoder), setup)
        assert torch.equal(styles, before)


@pytest.mark.parametrize("kind", [SweepBlock, TensorFlowBlock, TorchBlock])
def test_block_sums_are_those_of_its_own_images(generator, encoder, kind):
    styles = image_styles(generator, 9, 0.7, 0)
    setup = setup_of(styles, torch.zeros(14), torch.full((14,), 0.25))

    def sums(first: int, last: int, channels: tuple[int, ...] = (7, 9)) -> np.ndarray:
        result = kind(np.array(channels), first, last).run(Models(generator, encoder), setup)
        return np.column_stack([result["unit"], result["length"]])

    assert np.allclose(sums(0, 9), sums(0, 4) + sums(4, 9), atol=1e-6)
    assert not np.allclose(sums(0, 3), sums(3, 6), atol=1e-3)
    assert np.allclose(sums(0, 9), np.concatenate([sums(0, 9, (7,)), sums(0, 9, (9,))]), atol=1e-6)


@pytest.mark.parametrize("method", ["sweep", "reference-torch"])
@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_result_does_not_depend_on_the_batch_size(
    generator, encoder, draw, monkeypatch, size, method
):
    whole = draw(generator, encoder, table=method)
    monkeypatch.setattr("styleatlas.precompute.batches.batch_size", lambda generator: size)
    images, most = encoder.images, []
    monkeypatch.setattr(encoder, "images", lambda x: most.append(len(x)) or images(x))
    atlas = draw(generator, encoder, table=method)
    assert max(most) == 2 * min(size, 16), "a block has 16 images"
    for name in ROWS:
        assert np.allclose(getattr(atlas, name), getattr(whole, name), atol=1e-6), name


@pytest.mark.parametrize("clip", ["countable", "random"])
@pytest.mark.parametrize("which", ["stylegan2", "stylegan3"])
def test_rows_of_real_generators_are_those_of_whole_renders(
    which, clip, request, make_encoder, clip_folder, draw
):
    generator = request.getfixturevalue(which)
    encoder = make_encoder(24) if clip == "countable" else load_encoder(clip_folder, "cpu")
    phrases = ("a", "c", "f")
    atlas = draw(generator, encoder, phrases, ("{}",), images=20)
    styles = image_styles(generator, 20, 0.7, 0)
    rows, strength = [], []
    with torch.inference_mode():
        for channel in atlas.channels:
            sides = []
            for sign in (1, -1):
                moved = styles.clone()
                end = atlas.style_mean[channel] + sign * 5 * atlas.style_std[channel]
                moved[:, channel] = float(end)
                sides.append(encoder.images(generator.render(moved)).double())
            delta = sides[0] - sides[1]
            mean = (delta / delta.norm(dim=1, keepdim=True)).mean(0)
            rows.append(mean / mean.norm())
            strength.append(delta.norm(dim=1).mean())
    assert (atlas.consistency > 0).all()
    assert np.abs(atlas.rows - torch.stack(rows).numpy()).max() < 1e-5
    assert np.abs(atlas.strength - torch.stack(strength).numpy()).max() < 1e-5
