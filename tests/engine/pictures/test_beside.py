"""Work in threads of its own: all of it is done, bounded, and its errors come out."""

from __future__ import annotations

import threading

import pytest

from styleatlas.engine.pictures.beside import Beside


def test_all_work_is_done_when_it_is_left():
    done = []
    with Beside() as beside:
        for number in range(50):
            beside.do(lambda number=number: done.append(number))
    assert sorted(done) == list(range(50))


def test_work_goes_on_beside_what_gives_it_out():
    given_out, done = threading.Event(), []
    with Beside() as beside:
        beside.do(lambda: done.append(given_out.wait(300)))
        given_out.set()
    assert done == [True]


def test_no_more_waits_than_the_threads_can_soon_do():
    begun, go_on = [], threading.Event()

    def work() -> None:
        begun.append(1)
        go_on.wait(300)

    beside = Beside()
    most = 2 * beside._threads
    for _ in range(most):
        beside.do(work)
    blocked = threading.Thread(target=beside.do, args=(work,))
    blocked.start()
    blocked.join(0.2)
    assert blocked.is_alive() and len(beside._waiting) < most + 1
    go_on.set()
    blocked.join(300)
    with beside:
        pass
    assert len(begun) == most + 1


def test_error_of_the_work_is_raised_and_what_had_not_begun_is_left():
    done = []

    def fail() -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"), Beside() as beside:
        beside.do(fail)
        for number in range(1000):
            beside.do(lambda number=number: done.append(number))
    assert len(done) < 1000


def test_error_of_who_gives_it_out_ends_it():
    with pytest.raises(KeyError), Beside() as beside:
        beside.do(lambda: None)
        raise KeyError
