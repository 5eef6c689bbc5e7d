"""Features of samples: read in the pass that embeds them, or later, and never changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from styleatlas import load_encoder, load_generator
from styleatlas.engine.models.features import Features, load_features
from styleatlas.engine.models.sampling import w_shape
from styleatlas.precompute.blocks import Models
from styleatlas.precompute.build import open_work, precompute
from styleatlas.precompute.estimate import estimate
from styleatlas.precompute.executors import open_executor
from styleatlas.precompute.existing import (
    estimate_extension,
    extend,
    extension_of,
    open_extension,
)
from styleatlas.precompute.features import read_features, readings_of
from styleatlas.precompute.reports import atlas_text, estimate_text, run_progress, summary
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.precompute.worker import Sources
from styleatlas.prompts.sets import PromptSet
from styleatlas.store.atlas import Atlas
from styleatlas.store.errors import FingerprintError, OptionError, ResumeError

from ..face_files import put_features
from ..near import assert_near
from .test_resume import stop_after

PROMPTS = PromptSet(("word", "other"), ("{}",))
ALONE = PrecomputeSettings(table="none", samples=20, statistics=20)
NAMES = ["age", "expression", "gender", "identity", "landmarks"]
SEEN = ("w", "label", "embedding", "pulled", "centre", "null_gain", "null_spread", "weight")


@pytest.fixture(autouse=True, scope="module")
def _small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("styleatlas.precompute.plan._MAX_PAIRS", 16)
        patch.setattr("styleatlas.precompute.samples.MAX_PULLED", 4)
        yield


@pytest.fixture(scope="module")
def models() -> tuple:
    """The embedded pair."""
    return load_generator("avatars", "cpu"), load_encoder("avatars", "cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Iterator[Path]:
    """The folder of weights that are made up, for all tests of this file."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        put_features(folder, patch)
        yield folder


@pytest.fixture(scope="module")
def features(models, weights) -> Features:
    return load_features("faces", models[0])


@pytest.fixture(scope="module")
def whole(models, features) -> Atlas:
    """Samples whose features were read in one pass."""
    return drawn(models, features)


@pytest.fixture(scope="module")
def more(models, features) -> Atlas:
    """The same of more samples."""
    return drawn(models, features, replace(ALONE, samples=40))


@pytest.fixture(scope="module")
def plain(models) -> Atlas:
    """The same without features."""
    return drawn(models, None)


def drawn(models, features, settings=ALONE, **how) -> Atlas:
    report = how.pop("report", lambda progress: None)
    return precompute(*models, PROMPTS, settings, report, features=features, **how)


def grown(models, features, path: Path, samples: int = 20, report=lambda progress: None) -> Atlas:
    """What becomes of the atlas of a file, written to it."""
    asked = PrecomputeSettings(samples=samples)
    extension = extension_of(path, *models, asked, {"samples"}, features=features)
    with open_extension(path, *models, extension) as work:
        atlas = extend(*models, extension, report, work)
        atlas.write(path)
        work.finish()
    assert list(path.parent.iterdir()) == [path]
    return Atlas.open(path)


def assert_features_near(found: Atlas, wanted: Atlas) -> None:
    assert list(found.samples.features) == list(wanted.samples.features) == NAMES
    for name in NAMES:
        assert_read_near(name, found.samples.features[name], wanted.samples.features[name])


def assert_read_near(name: str, found: np.ndarray, wanted: np.ndarray) -> None:
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    if name != "landmarks":  # of faces equally likely, which is taken is a matter of rounding
        assert_near(np.nan_to_num(found), np.nan_to_num(wanted))


def test_features_are_those_of_the_images_of_the_latents_that_are_kept(models, features, whole):
    generator, _ = models
    samples = whole.samples
    rows, _ = w_shape(generator)
    w = torch.from_numpy(np.float32(samples.w))[:, None].expand(-1, rows, -1)
    with torch.inference_mode():
        known = features.read(generator.render(generator.styles(w)))
    assert list(samples.features) == NAMES
    for name in NAMES:
        assert samples.features[name].shape == (20, features.widths[name])
        assert samples.readings[name].source == features.sources[name]
        assert_read_near(name, samples.features[name], known[name].astype(np.float32))
    lost = np.isnan(samples.features["landmarks"]).all(1)
    assert 0 < lost.sum() < 20, "faces are found in some"
    assert len(np.unique(samples.features["identity"], axis=0)) == 20


