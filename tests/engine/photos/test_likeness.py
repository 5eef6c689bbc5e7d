"""Whether crops, inversions and edits show one person."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from styleatlas.engine.checkpoints.identity_file import read_dlib_network
from styleatlas.engine.models.identity import SAME_PERSON, DlibIdentity
from styleatlas.engine.models.load import load_generator
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.engine.photos.align import Alignment
from styleatlas.engine.photos.cuts import Cut
from styleatlas.engine.photos.likeness import Likeness
from styleatlas.engine.photos.photographs import EditedCut
from styleatlas.store.fingerprint import ModelIdentity

from ...dlib_files import dlib_weights, write_tfjs

CPU = torch.device("cpu")
QUAD = np.array([[0, 0], [0, 64], [64, 64], [64, 0]], float)


def noise(seed: int, channels: int = 3) -> torch.Tensor:
    return torch.rand(channels, 64, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def shown(image: torch.Tensor, make_photo) -> Cut:
    pixels = to_bytes(image[None])[0].numpy()
    return Cut(make_photo(pixels), Alignment(QUAD, "face 1"), pixels, "me")


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> DlibIdentity:
    path = write_tfjs(tmp_path_factory.mktemp("dlib") / "model.bin", dlib_weights())
    made, sha256 = read_dlib_network(path)
    return DlibIdentity(made, ModelIdentity("dlib", sha256, {}), CPU)


def test_distances_are_those_of_the_networks_embeddings(network, make_photo):
    one, other, third = noise(1), noise(2), noise(3)
    likeness = Likeness(network, CPU)
    edited = EditedCut(shown(one, make_photo), other, third)
    by_inversion, by_edit = likeness.of_edit(edited)
    with torch.no_grad():
        crop = torch.tensor(edited.cut.pixels).permute(2, 0, 1)[None] / 127.5 - 1
        seen = [network.describe(x)[0] for x in (crop, other[None], third[None])]
    assert by_inversion == pytest.approx(float((seen[1] - seen[0]).norm()), rel=1e-4)
    assert by_edit == pytest.approx(float((seen[2] - seen[1]).norm()), rel=1e-4)
    assert by_inversion > 1e-3 and abs(by_inversion - by_edit) > 1e-5
    assert likeness.of_inversion(edited.cut, other) == pytest.approx(by_inversion, rel=1e-4)


def test_renders_are_seen_as_they_are_shown(network, make_photo):
    """Grey, with a transparency, and beyond the range that pictures have."""
    likeness, cut = Likeness(network, CPU), shown(noise(1), make_photo)
    grey, wild = noise(4, 1), 3 * noise(5)
    for one, same in (
        (grey, grey.expand(3, -1, -1)),
        (torch.cat([noise(6), torch.ones(1, 64, 64)]), noise(6)),
        (wild, wild.clamp(-1, 1)),
    ):
        found, wanted = (likeness.of_inversion(cut, image) for image in (one, same))
        assert found == pytest.approx(wanted, rel=1e-4)


def test_it_is_none_where_nothing_was_fetched_or_images_are_not_square():
    assert Likeness.of(SimpleNamespace(image_size=(64, 64), device=CPU)) is None
    assert Likeness.of(SimpleNamespace(image_size=(64, 32), device=CPU)) is None


@pytest.mark.faces
def test_people_are_told_apart(make_photo):
    generator = load_generator("faces", "cpu")
    with torch.inference_mode():
        one, other = generator.render(styles_from_seeds(generator, [3, 4], 0.7))
    likeness = Likeness.of(generator)
    assert likeness is not None
    same, apart = likeness.of_edit(EditedCut(shown(one, make_photo), one, other))
    assert same < 0.1 and apart > SAME_PERSON
