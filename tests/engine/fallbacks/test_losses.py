"""The losses against values by hand, and their gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleatlas import load_encoder, load_generator
from styleatlas.engine.fallbacks.losses import (
    clip_loss,
    directional_loss,
    identity_loss,
    l2_loss,
    random_crops,
)
from styleatlas.engine.models.identity import load_identity
from styleatlas.engine.models.preprocess import preprocess
from styleatlas.engine.models.sampling import styles_from_seeds

from ...near import assert_near

CROPS = 3


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(rows(*shape, seed=seed), dim=-1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# values


def test_clip_and_identity_losses_are_one_minus_the_cosine():
    a = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0.6, 0.8]])
    for loss in (clip_loss, identity_loss):
        found = loss(a, torch.tensor([1.0, 0])).tolist()
        assert found == pytest.approx([0, 1, 2, 0.4], abs=1e-6)
        assert loss(a, a).tolist() == pytest.approx([0, 0, 0, 0], abs=1e-6)


def test_directional_loss_minds_where_an_embedding_goes_and_not_how_far():
    before, text = unit(1, 6, seed=1), unit(6, seed=2)
    across = unit(6, seed=3)
    across = F.normalize(across - (across @ text) * text, dim=0)
    ways = torch.stack([text, 0.1 * text, -text, across, 3 * text + 4 * across])
    loss = directional_loss(before + ways, before.expand(5, -1), text)
    assert loss.tolist() == pytest.approx([0, 0, 2, 1, 0.4])


def test_directional_loss_of_what_stands_still_is_one_with_a_gradient_towards_the_text():
    before, text = unit(2, 6, seed=1), unit(6, seed=2)
    embeddings = before.clone().requires_grad_()
    loss = directional_loss(embeddings, before, text)
    assert loss.tolist() == [1, 1]
    (gradient,) = torch.autograd.grad(loss.sum(), embeddings)
    assert F.cosine_similarity(-gradient, text[None]).tolist() == pytest.approx([1, 1])


def test_l2_loss_is_a_sum_over_all_of_an_image():
    step = torch.tensor([[[1.0, 2], [3, 0]], [[0, 0], [0, -0.5]]])
    assert l2_loss(step).tolist() == pytest.approx([14, 0.25])
    assert l2_loss(step.flatten(1)).tolist() == pytest.approx([14, 0.25])


# crops


def picture(side: int = 16) -> Tensor:
    """Pixels that tell their place: (2, 2, side, side), rows and columns from -1 to 1."""
    at = (torch.arange(side, dtype=torch.float64) + 0.5) / side * 2 - 1
    grid = torch.stack(torch.meshgrid(at, at, indexing="ij"))
    return torch.stack([grid, grid + 10])


def test_crops_come_of_the_seed_alone_and_are_first_one_of_each():
    images = picture()
    crops = random_crops(images, CROPS, seeded())
    assert crops.shape == (CROPS * 2, 2, 16, 16)
    assert torch.equal(crops, random_crops(images, CROPS, seeded()))
    assert not torch.equal(crops, random_crops(images, CROPS, seeded(1)))
    centres = crops.mean((1, 2, 3)).view(CROPS, 2)
    assert (centres[:, 0] < 1).all() and (centres[:, 1] > 9).all()


def test_images_get_the_same_crops_with_or_without_others():
    images = picture()
    together = random_crops(images, CROPS, seeded()).view(CROPS, 2, 2, 16, 16)
    for i in range(2):
        assert_near(together[:, i], random_crops(images[i : i + 1], CROPS, seeded()))


def test_crops_are_squares_of_at_least_four_fifths_inside_the_picture():
    many = random_crops(picture()[:1], 200, seeded())
    inner = many[:, :, 1:-1, 1:-1]  # the border is that of the picture's outer pixels
    step = inner.diff(dim=2)[:, 0, 0, 0] * 16 / 2  # the crop's side as a share of the picture's
    across = inner.diff(dim=3)[:, 1, 0, 0] * 16 / 2
    assert torch.allclose(step, across, atol=1e-5)
    assert step.min() >= 0.8 - 1e-6 and step.max() <= 1 + 1e-6
    assert step.min() < 0.82 and step.max() > 0.98, "all sizes are drawn"
    middle = many[:, :, 7:9, 7:9].mean((2, 3))  # the centre of the crop
    assert (middle.abs() <= (1 - step)[:, None] + 1e-5).all()
    assert middle.amin() < -0.1 and middle.amax() > 0.1, "everywhere"


def test_crop_of_the_whole_is_the_picture_itself(monkeypatch):
    monkeypatch.setattr("styleatlas.engine.fallbacks.losses._SMALLEST_CROP", 1.0)
    images = picture()
    crops = random_crops(images, 2, seeded())
    assert torch.allclose(crops, images.repeat(2, 1, 1, 1), atol=1e-6)


# gradients of the maths


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: clip_loss(F.normalize(x, dim=1), unit(6, seed=1)),
        lambda x: clip_loss(F.normalize(x, dim=1), unit(3, 6, seed=1)),
        lambda x: directional_loss(F.normalize(x, dim=1), unit(3, 6, seed=1), unit(6, seed=2)),
        lambda x: directional_loss(F.normalize(x, dim=1), unit(3, 6, seed=1), unit(3, 6, seed=2)),
        lambda x: directional_loss(1e-4 * x, 0 * x.detach(), unit(3, 6, seed=2)),
        lambda x: identity_loss(F.normalize(x, dim=1), unit(3, 6, seed=1)),
        l2_loss,
    ],
    ids=["clip", "clip by row", "directional", "by row", "still", "identity", "l2"],
)
def test_gradient_of_a_loss_is_that_of_finite_differences(loss):
    assert torch.autograd.gradcheck(loss, rows(3, 6).requires_grad_())


def test_gradient_of_crops_is_that_of_finite_differences():
    images = rows(2, 1, 5, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: random_crops(x, 2, seeded()), images)


# gradients through the embedded networks, all in double precision


class Networks:
    """Generator, CLIP and identity network of the avatars in float64."""

    def __init__(self) -> None:
        self.generator = load_generator("avatars", "cpu")
        encoder = load_encoder("avatars", "cpu")
        people = load_identity("avatars", encoder, self.generator.device)
        texts = F.normalize(encoder.texts(["a face", "a face with a beard"]).double(), dim=1)
        self.target, self.text = texts[1], F.normalize(texts[1] - texts[0], dim=0)
        self.styles = styles_from_seeds(self.generator, [1, 2], 0.7).double().clone()
        self._encoder, self._people = encoder, people
        for network in (self.generator.network, encoder.model, people.network):
            network.double().requires_grad_(False)
        with torch.no_grad():
            images = self.generator.render(self.styles)
            self.before, self.people_before = self.clip(images), self.people(images)

    def clip(self, images: Tensor) -> Tensor:
        """As the encoder does, which else computes in float32."""
        prepared = preprocess(images, self._encoder.preprocessing)
        return F.normalize(self._encoder.model.encode_image(prepared), dim=1)

    def people(self, images: Tensor) -> Tensor:
        return self._people.embed(images)


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks()


THROUGH = {
    "clip": lambda n, images: clip_loss(n.clip(images), n.target),
    "directional": lambda n, images: directional_loss(n.clip(images), n.before, n.text),
    "identity": lambda n, images: identity_loss(n.people(images), n.people_before),
    "crops": lambda n, images: clip_loss(
        n.clip(random_crops(images, CROPS, seeded())), n.target
    ).unflatten(0, (CROPS, -1)),
}


@pytest.mark.parametrize("space", ["s", "w+"])
@pytest.mark.parametrize("name", THROUGH)
def test_gradient_through_the_networks_is_that_of_finite_differences(networks, name, space):
    generator, loss = networks.generator, THROUGH[name]
    if space == "s":
        start, styles = networks.styles, lambda x: x
    else:
        z = rows(2, generator.z_dim, seed=5)
        with torch.no_grad():
            start, styles = generator.map(z, truncation=0.7), generator.styles
    # Away from the images as they are, where two of the losses turn around.
    start = start + 0.3 * rows(*start.shape, seed=6)

    def total(at: Tensor) -> Tensor:
        return loss(networks, generator.render(styles(at))).sum()

    at = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(total(at), at)
    h = 1e-7  # so short that hardly a ReLU turns on the way
    for way in (gradient, rows(*at.shape, seed=7), rows(*at.shape, seed=8)):
        way = way / way.norm()
        with torch.no_grad():
            slope = float(total(start + h * way) - total(start - h * way)) / (2 * h)
        assert float((gradient * way).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-6)
    assert gradient.norm() > 1e-3 and (gradient.flatten(1).norm(dim=1) > 1e-5).all()
