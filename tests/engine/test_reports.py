from __future__ import annotations

import json

import numpy as np
import pytest

from styleatlas.engine.editor import Editor
from styleatlas.engine.reports import (
    atlas_record,
    channel_records,
    edit_record,
    prompt_records,
    table,
)
from styleatlas.engine.sampling import styles_from_seeds
from styleatlas.store.errors import LayoutError, OptionError


def test_channels_are_listed_from_the_strongest_answer_of_either_sign(countable_atlas, encoder):
    text = (0.6 * encoder.effect(12) - 0.8 * encoder.effect(7)).astype(np.float32)
    records = channel_records(countable_atlas, text, 12)
    assert [record["channel"] for record in records[:2]] == ["b8.conv0:0", "b8.torgb:1"]
    assert [record["kind"] for record in records[:2]] == ["conv", "rgb"]
    assert records[0]["score"] < 0 < records[1]["score"]
    sizes = [abs(record["score"]) for record in records]
    assert sizes == sorted(sizes, reverse=True)
    assert channel_records(countable_atlas, text, 3) == records[:3]
    assert len(channel_records(countable_atlas, text, 99)) == 12


def test_channel_record_holds_the_numbers_of_its_row(countable_atlas, encoder):
    text = encoder.effect(9).astype(np.float32)
    (record,) = channel_records(countable_atlas, text, 1)
    row = countable_atlas.row_of(9)
    assert record == {
        "channel": "b8.conv0:2",
        "kind": "conv",
        "consistency": round(float(countable_atlas.consistency[row]), 4),
        "strength": round(float(countable_atlas.strength[row]), 4),
        "score": round(float(countable_atlas.rows[row] @ text), 4),
    }


def test_prompts_are_listed_to_both_sides_of_a_channel(countable_atlas):
    record = prompt_records(countable_atlas, "b8.conv0:0", 4)
    assert record["channel"] == "b8.conv0:0"
    towards, away = record["towards"], record["away"]
    assert towards[0]["prompt"] == "a picture channel7"
    assert towards[0]["score"] > 0.5
    assert away == towards[::-1]
    assert [line["score"] for line in towards] == sorted(
        (line["score"] for line in towards), reverse=True
    )
    assert away[0]["score"] < 0
    assert len(prompt_records(countable_atlas, "b8.conv0:0", 2)["away"]) == 2


def test_prompts_of_a_channel_without_a_row_are_refused(countable_atlas):
    with pytest.raises(LayoutError, match="channel input:1: is not in this atlas"):
        prompt_records(countable_atlas, "input:1", 3)
    with pytest.raises(LayoutError, match=r"did you mean 'b8\.conv0'"):
        prompt_records(countable_atlas, "b8.conv1:0", 3)


@pytest.mark.parametrize("top", [0, -3])
def test_fewer_than_one_answer_is_refused(countable_atlas, encoder, top):
    with pytest.raises(OptionError, match=f"top {top}: must be at least 1"):
        channel_records(countable_atlas, encoder.effect(7).astype(np.float32), top)
    with pytest.raises(OptionError, match=f"top {top}: must be at least 1"):
        prompt_records(countable_atlas, "b8.conv0:0", top)


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


def test_table_of_nothing_says_so():
    assert table([]) == "(nothing)"
