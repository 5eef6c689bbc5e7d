"""The file that work on a video is kept in."""

from __future__ import annotations

import numpy as np
import pytest

from styleatlas.engine.videos.ledger import Ledger, packed, unpacked
from styleatlas.store.errors import ResumeError

PLAN = {"recipe": "one"}


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out.mp4"


def fill(output, count=3):
    with Ledger(output, PLAN) as ledger:
        for i in range(count):
            ledger.add(b"face", packed(quad=np.full((4, 2), i + 0.5), told=np.array([i])))
            ledger.add(b"film", bytes([i]) * 10)
    return ledger.path


def test_records_come_back_in_order_by_kind(output):
    path = fill(output)
    assert path.name == "out.mp4.work"
    with Ledger(output, PLAN) as ledger:
        assert (ledger.count(b"face"), ledger.count(b"film"), ledger.count(b"none")) == (3, 3, 0)
        assert [unpacked(one)["quad"][0, 0] for one in ledger.all(b"face")] == [0.5, 1.5, 2.5]
        assert ledger.read(b"film", 1) == b"\1" * 10
        ledger.add(b"film", b"more")
        assert ledger.read(b"film", 3) == b"more"
        ledger.remove()
    assert not path.exists()


@pytest.mark.parametrize("lost", [1, 10, 50, 60, 130])
def test_what_a_crash_left_half_written_is_made_again(lost, output):
    path = fill(output)
    content = path.read_bytes()
    path.write_bytes(content[:-lost])
    with Ledger(output, PLAN) as ledger:
        there = ledger.count(b"face"), ledger.count(b"film")
        assert there in ((3, 2), (2, 2))
        for i in range(there[0], 3):
            ledger.add(b"face", packed(quad=np.full((4, 2), i + 0.5), told=np.array([i])))
        ledger.add(b"film", bytes([2]) * 10)
    assert path.read_bytes() == content


def test_nothing_behind_a_damaged_record_is_believed(output):
    path = fill(output)
    content = bytearray(path.read_bytes())
    content[content.index(bytes([1]) * 10) + 3] ^= 1
    path.write_bytes(bytes(content))
    with Ledger(output, PLAN) as ledger:
        assert (ledger.count(b"face"), ledger.count(b"film")) == (2, 1)


def test_other_work_is_refused_by_what_differs(output):
    path = fill(output)
    with pytest.raises(ResumeError, match=r'recipe is "one" there and "two" here'):
        Ledger(output, {"recipe": "two"})
    assert path.exists()


def test_what_is_no_such_file_is_refused_and_left(output):
    path = fill(output)
    path.write_bytes(b"something else")
    with pytest.raises(ResumeError, match=r"cannot be resumed \(it is no such file\); delete it"):
        Ledger(output, PLAN)
    assert path.read_bytes() == b"something else"


def test_two_at_a_time_are_refused(output):
    with (
        Ledger(output, PLAN),
        pytest.raises(ResumeError, match="another run is at work here"),
    ):
        Ledger(output, PLAN)


def test_a_file_that_was_only_begun_is_begun_again(output):
    path = fill(output)
    path.write_bytes(path.read_bytes()[:30])
    with Ledger(output, PLAN) as ledger:
        assert ledger.count(b"face") == 0
        ledger.add(b"face", b"x")
    with Ledger(output, PLAN) as ledger:
        assert ledger.count(b"face") == 1
