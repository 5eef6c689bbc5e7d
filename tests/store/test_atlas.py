from __future__ import annotations

import numpy as np
import pytest

from styleatlas.store.errors import AtlasCorruptError, AtlasFormatError, LayoutError


def test_rows_are_found_by_flat_index(make_atlas):
    atlas = make_atlas(rows=3, channels=[2, 7, 13])
    assert [atlas.row_of(flat) for flat in (2, 7, 13)] == [0, 1, 2]
    assert atlas.kinds.tolist() == ["conv", "rgb", "conv"]


def test_channel_that_was_not_swept_is_named(make_atlas):
    atlas = make_atlas(rows=3, channels=[2, 7, 12])
    for flat, label in ((0, "b4.conv1:0"), (8, "b4.torgb:2"), (13, "b8.conv0:4")):
        with pytest.raises(LayoutError, match=f"{label}: is not in this atlas.*3 of 14 channels"):
            atlas.row_of(flat)
    with pytest.raises(LayoutError, match="out of range"):
        atlas.row_of(14)


def test_arrays_get_the_types_of_the_format(make_atlas):
    atlas = make_atlas()
    assert {name: getattr(atlas, name).dtype.str for name in ("rows", "channels", "images")} == {
        "rows": "<f4",
        "channels": "<i8",
        "images": "<i4",
    }


def test_zero_row_is_allowed_where_a_channel_never_moved_the_embedding(make_atlas, atlas):
    rows, consistency = atlas.rows.copy(), atlas.consistency.copy()
    rows[2], consistency[2] = 0, 0
    assert not make_atlas(rows=rows, consistency=consistency).rows[2].any()
    consistency[2] = 0.5
    with pytest.raises(AtlasCorruptError, match=r"consistency: row 2 is all zeros.*not 0\.5"):
        make_atlas(rows=rows, consistency=consistency)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"style_mean": np.zeros(13)}, r"/style/mean: has shape \(13,\), must have \(14\)"),
        ({"style_std": np.full(14, -1.0)}, "/style/std: ranges from -1"),
        ({"rows": np.eye(7, 9)}, r"/relevance/rows: has shape \(7, 9\), must have \(7, 8\)"),
        ({"strength": np.zeros((7, 1))}, "/relevance/strength: has shape"),
        ({"strength": -np.ones(7)}, "/relevance/strength: ranges"),
        ({"consistency": np.full(7, 1.1)}, r"/relevance/consistency: ranges from 1\.1"),
        ({"images": np.zeros(7, int)}, "/relevance/images: ranges from 0"),
        ({"images": np.ones(7)}, "/relevance/images: is float64, must be int32"),
        ({"channels": [0, 1, 2, 3, 4, 5, 14]}, "/relevance/channel: ranges from 0 to 14"),
        ({"channels": [0, 1, 2, 2, 4, 5, 6]}, "/relevance/channel: must ascend without repeats"),
        ({"channels": [1, 0, 2, 3, 4, 5, 6]}, "/relevance/channel: must ascend without repeats"),
        ({"created": "yesterday"}, "attribute created: 'yesterday' must be ISO 8601 in UTC"),
        ({"created": "2026-11-22T05:40:00"}, "attribute created"),
        ({"created": "2026-11-22T05:40:00+01:00"}, "attribute created"),
        ({"library": ""}, "attribute library"),
    ],
)
def test_fields_that_break_the_format_are_named(make_atlas, changes, message):
    with pytest.raises(AtlasFormatError, match=message):
        make_atlas(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"style_mean": np.full(14, np.nan)}, "/style/mean: holds NaN"),
        ({"rows": np.full((7, 8), np.inf)}, "/relevance/rows: holds NaN or infinity"),
        ({"rows": 2 * np.eye(7, 8)}, "/relevance/rows: row 0 has length 2, must be a unit vector"),
    ],
)
def test_corrupt_tables_are_named(make_atlas, changes, message):
    with pytest.raises(AtlasCorruptError, match=message):
        make_atlas(**changes)


def test_utc_may_be_written_with_a_z(make_atlas):
    assert make_atlas(created="2026-11-22T05:40:00Z").created.endswith("Z")
