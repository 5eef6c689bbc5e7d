"""Pivotal tuning, on tiny random networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.models.preprocess import from_bytes, to_bytes
from styleatlas.engine.models.sampling import w_from_seeds
from styleatlas.engine.photos import tune
from styleatlas.engine.photos.refine_state import RefinementFile
from styleatlas.engine.photos.tune import Tuner, tuned_weights
from styleatlas.store.errors import OptionError, ResumeError
from styleatlas.store.fingerprint import ModelIdentity

from ... import checkpoint_files as files

CONFIGS = {
    "StyleGAN2": files.small_stylegan2(),
    "StyleGAN3": files.small_stylegan3(),
    "MobileStyleGAN": files.small_mobile_stylegan(),
}


class Pixels:
    """A `Measure`: the mean square of what 4 x 4 pixels of the images differ by."""

    name, identities = "pixels", ()

    def seen(self, images: Tensor) -> tuple[Tensor, ...]:
        return (torch.nn.functional.adaptive_avg_pool2d(images, 4),)

    def distance(self, one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> Tensor:
        return (one[0] - other[0]).square().flatten(1).mean(1)


@pytest.fixture(autouse=True)
def _fast(monkeypatch) -> None:
    """Tiny networks need larger steps, and none is near enough, unless a test says so."""
    monkeypatch.setattr(tune, "RATE", 3e-3)
    monkeypatch.setattr(tune, "ENOUGH", {"pixels": 0.0})


@pytest.fixture(params=CONFIGS)
def family(request, make_network) -> StyleGANGenerator:
    network = make_network(config=CONFIGS[request.param])
    return StyleGANGenerator(network, ModelIdentity(request.param, "a" * 64, {}))


@pytest.fixture
def two(make_network) -> StyleGANGenerator:
    return StyleGANGenerator(
        make_network(config=CONFIGS["StyleGAN2"]), ModelIdentity("two", "a" * 64, {})
    )


def crops(generator: StyleGANGenerator, n: int = 1) -> list[np.ndarray]:
    """What a generator of somewhat other weights draws by the pivots."""
    drawn = torch.Generator().manual_seed(1)
    other = moved(
        generator,
        {
            name: 0.3 * x.std() * torch.randn(x.shape, generator=drawn)
            for name, x in generator.network.state_dict().items()
            if name in tuned_weights(generator)
        },
    )
    with torch.inference_mode():
        images = other.render(other.styles(pivots(generator, n)))
    return list(to_bytes(images).numpy())


def pivots(generator: StyleGANGenerator, n: int = 1) -> Tensor:
    return w_from_seeds(generator, range(50, 50 + n), 0.7)


def tuner(generator: StyleGANGenerator, steps: int = 40, n: int = 1) -> Tuner:
    shown = crops(generator, n)
    return Tuner(generator, Pixels(), shown, pivots(generator, n), [-1] * n, steps)


def moved(generator: StyleGANGenerator, differences: dict[str, Tensor]) -> StyleGANGenerator:
    state = {
        name: x + differences.get(name, 0) for name, x in generator.network.state_dict().items()
    }
    network = type(generator.network)(generator.network.config)
    network.load_state_dict(state)
    return StyleGANGenerator(network, generator.identity)


@torch.inference_mode()
def apart(generator: StyleGANGenerator, w: Tensor, shown: list[np.ndarray]) -> Tensor:
    images = generator.render(generator.styles(w))
    wanted = from_bytes(torch.from_numpy(np.stack(shown)))
    return (images - wanted).square().flatten(1).mean(1)


def test_the_photo_comes_nearer_by_its_pivot_and_styles_stay(family) -> None:
    before = {name: x.clone() for name, x in family.network.state_dict().items()}
    work = tuner(family)
    differences = work.run()
    tuned, w = moved(family, differences), pivots(family)
    assert apart(tuned, w, crops(family)) < 0.7 * apart(family, w, crops(family))
    some = w_from_seeds(family, range(5), 1.0)
    assert torch.equal(tuned.styles(some), family.styles(some)), "what an atlas knows"
    assert all(torch.equal(x, before[name]) for name, x in family.network.state_dict().items())
    assert work.steps == work.made == work.done == 40


def test_what_lies_near_already_comes_nearer_still(two, monkeypatch) -> None:
    monkeypatch.setattr(tune, "ENOUGH", {"pixels": 100.0})
    work = tuner(two, 400, 2)
    work.run()
    assert (work.distance <= tune.SHARE * work.first).all() and work.steps < work.total
    monkeypatch.setattr(tune, "ENOUGH", {"pixels": float(work.first.max())})
    again = tuner(two, 400, 2)
    again.run()
    assert torch.equal(again.first, work.first) and again.steps == work.steps


def test_every_convolution_with_a_style_is_tuned_and_nothing_else(family) -> None:
    differences = tuner(family, 3).run()
    layers = {layer.name for layer in family.layout if layer.kind == "conv"}
    wanted = {
        name
        for name, x in family.network.named_parameters()
        if x.ndim == 4 and name.removeprefix("synthesis.").rpartition(".")[0] in layers
    }
    assert differences.keys() == wanted == set(tuned_weights(family)) and len(wanted) > 2
    assert all(bool(x.abs().max() > 0) for x in differences.values())
    assert not [name for name in wanted if "affine" in name or "torgb" in name]


def test_steps_are_as_large_as_a_share_of_the_weight(two) -> None:
    """Adam's first step is its learning rate, whatever the gradient."""
    for name, moved_by in tuner(two, 1).run().items():
        size = two.network.get_parameter(name).square().mean().sqrt()
        torch.testing.assert_close(
            moved_by.abs().amax(), 3e-3 * size.detach(), rtol=0.02, atol=1e-6
        )


