"""What is read of samples: each feature by its own network, in its own units."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from styleatlas.engine.models.face_readers import load_face_readers
from styleatlas.engine.models.features import LandmarksReader, load_features
from styleatlas.engine.models.identity import SAME_PERSON, crop_chips, load_dlib
from styleatlas.engine.models.landmarks import Face
from styleatlas.engine.models.load import load_generator
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.store.errors import CheckpointError, OptionError
from styleatlas.store.fingerprint import ModelIdentity

from ...face_files import put_features
from ...near import assert_near

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def avatars():
    return load_generator("avatars", "cpu")


class Corners:
    """Finds a face where the red is brightest, with all points there, and a smaller one beside it;
    none in what is black."""

    name, identity = "corners", ModelIdentity("corners", "0" * 64, {"smallest": 1})

    def find(self, pictures):
        self.sides = [picture.shape for picture in pictures]
        return [self._faces(picture) for picture in pictures]

    def _faces(self, picture):
        if not picture.any():
            return []
        y, x = np.unravel_index(picture[:, :, 0].argmax(), picture.shape[:2])
        points = np.tile([x + 0.5, y + 0.5], (5, 1)) + np.arange(5)[:, None]
        return [Face(np.zeros(4), points, 1.0), Face(np.zeros(4), points + 9, 1.0)]


@pytest.mark.parametrize(("side", "seen"), [(64, 64), (512, 256)])
def test_landmarks_are_those_of_the_largest_face_in_shares_of_the_side(side, seen):
    images = torch.full((3, 3, side, side), -1.0)
    block = side // seen
    images[0, 0, 10 * block : 11 * block, 20 * block : 21 * block] = 1
    images[2, 0, :block, :block] = 1
    finder = Corners()
    found = LandmarksReader(finder).read(images)["landmarks"]
    assert finder.sides == [(seen, seen, 3)] * 3
    assert found.shape == (3, 10) and found.dtype == torch.float32
    assert bool(found[1].isnan().all()), "nothing is there"
    steps = np.arange(5)[:, None]
    for row, corner in ((0, [20.5, 10.5]), (2, [0.5, 0.5])):
        assert_near(found[row].reshape(5, 2).numpy(), ((corner + steps) / seen).astype("f4"))


def test_features_are_what_each_network_reads(avatars, tmp_path, monkeypatch):
    put_features(tmp_path, monkeypatch)
    images = avatars.render(styles_from_seeds(avatars, range(3), 1.0))
    features = load_features("faces", avatars)
    found = features.read(images)
    assert features.widths == {
        **{"identity": 128, "expression": 7, "age": 1, "gender": 2, "landmarks": 10}
    }
    expression, age = load_face_readers(CPU)
    with torch.inference_mode():
        known = {"identity": load_dlib(CPU).network(crop_chips(images))}
        known |= expression.read(images) | age.read(images)
    for name, values in known.items():
        assert_near(found[name], values.double().numpy())
        assert found[name].shape == (3, features.widths[name])
    assert len(np.unique(found["identity"].round(3), axis=0)) == 3, "as unlike as the images"
    assert_near(found["expression"].sum(1), np.ones(3))


def test_sources_say_which_weights_read_which_part_in_which_unit(avatars, tmp_path, monkeypatch):
    put_features(tmp_path, monkeypatch)
    sources = load_features("faces", avatars).sources
    assert {name: source.unit for name, source in sources.items()} == {
        "identity": "dlib's distance",
        "expression": "probability",
        "age": "years",
        "gender": "probability",
        "landmarks": "image's side",
    }
    assert sources["gender"].numbers == ("male", "female")
    assert sources["landmarks"].numbers[:4] == (
        *("left eye, x", "left eye, y", "right eye, x", "right eye, y"),
    )
    assert sources["age"].reader is sources["gender"].reader
    assert sources["age"].crop == (1 / 8, 3 / 16, 7 / 8, 15 / 16)
    assert sources["identity"].crop == (33 / 216, 56 / 216, 183 / 216, 206 / 216)
    assert sources["landmarks"].crop == (0, 0, 1, 1)
    assert len({source.reader.sha256 for source in sources.values()}) == 4


def test_faces_that_are_not_found_are_rows_of_nan(avatars, tmp_path, monkeypatch):
    put_features(tmp_path, monkeypatch, faces=False)
    found = load_features("faces", avatars).read(torch.zeros(2, 3, 64, 64))
    assert np.isnan(found["landmarks"]).all() and found["landmarks"].shape == (2, 10)
    assert all(np.isfinite(found[name]).all() for name in found.keys() - {"landmarks"})


@pytest.mark.parametrize("missing", ["face-api", "mtcnn"])
def test_weights_that_were_not_fetched_are_named_with_the_mend(
    avatars, tmp_path, monkeypatch, missing
):
    put_features(tmp_path, monkeypatch)
    for path in tmp_path.glob(f"{missing}-*/*"):
        path.unlink()
    with pytest.raises(
        CheckpointError,
        match=r"^faces: not fetched yet; `styleatlas models fetch faces` fetches it$",
    ):
        load_features("faces", avatars)


def test_features_nobody_knows(avatars):
    with pytest.raises(OptionError, match="features 'cats': unknown; use faces"):
        load_features("cats", avatars)


def test_generator_whose_images_no_reader_takes(generator, tmp_path, monkeypatch):
    put_features(tmp_path, monkeypatch)
    with pytest.raises(OptionError, match=r"face readers: read .* of 16 pixels a side at least"):
        load_features("faces", generator)


@pytest.mark.faces
def test_features_of_real_faces():
    faces = load_generator("faces", "cpu")
    with torch.inference_mode():
        images = faces.render(styles_from_seeds(faces, [0, 1], 0.7))
    features = load_features("faces", faces)
    one, mirrored = features.read(images), features.read(images.flip(3))
    points = one["landmarks"].reshape(2, 5, 2)
    assert np.abs(points[:, :2, 1] - 0.48).max() < 0.06, "eyes, where FFHQ's are"
    assert (points[:, 0, 0] < points[:, 2, 0]).all() and (points[:, 2, 0] < points[:, 1, 0]).all()
    assert np.abs(points[:, 3:, 1] - 0.73).max() < 0.08, "mouths"
    same = np.linalg.norm(one["identity"] - mirrored["identity"], axis=1)
    assert (same < SAME_PERSON).all()
    assert np.linalg.norm(one["identity"][0] - one["identity"][1]) > same.max()
    assert (np.abs(one["age"] - mirrored["age"]) < 10).all()
