"""The list of a folder of edited photos."""

from __future__ import annotations

import csv

import pytest

from styleatlas.engine.jobs.photo_list import COLUMNS, FAILED, NAME, PhotoList
from styleatlas.store.errors import OutputError

ROW = {"photo": "me.jpg", "picture": "me.jpg", "status": "reached", "alpha": "1.2", "recipe": "ab"}


def test_rows_are_kept_by_picture_and_read_again(tmp_path):
    known = PhotoList(tmp_path)
    faces = [{**ROW, "face": f"face {i}", "farther": 0.123456, "identity": None} for i in (1, 2)]
    known.put("me.jpg", faces)
    known.put("a.png", [{**ROW, "picture": "a.png", "recipe": "cd"}])
    with (tmp_path / NAME).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["picture"] for row in rows] == ["a.png", "me.jpg", "me.jpg"]
    assert rows[1]["farther"] == "0.1235" and rows[1]["identity"] == ""
    known.put("me.jpg", faces[:1])
    assert [row["face"] for row in PhotoList(tmp_path).of("me.jpg")] == ["face 1"]


def test_done_is_what_is_there_of_the_same_recipe_and_did_not_fail(tmp_path):
    known = PhotoList(tmp_path)
    assert not known.is_done("me.jpg", "ab")
    known.put("me.jpg", [ROW])
    assert not known.is_done("me.jpg", "ab")  # no picture
    (tmp_path / "me.jpg").write_bytes(b"")
    again = PhotoList(tmp_path)
    assert again.is_done("me.jpg", "ab") and not again.is_done("me.jpg", "ac")
    again.put("me.jpg", [{**ROW, "status": FAILED}])
    assert not again.is_done("me.jpg", "ab")


def test_names_of_anybodys_stay_on_a_line(tmp_path):
    name = 'a "b",\n\x1b[2J\udcff.jpg'
    known = PhotoList(tmp_path)
    known.put(name, [{**ROW, "picture": name}])
    (row,) = PhotoList(tmp_path).of(name)
    assert row["picture"] == 'a "b",\\n\\x1b[2J\\udcff.jpg'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"my,own,list\n1,2,3\n",
        b"\xff\xfe",
        (",".join(COLUMNS) + "\nme.jpg,short\n").encode(),
        (",".join(COLUMNS) + "\n" + "x," * 20 + "\n").encode(),
        (",".join(COLUMNS) + "\n" + "x" * 200_000 + "\n").encode(),
    ],
)
def test_somebody_elses_list_is_not_written_over(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(OutputError, match="is no list of edited photos"):
        PhotoList(tmp_path)
    assert (tmp_path / NAME).read_bytes() == content
