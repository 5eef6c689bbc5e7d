from __future__ import annotations

import json

from styleatlas.engine.editor import Editor
from styleatlas.engine.reports import (
    atlas_record,
    csv_lines,
    edit_record,
    origin,
    sides,
    table,
)
from styleatlas.engine.sampling import styles_from_seeds


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


def test_record_of_an_edit_has_a_line_for_every_alpha_and_seed(countable_atlas, generator, encoder):
    editor = Editor(countable_atlas, generator, encoder)
    direction = editor.direction("a picture", "a picture channel7", channels=2)
    styles = styles_from_seeds(generator, [5, 9], 0.7)
    results = [editor.apply(styles, direction, alpha) for alpha in (0, 3)]
    shifts = [editor.measure(result) for result in results]
    record = json.loads(
        json.dumps(edit_record(countable_atlas, direction, results, shifts, [5, 9]))
    )
    assert record["channels"][0]["channel"] == "b8.conv0:0"
    assert [(line["seed"], line["alpha"]) for line in record["images"]] == [
        (5, 0),
        (9, 0),
        (5, 3),
        (9, 3),
    ]
    assert record["images"][3]["clip_shift"] == round(float(shifts[1].along[1]), 4) > 0
    assert record["images"][0]["directional_similarity"] == 0


def test_table_aligns_numbers_right_and_words_left():
    records = [
        {"channel": "b4:1", "score": 0.12345, "swept": 5, "note": None},
        {"channel": "b64.conv0:217", "score": -1.0, "swept": 12, "note": "x"},
    ]
    assert table(records).splitlines() == [
        "channel         score  swept  note",
        "b4:1            0.123      5  -",
        "b64.conv0:217  -1.000     12  x",
    ]


def test_table_of_small_numbers_keeps_three_digits_of_the_largest():
    records = [{"a": 0.00012344, "b": 0.5}, {"a": -0.0451, "b": 0.0}]
    assert table(records).splitlines() == ["      a      b", " 0.0001  0.500", "-0.0451  0.000"]


def test_nothing_is_said_so():
    assert table([]) == "(nothing)" == sides([])
    assert csv_lines([]) == ""


def test_sides_stand_below_what_they_share():
    records = [
        {"channel": "b4:1", "side": "towards", "prompt": "a beard", "score": 0.5},
        {"channel": "b4:1", "side": "away", "prompt": "a hat", "score": -0.25},
    ]
    assert sides(records).splitlines() == [
        *("channel", "b4:1", "", "towards", "prompt   score", "a beard  0.500", ""),
        *("away", "prompt   score", "a hat   -0.250"),
    ]
    alone = [{"side": "away", "prompt": "a hat"}]
    assert sides(alone).splitlines() == ["towards", "(nothing)", "", "away", "prompt", "a hat"]


def test_csv_quotes_what_needs_it_and_leaves_none_empty():
    records = [
        {"prompt": 'a "hat", red', "score": -0.25, "channel": None},
        {"prompt": "plain", "score": 1.0, "channel": "b4:1"},
    ]
    text = csv_lines(records)
    assert text == 'prompt,score,channel\n"a ""hat"", red",-0.25,\nplain,1.0,b4:1\n'


def test_origin_names_method_images_and_clip(countable_atlas):
    sha256 = countable_atlas.fingerprint.clip.sha256[:12]
    known = f'method sweep, images 24, seed 0, CLIP "countable clip 0" ({sha256}), created 20'
    assert origin(countable_atlas).startswith(known)
