"""Locks, what differs, and the file that keeps a state: what every kind of long work shares."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from styleatlas.store import work
from styleatlas.store.errors import OutputError, ResumeError
from styleatlas.store.fingerprint import ModelIdentity
from styleatlas.store.work import Lock, StateFile, differences, model_part, value_parts

PLACE = Path("/data/a.png.work")


def test_lock_is_had_once_and_its_file_goes_with_it(tmp_path):
    path = tmp_path / "lock"
    first = Lock(path, PLACE)
    with pytest.raises(ResumeError) as caught:
        Lock(path, PLACE)
    assert str(caught.value) == (
        f"{PLACE}: another run is at work here; wait for it or end it, or choose another -o"
    )
    assert path.exists(), "who was refused takes nothing away"
    first.release()
    assert not path.exists()
    first.release()
    Lock(path, PLACE).release()


def test_file_of_a_lock_that_nobody_holds_is_in_nobodys_way(tmp_path):
    path = tmp_path / "lock"
    path.write_text("of a process that was killed")
    Lock(path, PLACE).release()
    assert not path.exists()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_system_without_locks_is_refused_by_name(tmp_path, monkeypatch, number):
    def unlockable(descriptor: int, blocking: bool) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(work, "lock_descriptor", unlockable)
    with pytest.raises(OutputError) as caught:
        StateFile(tmp_path / "a.png", "optimisation")
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'a.png.work'}: its file system has no locks (")
    assert text.endswith("choose another -o, on a local disk, or mount it with locks")
    assert list(tmp_path.iterdir()) == []


def test_file_that_was_removed_after_it_was_opened_is_no_lock(tmp_path, monkeypatch):
    """As when who held it lets go between both steps of who comes."""
    path, calls, known = tmp_path / "lock", [], work.lock_descriptor

    def removing(descriptor: int, blocking: bool) -> bool:
        calls.append(descriptor)
        if len(calls) == 1:
            path.unlink()
        return known(descriptor, blocking=blocking)

    monkeypatch.setattr(work, "lock_descriptor", removing)
    lock = Lock(path, PLACE)
    assert len(calls) == 2 and path.exists()
    with pytest.raises(ResumeError):
        Lock(path, PLACE)
    lock.release()


def test_differences_are_told_by_name_and_none_is_a_value():
    one = {"generator": model_part(ModelIdentity("a", "1" * 64, {})), **value_parts({"x": None})}
    other = {"generator": model_part(ModelIdentity("b", "2" * 64, {})), **value_parts({"y": 3})}
    renamed = {**one, "generator": model_part(ModelIdentity("c", "1" * 64, {}))}
    assert differences(one, one) == differences(one, renamed) == []
    assert differences(one, other) == [
        'generator is "a" (111111111111) there and "b" (222222222222) here',
        "x is null there and unset here",
        "y is unset there and 3 here",
    ]
    (told,) = differences({}, value_parts({"long": "x" * 1000}, "settings."))
    assert told.startswith("settings.long is unset there and") and len(told) < 150


def test_clip_of_another_configuration_differs_and_one_of_before_does_not():
    quick, plain, before = (
        {"CLIP": model_part(ModelIdentity("a", "1" * 64, told))}
        for told in ({"quick_gelu": 1}, {"quick_gelu": 0}, {})
    )
    (told,) = differences(quick, plain)
    assert told.startswith('CLIP is "a" (111111111111) of configuration ')
    assert len(set(re.findall("configuration ([0-9a-f]{13})", told))) == 2
    assert differences(before, quick) == differences(plain, before) == []


def test_state_is_saved_when_it_is_due_and_read_again(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(work.time, "monotonic", lambda: now[0])
    with StateFile(tmp_path / "a.png", "optimisation") as place:
        assert place.load(Path.read_bytes) is None and not place.there
        assert not place.due
        now[0] += work.SAVE_SECONDS
        assert place.due
        place.save(b"state")
        assert not place.due and place.load(Path.read_bytes) == b"state"
    assert list(tmp_path.iterdir()) == [place.path]
    with StateFile(tmp_path / "a.png", "optimisation") as place:
        assert place.load(Path.read_bytes) == b"state"
        place.remove()
    assert list(tmp_path.iterdir()) == []


def test_state_that_cannot_be_read_is_refused_with_the_mend_and_stays(tmp_path):
    def unreadable(path: Path) -> None:
        raise ValueError(f"{path}: is nonsense")

    with StateFile(tmp_path / "a.png", "optimisation") as place:
        place.save(b"state")
        with pytest.raises(ResumeError) as caught:
            place.load(unreadable)
        assert str(caught.value) == (
            f"{place.path}: cannot be resumed (is nonsense); delete it to start afresh, or choose "
            "another -o"
        )
        with pytest.raises(ResumeError, match="is of another optimisation: x is 1 there and 2 her"):
            place.require_same(value_parts({"x": 1}), value_parts({"x": 2}))
        assert place.there


def test_what_killed_writes_left_is_removed_and_nothing_like_it(tmp_path):
    ours = [f".{name}.0123abcd.tmp" for name in ("a.png", "a.png.work", "a.csv")]
    others = [".b.png.0123abcd.tmp", ".a.png.work.tmp"]
    for name in ours + others:
        (tmp_path / name).write_text("half")
    with StateFile(tmp_path / "a.png", "training", "a.csv"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_name_too_long_for_the_state_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="the name is too long; shorten it"):
        StateFile(tmp_path / ("x" * 250), "training")
    assert list(tmp_path.iterdir()) == []
