from __future__ import annotations

import json

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


def test_origin_names_method_images_and_clip(countable_atlas):
    sha256 = countable_atlas.fingerprint.clip.sha256[:12]
    known = f'method sweep, images 24, seed 0, CLIP "countable clip 0" ({sha256}), created 20'
    assert origin(countable_atlas).startswith(known)
