"""Optimisation of a tiny StyleGAN2 by a CLIP that can be computed, whose every step can be had."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleatlas.engine.fallbacks import optimise
from styleatlas.engine.fallbacks.moves import Start
from styleatlas.engine.fallbacks.optimise import LOSSES, Optimisation, Optimised
from styleatlas.engine.fallbacks.optimise_settings import OptimiseSettings
from styleatlas.engine.models.sampling import w_from_seeds
from styleatlas.store.errors import DeviceMemoryError, LayoutError, OptionError

PROMPTS = ("a picture", "a picture channel7")
LOSS, CLIP, DIRECTIONAL, L2, IDENTITY = (
    LOSSES.index(name) for name in ("loss", "clip", "directional", "l2", "identity")
)
# Half a sigma a step takes a tiny network as far as it goes in a few of them.
QUICK = OptimiseSettings(steps=12, learning_rate=0.5, l2=1e-4)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Bits must not depend on how many there are."""
    known = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(known)


class Watcher:
    """A stand-in for an identity network: it sees the green channel."""

    name = "watcher"

    def embed(self, images: Tensor) -> Tensor:
        return F.normalize(images[:, 1].flatten(1), dim=1)


class Broken:
    """A generator or an encoder that returns NaN for one row of its `at`-th call of a method."""

    def __init__(self, sound: object, method: str, row: int, at: int) -> None:
        self._sound, self._method, self._row, self._at = sound, method, row, at
        self._calls = 0

    def __getattr__(self, name: str) -> object:
        found = getattr(self._sound, name)
        return self._spoiled(found) if name == self._method else found

    def _spoiled(self, call: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def spoiled(given: Tensor) -> Tensor:
            result = call(given)
            self._calls += 1
            if self._calls == self._at:
                factors = torch.ones(len(result))
                factors[self._row] = math.nan
                result = result * factors.view(-1, *[1] * (result.ndim - 1))
            return result

        return spoiled


@pytest.fixture(scope="session")
def pair(stylegan2, make_encoder):
    """The tiny generator and a CLIP that reads 23 of its pixels."""
    return stylegan2, make_encoder(23)


@pytest.fixture(scope="session")
def sigma(stylegan2) -> Tensor:
    return stylegan2.styles(w_from_seeds(stylegan2, range(200), 1.0)).std(0)


@pytest.fixture
def start(pair) -> Callable[..., Start]:
    def start(seeds=(1, 2, 3), targets=(PROMPTS[1],), warm=None) -> Start:
        generator, encoder = pair
        w = w_from_seeds(generator, seeds, 0.7)
        target = encoder.texts([targets[i % len(targets)] for i in range(len(seeds))])
        neutral = encoder.texts([PROMPTS[0]]).expand(len(seeds), -1)
        return Start(generator.styles(w), target, neutral, w, warm)

    return start


@pytest.fixture
def run(pair, sigma, start) -> Callable[..., Optimised]:
    """Optimise from seeds; options are those of `Optimisation` or of its settings."""

    def run(
        given: Start | None = None,
        settings: OptimiseSettings = QUICK,
        generator: object = None,
        encoder: object = None,
        identity: object = None,
        frames: int = 0,
        **options: object,
    ) -> Optimised:
        return Optimisation(
            generator or pair[0],
            encoder or pair[1],
            start() if given is None else given,
            sigma,
            replace(settings, **options),
            identity,
            frames,
        ).run()

    return run


@pytest.mark.parametrize("space", ["s", "w", "w+"])
def test_loss_falls_in_every_space(run, space):
    curves = run(space=space).curves
    assert (curves[:, -1, LOSS] < 0.95 * curves[:, 0, LOSS]).all()
    assert curves.shape == (3, 12, 6) and curves.dtype == torch.float32
    assert curves.isfinite().all()


@pytest.mark.parametrize("space", ["s", "w", "w+"])
def test_best_step_is_kept_and_not_the_last(run, pair, start, space):
    # So fast that it overshoots on and on.
    found = run(space=space, learning_rate=30.0, steps=20, frames=20)
    losses = found.curves[..., LOSS]
    assert found.best.tolist() == losses.argmin(1).tolist()
    assert (found.best < 19).any(), "the last must be worse somewhere"
    for row, best in enumerate(found.best.tolist()):
        assert torch.equal(found.styles[row].cpu(), found.path[row, best])
        images = pair[0].render(found.styles[row : row + 1])
        clip = 1 - (pair[1].images(images) * start().target[row]).sum()
        assert float(clip) == pytest.approx(float(found.curves[row, best, CLIP]), abs=1e-5)


def test_w_moves_all_layers_by_one_row_and_w_plus_by_more(run, pair, start):
    generator, rows = pair[0], start().w.shape[1]
    unit = torch.eye(6)[:, None].expand(-1, rows, -1)
    layers = (generator.styles(unit) - generator.styles(0 * unit)).detach()  # (w_dim, C)
    for space in ("w", "w+"):
        moved = run(space=space, steps=6).styles - start().styles
        row = torch.linalg.lstsq(layers.T, moved.T).solution.T
        assert torch.allclose(row @ layers, moved, atol=1e-4) == (space == "w")


@pytest.mark.parametrize("space", ["s", "w", "w+"])
@pytest.mark.parametrize("crops", [0, 2])
def test_image_ends_as_it_would_alone_and_among_other_prompts(run, start, space, crops):
    targets = (PROMPTS[1], "a picture channel12", "something else")
    options = {"space": space, "crops": crops, "identity": Watcher()}
    together = run(start((1, 2, 3), targets), **options)
    for i, target in enumerate(targets):
        alone = run(start((i + 1,), (target,)), **options)
        assert torch.allclose(alone.styles[0], together.styles[i], atol=2e-3)
        assert torch.allclose(alone.curves[0], together.curves[i], atol=1e-3)


def test_more_rows_than_a_batch_are_optimised_in_order(run, start, monkeypatch):
    given = start((1, 2, 3, 4, 5))
    known = run(given)
    monkeypatch.setattr(optimise, "batch_size", lambda generator: 8)  # of renders: 2 of gradients
    assert torch.allclose(run(given).styles, known.styles, atol=2e-3)


@pytest.mark.parametrize("space", ["s", "w", "w+"])
def test_frozen_layers_keep_their_styles_to_the_bit(run, pair, start, space):
    found = run(space=space, freeze=("b4.*", "rgb"))
    frozen = torch.from_numpy(pair[0].layout.matching(("b4.*", "rgb")))
    before = start().styles
    assert 0 < frozen.sum() < len(frozen)
    assert torch.equal(found.styles[:, frozen], before[:, frozen])
    assert (found.styles[:, ~frozen] != before[:, ~frozen]).any(1).all()
    assert (found.best > 0).all(), "the others serve"


def test_frozen_layers_keep_what_a_warm_start_would_move(run, pair, start):
    given = start()
    given = replace(given, warm=given.styles + 0.5)
    frozen = torch.from_numpy(pair[0].layout.matching(("b4.*",)))
    for space in ("s", "w"):
        found = run(given, space=space, freeze=("b4.*",), steps=2)
        assert torch.equal(found.styles[:, frozen], given.styles[:, frozen])


def test_plateau_stops_an_image_and_its_best_is_kept(run, start):
    found = run(steps=200, patience=4, learning_rate=1e-6)  # it hardly moves
    assert found.stopped == ("plateau",) * 3
    for row in range(3):
        told = found.curves[row, :, LOSS].isfinite()
        assert told[:5].all() and not told[5:].any()  # the first is a gain
    assert torch.allclose(found.styles, start().styles, atol=1e-3)
    assert run(steps=3).stopped == ("steps",) * 3


def test_step_of_two_thousandths_is_a_gain_and_resets_patience(pair, sigma, start):
    optimisation = Optimisation(*pair, start((1,)), sigma, replace(QUICK, patience=2, steps=9))
    row, step = torch.tensor([0]), torch.zeros(1, 23)
    seen = []
    losses = (1.0, 0.999, 0.9969, 0.9969, 0.99689)
    for number, loss in enumerate(losses):
        told = torch.zeros(len(LOSSES), 1)
        told[LOSS] = loss
        optimisation._note(row, number, step + number, told, torch.tensor([True]))
        seen.append(int(optimisation.state["stalled"]))
    assert seen == [0, 1, 0, 1, 2]
    assert optimisation.state["best"].tolist() == [4] and optimisation.state["stopped"] == 2


def test_small_gains_that_add_up_are_no_plateau(pair, sigma, start):
    optimisation = Optimisation(*pair, start((1,)), sigma, replace(QUICK, patience=4, steps=20))
    row, step = torch.tensor([0]), torch.zeros(1, 23)
    for number in range(15):
        told = torch.zeros(len(LOSSES), 1)
        told[LOSS] = 1 - 0.001 * number
        optimisation._note(row, number, step, told, torch.tensor([True]))
        assert int(optimisation.state["stalled"]) <= 2
    assert optimisation.state["stopped"] == 0


@pytest.mark.parametrize("what", ["render", "images"])
@pytest.mark.parametrize("space", ["s", "w+"])
def test_row_that_becomes_nan_stops_alone_with_its_best_so_far(run, pair, what, space):
    known = run(space=space, frames=12)
    broken = Broken(pair[0] if what == "render" else pair[1], what, row=1, at=1 + 6)  # 1 before
    name = "generator" if what == "render" else "encoder"
    found = run(space=space, **{name: broken})
    assert found.stopped == ("steps", "diverged", "steps")
    best = int(known.curves[1, :5, LOSS].argmin())
    assert found.best[1] == best and torch.equal(found.styles[1], known.path[1, best])
    assert found.curves[1, 5, CLIP].isnan() and found.curves[1, 6:].isnan().all()
    for row in (0, 2):
        assert torch.allclose(found.styles[row], known.styles[row], atol=2e-3)
        assert torch.allclose(found.curves[row], known.curves[row], atol=1e-3)


def test_row_that_is_nan_from_the_first_step_ends_as_it_was(run, pair, start):
    found = run(generator=Broken(pair[0], "render", row=2, at=2))
    assert found.stopped == ("steps", "steps", "diverged")
    assert torch.equal(found.styles[2], start().styles[2])


@pytest.mark.parametrize(
    "options",
    [
        {"space": "s", "crops": 2},
        {"space": "w", "freeze": ("rgb",)},
        {"space": "w+", "patience": 1, "learning_rate": 4.0},
    ],
    ids=lambda options: options["space"],
)
def test_state_after_any_step_goes_on_to_the_same_bits(pair, sigma, start, monkeypatch, options):
    monkeypatch.setattr(optimise, "batch_size", lambda generator: 8)  # rows by twos
    settings, given = replace(QUICK, steps=5, **options), start()

    def of() -> Optimisation:
        return Optimisation(*pair, given, sigma, settings, Watcher(), frames=3)

    states: list[dict[str, Tensor]] = []
    known = of().run(save=lambda state: states.append({k: v.clone() for k, v in state.items()}))
    assert 2 < len(states) <= 10
    for state in (*states, of().state):
        resumed = of()
        resumed.take_up(state)
        done: list[int] = []
        found = resumed.run(lambda count, means: done.append(count))  # noqa: B023
        for name in ("styles", "best", "path"):
            assert torch.equal(getattr(found, name), getattr(known, name)), name
        assert torch.equal(found.curves.nan_to_num(-1), known.curves.nan_to_num(-1))
        assert found.stopped == known.stopped
        assert done == sorted(done) and resumed.done == resumed.total == 15


def test_state_of_another_optimisation_is_refused(pair, sigma, start):
    state = Optimisation(*pair, start(), sigma, QUICK).state
    for seeds, options in (((1, 2), {}), ((1, 2, 3), {"space": "w"}), ((1, 2, 3), {"steps": 3})):
        other = Optimisation(*pair, start(seeds), sigma, replace(QUICK, **options))
        with pytest.raises(OptionError, match="state: is of another optimisation; start afresh"):
            other.take_up(state)


def test_state_is_a_copy_that_later_steps_do_not_change(pair, sigma, start):
    optimisation = Optimisation(*pair, start(), sigma, replace(QUICK, steps=2))
    state = optimisation.state
    first = {name: tensor.clone() for name, tensor in state.items()}
    optimisation.run()
    assert all(torch.equal(state[k].nan_to_num(-1), first[k].nan_to_num(-1)) for k in state)


@pytest.mark.parametrize("space", ["s", "w", "w+"])
def test_warm_start_begins_at_the_warm_styles(run, start, sigma, space):
    given = start()
    warm = given.styles + 1.5 * sigma
    path = run(replace(given, warm=warm), space=space, frames=4).path
    assert torch.allclose(path[:, 0], warm, atol=1e-5)
    assert not torch.allclose(path[:, -1], warm, atol=1e-2)
    cold = run(given, space=space, frames=4).path
    assert torch.allclose(cold[:, 0], given.styles, atol=1e-6)


def test_path_has_the_frames_asked_for_evenly_and_rests_at_the_best(run, pair, start):
    every = run(frames=1000)
    assert every.path.shape == (3, 12, pair[0].layout.size) and every.path.device.type == "cpu"
    some = run(frames=3)
    assert torch.equal(some.path[:, 0], every.path[:, 0])
    assert torch.equal(some.path[:, -1], every.path[:, -1])
    for row, best in enumerate(every.best.tolist()):
        for step in range(best, 12):
            assert torch.equal(every.path[row, step], every.styles[row].cpu())
    assert run(frames=1).path.shape[1] == 1 and run().path.shape[1] == 0


@pytest.mark.parametrize("steps", [1, 7, 300])
def test_learning_rate_rises_and_falls_as_styleclips(steps):
    settings = OptimiseSettings(steps=steps, learning_rate=0.2)
    for step in range(steps):
        t = (step + 1) / (steps + 1)
        cosine = 0.5 - 0.5 * math.cos(math.pi * min(1, (1 - t) / 0.25))
        assert settings.learning_rate_at(step) == pytest.approx(0.2 * cosine * min(1, t / 0.05))
    rates = [settings.learning_rate_at(step) for step in range(steps)]
    assert min(rates) > 0 and max(rates) <= 0.2
    if steps == 300:
        assert rates[20] == rates[150] == 0.2 and rates[0] < 0.02 and rates[-1] < 0.001


def test_learning_rate_of_a_step_is_that_of_adam(pair, sigma, start):
    """Adam's first step has the length of its rate in every channel."""
    settings = replace(QUICK, steps=40, learning_rate=0.3)
    states: list[Tensor] = []
    optimisation = Optimisation(*pair, start((1,)), sigma, settings)
    optimisation.run(save=lambda state: states.append(state["step"].clone()))
    moving = states[0].abs() > 1e-6
    rate = settings.learning_rate_at(0)
    assert states[0].abs()[moving].tolist() == pytest.approx([rate] * int(moving.sum()), rel=1e-2)


def test_squared_length_is_a_sum_in_sigmas_of_the_channels(run, start, sigma):
    given = start()
    warm = given.styles.clone()
    warm[:, :3] += 2 * sigma[:3]
    curves = run(replace(given, warm=warm), steps=1, l2=0.25, directional=0).curves
    assert curves[:, 0, L2].tolist() == pytest.approx([3 * 2**2] * 3, rel=1e-4)
    weighted = curves[:, 0, CLIP] + 0.25 * 12
    assert torch.allclose(curves[:, 0, LOSS], weighted, rtol=1e-4)


@pytest.mark.parametrize("space", ["w", "w+"])
def test_squared_length_in_w_counts_each_row_that_moves(pair, sigma, start, space):
    settings = replace(QUICK, space=space, steps=2)
    states: list[Tensor] = []
    optimisation = Optimisation(*pair, start(), sigma, settings)
    found = optimisation.run(save=lambda state: states.append(state["step"].clone()))
    assert states[0].shape[1] == (1 if space == "w" else start().w.shape[1])
    assert torch.allclose(found.curves[:, 1, L2], states[0].square().sum((1, 2)), rtol=1e-5)
    assert (found.curves[:, 0, L2] == 0).all()


def test_loss_is_the_sum_of_its_parts_by_their_weights(run):
    weights = {"l2": 0.03, "identity": 0.7, "directional": 0.4}
    settings = replace(QUICK, **weights)
    curves = run(settings=settings, identity=Watcher(), frames=0).curves
    parts = curves[..., CLIP] + 0.4 * curves[..., DIRECTIONAL] + 0.03 * curves[..., L2]
    assert torch.allclose(curves[..., LOSS], parts + 0.7 * curves[..., IDENTITY], atol=1e-5)
    assert (curves[:, 1:, IDENTITY] > 0).all() and torch.allclose(
        curves[:, 0, IDENTITY], torch.zeros(3), atol=1e-6
    )


def test_usual_weight_of_the_squared_length_is_that_of_the_space():
    known = {"s": 0.001, "w": 0.008, "w+": 0.008}
    for space, weight in known.items():
        assert OptimiseSettings(space=space).l2_weight == weight
        assert OptimiseSettings(space=space, l2=0.0).l2_weight == 0


def test_identity_loss_holds_what_it_sees(pair, sigma, start):
    def moved(weight: float) -> Tensor:
        settings = replace(QUICK, identity=weight, steps=20)
        return Optimisation(*pair, start(), sigma, settings, Watcher()).run().curves[:, -1]

    free, held = moved(0.0), moved(20.0)
    assert (held[:, IDENTITY] < 0.5 * free[:, IDENTITY]).all()
    assert torch.isfinite(free).all()


def test_probability_is_that_of_the_softmax_of_both_prompts(run, pair, start):
    found = run(steps=1)
    texts = torch.stack([start().neutral[0], start().target[0]])
    logits = pair[1].logit_scale * pair[1].images(pair[0].render(start().styles)) @ texts.T
    known = logits.softmax(1)[:, 1]
    assert torch.allclose(found.curves[:, 0, LOSSES.index("probability")], known, atol=1e-4)


def test_crops_change_the_loss_and_come_of_the_seed(run):
    plain, cropped = run(steps=3), run(steps=3, crops=4)
    assert not torch.allclose(plain.curves[:, 0, CLIP], cropped.curves[:, 0, CLIP], atol=1e-4)
    assert torch.equal(run(steps=3, crops=4).curves, cropped.curves)
    other = run(steps=3, crops=4, seed=1).curves
    assert not torch.equal(other, cropped.curves)
    assert torch.equal(run(steps=3, seed=1).curves, plain.curves)


def test_estimate_changes_nothing(pair, sigma, start):
    known = Optimisation(*pair, start(), sigma, QUICK).run()
    optimisation = Optimisation(*pair, start(), sigma, QUICK)
    assert optimisation.estimate() > 0
    assert torch.equal(optimisation.run().styles, known.styles)


def test_networks_are_left_without_gradients(run, pair):
    run(steps=2)
    assert all(parameter.grad is None for parameter in pair[0].network.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": "z"}, "space 'z': is unknown; use one of s, w, w+"),
        ({"steps": 0}, "steps 0: must be a whole number from 1 to 10000"),
        ({"steps": 10_001}, "steps 10001: must be"),
        ({"steps": 3.0}, "steps 3.0: must be"),
        ({"steps": True}, "steps True: must be"),
        ({"crops": -1}, "crops -1: must be a whole number from 0 to 64"),
        ({"crops": 65}, "crops 65: must be"),
        ({"patience": 0}, "patience 0: must be a whole number from 1 to 10000"),
        ({"seed": -1}, "seed -1: must be a whole number from 0 to 4294967295"),
        ({"seed": 2**32}, "seed 4294967296: must be"),
        ({"learning_rate": 0.0}, "learning rate 0: must lie between 1e-06 and 1000"),
        ({"learning_rate": math.nan}, "learning rate nan: must lie"),
        ({"learning_rate": math.inf}, "learning rate inf: must lie"),
        ({"l2": -0.1}, "l2 -0.1: must lie between 0 and 1000"),
        ({"l2": math.nan}, "l2 nan: must lie"),
        ({"identity": -1.0}, "identity -1: must lie between 0 and 1000"),
        ({"directional": 1001.0}, "directional 1001: must lie between 0 and 1000"),
        ({"freeze": "rgb"}, "freeze: is one text; give a tuple of them"),
    ],
    ids=str,
)
def test_setting_out_of_its_range_is_refused(options, message):
    with pytest.raises(OptionError) as caught:
        OptimiseSettings(**options)
    assert message in str(caught.value)


