"""Two groups in a list of scores, planted and found."""

from __future__ import annotations

import numpy as np
import pytest

from styleatlas.engine.steering.mixture import Group, Mixture, fit_mixture

from .planted import some

COUNT = 4_000


def scores(share: float, separation: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=COUNT)
    return noise + separation * some(share, COUNT, seed + 50)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("share", "separation", "tolerance"),
    [
        *((0.5, 6, 0.02), (0.2, 6, 0.02), (0.05, 6, 0.03), (0.01, 6, 0.1), (0.003, 6, 0.2)),
        *((0.5, 3, 0.1), (0.2, 3, 0.15), (0.05, 3, 0.5)),
        *((0.8, 6, 0.02), (0.95, 3, 0.05), (0.997, 6, 0.01)),
    ],
)
def test_planted_share_and_separation_are_found(share, separation, tolerance, seed):
    """Of 1 % and less at 3, the ordinary tail is as large as the group: that is not asked for."""
    found = fit_mixture(scores(share, separation, seed))
    assert found.share == pytest.approx(share, rel=tolerance)
    assert found.separation == pytest.approx(separation, rel=0.2)
    assert found.lower.mean == pytest.approx(0, abs=0.2 if share < 0.9 else 1.0)
    assert found.gain > (0.02 if separation == 6 else 0.01)


def test_members_of_a_planted_group_are_told_apart():
    has = some(0.01, COUNT, 50).astype(bool)
    y = scores(0.01, 6)
    sure = fit_mixture(y).posterior(y)
    assert sure[has].mean() > 0.97 and sure[~has].mean() < 0.001


def test_same_scores_give_the_same_groups():
    y = scores(0.05, 3)
    assert fit_mixture(y) == fit_mixture(y.copy())


def test_unit_and_origin_of_scores_do_not_matter():
    y = scores(0.2, 6)
    one, other = fit_mixture(y), fit_mixture(0.01 * y + 5)
    assert other.share == pytest.approx(one.share, abs=1e-3)
    assert other.separation == pytest.approx(one.separation, rel=1e-2)


@pytest.mark.parametrize("seed", range(5))
def test_one_normal_distribution_gains_next_to_nothing(seed):
    gain = fit_mixture(np.random.default_rng(seed).normal(size=COUNT)).gain
    assert 0 <= gain < 0.002 < fit_mixture(scores(0.2, 3, seed)).gain / 10


@pytest.mark.parametrize("widths", [(1, 1), (3, 0.3), (0.2, 4), (1e-3, 1)])
@pytest.mark.parametrize("share", [0.003, 0.3, 0.99])
def test_posterior_never_falls_with_the_score(widths, share):
    mixture = Mixture(share, Group(0, widths[0]), Group(2, widths[1]), 1.0)
    at = mixture.posterior(np.linspace(-50, 50, 2_001))
    assert (np.diff(at) >= -1e-12).all()
    assert (at >= 0).all() and (at <= 1).all() and at[-1] > at[0]


def test_posterior_of_a_fit_never_falls_where_the_lower_group_is_wider():
    random = np.random.default_rng(1)
    y = np.concatenate([3 * random.normal(size=3_000), 6 + 0.5 * random.normal(size=1_000)])
    found = fit_mixture(y)
    assert found.lower.std > 3 * found.upper.std
    assert (np.diff(found.posterior(np.sort(y))) >= -1e-12).all()
    assert found.posterior(np.array([-12.0]))[0] < 0.01, "the lowest is not of the upper group"


@pytest.mark.parametrize("count", [1, 2, 19])
def test_too_few_scores_are_one_group(count):
    found = fit_mixture(np.random.default_rng(0).normal(size=count))
    assert found.lower == found.upper and found.gain == 0 and found.separation == 0


@pytest.mark.parametrize("count", [3, 4_000])
def test_scores_that_are_all_alike_are_one_group(count):
    found = fit_mixture(np.full(count, 0.3, np.float32))
    assert found.lower == found.upper and found.gain == 0
    assert found.posterior(np.array([0.3, 0.4])) == pytest.approx(0.5)
