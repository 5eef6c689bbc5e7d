from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from styleatlas.server.works.nouns import Job
from styleatlas.server.works.turns import Turns

OTHER = {"prompts": ["a face"]}


def job(name: str, client: str, kind: str = "texts", body: dict | None = None) -> Job:
    return Job(name, kind, OTHER if body is None else body, client, None, "waiting", 0.0)


def edit(name: str, client: str, *seeds: int, alpha: float = 1.0) -> Job:
    return job(name, client, "edit", {"seeds": list(seeds), "alpha": alpha})


def taken(turns: Turns) -> list[str]:
    """The names of all, in the order of their turns."""
    names = []
    while jobs := turns.take():
        names += [job.id for job in jobs]
    return names


def test_who_asks_for_much_waits_for_itself():
    turns = Turns(64)
    for i in range(20):
        turns.add(job(f"flood {i}", "flooder"))
    for client in ("anna", "bo"):
        turns.add(job(client, client))
    assert taken(turns)[:4] == ["flood 0", "anna", "bo", "flood 1"]


@given(st.lists(st.sampled_from("abcd"), max_size=30))
def test_place_is_the_number_of_the_turn(clients):
    turns = Turns(64)
    jobs = [job(str(i), client) for i, client in enumerate(clients)]
    for one in jobs:
        turns.add(one)
    places = {one.id: turns.place(one) for one in jobs}
    assert len(turns) == len(jobs)
    order = taken(turns)
    assert places == {name: order.index(name) + 1 for name in places}
    assert len(turns) == 0 and all(turns.place(one) == 0 for one in jobs)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=20), st.data())
def test_one_that_is_removed_leaves_the_turns_of_others(clients, data):
    turns, without = Turns(64), Turns(64)
    gone = data.draw(st.integers(0, len(clients) - 1))
    for i, client in enumerate(clients):
        turns.add(job(str(i), client))
        if i != gone:
            without.add(job(str(i), client))
    removed = job(str(gone), clients[gone])
    assert turns.remove(removed) and not turns.remove(removed)
    # A client whose first job goes keeps its turn; one who has none other had none.
    assert sorted(taken(turns)) == sorted(taken(without))


def test_edits_that_differ_in_their_seeds_alone_go_together():
    turns = Turns(64)
    turns.add(edit("first", "anna", 1))
    turns.add(job("other kind", "bo"))
    turns.add(edit("behind it", "bo", 2))
    turns.add(edit("same", "carl", 3, 4))
    turns.add(edit("same again", "carl", 5))
    turns.add(edit("other alpha", "carl", 5, alpha=2.0))
    assert [job.id for job in turns.take()] == ["first", "same", "same again"]
    assert taken(turns) == ["other kind", "other alpha", "behind it"]


def test_no_more_images_go_together_than_may():
    turns = Turns(4)
    for name, seeds in (("one", (1, 2)), ("two", (3, 4)), ("three", (5,))):
        turns.add(edit(name, name, *seeds))
    assert [job.id for job in turns.take()] == ["one", "two"]
    assert [job.id for job in turns.take()] == ["three"]


def test_job_that_a_worker_was_lost_at_goes_alone():
    turns = Turns(64)
    turns.add(replace(edit("lost", "anna", 1), losses=1))
    turns.add(edit("same", "bo", 1))
    assert [job.id for job in turns.take()] == ["lost"]


def test_edits_of_latents_do_not_go_together():
    turns = Turns(64)
    for name in ("one", "two"):
        turns.add(job(name, name, "edit", {"seeds": None, "latents": name, "alpha": 1.0}))
    assert [job.id for job in turns.take()] == ["one"]