@pytest.mark.parametrize("space", ["w", "w+"])
def test_w_that_is_missing_is_told_with_the_mend(run, start, space):
    with pytest.raises(
        OptionError, match=r"space w\+?: needs w, and these images .* choose space s"
    ):
        run(replace(start(), w=None), space=space)
    assert run(replace(start(), w=None), steps=1).stopped == ("steps",) * 3


def test_layers_that_cannot_be_frozen_are_refused(run):
    with pytest.raises(OptionError, match="freeze: leaves no layer to move; name fewer"):
        run(freeze=("*",))
    with pytest.raises(LayoutError, match="b99"):
        run(freeze=("b99.conv1",))


def test_prompts_that_are_not_one_a_row_are_refused(run, start):
    given = start()
    for name in ("target", "neutral"):
        with pytest.raises(OptionError, match="prompts: are not one pair for each of 3 rows"):
            run(replace(given, **{name: getattr(given, name)[:2]}))


class Crowded:
    """An encoder that runs out of memory over more than `most` images; gradients count."""

    def __init__(self, encoder, most: int) -> None:
        self._encoder, self._most = encoder, most
        self.seen: list[int] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._encoder, name)

    def images(self, images: Tensor) -> Tensor:
        if images.requires_grad:
            self.seen.append(len(images))
            if len(images) > self._most:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return self._encoder.images(images)


def test_rows_that_do_not_fit_together_go_on_in_halves(run, pair):
    crowded = Crowded(pair[1], 1)
    found = run(encoder=crowded)
    assert crowded.seen[0] == 3 and set(crowded.seen[1:]) == {1}
    assert torch.allclose(found.styles, run().styles, atol=1e-5)


def test_single_row_that_does_not_fit_is_an_error_that_says_so(run, pair):
    with pytest.raises(DeviceMemoryError, match="cpu: a single image does not fit"):
        run(encoder=Crowded(pair[1], 0))
