"""The projector, on tiny random networks whose renders are crops of known latents."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from styleatlas.engine.models.draft import Draft
from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.models.sampling import w_from_seeds
from styleatlas.engine.photos import refine
from styleatlas.engine.photos.refine import Refinement, Spread, draft_of
from styleatlas.store.errors import OptionError
from styleatlas.store.fingerprint import ModelIdentity
from tests.checkpoint_files import small_stylegan2

SPACES = ("w", "w+", "s")


class Pixels:
    """A `Measure`: the mean square of what 4 x 4 pixels of the images differ by."""

    name, identities = "pixels", ()

    def seen(self, images: Tensor) -> tuple[Tensor, ...]:
        return (torch.nn.functional.adaptive_avg_pool2d(images, 4),)

    def distance(self, one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> Tensor:
        return (one[0] - other[0]).square().flatten(1).mean(1)


@pytest.fixture(autouse=True)
def _free(monkeypatch) -> None:
    """No pull, unless a test asks for one."""
    monkeypatch.setattr(refine, "PULL", dict.fromkeys(SPACES, 0.0))


@pytest.fixture(scope="module")
def generator(stylegan2) -> StyleGANGenerator:
    return stylegan2


@pytest.fixture(scope="module")
def spread(generator) -> Spread:
    w = w_from_seeds(generator, range(500), 1.0)
    return Spread.of(w[:, 0], generator.styles(w).std(0))


def drawn(generator, seeds=(1, 2, 3)) -> Tensor:
    return generator.render(generator.styles(w_from_seeds(generator, seeds, 1.0))).detach()


def start(generator, n: int = 3) -> Tensor:
    return w_from_seeds(generator, range(n), 0.0)


def refinement(generator, spread, space="w+", steps=100, n=3, **more) -> Refinement:
    crops = drawn(generator)[:n]
    return Refinement(generator, Pixels(), crops, start(generator, n), spread, space, steps, **more)


def distances(generator, styles: Tensor) -> Tensor:
    seen = [Pixels().seen(x) for x in (generator.render(styles), drawn(generator)[: len(styles)])]
    return Pixels().distance(*seen)


@pytest.mark.parametrize("space", SPACES)
def test_renders_come_nearer_from_the_average(generator, spread, space) -> None:
    found = refinement(generator, spread, space, 200).run()
    torch.testing.assert_close(found.distance, distances(generator, found.styles))
    begun = distances(generator, generator.styles(start(generator)))
    torch.testing.assert_close(found.first_distance, begun)
    assert (found.distance < 0.05 * begun).all()
    if space == "s":
        assert found.w is None
    else:
        torch.testing.assert_close(generator.styles(found.w), found.styles)
        same = bool((found.w == found.w[:, :1]).all())
        assert same == (space == "w")


def test_steps_are_adams(generator, spread, monkeypatch) -> None:
    """Beside PyTorch's, at a learning rate that stays."""
    monkeypatch.setattr(refine, "MOST", 8)
    monkeypatch.setattr(refine, "PATIENCE", 9)
    ours = refinement(generator, spread, "w+", None)
    ours.run()
    step = torch.zeros(3, generator.network.config.num_ws, 6, requires_grad=True)
    adam = torch.optim.Adam([step], lr=refine.RATE)
    for _ in range(8):
        adam.zero_grad()
        styles = generator.styles(start(generator) + step @ spread.axes)
        distances(generator, styles).sum().backward()
        adam.step()
    torch.testing.assert_close(ours.state["step"], step.detach(), rtol=1e-4, atol=1e-5)


def test_the_learning_rate_rises_and_falls(generator, spread) -> None:
    rates = refinement(generator, spread, "w", 100)._rate(torch.arange(1, 101), torch.zeros(100))
    top = refine.RATE
    assert rates[0] < 0.25 * top and rates[-1] < 0.01 * top
    torch.testing.assert_close(rates[10:70], torch.full((60,), top))
    assert (rates[:5].diff() > 0).all() and (rates[80:].diff() < 0).all()


def test_rows_do_not_see_each_other(generator, spread) -> None:
    together = refinement(generator, spread, steps=20).run()
    alone = refinement(generator, spread, steps=20, n=1).run()
    torch.testing.assert_close(together.styles[:1], alone.styles, rtol=1e-3, atol=1e-4)


def test_the_nearest_step_is_kept(generator, spread, monkeypatch) -> None:
    monkeypatch.setattr(refine, "RATE", 5.0)  # leads far away
    work = refinement(generator, spread, steps=12)
    found = work.run()
    assert (found.distance <= found.first_distance).all()
    torch.testing.assert_close(found.distance, distances(generator, found.styles))
    last = generator.styles(start(generator) + work.state["step"] @ spread.axes)
    assert (distances(generator, last) > found.distance).any()


def test_it_goes_on_to_the_same_end(generator, spread) -> None:
    class StoppedError(Exception):
        pass

    def stop(state: dict[str, Tensor]) -> None:
        if int(state["steps"].max()) == 7:
            raise StoppedError

    for steps in (20, None):
        whole = refinement(generator, spread, steps=steps, frames=4).run()
        first = refinement(generator, spread, steps=steps, frames=4)
        with pytest.raises(StoppedError):
            first.run(save=stop)
        second = refinement(generator, spread, steps=steps, frames=4)
        second.take_up(first.state)
        found = second.run()
        assert torch.equal(found.styles, whole.styles) and torch.equal(found.path, whole.path)
        assert torch.equal(found.steps, whole.steps)
        assert second.made == int(whole.steps.sum() + 3) - 3 * 7


