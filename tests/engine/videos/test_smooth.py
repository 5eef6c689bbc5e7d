"""Smoothing without a lag."""

from __future__ import annotations

import numpy as np
import pytest

from styleatlas.engine.videos.smooth import smoothed, weights_at


def test_what_moves_evenly_stays_as_it_is_up_to_both_ends_at_uneven_times():
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.1, 40))
    values = np.stack([3 + 2 * times, -times], 1)
    np.testing.assert_allclose(smoothed(times, values, 0.12), values, atol=1e-9)


def test_what_trembles_is_averaged_and_nothing_lags():
    times = np.arange(100) / 25
    wave = np.sin(2 * np.pi * 0.3 * times)
    noise = 0.1 * np.random.default_rng(1).standard_normal(100)
    found = smoothed(times, wave + noise, 0.12)
    assert np.abs(found - wave)[10:-10].mean() < 0.5 * np.abs(noise).mean()
    lags = [np.corrcoef(found[10:-10], wave[10 + k : 90 + k])[0, 1] for k in (-2, -1, 0, 1, 2)]
    assert int(np.argmax(lags)) == 2


def test_weights_are_those_of_a_weighted_line():
    times, sigma = np.array([0.0, 0.1, 0.15, 0.4]), 0.2
    values = np.array([1.0, 4.0, 2.0, 3.0])
    for i in range(4):
        near, weights = weights_at(times, i, sigma)
        w = np.exp(-0.5 * ((times - times[i]) / sigma) ** 2)
        line = np.polyfit(times - times[i], values, 1, w=np.sqrt(w))
        assert weights.sum() == pytest.approx(1)
        assert weights @ values[near] == pytest.approx(line[1], abs=1e-6)


def test_no_smoothing_and_single_frames_stay_as_they_are():
    times, values = np.array([0.0, 1.0, 9.0]), np.array([2.0, 5.0, 1.0])
    np.testing.assert_array_equal(smoothed(times, values, 0.0), values)
    np.testing.assert_allclose(smoothed(times, values, 0.05), values, atol=1e-9)
    np.testing.assert_array_equal(smoothed(times[:1], values[:1], 0.1), values[:1])
