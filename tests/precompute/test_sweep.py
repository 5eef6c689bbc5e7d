"""The sweep on a generator and a CLIP whose every effect is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from styleatlas.precompute import build
from styleatlas.precompute.plan import WorkBlock, plan_blocks
from styleatlas.precompute.statistics import image_styles
from styleatlas.precompute.sweep import sweep_block

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


def entangled(make_generator, stylegan2) -> list:
    """Generators in which one swept channel changes what another does."""
    return [make_generator(gate=2), stylegan2]


@pytest.mark.parametrize("which", [0, 1], ids=["countable", "stylegan2"])
def test_row_does_not_depend_on_which_channels_were_swept_before(
    make_generator, make_encoder, stylegan2, draw, monkeypatch, which
):
    generator = entangled(make_generator, stylegan2)[which]
    encoder = make_encoder(24)
    whole = draw(generator, encoder)
    reverse = plan_blocks(generator.layout, 24)[::-1]
    monkeypatch.setattr(build, "plan_blocks", lambda layout, images: reverse)
    assert all(
        np.array_equal(getattr(draw(generator, encoder), n), getattr(whole, n)) for n in ROWS
    )
    for channel in whole.channels:
        alone = [WorkBlock(np.array([channel]), 0, 24)]
        monkeypatch.setattr(build, "plan_blocks", lambda layout, images, alone=alone: alone)
        single, row = draw(generator, encoder), whole.row_of(channel)
        assert single.channels.tolist() == [channel]
        for name in ROWS:
            difference = getattr(single, name)[0] - getattr(whole, name)[row]
            assert np.abs(difference).max() < 2e-6, (channel, name)


def test_styles_are_left_as_they_were(generator, encoder):
    styles = image_styles(generator, 6, 0.7, 0)
    before = styles.clone()
    block = WorkBlock(np.arange(7, 11), 1, 5)
    sweep_block(generator, encoder, block, styles, torch.zeros(14), torch.ones(14))
    assert torch.equal(styles, before)


def test_block_sums_are_those_of_its_own_images(make_generator, encoder):
    generator = make_generator(gate=2)
    styles = image_styles(generator, 9, 0.7, 0)
    centre, step = torch.zeros(14), torch.full((14,), 0.25)

    def sums(first: int, last: int) -> np.ndarray:
        block = WorkBlock(np.array([7, 9]), first, last)
        result = sweep_block(generator, encoder, block, styles, centre, step)
        return np.column_stack([result.unit, result.length])

    assert np.allclose(sums(0, 9), sums(0, 4) + sums(4, 9), atol=1e-6)
    assert not np.allclose(sums(0, 4), sums(4, 8), atol=1e-3)


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_result_does_not_depend_on_the_batch_size(
    countable_atlas, generator, encoder, draw, monkeypatch, size
):
    monkeypatch.setattr("styleatlas.precompute.sweep.batch_size", lambda generator: size)
    atlas = draw(generator, encoder)
    for name in ROWS:
        assert np.allclose(getattr(atlas, name), getattr(countable_atlas, name), atol=1e-6), name