def test_features_change_nothing_else(whole, plain):
    for name in SEEN:
        assert np.array_equal(getattr(whole.samples, name), getattr(plain.samples, name)), name
    assert plain.samples.features == {}
    assert whole.fingerprint == plain.fingerprint


def test_features_that_are_added_later_are_the_same_and_change_nothing(
    models, features, whole, plain, tmp_path
):
    path = tmp_path / "a.h5"
    replace(plain, library="styleatlas 0.0.1").write(path)
    before, calls = Atlas.open(path), []
    found = grown(models, features, path, report=calls.append)
    assert_features_near(found, whole)
    for name in SEEN:
        assert np.array_equal(getattr(found.samples, name), getattr(before.samples, name)), name
    assert (found.fingerprint, found.created, found.library) == (
        *(before.fingerprint, before.created, "styleatlas 0.0.1"),
    )
    told = [run_progress(call, models[0].layout).record for call in calls[1:]]
    assert [(x["kind"], x["samples"]) for x in told] == [
        *(("features", [0, 15]), ("features", [16, 19])),
    ]
    extension = extension_of(path, *models, PrecomputeSettings(samples=20), {}, features=features)
    assert extension.plan.blocks == [], "nothing is lacking"


def test_samples_of_a_seed_that_nobody_knows_are_read_by_their_latents(models, features, tmp_path):
    path = tmp_path / "a.h5"
    other = drawn(models, features, replace(ALONE, seed=5))
    assert other.samples is not None
    unread = replace(other.samples, readings={})
    settings = {**other.fingerprint.settings, "seed": 0}
    fingerprint = replace(other.fingerprint, settings=settings)
    replace(other, samples=unread, fingerprint=fingerprint).write(path)
    assert_features_near(grown(models, features, path), other)


def test_more_samples_and_the_features_of_all_in_one_run(models, features, plain, more, tmp_path):
    path = tmp_path / "a.h5"
    plain.write(path)
    found = grown(models, features, path, 40)
    assert len(found.samples) == 40
    assert_features_near(found, more)


def test_more_samples_have_the_features_that_the_first_have(
    models, features, whole, more, tmp_path
):
    path = tmp_path / "a.h5"
    whole.write(path)
    with pytest.raises(
        OptionError,
        match=r"its 20 samples have features \(age, .*landmarks\), which more of them must have, "
        "too; give --features, or --samples 20$",
    ):
        extension_of(path, *models, PrecomputeSettings(samples=40), {"samples"})
    assert extension_of(path, *models, PrecomputeSettings(samples=20), {"samples"})
    found = grown(models, features, path, 40)
    assert_features_near(found, more)
    for name in NAMES:
        first = found.samples.features[name][:20]
        assert first.tobytes() == whole.samples.features[name].tobytes(), name


@pytest.fixture
def other_features(models, tmp_path, monkeypatch) -> Features:
    """The same by other weights of two of them."""
    put_features(tmp_path / "other weights", monkeypatch, spread=0.05)
    return load_features("faces", models[0])


def test_features_by_other_readers_are_never_changed(models, whole, other_features, tmp_path):
    path = tmp_path / "a.h5"
    whole.write(path)
    with pytest.raises(
        FingerprintError,
        match=r"by other readers \(age, expression, gender\), which are never changed; leave out",
    ):
        extension_of(path, *models, PrecomputeSettings(), (), features=other_features)


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("finished", [0, 1])
def test_run_that_is_stopped_resumes_to_the_same_bits(
    models, features, whole, plain, tmp_path, monkeypatch, later, finished
):
    path = tmp_path / "a.h5"
    if later:
        plain.write(path)

    def start() -> Atlas:
        if later:
            return grown(models, features, path)
        with open_work(path, *models, PROMPTS, ALONE, features) as work:
            atlas = drawn(models, features, work=work)
            work.finish()
        return atlas

    blocks = 2 if later else 3
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        stop_after(patch, finished, ZeroDivisionError())
        start()
    count = stop_after(monkeypatch, blocks, AssertionError())
    found = start().samples.features
    assert len(count) == blocks - finished
    for name in NAMES:
        assert found[name].tobytes() == whole.samples.features[name].tobytes(), name


