from __future__ import annotations

import numpy as np
import pytest

from styleatlas.store.errors import AtlasCorruptError, AtlasFormatError, LayoutError
from styleatlas.store.fingerprint import Fingerprint


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


def unit_deltas(random, trials: int, images: int, width: int, common: float) -> np.ndarray:
    """Unit vectors (trials, images, width) whose mean is `common` times the first axis."""
    across = random.normal(size=(trials, images, width - 1))
    across *= np.sqrt(1 - common**2) / np.linalg.norm(across, axis=2, keepdims=True)
    return np.concatenate([np.full((trials, images, 1), common), across], axis=2)


@pytest.mark.parametrize("common", [0.0, 0.2, 0.4, 0.8, 1.0])
@pytest.mark.parametrize("images", [8, 100])
def test_reliability_is_the_cosine_with_the_row_that_more_images_would_give(
    make_atlas, images, common
):
    random = np.random.default_rng(images)
    means = unit_deltas(random, 2000, images, 64, common).mean(1)  # (trials, width)
    lengths = np.linalg.norm(means, axis=1)
    consistency = np.full(7, np.sqrt((lengths**2).mean()))
    reliability = make_atlas(consistency=consistency, images=np.full(7, images)).reliability
    to_the_truth = (means[:, 0] / lengths).mean()
    rows = means / lengths[:, None]
    to_each_other = (rows[::2] * rows[1::2]).sum(1).mean()
    # Of chance alone the root enlarges what is left of the noise, so the squares are compared.
    assert reliability[0] ** 2 == pytest.approx(to_the_truth**2, abs=0.03)
    assert reliability[0] ** 2 == pytest.approx(to_each_other, abs=0.03)


def test_reliability_of_dead_channels_and_of_chance_is_nothing(make_atlas, atlas):
    rows, consistency = atlas.rows.copy(), np.array([0, 0.2, 0.25, 0.26, 0.5, 0.999, 1])
    rows[0] = 0
    reliability = make_atlas(rows=rows, consistency=consistency, images=np.full(7, 16)).reliability
    assert reliability.dtype == np.float32
    assert not reliability[:3].any(), "a quarter is what 16 images give by chance"
    assert (np.diff(reliability[2:]) > 0).all() and reliability[-1] == 1
    assert reliability[4] == pytest.approx(np.sqrt(3 / 3.75))


def test_one_image_says_nothing_against_its_row(make_atlas, atlas):
    rows, consistency = atlas.rows.copy(), np.ones(7)
    rows[3], consistency[3] = 0, 0
    alone = make_atlas(rows=rows, consistency=consistency, images=np.ones(7, int)).reliability
    assert alone.tolist() == [1, 1, 1, 0, 1, 1, 1]


def with_strength(atlas, **settings: object) -> Fingerprint:
    return Fingerprint(atlas.fingerprint.generator, atlas.fingerprint.clip, settings)


@pytest.mark.parametrize(("settings", "sigmas"), [({}, 5), ({"strength": 3}, 3)])
def test_response_is_the_mean_movement_as_a_channel_moves_by_a_sigma(make_atlas, settings, sigmas):
    """The deltas of a step to both sides lie two steps apart; here each is 0.3 long."""
    random = np.random.default_rng(1)
    deltas = 0.3 * unit_deltas(random, 7, 100, 8, 0.6)
    means = deltas.mean(1)
    lengths = np.linalg.norm(means, axis=1)
    atlas = make_atlas()
    atlas = make_atlas(
        rows=means / lengths[:, None],
        consistency=lengths / 0.3,
        strength=np.full(7, 0.3),
        fingerprint=with_strength(atlas, **settings),
    )
    assert atlas.strength_in_sigma == sigmas and isinstance(atlas.strength_in_sigma, float)
    assert atlas.responses.dtype == np.float32
    assert atlas.responses == pytest.approx(means / (2 * sigmas), abs=1e-6)


@pytest.mark.parametrize("strength", [0, -5.0, "5", None, [5]])
def test_settings_without_a_usable_strength_are_named(make_atlas, atlas, strength):
    spoilt = make_atlas(fingerprint=with_strength(atlas, strength=strength))
    with pytest.raises(AtlasFormatError, match=r"attribute settings: strength .* must be above 0"):
        _ = spoilt.strength_in_sigma
    with pytest.raises(AtlasFormatError, match="attribute settings: strength"):
        _ = spoilt.responses
