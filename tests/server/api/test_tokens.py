"""The token, the link that works once, and the cookie."""

from __future__ import annotations

import pytest

from styleatlas.server.api.tokens import LINK_SECONDS, MAX_LINKS, SESSION_SECONDS, Keys

TOKEN = "0123456789abcdef"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(clock) -> Keys:
    return Keys(TOKEN, clock)


def test_only_the_token_opens(keys):
    assert keys.opens(TOKEN)
    for wrong in ("", TOKEN[:-1], TOKEN + "0", TOKEN.upper(), "é\ud800"):
        assert not keys.opens(wrong)


def test_link_works_once_and_within_its_hour(keys, clock):
    used, late = keys.new_link(), keys.new_link()
    assert keys.redeem(used) is not None
    assert keys.redeem(used) is None
    clock.now += LINK_SECONDS
    assert keys.redeem(late) is None


def test_oldest_of_too_many_links_is_given_up(keys):
    links = [keys.new_link() for _ in range(MAX_LINKS + 1)]
    assert keys.redeem(links[0]) is None
    assert keys.redeem(links[1]) is not None


def test_cookie_outlives_a_restart_and_ends_in_time(keys, clock):
    cookie = keys.redeem(keys.new_link())
    restarted = Keys(TOKEN, clock)
    assert restarted.knows(cookie)
    clock.now += SESSION_SECONDS
    assert not restarted.knows(cookie)


def test_cookie_of_another_token_or_another_time_is_none_of_ours(keys, clock):
    cookie = keys.redeem(keys.new_link())
    assert not Keys("another token of its own", clock).knows(cookie)
    until, rest = cookie.split(".", 1)
    later = f"{int(until) + 1}.{rest}"
    for wrong in (later, "", ".", "..", cookie[:-1], cookie + "0", "9" * 5000, "é.é.é"):
        assert not keys.knows(wrong)
