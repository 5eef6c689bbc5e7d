from __future__ import annotations

import numpy as np
import pytest
import torch

from styleatlas.engine.models.sampling import (
    batch_size,
    latents_from_seeds,
    render_batches,
    styles_from_seeds,
    w_from_seeds,
)
from styleatlas.store.errors import OptionError

from ...near import assert_near


def test_seed_is_the_latent_that_stylegans_own_scripts_draw():
    seeds = [0, 7, 2**32 - 1, 7]
    latents = latents_from_seeds(seeds, 5)
    known = [np.random.RandomState(seed).randn(1, 5)[0] for seed in seeds]
    assert latents.dtype == torch.float32
    assert np.array_equal(latents.numpy(), np.array(known, np.float32))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_range_is_refused(seed):
    with pytest.raises(OptionError, match=f"seed {seed}: must lie between 0 and 4294967295"):
        latents_from_seeds([3, seed], 5)


def test_truncation_pulls_the_styles_of_seeds_to_the_mean(generator):
    whole, half, none = (styles_from_seeds(generator, [1, 2], psi) for psi in (1.0, 0.5, 0.0))
    assert torch.allclose(none, generator.offset.expand(2, -1))
    assert torch.allclose(half - none, (whole - none) / 2, atol=1e-6)


def test_a_negative_truncation_draws_the_opposite_as_far_from_the_average(stylegan2):
    whole, opposite, centre = (w_from_seeds(stylegan2, [1, 2], psi) for psi in (0.7, -0.7, 0.0))
    assert (whole - centre).abs().max() > 0.01
    assert torch.allclose(opposite - centre, centre - whole, atol=1e-6)
    styles = styles_from_seeds(stylegan2, [1, 2], -0.7)
    assert_near(styles, stylegan2.styles(2 * centre - whole))


def test_styles_of_seeds_are_those_of_their_w(generator):
    w = w_from_seeds(generator, [1, 2], 0.5)
    assert torch.equal(w, generator.map(latents_from_seeds([1, 2], 5), truncation=0.5))
    assert torch.equal(styles_from_seeds(generator, [1, 2], 0.5), generator.styles(w))


@pytest.mark.parametrize("truncation", [-2.01, 2.01, float("nan")])
def test_truncation_out_of_range_is_refused(generator, truncation):
    with pytest.raises(OptionError, match=f"truncation {truncation:g}: must lie between -2 and 2"):
        styles_from_seeds(generator, [1], truncation)


@pytest.mark.parametrize(
    ("resolution", "images"), [(8, 64), (128, 64), (256, 16), (1024, 1), (2048, 1)]
)
def test_batches_shrink_as_images_grow(generator, resolution, images):
    generator.image_size = (resolution, resolution)
    assert batch_size(generator) == images


def test_batches_go_by_the_pixels_of_images_that_are_not_square(generator):
    for size, images in (((1024, 512), 2), ((512, 1024), 2), ((256, 128), 32), ((4096, 1), 64)):
        generator.image_size = size
        assert batch_size(generator) == images


def test_batches_are_rendered_in_order_and_in_full(generator):
    styles = styles_from_seeds(generator, range(150), 0.7)
    batches = list(render_batches(generator, styles))
    assert [len(batch) for batch in batches] == [64, 64, 22]
    assert torch.equal(torch.cat(batches), generator.render(styles))