def test_another_state_is_refused(generator, spread) -> None:
    with pytest.raises(OptionError, match="another refinement"):
        refinement(generator, spread, n=2).take_up(refinement(generator, spread).state)


def test_a_row_stops_where_the_distance_does_not_pay(generator, spread) -> None:
    """One that begins where its crop was drawn, beside one that has a way to go."""
    crops = drawn(generator, (1, 2))
    w = torch.cat([w_from_seeds(generator, [1], 1.0), start(generator, 1)])
    found = Refinement(generator, Pixels(), crops, w, spread, "w", None).run()
    assert int(found.steps[0]) == refine.HALVINGS * refine.PATIENCE
    assert int(found.steps[0]) < int(found.steps[1]) <= refine.MOST
    assert found.distance[1] < 0.05 * found.first_distance[1]


def test_the_pull_keeps_near_the_start(generator, spread, monkeypatch) -> None:
    lengths = []
    for pull in (0.0, 0.01, 1.0):
        monkeypatch.setattr(refine, "PULL", dict.fromkeys(SPACES, pull))
        work = refinement(generator, spread, steps=60)
        work.run()
        lengths.append(float(work.state["step"].square().mean()))
    assert lengths[0] > 1.2 * lengths[1] > 1.2 * 1.2 * lengths[2]


@pytest.mark.parametrize("steps", [5, 40])
def test_the_way_begins_at_the_start_and_ends_at_the_nearest(generator, spread, steps) -> None:
    found = refinement(generator, spread, steps=steps, frames=8).run()
    assert found.path.shape == (3, 8, generator.layout.size)
    torch.testing.assert_close(found.path[:, 0], generator.styles(start(generator)))
    if steps == 5:
        torch.testing.assert_close(found.path[:, -1], found.styles)
    shown = torch.stack([distances(generator, found.path[:, k]) for k in range(8)], 1)
    assert (shown[:, -1] <= 1.5 * found.distance).all() and (shown[:, 3] < shown[:, 0]).all()


def test_units_are_what_samples_differ_by() -> None:
    random = torch.Generator().manual_seed(0)
    w = torch.randn(4_000, 5, generator=random) @ torch.randn(5, 5, generator=random) + 3
    axes = Spread.of(w, torch.ones(7)).axes
    told = axes.t() @ axes
    torch.testing.assert_close(told, torch.cov(w.t()), rtol=0.01, atol=0.01)


@pytest.mark.parametrize("steps", [40, None])
def test_a_draft_that_is_another_image_is_corrected_by_the_whole(
    make_network, monkeypatch, steps
) -> None:
    network = make_network(config=small_stylegan2())
    whole = StyleGANGenerator(network, ModelIdentity("made up", "0" * 64, {}))
    draft = Draft(whole, max(whole.image_size) // 2)
    w = w_from_seeds(whole, range(200), 1.0)
    spread = Spread.of(w[:, 0], whole.styles(w).std(0))
    work = refinement(whole, spread, "w", steps, draft=draft)
    rendered: list[object] = []
    for drawn_by in (whole, draft):
        plain = drawn_by.render
        monkeypatch.setattr(
            drawn_by, "render", lambda s, by=drawn_by, f=plain: rendered.append(by) or f(s)
        )
    found = work.run()
    first, last = rendered.index(draft), len(rendered) - rendered[::-1].index(draft)
    assert first == 1  # after the start
    if steps:
        assert rendered[first:last] == 30 * [draft] and rendered[last:] == 11 * [whole]
    torch.testing.assert_close(found.distance, distances(whole, found.styles))
    assert (found.distance < 0.5 * found.first_distance).all()
    assert last < len(rendered)


def test_small_generators_need_no_draft(generator) -> None:
    assert draft_of(generator) is None


def test_numbers_that_are_none_end_a_row_and_not_the_others(generator, spread) -> None:
    work = refinement(generator, spread, steps=10)
    work._crops = work._crops.clone()
    work._crops[1] = math.nan
    found = work.run()
    assert found.steps.tolist() == [10, 0, 10]
    begun = generator.styles(start(generator))
    torch.testing.assert_close(found.styles[1], begun[1])
    assert (found.distance[[0, 2]] < found.first_distance[[0, 2]]).all()


@pytest.mark.parametrize("space", SPACES)
def test_a_start_beside_w_is_gone_on_from_with_all_steps(generator, spread, space) -> None:
    first = refinement(generator, spread, space, 60)
    found = first.run()
    step = first.state["best_step"]
    again = refinement(generator, spread, space, 30, start=step, rate=refine.RATE / 3)
    further = again.run()
    torch.testing.assert_close(further.first_distance, found.distance)
    assert (further.steps == 30).all()
    assert (further.distance < 0.9 * found.distance).all()
    moved = refinement(generator, spread, space, 0, start=step).run()
    torch.testing.assert_close(moved.styles, found.styles)


def test_the_pull_is_towards_w_and_not_towards_the_start(generator, spread, monkeypatch) -> None:
    monkeypatch.setattr(refine, "PULL", dict.fromkeys(SPACES, 1e4))
    far = torch.ones_like(refinement(generator, spread).state["step"])
    held = refinement(generator, spread, steps=3, start=far)
    held.run()
    assert (held.state["step"].abs() < far).all()
