"""precompute --features, by made-up weights and by those that were fetched."""

from __future__ import annotations

import json

import numpy as np
import pytest

from styleatlas import Atlas

from ..face_files import put_features
from ..precompute.test_features import assert_read_near

NAMES = ["age", "expression", "gender", "identity", "landmarks"]
QUICK = ("avatars", "--clip", "avatars", "--table", "none", "--samples", 18)


@pytest.fixture
def weights(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("weights")
    put_features(folder, monkeypatch)
    return folder


def test_features_are_drawn_told_and_added(run, weights, tmp_path):
    one, other = tmp_path / "one.h5", tmp_path / "other.h5"
    dry = run("precompute", *QUICK, "-o", one, "--features", "faces", "--dry-run", "--json")
    assert sorted(json.loads(dry.stdout)["features"]) == NAMES and not one.exists()
    drawn = run("precompute", *QUICK, "-o", one, "--features", "faces")
    assert drawn.exit_code == 0, drawn.output
    assert (
        "18 of them also at psi 0.7, with age, expression, gender, identity, land" in drawn.stdout
    )
    assert run("precompute", *QUICK, "-o", other).exit_code == 0
    later = run("precompute", *QUICK, "-o", other, "--features", "faces", "--json")
    assert later.exit_code == 0, later.output
    assert json.loads(later.stdout)["features"] == NAMES
    kinds = [json.loads(x)["kind"] for x in later.stderr.splitlines() if x.startswith("{")]
    assert set(kinds) == {"features"}
    found, known = (Atlas.open(path).samples for path in (other, one))
    for name in NAMES:
        assert_read_near(name, found.features[name], known.features[name])
    again = run("precompute", *QUICK, "-o", other, "--features", "faces")
    assert "has all of this already" in again.stderr
    told = json.loads(run("info", one, "--json").stdout)["features"]
    assert list(told) == NAMES and told["age"]["unit"] == "years"
    assert told["landmarks"]["not_found"] == known.readings["landmarks"].lost
    assert run("verify", one).exit_code == run("verify", other).exit_code == 0
    assert "samples/features/identity" in run("verify", one).stdout


def test_weights_are_missed_before_any_work(refused, tmp_path):
    said = refused("precompute", *QUICK, "-o", tmp_path / "a.h5", "--features", "faces")
    assert said == "faces: not fetched yet; `styleatlas models fetch faces` fetches it"


def test_features_of_no_samples_are_wrong_usage(run, tmp_path):
    how = ("avatars", "--clip", "avatars", "-o", tmp_path / "a.h5", "--features", "faces")
    result = run("precompute", *how, "--samples", 0)
    assert result.exit_code == 2
    assert "--features reads samples, of which there are none; give --samples" in result.stderr


def test_old_atlases_have_no_features(answer):
    assert json.loads(answer("info", "avatars", "--json"))["features"] == {}
    assert Atlas.open("avatars").samples.features == {}


@pytest.mark.faces
def test_features_of_the_generator_of_faces(run, tmp_path):
    how = ("faces", "--clip", "avatars", "--table", "none", "--samples", 2, "--features", "faces")
    result = run("precompute", *how, "-o", tmp_path / "a.h5")
    assert result.exit_code == 0, result.output
    samples = Atlas.open(tmp_path / "a.h5").samples
    assert samples.readings["landmarks"].lost == 0
    assert samples.features["identity"].shape == (2, 128)
    lengths = np.linalg.norm(samples.features["identity"], axis=1)
    assert (lengths > 1.2).all() and (lengths < 1.9).all(), "of faces, as dlib's are"
