"""Identity by dlib's network: its formula, the crop that its faces have, and gradients."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from styleatlas.engine.models.identity import DlibIdentity, crop_chips, load_identity
from styleatlas.store.errors import CheckpointError, OptionError

from ...dlib_files import UNITS, as_fetched, dlib_weights
from ...near import assert_near

CPU = torch.device("cpu")
MEAN = torch.tensor([122.782, 117.001, 104.298]).view(1, 3, 1, 1)


@pytest.fixture(scope="module")
def weights():
    return dlib_weights()


@pytest.fixture(scope="module")
def dlib(weights, tmp_path_factory) -> DlibIdentity:
    with pytest.MonkeyPatch.context() as patch:
        as_fetched(tmp_path_factory.mktemp("data"), patch, weights)
        found = load_identity("dlib", None, CPU)
    assert isinstance(found, DlibIdentity)
    return found


def pictures(n: int, side: int) -> torch.Tensor:
    """Smooth pictures (n, 3, side, side) in [-1, 1], no two alike."""
    noise = torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(n + side))
    return F.interpolate(noise, side, mode="bicubic").tanh()


# dlib's network over face-api's names, of pictures in 0 to 255.


def convolution(weights, name, x, stride=1, padding=1):
    kernel, bias, scale, shift = (
        torch.from_numpy(weights[f"{name}/{part}"])
        for part in ("conv/filters", "conv/bias", "scale/weights", "scale/biases")
    )
    x = F.conv2d(x, kernel.permute(3, 2, 0, 1), bias, stride, padding)
    return x * scale[:, None, None] + shift[:, None, None]


def dlib_network(weights, x):
    x = convolution(weights, "conv32_down", (x - MEAN) / 255, 2, 0)
    x = F.max_pool2d(x.relu(), 3, 2)
    for name, inputs, outputs in UNITS:
        down = "_down" in name
        y = convolution(weights, f"{name}/conv1", x, 2 if down else 1, 0 if down else 1)
        y = convolution(weights, f"{name}/conv2", y.relu())
        if down:
            means = (x[:, :, ::2, ::2], x[:, :, 1::2, ::2], x[:, :, ::2, 1::2], x[:, :, 1::2, 1::2])
            side = x.shape[2] // 2
            x = sum(part[:, :, :side, :side] for part in means) / 4
            whole = torch.zeros(len(x), outputs, side, side)
            whole[:, :inputs] = x
            whole[:, :, : y.shape[2], : y.shape[3]] += y
            x = whole.relu()
        else:
            x = (x + y).relu()
    return x.mean((2, 3)) @ torch.from_numpy(weights["fc"])


def test_the_network_is_its_formula(dlib, weights):
    faces = pictures(2, 150)
    with torch.inference_mode():
        found = dlib.network(faces)
        wanted = dlib_network(weights, (faces + 1) * 127.5)
    assert found.shape == (2, 128)
    assert (wanted[0] - wanted[1]).norm() > 0.05 * wanted[0].norm()
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * wanted.abs().max().item())


def test_embeddings_are_those_of_the_crop_at_their_own_length_or_at_length_1(dlib):
    images = pictures(3, 256)
    described, embedded = dlib.describe(images), dlib.embed(images)
    assert_near(described, dlib.network(crop_chips(images)))
    lengths = described.norm(dim=1, keepdim=True)
    assert_near(embedded, described / lengths)
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(3))
    assert not embedded.requires_grad
    assert (dlib.name, dlib.identity.sizes["width"]) == ("dlib", 128)


@pytest.mark.parametrize("side", [1024, 432, 216, 54])
def test_the_crop_is_where_dlibs_chips_lie_in_an_aligned_picture(side):
    """Each pixel says where it is, in widths of the picture, so the crop can be read off."""
    at = (torch.arange(side) + 0.5) / side
    image = torch.stack([at[:, None].expand(side, side), at.expand(side, side), at.outer(at)])
    rows, columns, _ = crop_chips(image[None])[0]
    wanted = torch.arange(150) / 216
    torch.testing.assert_close(rows[:, 75], (56.5 / 216) + wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(columns[75], (33.5 / 216) + wanted, atol=1e-4, rtol=0)


def test_a_mirrored_picture_has_a_mirrored_crop():
    image = pictures(1, 300)
    torch.testing.assert_close(crop_chips(image.flip(3)), crop_chips(image).flip(3))


def test_the_crop_of_a_large_picture_has_no_aliases():
    """Stripes of single pixels, of which four make one of the crop, are grey in it."""
    stripes = torch.ones(1, 3, 864, 864)
    stripes[..., ::2] = -1
    assert crop_chips(stripes).abs().max() < 0.01


@pytest.mark.parametrize("side", [64, 300])
def test_the_gradient_of_the_identity_loss_is_that_of_finite_differences(dlib, side):
    """Through the whole chain from the image on, and where the crop lies, and nowhere else."""
    identity = copy.deepcopy(dlib)
    identity.network.double()
    before, image = pictures(2, side).double().split(1)
    reference = identity.embed(before)
    image.requires_grad_()

    def loss(image: torch.Tensor) -> torch.Tensor:
        return 1 - (reference * identity.embed(image)).sum()

    (gradient,) = torch.autograd.grad(loss(image), image)
    way = gradient / gradient.norm() * 1e-6
    with torch.no_grad():
        found = (loss(image + way) - loss(image - way)) / 2e-6
    assert found.item() == pytest.approx(gradient.norm().item(), rel=1e-4)
    edge = side // 8
    assert not gradient[..., :edge].any() and not gradient[..., :edge, :].any()


@pytest.mark.parametrize("shape", [(2, 1, 64, 64), (2, 3, 64, 32), (3, 64, 64)])
def test_pictures_that_are_no_rgb_squares_are_refused(dlib, shape):
    with pytest.raises(OptionError, match=r"square RGB images.*choose clip or off"):
        dlib.embed(torch.zeros(shape))


def test_weights_that_were_not_fetched_say_how_to_fetch_them(tmp_path, monkeypatch, weights):
    as_fetched(tmp_path, monkeypatch, weights).unlink()
    with pytest.raises(CheckpointError, match="`styleatlas models fetch face-api` fetches it"):
        load_identity("dlib", None, CPU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc": None}, "missing fc"),
        ({"conv64_4/conv1/conv/bias": np.zeros(64, "f4")}, "surplus conv64_4/conv1/conv/bias"),
        ({"fc": np.zeros((128, 256), "f4")}, r"fc has shape \(128, 256\) where \(256, 128\)"),
        ({"fc": np.full((256, 128), np.nan, "f4")}, "fc holds NaN or infinity"),
    ],
)
def test_other_tensors_are_refused(tmp_path, monkeypatch, weights, change, message):
    changed = {name: x for name, x in (weights | change).items() if x is not None}
    as_fetched(tmp_path, monkeypatch, changed)
    with pytest.raises(CheckpointError, match=message):
        load_identity("dlib", None, CPU)


@pytest.mark.faces
def test_the_published_weights_give_known_embeddings():
    """Of a picture by a formula. dlib's own are .042 away: these have 8 bits a weight."""
    y, x = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    waves = [torch.sin(x / (30 + 9 * c) + c) * torch.cos(y / (50 - 9 * c)) for c in range(3)]
    dlib = load_identity("dlib", None, CPU)
    assert isinstance(dlib, DlibIdentity)
    described = dlib.describe(torch.stack(waves)[None])[0]
    assert described.norm().item() == pytest.approx(1.2721, abs=1e-3)
    first = torch.tensor([-0.0938, 0.1471, 0.0448, -0.0364])
    torch.testing.assert_close(described[:4], first, atol=1e-3, rtol=0)
