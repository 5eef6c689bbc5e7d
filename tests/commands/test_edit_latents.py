"""edit of latents from files: what an array is taken for, and said to be, and a negative psi."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from styleatlas.engine.models.load import load_generator
from styleatlas.engine.models.sampling import styles_from_seeds, w_from_seeds

from ..near import assert_near, assert_pixels_near
from .edit_calls import ALPHA, EASY, PAIR, pixels


@pytest.fixture
def model(checkpoint):
    return load_generator(checkpoint, "cpu")


@pytest.fixture
def photo(model, tmp_path):
    """One image's w+ without an axis for images, as most projectors save it."""
    w = w_from_seeds(model, [3], 0.7).numpy()[0]
    np.save(tmp_path / "photo.npy", w)
    return tmp_path / "photo.npy"


def test_one_photo_is_asked_about_and_edited_as_one(photo, edit, refused_edit, model):
    rows, width = w_from_seeds(model, [3], 0.7).shape[1:]
    found = refused_edit("--latent", photo)
    assert found == (
        f"{photo}: has shape ({rows}, {width}), which may be w+ of one image, w of {rows} images "
        f"or z of {rows} images; say which by --latent-space w+, w or z (latent_space in Python)"
    )
    one = edit("--latent", photo, "--latent-space", "w+")
    assert_pixels_near(one, edit("--seed", "3"))
    many = edit("--latent", photo, "--latent-space", "w")
    assert len(many) > len(one)


def test_picture_keeps_what_the_latents_were_taken_for(photo, draw_to, refused_edit, tmp_path):
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    draw_to(first, *PAIR, *EASY, *ALPHA, "--latent", photo, "--latent-space", "w+")
    draw_to(again, "--from-picture", first, "--latent", photo)
    assert again.read_bytes() == first.read_bytes()
    found = refused_edit("--from-picture", first, "--latent", photo, "--latent-space", "w")
    assert "photo.npy: is taken for w, and was for one w+ as the picture was made" in found


def test_names_of_images_in_a_file_are_those_of_their_pictures(model, draw_to, tmp_path):
    w = w_from_seeds(model, [3, 4], 0.7).numpy()
    found = np.empty((), object)
    found[()] = {"in/anna.jpg": [w[0] * 0.5, w[0]], "in/ben.jpg": [w[1] * 0.5, w[1]]}
    np.save(tmp_path / "latents.npy", found)
    for chosen, out in ((("--latent", tmp_path / "latents.npy"), "f"), (("--seed", "3-4"), "g")):
        draw_to(tmp_path / out, *PAIR, *EASY, *ALPHA, *chosen)
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == ["anna.png", "ben.png"]
    for name, seed in (("anna", 3), ("ben", 4)):
        wanted = pixels(tmp_path / "g" / f"seed {seed}.png")
        assert_pixels_near(pixels(tmp_path / "f" / f"{name}.png"), wanted)


def test_negative_psi_draws_the_opposite_image(model, edit, tmp_path):
    path = tmp_path / "styles.npz"
    edit("--seed", "3", "--truncation", "-0.7", "--alpha", "0", "--styles", path)
    with np.load(path) as saved:
        found = torch.from_numpy(saved["styles"])
    there, centre = (styles_from_seeds(model, [3], psi) for psi in (0.7, 0.0))
    assert_near(found, 2 * centre - there)  # styles are affine in w
    assert (found - there).abs().max() > 0.01
