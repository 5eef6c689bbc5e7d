from __future__ import annotations

import json
from dataclasses import replace

from styleatlas.store.describe import atlas_record, origin


def test_record_of_an_atlas_counts_its_channels_layer_by_layer(countable_atlas):
    record = json.loads(json.dumps(atlas_record(countable_atlas)))
    assert record["generator"] == {
        "name": "countable 0",
        "sha256": countable_atlas.fingerprint.generator.sha256,
        "z": 5,
    }
    counts = ("style_channels", "swept_channels", "still_channels", "prompts", "width")
    assert [record[name] for name in counts] == [14, 12, 1, 4, 28]
    assert [(line["layer"], line["swept"], line["consistency"]) for line in record["layers"]] == [
        ("input", 0, None),
        ("b4.conv1", 3, 1.0),
        ("b4.torgb", 2, 0.5),
        ("b8.conv0", 4, 1.0),
        ("b8.torgb", 3, 1.0),
    ]


def test_origin_names_table_images_and_clip(countable_atlas):
    sha256 = countable_atlas.fingerprint.clip.sha256[:12]
    known = f'table sweep, images 24, seed 0, CLIP "countable clip 0" ({sha256}), created 20'
    assert origin(countable_atlas).startswith(known)


def test_settings_of_old_are_told_under_todays_names(countable_atlas):
    old = {"method": "sweep", "samples": 10_000, "images": 24}
    origin_ = replace(countable_atlas.fingerprint, settings=old)
    atlas = replace(countable_atlas, fingerprint=origin_)
    told = {"table": "sweep", "statistics": 10_000, "images": 24}
    assert atlas_record(atlas)["settings"] == told
    assert origin(atlas).startswith("table sweep, images 24, CLIP")
