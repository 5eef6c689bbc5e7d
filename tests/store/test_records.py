from __future__ import annotations

import pytest

from styleatlas.store.records import (
    counted,
    csv_lines,
    duration,
    text_fields,
    text_sides,
    text_table,
)


def test_table_aligns_numbers_right_and_words_left():
    records = [
        {"channel": "b4:1", "score": 0.12345, "swept": 5, "note": None},
        {"channel": "b64.conv0:217", "score": -1.0, "swept": 12, "note": "x"},
    ]
    assert text_table(records).splitlines() == [
        "channel         score  swept  note",
        "b4:1            0.123      5  -",
        "b64.conv0:217  -1.000     12  x",
    ]


def test_table_of_small_numbers_keeps_three_digits_of_the_largest():
    records = [{"a": 0.00012344, "b": 0.5}, {"a": -0.0451, "b": 0.0}]
    assert text_table(records).splitlines() == [
        "      a      b",
        " 0.0001  0.500",
        "-0.0451  0.000",
    ]


def test_nothing_is_said_so():
    assert text_table([]) == "(nothing)" == text_sides([])
    assert csv_lines([]) == ""


def test_sides_stand_below_what_they_share():
    records = [
        {"channel": "b4:1", "side": "towards", "prompt": "a beard", "score": 0.5},
        {"channel": "b4:1", "side": "away", "prompt": "a hat", "score": -0.25},
    ]
    assert text_sides(records).splitlines() == [
        *("channel", "b4:1", "", "towards", "prompt   score", "a beard  0.500", ""),
        *("away", "prompt   score", "a hat   -0.250"),
    ]
    alone = [{"side": "away", "prompt": "a hat"}]
    assert text_sides(alone).splitlines() == ["towards", "(nothing)", "", "away", "prompt", "a hat"]


def test_csv_quotes_what_needs_it_and_leaves_none_empty():
    records = [
        {"prompt": 'a "hat", red', "score": -0.25, "channel": None},
        {"prompt": "plain", "score": 1.0, "channel": "b4:1"},
    ]
    text = csv_lines(records)
    assert text == 'prompt,score,channel\n"a ""hat"", red",-0.25,\nplain,1.0,b4:1\n'


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (1200, "1,200 images")]
)
def test_counts_are_said_as_people_say_them(number, text):
    assert counted(number, "image") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (7200, "2.0 h"), (10**6, "11.6 days")],
)
def test_duration_is_said_in_the_unit_that_fits(seconds, text):
    assert duration(seconds) == text


def test_texts_of_a_list_stand_in_one_cell():
    record = {"held": ["a hat", "a bun"], "none": [], "share": 0.25, "kind": None}
    assert csv_lines([record]) == "held,none,share,kind\na hat; a bun,,0.25,\n"
    assert text_fields(record).splitlines() == [
        "held   a hat; a bun",
        "none   -",
        "share  0.250",
        "kind   -",
    ]
