"""How often a client may come."""

from __future__ import annotations

import pytest

from styleatlas.server.api import rates
from styleatlas.server.api.rates import Buckets, client_of


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_bucket_serves_its_burst_and_then_its_rate():
    clock = Clock()
    buckets = Buckets(rate=2, burst=3, now=clock)
    assert [buckets.wait("a") for _ in range(5)] == [0, 0, 0, 0.5, 0.5]
    clock.now += 0.25
    assert buckets.wait("a") == 0.25
    clock.now += 0.25
    assert [buckets.wait("a") for _ in range(2)] == [0, 0.5]
    clock.now += 1e6  # a full bucket holds no more than the burst
    assert [buckets.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_clients_have_buckets_of_their_own():
    buckets = Buckets(rate=1, burst=1, now=Clock())
    assert (buckets.wait("a"), buckets.wait("b")) == (0, 0)
    assert buckets.is_empty("a") and not buckets.is_empty("c")


def test_those_that_came_last_are_remembered(monkeypatch):
    monkeypatch.setattr(rates, "MAX_CLIENTS", 2)
    buckets = Buckets(rate=1, burst=1, now=Clock())
    for client in ("a", "b", "a", "c"):
        buckets.wait(client)
    assert not buckets.is_empty("b")  # forgotten
    assert buckets.is_empty("a") and buckets.is_empty("c")


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
        (None, "unknown"),
    ],
)
def test_whose_an_address_is(host, client):
    assert client_of(host) == client
