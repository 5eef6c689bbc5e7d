"""Where an encoder learns to begin."""

from __future__ import annotations

import numpy as np
import pytest

from styleatlas.engine.steering.lookup import LookUp
from styleatlas.precompute import encoder_starts
from styleatlas.precompute.encoder_starts import FOLDS, Starts, cross_fitted


@pytest.fixture(scope="module")
def samples(draw):
    from ..conftest import CountableEncoder, CountableGenerator

    return draw(CountableGenerator(), CountableEncoder(), samples=400).samples


def test_every_sample_is_looked_up_by_others(samples):
    found = cross_fitted(samples)
    number = 7
    others = [i for i in range(len(samples)) if i % FOLDS != number % FOLDS]
    by_others = LookUp(samples, rows=np.array(others))
    wanted = by_others.find(samples.embedding[number : number + 1].astype(np.float32)).w[0]
    np.testing.assert_allclose(found[number], wanted, atol=1e-5)


def test_drawn_starts_are_spread_as_those_of_the_look_up(samples, monkeypatch):
    monkeypatch.setattr(encoder_starts, "STRENGTH", (1.0, 1.0))
    monkeypatch.setattr(encoder_starts, "FROM_THE_MEAN", 0.0)
    monkeypatch.setattr(encoder_starts, "ASTRAY", 0.0)
    starts = Starts(samples, samples.centre)
    w = samples.w.astype(np.float32)
    drawn = np.concatenate([starts.draw(w, np.random.default_rng(i)) for i in range(40)])
    found = starts.found
    np.testing.assert_allclose(drawn.mean(0), found.mean(0), atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(found.T), atol=0.05)
    many = np.tile(w, (40, 1))
    apart, wanted = (np.square(x - y).mean() for x, y in ((drawn, many), (found, w)))
    assert apart == pytest.approx(wanted, rel=0.15)


def test_shares_of_starts_lie_at_the_average_and_astray(samples):
    starts = Starts(samples, samples.centre)
    drawn = starts.draw(np.ones((2_000, 5), np.float32), np.random.default_rng(0))
    share = (drawn == samples.centre).all(1).mean()
    assert share == pytest.approx(encoder_starts.FROM_THE_MEAN, abs=0.03)
    elsewhere = (drawn[:, None] == starts.found).all(2).any(1).mean()
    assert elsewhere == pytest.approx(encoder_starts.ASTRAY, abs=0.03)


def test_without_samples_all_start_at_the_average():
    centre = np.arange(5, dtype=np.float32)
    starts = Starts(None, centre)
    assert starts.found is None
    drawn = starts.draw(np.zeros((3, 5), np.float32), np.random.default_rng(0))
    assert np.array_equal(drawn, np.tile(centre, (3, 1)))
