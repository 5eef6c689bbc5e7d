"""Features of samples in memory and in a file; those that are made to harm the reader."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from styleatlas.store.atlas import Atlas
from styleatlas.store.describe import atlas_record, record_text
from styleatlas.store.errors import AtlasCorruptError, AtlasFormatError
from styleatlas.store.features import Feature, FeatureSource
from styleatlas.store.file import verify
from styleatlas.store.fingerprint import ModelIdentity

from .test_hostile_files import refused
from .test_hostile_files import replace as put

READER = ModelIdentity("reader", "c" * 64, {"side": 112})
SOURCE = FeatureSource(READER, ("x", "y"), "image's side", (0.0, 0.25, 1, 1))
AGE = FeatureSource(READER, ("years",), "years", (0, 0, 1, 1))


def feature(source=SOURCE, samples=9, lost=(3,)) -> Feature:
    values = np.random.default_rng(3).normal(size=(samples, len(source.numbers)))
    values[list(lost)] = np.nan
    return Feature(values, source)


@pytest.fixture(scope="module")
def read_atlas(make_atlas, make_samples) -> Atlas:
    readings = {"points": feature(), "age": feature(AGE, lost=())}
    return make_atlas(samples=make_samples(readings=readings))


@pytest.fixture
def read_path(read_atlas, tmp_path) -> Path:
    read_atlas.write(tmp_path / "a.h5")
    return tmp_path / "a.h5"


@pytest.fixture
def spoil(read_path) -> Callable[[Callable[[h5py.File], None]], Path]:
    """Let a function edit the file of an atlas with features, and return its path."""

    def edit(change: Callable[[h5py.File], None]) -> Path:
        with h5py.File(read_path, "r+") as file:
            change(file)
        return read_path

    return edit


def source_of(file: h5py.File, text: str, path: str = "samples/features/points") -> None:
    kind = h5py.string_dtype("utf-8", len(text.encode()))
    file[path].attrs.create("source", text.encode(), dtype=kind)


def forge(values: np.ndarray) -> Callable[[h5py.File], None]:
    """Other numbers of the points, with a checksum and a source that are right."""

    def change(file: h5py.File) -> None:
        put(file, "samples/features/points", values)
        source_of(file, SOURCE.to_json())

    return change


# In memory


def test_features_are_arrays_by_name(read_atlas, atlas, sampled_atlas):
    samples = read_atlas.samples
    assert list(samples.features) == ["age", "points"]
    points = samples.features["points"]
    assert points.shape == (9, 2) and points.dtype == np.float32
    assert np.array_equal(np.isnan(points).all(1), np.arange(9) == 3)
    assert samples.readings["points"].lost == 1
    assert repr(samples).endswith("also at psi 0.7, with age, points>")
    assert sampled_atlas.samples.features == {}


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("points", np.zeros((8, 2)), r"/samples/features/points: has shape \(8, 2\), must have"),
        ("points", np.zeros((9, 3)), r"has shape \(9, 3\), must have \(9, 2\)"),
        ("points", np.zeros(9), r"has shape \(9,\)"),
        ("points", np.zeros((9, 2), "U1"), "is <U1, must be float32"),
        ("two words", np.zeros((9, 2)), "'two words' is no name of a feature"),
        ("a" * 64, np.zeros((9, 2)), "is no name of a feature"),
        ("", np.zeros((9, 2)), "'' is no name of a feature"),
    ],
)
def test_wrong_features_are_refused_by_name(make_samples, name, values, message):
    with pytest.raises(AtlasFormatError, match=message):
        make_samples(readings={name: Feature(values, SOURCE)})


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan, 1e39])
def test_row_that_is_half_a_number_is_corrupt(make_samples, number):
    values = np.zeros((9, 2))
    values[4, 1] = number
    with pytest.raises(AtlasCorruptError, match="/samples/features/points: holds NaN or infinity"):
        make_samples(readings={"points": Feature(values, SOURCE)})


@pytest.mark.parametrize(
    "changes",
    [
        {"numbers": ()},
        {"numbers": ("x", "")},
        {"numbers": ("x", 7)},
        {"unit": "two\nlines"},
        {"unit": None},
        {"crop": (0, 0, 1)},
        {"crop": (0, 0, 1, 1.5)},
        {"crop": (0.5, 0, 0.5, 1)},
        {"crop": (0, 0, True, 1)},
        {"crop": (0, float("nan"), 1, 1)},
    ],
)
def test_sources_that_say_nothing_sound(changes):
    with pytest.raises(AtlasFormatError, match=r"^source of a feature: .* must be"):
        replace(SOURCE, **changes)


def test_info_tells_features_and_their_readers(read_atlas, atlas):
    record = json.loads(json.dumps(atlas_record(read_atlas)))
    assert record["features"]["points"] == {
        **{"numbers": 2, "unit": "image's side", "reader": "reader"},
        **{"sha256": "c" * 64, "not_found": 1},
    }
    text = record_text(record)
    assert f"age             numbers 1, unit years, reader reader, sha256 {'c' * 64}" in text
    assert atlas_record(atlas)["features"] == {}
    assert "features          -\n" in record_text(atlas_record(atlas))


# In a file


def test_features_come_back_bit_for_bit_with_their_sources(read_atlas, read_path, same_atlas):
    found = Atlas.open(read_path)
    assert same_atlas(found, read_atlas) and all(check.ok for check in verify(read_path))
    for name, known in read_atlas.samples.readings.items():
        assert found.samples.features[name].tobytes() == known.values.tobytes()
        assert found.samples.readings[name].source == known.source
    names = [check.name for check in verify(read_path)]
    assert {"/samples/features/age", "/samples/features/points"} <= set(names)
    before = read_path.read_bytes()
    found.write(read_path)
    assert read_path.read_bytes() == before


def test_flipped_byte_of_a_feature_is_found(read_path):
    with h5py.File(read_path) as file:
        offset = file["samples/features/points"].id.get_offset()
    content = bytearray(read_path.read_bytes())
    content[offset + 9] ^= 1
    read_path.write_bytes(content)
    refused(read_path, "/samples/features/points: does not match its sha256", AtlasCorruptError)


def test_features_without_samples_are_nobodys(atlas, make_samples, tmp_path):
    path = tmp_path / "a.h5"
    atlas.write(path)
    with h5py.File(path, "r+") as file:
        file["samples/features/age"] = np.zeros(3)
    assert Atlas.open(path).samples is None and all(check.ok for check in verify(path))


@pytest.mark.parametrize(
    ("values", "message", "error"),
    [
        (np.zeros((8, 2), "f4"), "points: has 8 samples, but /samples/.* has 9", AtlasFormatError),
        (np.zeros((9, 3), "f4"), r"points: has shape \(9, 3\), must have \(9, 2\)", None),
        (np.zeros(9, "f4"), r"points: has shape \(9,\), must be", None),
        (np.zeros((9, 2, 1), "f4"), r"points: has shape \(9, 2, 1\), must be", None),
        (np.zeros((9, 2), "f8"), "points: is float64, must be float32", None),
        (np.zeros((9, 2), "S4"), r"points: is \|S4, must be float32", None),
        (np.full((9, 2), np.inf, "f4"), "points: holds NaN or infinity", AtlasCorruptError),
        (np.float32([[0, np.nan]] * 9), "points: holds NaN or infinity", AtlasCorruptError),
        (np.zeros((9, 16_385), "f4"), "declares 16385 numbers, more than format 1's 16384", None),
    ],
)
def test_numbers_that_are_no_feature(spoil, values, message, error):
    refused(spoil(forge(values)), message, error or AtlasFormatError)


def test_feature_larger_than_its_file_is_refused_unread(spoil):
    def change(file: h5py.File) -> None:
        del file["samples/features/points"]
        file.create_dataset("samples/features/points", shape=(9, 2**28), dtype="f4")
        source_of(file, SOURCE.to_json())

    refused(spoil(change), "/samples/features/points: declares .* bytes, but the file does not")


@pytest.mark.parametrize("storage", [{"chunks": (1, 2)}, {"compression": "gzip"}])
def test_chunked_and_compressed_features(spoil, storage):
    def change(file: h5py.File) -> None:
        put(file, "samples/features/points", np.zeros((9, 2), "f4"), **storage)

    refused(spoil(change), "/samples/features/points: must be stored contiguously")


@pytest.mark.parametrize("name", ["features", "features/points"])
def test_linked_features(spoil, name):
    def change(file: h5py.File) -> None:
        del file[f"samples/{name}"]
        file[f"samples/{name}"] = h5py.ExternalLink("/etc/passwd", "/")

    refused(spoil(change), f"/samples/{name}: is a link")


def test_features_that_are_no_group_or_datasets(spoil):
    def grouped(file: h5py.File) -> None:
        del file["samples/features/points"]
        file.create_group("samples/features/points")

    refused(spoil(grouped), "/samples/features/points: is not a dataset")

    def flat(file: h5py.File) -> None:
        del file["samples/features"]
        file["samples/features"] = np.zeros(3)

    refused(spoil(flat), "/samples/features: is not a group")


@pytest.mark.parametrize("name", ["Points", "..", "a b", "x\n\x1b[31m", "ü", "a" * 64])
def test_names_that_no_feature_has(spoil, name):
    path = spoil(lambda file: file.move("samples/features/points", f"samples/features/{name}"))
    refused(path, "/samples/features: .* is no name of a feature")


def test_crowd_of_features_is_refused_before_any_is_read(spoil):
    def change(file: h5py.File) -> None:
        for number in range(65):
            file.create_group(f"samples/features/f{number}")

    refused(spoil(change), "/samples/features: holds 67, more than 64")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "must be a JSON object"),
        ("[" * 100_000, "is not valid JSON"),
        ("{}", "must hold exactly reader, numbers, unit and crop"),
        (json.dumps({**SOURCE.fields(), "more": 1}), "must hold exactly reader"),
        (json.dumps({**SOURCE.fields(), "numbers": "xy"}), "must hold exactly reader"),
        (json.dumps({**SOURCE.fields(), "crop": None}), "must hold exactly reader"),
        (json.dumps({**SOURCE.fields(), "crop": [[]] * 4}), "crop .* must be left"),
        (json.dumps({**SOURCE.fields(), "reader": {}}), "its reader must hold exactly name"),
        (json.dumps({**SOURCE.fields(), "reader": {"x": 1}}), "its reader must hold exactly"),
        (
            json.dumps({**SOURCE.fields(), "reader": {**READER.fields(), "sha256": "C" * 64}}),
            "sha256 must be 64 lower-case",
        ),
        (json.dumps({**SOURCE.fields(), "numbers": ["x"]}), r"has shape \(9, 2\), must have"),
        ('{"unit": NaN}', "NaN is not a JSON number"),
        (json.dumps({**SOURCE.fields(), "unit": "x" * 2**20}), "of at most 1048576 bytes"),
    ],
)
def test_sources_that_are_forged(spoil, text, message):
    refused(spoil(lambda file: source_of(file, text)), f"/samples/features/points.*{message}")


def test_feature_without_a_source(spoil):
    path = spoil(lambda file: file["samples/features/age"].attrs.pop("source"))
    refused(path, "/samples/features/age, attribute source: is missing")