def test_locality_keeps_other_images(two, monkeypatch) -> None:
    far = []
    others = w_from_seeds(two, range(100, 140), 1.0)
    for weight in (0.0, 3.0):
        monkeypatch.setattr(tune, "LOCALITY", weight)
        tuned = moved(two, tuner(two, 60).run())
        with torch.inference_mode():
            one, other = (g.render(g.styles(others)) for g in (two, tuned))
        far.append(float((one - other).square().mean()))
    assert far[1] < 0.5 * far[0]


def test_several_photos_take_turns(two) -> None:
    work = tuner(two, 60, n=3)
    before = apart(two, pivots(two, 3), crops(two, 3))
    after = apart(moved(two, work.run()), pivots(two, 3), crops(two, 3))
    assert work.total == 180 and (after < 0.7 * before).all()


def test_it_ends_when_all_photos_are_near_enough(two, monkeypatch) -> None:
    begun = tuner(two, 1)
    begun.run()
    monkeypatch.setattr(tune, "ENOUGH", {"pixels": 0.6 * float(begun.distance)})
    work = tuner(two, 400)
    work.run()
    assert 1 < work.steps < 400 and work.done == work.total == 400
    assert float(work.distance) <= 0.6 * float(begun.distance)


def test_it_goes_on_to_the_same_end(family, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("styleatlas.store.work.SAVE_SECONDS", 0)
    whole = tuner(family, 4, n=2).run()
    output, plan = tmp_path / "me.safetensors", {"crops": ["x"]}

    def stop(done: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with RefinementFile(output, "tuning") as file, pytest.raises(KeyboardInterrupt):
        work = tuner(family, 4, n=2)
        file.take_up(work, plan)
        work.run(stop, file.offer)
    again = tuner(family, 4, n=2)
    with RefinementFile(output, "tuning") as file:
        with pytest.raises(ResumeError, match="is of another tuning: crops"):
            file.take_up(again, {"crops": ["y"]})
        file.take_up(again, plan)
    found = again.run()
    assert again.made == 4 and again.steps == 8
    assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_a_state_of_another_shape_is_refused(two, family) -> None:
    with pytest.raises(OptionError, match="is of another tuning"):
        tuner(two, n=2).take_up(tuner(two).state)


def test_its_estimate_leaves_no_trace(two) -> None:
    work = tuner(two, 3)
    assert work.estimate() > 0
    assert torch.isinf(work.distance).all() and work.done == 0
    found, wanted = work.run(), tuner(two, 3).run()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_loss_that_is_no_number_is_told(two, monkeypatch) -> None:
    work = tuner(two, 3)
    monkeypatch.setattr(
        Pixels, "distance", lambda self, one, other: one[0].flatten(1).mean(1) * torch.nan
    )
    with pytest.raises(OptionError, match="its loss is no number after 0 steps"):
        work.run()