def test_work_of_other_readers_is_refused(models, features, other_features, tmp_path, monkeypatch):
    with (
        pytest.raises(ZeroDivisionError),
        open_work(tmp_path / "a.h5", *models, PROMPTS, ALONE, features) as work,
    ):
        stop_after(monkeypatch, 1, ZeroDivisionError())
        drawn(models, features, work=work)
    for others in (other_features, None):
        with pytest.raises(ResumeError, match=r"settings\.features is .* there and .* here"):
            open_work(tmp_path / "a.h5", *models, PROMPTS, ALONE, others)


def test_two_workers_read_the_features_of_one_and_no_others(
    models, features, whole, other_features, weights, monkeypatch
):
    monkeypatch.setenv("STYLEATLAS_MODELS", str(weights))
    with open_executor(2, None, "cpu") as executor:
        how = {"executor": executor, "sources": Sources("avatars", "avatars", features="faces")}
        assert_features_near(drawn(models, features, **how), whole)
        with pytest.raises(FingerprintError, match="workers: one loaded other readers of feat"):
            drawn(models, other_features, **how)


def test_what_is_not_found_is_nan_in_the_file(models, tmp_path, monkeypatch):
    put_features(tmp_path / "weights", monkeypatch, faces=False)
    path, features = tmp_path / "a.h5", load_features("faces", models[0])
    with open_work(path, *models, PROMPTS, ALONE, features) as work:
        drawn(models, features, work=work).write(path)
        work.finish()
    samples = Atlas.open(path).samples
    assert np.isnan(samples.features["landmarks"]).all()
    assert {name: read.lost for name, read in samples.readings.items()} == {
        **dict.fromkeys(NAMES, 0),
        "landmarks": 20,
    }


class Broken:
    """Reads numbers some of which are none."""

    def __init__(self):
        self.widths = {"age": 2}

    def read(self, images):
        return {"age": np.array([[1, np.inf], [2, 3], [np.nan, 4], [np.nan, np.nan]])}


def test_row_with_a_number_that_is_none_is_not_found(models, features):
    broken = Broken()
    arrays = read_features(Models(*models, broken), broken.widths, torch.zeros(4, 3, 64, 64))
    assert all(np.isfinite(values).all() for values in arrays.values())
    source = replace(features.sources["age"], numbers=("a", "b"))
    found = readings_of({"age": source}, {}, [arrays])["age"].values
    assert np.array_equal(found, [[np.nan] * 2, [2, 3], [np.nan] * 2, [np.nan] * 2], equal_nan=True)


def test_features_of_no_samples(models, features, tmp_path):
    settings = replace(ALONE, table="sweep", samples=0)
    with pytest.raises(OptionError, match="features: are read of samples, of which there are none"):
        open_work(tmp_path / "a.h5", *models, PROMPTS, settings, features)


def test_generator_short_of_memory_gives_the_same_features(models, features, whole, monkeypatch):
    read = features.read

    def limited(images):
        if len(images) > 3:
            raise MemoryError
        return read(images)

    monkeypatch.setattr(features, "read", limited)
    assert_features_near(drawn(models, features), whole)


def test_estimates_count_what_is_read(models, features, plain, tmp_path):
    record = estimate(*models, PROMPTS, ALONE, 1, features=features)
    assert sorted(record["features"]) == NAMES and record["renders"] == 24
    assert "features     identity, expression, age, gender, landmarks" in estimate_text(record)
    without = estimate(*models, PROMPTS, ALONE, 1)
    assert without["features"] == [] and "features" not in estimate_text(without)
    assert record["seconds"]["samples"] > without["seconds"]["samples"]
    assert record["work_folder_bytes"] - without["work_folder_bytes"] == 8 * 20 * (148 + 5)
    assert record["atlas_bytes"] - without["atlas_bytes"] == 4 * 20 * 148
    path = tmp_path / "a.h5"
    plain.write(path)
    asked = PrecomputeSettings(samples=20)
    extension = extension_of(path, *models, asked, {"samples"}, features=features)
    record = estimate_extension(*models, extension, 1)
    assert (record["samples"], record["renders"]) == (0, 20)
    assert record["seconds"].keys() == {"features"}


def test_summary_tells_features(whole, plain):
    record = summary(whole)
    assert record["features"] == NAMES
    first, _ = atlas_text("a.h5", record).splitlines()
    assert first == (
        "a.h5: 20 samples, 4 of them also at psi 0.7, with age, expression, gender, identity, "
        "landmarks, 2 prompts, no channels"
    )
    assert "features" not in summary(plain)
