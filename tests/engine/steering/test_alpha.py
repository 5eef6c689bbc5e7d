"""The search for alpha, on curves that can be computed by hand instead of on images."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from styleatlas.engine.steering.alpha import ROUNDS, Found, find_alphas

from ...near import assert_near

MOST = 10.0
Curve = Callable[..., tuple[float, ...]]
Numbers = float | list[float]


class Images:
    """Each a function of the alphas that tells how far it is along each edit and held thing.

    Args:
        calls: the rows and alphas of every measurement so far.
    """

    def __init__(self, *curves: Curve) -> None:
        self.curves = curves
        self.calls: list[tuple[np.ndarray, np.ndarray]] = []

    def __call__(self, rows: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        self.calls.append((rows.copy(), alphas.copy()))
        return self.at(rows, alphas)

    def at(self, rows: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        return np.array([self.curves[row](*a) for row, a in zip(rows, alphas, strict=True)])

    def find(
        self,
        *goals: Numbers,
        slopes: tuple[float, ...] = (0.1,),
        most: Numbers = MOST,
        first: Numbers | None = None,
    ) -> tuple[Found, np.ndarray]:
        """What is found, and how far the images are there. Goals, one an edit, and the most are
        those of all images, or a list of one an image; alphas begin as the table's do, with 0.4 of
        what slopes foretell, where no first ones are given."""
        rows = np.arange(len(self.curves))
        before = self.at(rows, np.zeros((len(rows), len(slopes))))
        wanted = np.stack([np.broadcast_to(goal, len(rows)) for goal in goals], 1)
        highest = np.broadcast_to(np.reshape(most, (-1, 1)), wanted.shape)
        if first is None:
            foretold = (wanted - before[:, : len(goals)]) / np.maximum(slopes[: len(goals)], 1e-6)
            begin = (0.4 * foretold).clip(1, highest / 2)
        else:
            begin = np.broadcast_to(np.reshape(first, (-1, 1)), wanted.shape)
        found = find_alphas(self, before, np.array(slopes), begin, wanted, highest)
        assert np.array_equal(
            found.seen[:, : len(goals)], self.at(rows, found.alphas)[:, : len(goals)]
        )
        return found, self.at(rows, found.alphas)


def linear(alpha: float) -> tuple[float]:
    return (0.1 * alpha,)


def fast_then_slow(alpha: float) -> tuple[float]:
    return (np.sqrt(alpha) / 3.2,)


def s_shaped(alpha: float) -> tuple[float]:
    return (1 / (1 + np.exp(4 - alpha)) - 1 / (1 + np.exp(4)),)


def peaked(alpha: float) -> tuple[float]:
    return (np.exp(-(((alpha - 4) / 3) ** 2)),)


def plateau(alpha: float) -> tuple[float]:
    return (0.5 * np.tanh(alpha / 2),)


def smallest(curve: Curve, goal: float) -> float:
    alphas = np.linspace(0, MOST, 10_001)
    return alphas[np.argmax(curve(alphas)[0] >= goal)]


@pytest.mark.parametrize("slope", [0.08, 0.1, 0.2])
@pytest.mark.parametrize("goal", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("curve", [linear, fast_then_slow, s_shaped, peaked])
def test_goal_is_reached_by_about_the_smallest_alpha_that_does(curve, goal, slope):
    images = Images(curve)
    found, (at,) = images.find(goal, slopes=(slope,))
    assert at[0] >= goal
    # Near enough in what CLIP sees, or in alpha.
    assert at[0] <= 1.16 * goal or found.alphas[0, 0] <= smallest(curve, goal) / 0.85
    assert len(images.calls) <= ROUNDS
    assert np.array_equal(images.calls[found.rounds[0] - 1][1], found.alphas)


def test_curve_that_peaks_below_the_goal_stops_near_its_peak():
    found, (at,) = Images(peaked).find(1.5, slopes=(0.2,))
    assert at[0] >= 0.85 and found.alphas[0, 0] < 5


@pytest.mark.parametrize("goal", [0.6, 0.9, 3.0])
def test_plateau_below_the_goal_is_gone_to_but_not_along(goal):
    found, (at,) = Images(plateau).find(goal)
    assert at[0] >= 0.9 * 0.5
    assert found.alphas[0, 0] < 6, "0.5 tanh(3) is 99.5 % of all there is"


@pytest.mark.parametrize("rise", [0.0, -0.1])
def test_image_that_never_rises_stays_as_it_is(rise):
    found, _ = Images(lambda alpha: (rise * alpha,)).find(0.5)
    assert found.alphas.tolist() == [[0]] and found.rounds.tolist() == [0]


@pytest.mark.parametrize("start", [0.5, 0.7])
def test_image_that_is_there_is_not_even_measured(start):
    images = Images(lambda alpha: (start + alpha,))
    found, _ = images.find(0.5)
    assert found.alphas.tolist() == [[0]] and found.rounds.tolist() == [0]
    assert images.calls == []


def test_goal_out_of_reach_goes_to_the_most_and_never_beyond():
    images = Images(linear)
    found, _ = images.find(2.0, most=6.0)
    assert found.alphas.tolist() == [[6.0]]
    assert max(alphas.max() for _, alphas in images.calls) == 6.0


def test_every_image_has_goals_a_beginning_and_a_most_of_its_own():
    images = Images(linear, linear, linear, linear)
    goals, most = [0.3, 0.6, 0.9, 0.5], [10.0, 10.0, 4.0, 0.0]
    found, at = images.find(goals, most=most, first=[3.1, 1.0, 1.0, 1.0])
    assert (at[:2, 0] >= goals[:2]).all() and (at[:2, 0] <= np.multiply(1.16, goals[:2])).all()
    assert found.alphas[0, 0] == 3.1, "where it began it was there"
    assert found.alphas[2:, 0].tolist() == [4.0, 0.0]
    assert all(3 not in rows for rows, _ in images.calls), "it may not go anywhere"


def test_what_is_held_of_an_image_hangs_on_its_own_most_alone():
    def drifting(alpha: float, held: float) -> tuple[float, float]:
        return (0.1 * alpha, 0.5 * alpha + 0.01 * held)

    most = [2.0, 10.0]
    together, _ = Images(drifting, drifting).find(0.5, slopes=(0.1, 0.01), most=most)
    for i, highest in enumerate(most):
        alone, _ = Images(drifting).find(0.5, slopes=(0.1, 0.01), most=highest)
        assert_near(together.alphas[i], alone.alphas[0])


def test_finished_images_are_not_measured_again_and_the_others_go_on():
    images = Images(
        lambda alpha: (1 + alpha,),  # is there already
        lambda alpha: (0.26 * alpha,),  # is there after a round
        linear,
        lambda alpha: (0.05 * alpha,),
    )
    found, at = images.find(0.5)
    assert (at >= 0.5).all()
    assert found.rounds[0] == 0 and found.rounds[1] == 1
    measured = [set(rows) for rows, _ in images.calls]
    assert measured[0] == {1, 2, 3} and measured[1] == {2, 3}
    assert all(after <= before for before, after in pairwise(measured))


def test_images_are_searched_as_if_each_were_alone():
    curves = (linear, fast_then_slow, s_shaped, peaked, plateau)
    together, _ = Images(*curves).find(0.6)
    alone = [Images(curve).find(0.6)[0].alphas[0] for curve in curves]
    assert_near(together.alphas, np.array(alone))


@pytest.mark.parametrize("coupling", [-0.3, 0.3, 0.8])
def test_edits_that_help_or_hinder_each_other_reach_their_goals(coupling):
    images = Images(lambda a, b: (0.1 * (a + coupling * b), 0.1 * (b + coupling * a)))
    found, (at,) = images.find(0.5, 0.6, slopes=(0.1, 0.1))
    assert (at >= [0.5, 0.6]).all() and (at <= [0.7, 0.8]).all()
    alone, _ = Images(lambda a, b: (0.1 * a, 0.1 * b)).find(0.5, 0.6, slopes=(0.1, 0.1))
    assert ((found.alphas < alone.alphas) == (coupling > 0)).all()


def test_edit_that_another_takes_ground_from_goes_on():
    """The first is there in the first round; then the second grows and takes some of it away."""
    images = Images(lambda a, b: (0.1 * a - 0.05 * max(b - 2, 0), 0.1 * b))
    _, (at,) = images.find(0.4, 0.4, slopes=(0.04, 0.1))
    assert images.at(*images.calls[0])[0, 0] >= 0.4 > images.at(*images.calls[1])[0, 0]
    assert (at >= 0.4).all()


def test_edit_that_is_there_already_leaves_the_other_to_itself():
    images = Images(lambda a, b: (0.7 + 0.1 * a, 0.1 * b))
    found, (at,) = images.find(0.5, 0.6, slopes=(0.1, 0.1))
    assert found.alphas[0, 0] == 0 and 0.6 <= at[1] <= 0.7


@pytest.mark.parametrize("drift", [-0.1, -0.05, 0.03, 0.1])
def test_drift_is_held_by_counter_steps_of_either_sign(drift):
    images = Images(lambda alpha, held: (0.1 * alpha, drift * alpha + 0.1 * held))
    found, (at,) = images.find(0.5, slopes=(0.1, 0.1))
    alpha, held = found.alphas[0]
    assert at[0] >= 0.5
    assert np.sign(held) == -np.sign(drift)
    assert abs(at[1]) < 0.5 * abs(drift * alpha), "half of what it would be"
    assert abs(held) <= MOST


def test_without_drift_nothing_is_held():
    found, _ = Images(lambda alpha, held: (0.1 * alpha, 0.1 * held)).find(0.5, slopes=(0.1, 0.1))
    assert found.alphas[0, 1] == 0


def test_counter_steps_go_no_further_than_the_most():
    images = Images(lambda alpha, held: (0.1 * alpha, alpha + 0.1 * held))
    images.find(0.5, slopes=(0.1, 0.001))
    assert max(np.abs(alphas).max() for _, alphas in images.calls) == MOST


def tangled(random: np.random.Generator) -> Curve:
    """Two edits and a held thing on a curve with bumps, where each moves all."""
    mix, bumps = random.normal(0.05, 0.1, (3, 3)), random.normal(0, 0.3, (3, 3))
    start = random.normal(0, 0.3, 3)
    phases = random.uniform(0, 3, 3)

    def curve(*alphas: float) -> tuple[float, ...]:
        waves = np.sin(np.array(alphas) + phases) - np.sin(phases)
        return tuple(start + mix @ alphas + bumps @ waves)

    return curve


@pytest.mark.parametrize("slopes", [(0.1, 0.1, 0.1), (1e-4, 3.0, -0.2), (0.0, -1.0, 0.0)])
def test_whatever_images_do_the_search_keeps_within_its_bounds(slopes):
    random = np.random.default_rng(5)
    images = Images(*[tangled(random) for _ in range(300)])
    goals = (0.4, 0.8)
    found, at = images.find(*goals, slopes=slopes)
    assert len(images.calls) == ROUNDS
    assert np.isfinite(found.alphas).all()
    assert (found.alphas[:, :2] >= 0).all() and (np.abs(found.alphas) <= MOST).all()
    reached = np.zeros(300, bool)
    for round_, (rows, alphas) in enumerate(images.calls, 1):
        assert (alphas[:, :2] >= 0).all() and (np.abs(alphas) <= MOST).all()
        reached[rows] |= (images.at(rows, alphas) >= (*goals, -np.inf)).all(1)
        chosen = np.flatnonzero(found.rounds == round_)
        position = np.searchsorted(rows, chosen)
        assert np.array_equal(rows[position], chosen), "it was measured in that round"
        assert np.array_equal(alphas[position], found.alphas[chosen])
    assert not found.alphas[found.rounds == 0].any()
    assert (at[reached, :2] >= goals).all(), "goals that were reached once are kept"
    assert 10 < reached.sum() < 290
