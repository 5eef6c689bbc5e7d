"""Readers of faces: the right part of an image, the right numbers, gradients."""

from __future__ import annotations

import pytest
import torch

from styleatlas.engine.models.face_readers import cropped, load_face_readers
from styleatlas.store.errors import CheckpointError, OptionError

CPU = torch.device("cpu")


def ramps(side):
    """An image (1, 3, side, side) whose red is x and green y, as shares of the side."""
    steps = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y, x * 0])[None]


@pytest.mark.parametrize("side", [64, 256, 1024])
def test_crop_is_the_same_part_of_images_of_any_size(side):
    faces = cropped(ramps(side))
    assert faces.shape == (1, 3, 112, 112)
    steps = (torch.arange(112) + 0.5) / 112
    inner = slice(8, -8)  # where the ends of the crop are not felt
    x, y = faces[0, 0, 50, inner], faces[0, 1, inner, 50]
    torch.testing.assert_close(x, (1 / 8 + 3 / 4 * steps)[inner], rtol=0, atol=1e-3)
    torch.testing.assert_close(y, (3 / 16 + 3 / 4 * steps)[inner], rtol=0, atol=1e-3)


def test_what_shrinks_is_averaged():
    """Chequers of single pixels are grey, not stripes."""
    chequers = (torch.arange(896)[:, None] + torch.arange(896)) % 2 * 2.0 - 1
    assert float(cropped(chequers.expand(1, 3, -1, -1)).abs().max()) < 0.05


def test_overshoot_is_clipped_as_in_a_picture():
    assert torch.equal(cropped(torch.full((1, 3, 224, 224), 1.7)), torch.ones(1, 3, 112, 112))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 3, 64, 32), r"not images of shape \(1, 3, 64, 32\)"),
        (torch.zeros(1, 1, 64, 64), r"\(1, 1, 64, 64\)"),
        (torch.zeros(3, 64, 64), r"\(3, 64, 64\)"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), r"torch\.uint8 of 64"),
        (torch.zeros(1, 3, 8, 8), r"torch\.float32 of 8"),
    ],
)
def test_images_that_are_no_aligned_faces(images, message):
    with pytest.raises(OptionError, match=message):
        cropped(images)


def test_weights_that_were_not_fetched(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("STYLEATLAS_MODELS", str(tmp_path))
    with pytest.raises(CheckpointError, match="face-api: not fetched yet"):
        load_face_readers(CPU)


def waves():
    """Three pictures (3, 3, 112, 112) in [-1, 1]."""
    steps = (torch.arange(112) + 0.5) / 112
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    pictures = [
        torch.stack([torch.sin((3 + k) * x + (2 - k) * y + c) for c in range(3)]) for k in range(3)
    ]
    return torch.stack(pictures)


@pytest.mark.faces
def test_expression_is_that_of_the_reference():
    """Scores of a formulation apart from this one, in plain functions over the file's tensors."""
    reader, _ = load_face_readers(CPU)
    assert reader.readings["expression"][:3] == ("neutral", "happy", "sad")
    wanted = torch.tensor(
        [
            [8.606218e-01, 1.279551e-02, 3.333858e-03, 1.230804e-01, 3.6e-05, 9.6e-06, 1.2278e-04],
            [2.158250e-01, 1.532493e-01, 5.861138e-01, 3.131779e-02, 1.01153e-02, 2.404e-3, 9.7e-4],
            [
                2.151931e-01,
                1.998859e-01,
                1.583552e-01,
                4.068435e-01,
                7.55776e-03,
                1.1339e-2,
                8.3e-4,
            ],
        ]
    )
    found = reader._network(waves()).softmax(1)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.faces
def test_age_and_gender_are_those_of_the_reference():
    _, reader = load_face_readers(CPU)
    assert reader.readings == {"age": ("years",), "gender": ("male", "female")}
    ages, genders = reader._network(waves())
    wanted = torch.tensor([[22.792885], [20.410288], [15.903879]])
    torch.testing.assert_close(ages, wanted, rtol=0, atol=1e-3)
    wanted = torch.tensor([[0.950223, 0.049777], [0.935556, 0.064444], [0.825875, 0.174125]])
    torch.testing.assert_close(genders.softmax(1), wanted, rtol=0, atol=1e-5)


@pytest.mark.faces
def test_readings_are_of_the_crop_alone_and_gradients_reach_it():
    images = torch.rand(2, 3, 256, 256) * 2 - 1
    other = images.clone()
    other[:, :, :48] = other[:, :, 240:] = 0
    other[:, :, :, :32] = other[:, :, :, 224:] = 0
    for reader in load_face_readers(CPU):
        leaf = images.clone().requires_grad_()
        found = reader.read(leaf)
        assert found.keys() == reader.readings.keys()
        for name, labels in reader.readings.items():
            assert found[name].shape == (2, len(labels))
            assert torch.equal(found[name], reader.read(other)[name])
        sum(values.square().sum() for values in found.values()).backward()
        assert leaf.grad is not None and bool(leaf.grad[:, :, 50:200, 50:200].any())
        assert not leaf.grad[:, :, :48].any() and not leaf.grad[:, :, :, 224:].any()
