"""Samples in memory and in a file; what is made to harm the reader is refused as elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from styleatlas.store.atlas import Atlas
from styleatlas.store.describe import atlas_record, record_text
from styleatlas.store.errors import AtlasCorruptError, AtlasError, AtlasFormatError, OptionError
from styleatlas.store.file import verify
from styleatlas.store.schema import FIELDS, MAX_LENGTHS, SAMPLE_FIELDS

from ..near import assert_near
from .test_hostile_files import declare, refused
from .test_hostile_files import replace as put

AFFINE = tuple(field for field in SAMPLE_FIELDS if field.path != "/samples/styles")


@pytest.fixture
def sampled_path(sampled_atlas: Atlas, tmp_path: Path) -> Path:
    path = tmp_path / "sampled.h5"
    sampled_atlas.write(path)
    return path


@pytest.fixture
def spoil(sampled_path: Path) -> Callable[[Callable[[h5py.File], None]], Path]:
    """Let a function edit the file of an atlas with samples, and return its path."""

    def edit(change: Callable[[h5py.File], None]) -> Path:
        with h5py.File(sampled_path, "r+") as file:
            change(file)
        return sampled_path

    return edit


# In memory


def test_samples_are_counted_and_told(sampled_atlas, atlas):
    assert len(sampled_atlas.samples) == 9
    assert repr(sampled_atlas.samples) == "<SampleSet: 9 samples, 4 of them also at psi 0.7>"
    assert repr(sampled_atlas) == repr(atlas).replace("3 prompts>", "3 prompts, 9 samples>")
    assert atlas.samples is None and "samples" not in repr(atlas)
    record = json.loads(json.dumps(atlas_record(sampled_atlas)))
    assert (record["samples"], record["pulled_samples"]) == (9, 4)
    assert "samples           9\n" in record_text(record)
    assert atlas_record(atlas)["samples"] == 0


def test_numbers_are_kept_in_the_types_of_the_file(make_samples):
    wide = make_samples()
    narrow = replace(wide, w=wide.w.astype("f8"), weight=wide.weight.astype("f8"), label=[-1] * 9)
    for name in ("w", "embedding", "pulled"):
        assert getattr(narrow, name).dtype == np.float16
    for name in ("weight", "bias", "centre"):
        assert getattr(narrow, name).dtype == np.float32
    assert narrow.label.dtype == np.int32


def test_steps_in_w_become_steps_in_style_by_the_weight_alone(sampled_atlas):
    samples = sampled_atlas.samples
    steps = np.random.default_rng(0).normal(size=(3, 5))
    moved = samples.style_directions(steps)
    assert moved.shape == (3, 14) and moved.dtype == np.float32
    one, other = (x @ samples.weight.T.astype("f8") + samples.bias for x in (steps, 0 * steps))
    assert moved == pytest.approx(one - other, abs=1e-5)


@pytest.mark.parametrize("steps", [np.zeros(5), np.zeros((2, 4)), np.zeros((2, 5), int)])
def test_steps_of_another_shape_are_refused(sampled_atlas, steps):
    with pytest.raises(OptionError, match=r"steps in w: are .*; give numbers of shape \(k, 5\)"):
        sampled_atlas.samples.style_directions(steps)


def test_styles_that_are_not_affine_give_no_directions(kept_atlas):
    with pytest.raises(AtlasFormatError, match="/samples/weight: is not there, because"):
        kept_atlas.samples.style_directions(np.zeros((1, 5)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"w": np.zeros((0, 5), "f2")}, r"/samples/w: has shape \(0, 5\), which is no sample"),
        ({"w": np.zeros((9, 0), "f2")}, r"/samples/w: has shape \(9, 0\), which is no sample"),
        ({"w": np.zeros(9, "f2")}, r"/samples/w: has shape \(9,\), must have \(any, any\)"),
        ({"label": np.zeros(8, "i4")}, r"/samples/label: has shape \(8,\), must have \(9\)"),
        ({"label": np.zeros(9)}, "/samples/label: is float64, must be int32"),
        ({"label": np.full(9, -2)}, "/samples/label: ranges from -2 to -2, must lie in -1"),
        ({"centre": np.zeros(4, "f4")}, "/samples/centre: has shape"),
        ({"pulled": np.ones((4, 7), "f2")}, r"/samples/pulled: has shape \(4, 7\)"),
        ({"pulled": np.eye(10, 8, dtype="f2")}, "/samples/pulled: holds 10 of 9 samples"),
        ({"pulled_psi": 1.0}, "/samples/pulled_psi: is 1, must lie between 0 and less than 1"),
        ({"pulled_psi": -0.1}, "/samples/pulled_psi: is -0.1"),
        ({"weight": None}, "/samples/weight: is missing; give weight and bias, or styles"),
        ({"bias": None}, "/samples/bias: is missing; give weight and bias, or styles"),
        ({"bias": np.zeros(3, "f4")}, r"/samples/bias: has shape \(3,\), must have \(14\)"),
        ({"weight": np.zeros((14, 4), "f4")}, "/samples/weight: has shape"),
        ({"styles": np.zeros((9, 14), "f2")}, "/samples/styles: stands beside the affine map"),
    ],
)
def test_wrong_samples_are_refused_by_dataset(make_samples, changes, message):
    with pytest.raises(AtlasFormatError, match=message):
        make_samples(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"w": np.full((9, 5), 1e6)}, "/samples/w: holds NaN or infinity"),
        ({"centre": np.full(5, np.nan)}, "/samples/centre: holds NaN or infinity"),
        ({"pulled_psi": np.nan}, "/samples/pulled_psi: holds NaN or infinity"),
        ({"embedding": np.ones((9, 8), "f2")}, "/samples/embedding: row 0 has length 2.828"),
        ({"pulled": np.zeros((2, 8), "f2")}, "/samples/pulled: row 0 has length 0"),
    ],
)
def test_samples_of_impossible_numbers_are_corrupt(make_samples, changes, message):
    with pytest.raises(AtlasCorruptError, match=message):
        make_samples(**changes)


def test_unit_vectors_of_half_precision_pass_at_any_width(make_samples):
    for width in (2, 512, 4096):
        samples = make_samples(count=300, width=width)
        assert samples.embedding.shape == (300, width)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"channels": 13}, "/samples/weight: has 13 channels, but the layout has 14"),
        ({"width": 7}, "/samples/embedding: has width 7, but /prompts/embedding has 8"),
    ],
)
def test_samples_of_other_models_do_not_fit_into_an_atlas(make_atlas, make_samples, sizes, message):
    with pytest.raises(AtlasFormatError, match=message):
        make_atlas(samples=make_samples(**sizes))


# In a file


@pytest.mark.parametrize("which", ["sampled_atlas", "kept_atlas"])
def test_samples_survive_writing_and_reading(request, same_atlas, tmp_path, which):
    atlas = request.getfixturevalue(which)
    atlas.write(tmp_path / "one.h5")
    read = Atlas.open(tmp_path / "one.h5")
    assert same_atlas(read, atlas) and read.samples.pulled_psi == 0.7
    read.write(tmp_path / "two.h5")
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    assert all(check.ok for check in verify(tmp_path / "one.h5"))


def test_atlas_of_samples_alone_survives(make_atlas, make_samples, same_atlas, tmp_path):
    atlas = make_atlas(rows=0, samples=make_samples())
    atlas.write(tmp_path / "atlas.h5")
    assert same_atlas(Atlas.open(tmp_path / "atlas.h5"), atlas)


def test_replaced_parts_leave_the_samples(sampled_atlas, atlas):
    assert replace(sampled_atlas, prompts=atlas.prompts).samples is sampled_atlas.samples


def test_verify_names_the_datasets_of_the_samples_where_there_are_any(sampled_path, atlas_path):
    names = [check.name for check in verify(sampled_path)]
    assert names == [
        "attributes", *(field.path for field in (*FIELDS, *AFFINE)), "contents"]  # fmt: skip
    assert not any("/samples" in check.name for check in verify(atlas_path))


def test_reader_that_knows_no_samples_reads_the_rest(sampled_path, atlas, same_atlas, monkeypatch):
    """Such a reader opens the datasets in FIELDS and no others."""
    monkeypatch.setattr("styleatlas.store.hdf5.Reader.fields", lambda self: FIELDS)
    assert same_atlas(Atlas.open(sampled_path), atlas)
    with h5py.File(sampled_path) as file:
        assert file.attrs["format_version"] == 1
        assert not any(field.path.startswith("/samples") for field in FIELDS)


def test_further_features_of_samples_are_ignored(spoil, sampled_atlas, same_atlas):
    path = spoil(lambda f: f.create_dataset("samples/feature/identity", data=np.ones((9, 3), "f2")))
    assert same_atlas(Atlas.open(path), sampled_atlas)


@pytest.mark.parametrize("names", [(), ("feature", "mine")])
def test_group_without_any_known_dataset_holds_no_samples(atlas_path, atlas, same_atlas, names):
    with h5py.File(atlas_path, "r+") as file:
        group = file.create_group("samples")
        for name in names:
            group[name] = np.arange(3)
    assert same_atlas(Atlas.open(atlas_path), atlas)


@pytest.mark.parametrize("field", AFFINE, ids=str)
def test_part_of_the_samples_is_refused(spoil, field):
    refused(spoil(lambda f: f.pop(field.path)), f"{field.path}: is missing")


def test_styles_beside_the_map_they_follow_from_are_refused(spoil):
    path = spoil(lambda f: f.create_dataset("samples/styles", data=np.zeros((9, 14), "f2")))
    refused(path, "/samples/styles: stands beside /samples/weight, from which styles follow")
    failed = [check.name for check in verify(path) if not check.ok]
    assert failed == ["/samples"], "all else is still proven"


@pytest.mark.parametrize("field", AFFINE, ids=str)
def test_one_flipped_byte_in_a_dataset_of_samples_is_found_by_name(sampled_path, field):
    with h5py.File(sampled_path) as file:
        offset, size = file[field.path].id.get_offset(), file[field.path].nbytes
    damaged = bytearray(sampled_path.read_bytes())
    damaged[offset + size // 2] ^= 1
    sampled_path.write_bytes(damaged)
    failed = [check for check in verify(sampled_path) if not check.ok]
    assert [check.name for check in failed] == [field.path]
    refused(sampled_path, f"{field.path}: does not match its sha256", AtlasCorruptError)


@pytest.mark.parametrize("link", [h5py.SoftLink("/style"), h5py.ExternalLink("o.h5", "/x")])
@pytest.mark.parametrize("path", ["samples", "samples/w"])
def test_links_to_samples_are_not_followed(spoil, link, path):
    def change(file):
        del file[path]
        file[path] = link

    refused(spoil(change), f"/{path}: is a link; an atlas must hold its data itself")


def test_dataset_in_place_of_the_group_is_refused(spoil):
    def change(file):
        del file["samples"]
        file["samples"] = np.zeros(3)

    refused(spoil(change), "/samples: is not a group")


@pytest.mark.parametrize("storage", [{"chunks": True}, {"compression": "gzip"}])
def test_compressed_and_chunked_samples_are_refused(spoil, storage):
    path = spoil(lambda f: put(f, "samples/w", np.zeros((9, 5), "f2"), **storage))
    refused(path, "/samples/w: must be stored contiguously")


def test_huge_declared_samples_are_refused(spoil):
    path = spoil(lambda f: declare(f, "samples/weight", (14, 2**40)))
    refused(path, "/samples/weight: declares .* but the file does not hold them")


def test_samples_beyond_the_limits_are_refused(make_samples, make_atlas, tmp_path, monkeypatch):
    monkeypatch.setitem(MAX_LENGTHS, "samples", 8)
    with pytest.raises(AtlasFormatError, match="/samples/w: declares 9 samples, more than"):
        make_atlas(samples=make_samples()).write(tmp_path / "atlas.h5")


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        ("samples/w", np.zeros((9, 5), "f4"), "/samples/w: is float32, must be float16"),
        ("samples/label", np.zeros(8, "i4"), "/samples/label: has 8 samples, but /samples/w has 9"),
        ("samples/centre", np.zeros(6, "f4"), "/samples/centre: has 6 latent"),
        ("samples/embedding", np.zeros((9, 7), "f2"), "/samples/embedding: has 7 width"),
        ("samples/bias", np.zeros(13, "f4"), "/samples/bias: has 13 channels"),
        ("samples/pulled_psi", np.zeros(2), "/samples/pulled_psi: declares 2 one"),
        ("samples/pulled_psi", np.ones(1), "/samples/pulled_psi: is 1, must lie between"),
        ("samples/label", np.full(9, -7, "i4"), "/samples/label: ranges from -7"),
    ],
)
def test_samples_that_disagree_are_refused(spoil, path, values, message):
    refused(spoil(lambda f: put(f, path, values)), message)


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        ("samples/w", np.full((9, 5), np.inf, "f2"), "/samples/w: holds NaN or infinity"),
        ("samples/embedding", np.ones((9, 8), "f2"), "/samples/embedding: row 0 has length 2.8"),
    ],
)
def test_impossible_samples_with_a_correct_checksum_are_corrupt(spoil, path, values, message):
    refused(spoil(lambda f: put(f, path, values)), message, AtlasCorruptError)


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_anywhere_is_refused_or_changes_nothing(
    sampled_atlas, sampled_path, same_atlas, tmp_path, position, bit
):
    damaged = bytearray(sampled_path.read_bytes())
    damaged[int(position * len(damaged))] ^= 1 << bit
    path = tmp_path / "damaged.h5"
    path.write_bytes(damaged)
    try:
        assert same_atlas(Atlas.open(path), sampled_atlas)
    except AtlasError:
        assert not all(check.ok for check in verify(path))


def test_styles_of_samples_follow_from_w_or_are_those_kept(sampled_atlas, kept_atlas):
    samples = sampled_atlas.samples
    w = samples.w[[3, 1]].astype(np.float32)
    assert_near(samples.styles_of(np.array([3, 1])), w @ samples.weight.T + samples.bias)
    kept = kept_atlas.samples
    assert (kept.styles_of(np.array([2])) == kept.styles[[2]]).all()
    assert kept.styles_of(np.array([2])).dtype == np.float32
