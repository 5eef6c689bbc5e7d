from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from styleatlas.store.atlas import Atlas
from styleatlas.store.errors import AtlasError
from styleatlas.store.file import Check, verify
from styleatlas.store.fingerprint import Fingerprint
from styleatlas.store.schema import FIELDS

ONE_FILE = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MANY_FLIPS = settings(ONE_FILE, max_examples=100)


@ONE_FILE
@given(
    sizes=st.fixed_dictionaries(
        {
            "seed": st.integers(0, 2**32),
            "rows": st.integers(0, 14),
            "prompts": st.integers(0, 9),
            "width": st.integers(1, 40),
        }
    )
)
def test_atlas_survives_writing_and_reading(make_atlas, same_atlas, tmp_path, sizes):
    atlas = make_atlas(**sizes)
    atlas.write(tmp_path / "atlas.h5")
    assert same_atlas(Atlas.open(tmp_path / "atlas.h5"), atlas)
    assert all(check.ok for check in verify(tmp_path / "atlas.h5"))


def test_same_atlas_gives_the_same_bytes(atlas, tmp_path):
    atlas.write(tmp_path / "one.h5")
    Atlas.open(tmp_path / "one.h5").write(str(tmp_path / "two.h5"))
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_verify_names_every_dataset(atlas_path):
    checks = verify(atlas_path)
    assert [check.name for check in checks] == [
        "attributes", *(field.path for field in FIELDS), "contents"]  # fmt: skip
    assert checks[8] == Check("/relevance/rows", True, "f4 (rows, width), sha256 matches")


@MANY_FLIPS
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_anywhere_is_refused_or_changes_nothing(
    atlas, atlas_path, same_atlas, tmp_path, position, bit
):
    damaged = bytearray(atlas_path.read_bytes())
    damaged[int(position * len(damaged))] ^= 1 << bit
    path = tmp_path / "damaged.h5"
    path.write_bytes(damaged)
    try:
        assert same_atlas(Atlas.open(path), atlas)
    except AtlasError:
        assert not all(check.ok for check in verify(path))


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_one_flipped_byte_in_a_dataset_is_found_by_name(atlas_path, field):
    with h5py.File(atlas_path) as file:
        offset, size = file[field.path].id.get_offset(), file[field.path].nbytes
    damaged = bytearray(atlas_path.read_bytes())
    damaged[offset + size // 2] ^= 1
    atlas_path.write_bytes(damaged)
    failed = [check for check in verify(atlas_path) if not check.ok]
    assert [check.name for check in failed] == [field.path]
    assert failed[0].detail.startswith("does not match its sha256; copy")


def test_example_of_the_spec_reads_an_atlas_with_plain_h5py(atlas, atlas_path, monkeypatch):
    spec = Path(__file__).parents[2] / "docs" / "atlas-format.md"
    example = re.search(r"```python\n(.*?)```", spec.read_text(encoding="utf-8"), re.DOTALL)[1]
    monkeypatch.chdir(atlas_path.parent)
    names: dict = {}
    exec(example, names)
    assert names["settings"] == atlas.fingerprint.settings
    assert names["layers"] == {layer.name: layer.size for layer in atlas.layout}
    assert names["texts"] == list(atlas.prompts.texts)
    assert np.array_equal(names["rows"], atlas.rows)


def test_unknown_attributes_and_datasets_are_ignored(damage, atlas, same_atlas):
    def extend(file):
        file.attrs["comment"] = "mine"
        file["extra/data"] = np.arange(3)

    assert same_atlas(Atlas.open(damage(extend)), atlas)


def test_large_settings_survive(make_atlas, atlas, tmp_path):
    origin = atlas.fingerprint
    large = Fingerprint(origin.generator, origin.clip, {"note": "x" * 200_000})
    make_atlas(fingerprint=large).write(tmp_path / "atlas.h5")
    assert Atlas.open(tmp_path / "atlas.h5").fingerprint == large
