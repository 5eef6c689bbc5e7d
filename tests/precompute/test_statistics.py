from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from styleatlas.precompute.statistics import image_styles, style_statistics
from styleatlas.store.errors import OptionError

from ..near import assert_near


def recorded(generator, monkeypatch, note) -> None:
    """Call `note` with every batch of styles the generator makes."""
    styles = generator.styles

    def recording(w):
        made = styles(w)
        note(made)
        return made

    monkeypatch.setattr(generator, "styles", recording)


@pytest.mark.parametrize("latents", [2, 999, 1000, 3500])
def test_streamed_moments_equal_those_of_all_styles_at_once(generator, monkeypatch, latents):
    batches = []
    recorded(generator, monkeypatch, lambda styles: batches.append(styles.double().numpy()))
    mean, std = style_statistics(generator, latents, 0.7, seed=3)
    styles = np.concatenate(batches)
    assert styles.shape == (latents, 14)
    assert mean.dtype == std.dtype == np.float32
    assert mean == pytest.approx(styles.mean(0), abs=1e-7)
    assert std == pytest.approx(styles.std(0), abs=1e-7)


def test_small_deviations_around_a_large_mean_survive(generator, monkeypatch):
    generator.offset += 1000
    batches = []
    recorded(generator, monkeypatch, lambda styles: batches.append(styles.double().numpy()))
    _, std = style_statistics(generator, 2500, 0.7, seed=0)
    assert std == pytest.approx(np.concatenate(batches).std(0), rel=1e-5)


def test_memory_does_not_grow_with_the_latents(generator, monkeypatch):
    held = []
    gc.collect()  # what other tests left

    def count(styles):
        tensors = [obj for obj in gc.get_objects() if type(obj) is torch.Tensor]
        held.append(sum(len(t) for t in tensors if t.ndim == 2 and t.shape[1] == 14))

    recorded(generator, monkeypatch, count)
    style_statistics(generator, 6000, 0.7, seed=0)
    assert len(held) == 6
    assert held[-1] == held[1] <= 3000


def test_truncation_narrows_the_statistics(generator):
    _, wide = style_statistics(generator, 500, 1.0, seed=0)
    _, narrow = style_statistics(generator, 500, 0.5, seed=0)
    assert narrow == pytest.approx(wide / 2, rel=1e-5)


def test_images_and_statistics_draw_from_separate_streams(generator):
    few, many = (image_styles(generator, count, 0.7, seed=0) for count in (5, 50))
    assert_near(few, many[:5])
    _, std = style_statistics(generator, 2, 0.7, seed=0)
    assert std != pytest.approx(few[:2].double().numpy().std(0), abs=1e-3)


def test_seeds_change_the_images(generator):
    one, same, other = (image_styles(generator, 5, 0.7, seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.isclose(one, other).any()


@pytest.mark.parametrize(
    ("latents", "truncation", "message"),
    [
        (1, 0.7, "statistics 1: must be at least 2"),
        (100, 2.5, r"truncation 2\.5: must lie between -2 and 2"),
        (100, -2.1, r"truncation -2\.1: must lie between -2 and 2"),
        (100, float("nan"), "truncation nan: must lie between -2 and 2"),
    ],
)
def test_impossible_statistics_are_refused(generator, latents, truncation, message):
    with pytest.raises(OptionError, match=message):
        style_statistics(generator, latents, truncation, seed=0)
