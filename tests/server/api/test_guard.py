"""The door, before an application that lets everything in."""

from __future__ import annotations

import asyncio
import json

import pytest

from styleatlas.server.api import guard
from styleatlas.server.api.access import Access
from styleatlas.server.api.guard import Guard
from styleatlas.server.api.tokens import COOKIE, Keys

TOKEN = "0123456789abcdef"
HERE = {"host": "127.0.0.1:7860"}
IN = (200, None)


async def _reading(scope, receive, send):
    """Reads the body and says who asked."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["styleatlas.client"].encode()})


def knock(
    door,
    headers=HERE,
    path="/api/v1/atlases",
    method="GET",
    chunks=(b"",),
    kind="http",
    client="192.0.2.7",
):
    """Sends a request: its status, and the last part of the problem's type."""
    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in dict(headers).items()]
        + ([(b"transfer-encoding", b"chunked")] if len(chunks) > 1 else []),
        "client": (client, 5000),
    }
    return asyncio.run(_knock(door, scope, chunks))


async def _knock(door, scope, chunks):
    coming = [
        {"type": "http.request", "body": chunk, "more_body": i + 1 < len(chunks)}
        for i, chunk in enumerate(chunks)
    ]
    answers = []

    async def receive():
        if not coming or coming[0]["body"] is None:
            await asyncio.sleep(3600)  # a client that sends nothing more
        return coming.pop(0)

    async def send(message):
        answers.append(message)

    try:
        await door(scope, receive, send)
    except guard.Refusal as refusal:  # raised while the body was read, as an application answers it
        return refusal.status_code, refusal.kind
    if answers[0]["type"].startswith("websocket"):
        return answers[0]["type"].removeprefix("websocket."), None
    body = answers[-1]["body"]
    kind = json.loads(body)["type"].rpartition(":")[2] if answers[0]["status"] >= 400 else None
    return answers[0]["status"], kind


@pytest.fixture
def door():
    return Guard(_reading, Access(hosts=("atlas.example.org",)), None)


@pytest.fixture
def locked():
    return Guard(_reading, Access(token=TOKEN), Keys(TOKEN))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860", "203.0.113.9",
     "atlas.example.org", "Atlas.Example.org:443"],
)  # fmt: skip
def test_hosts_that_are_served(door, host):
    assert knock(door, {"host": host}) == IN


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "atlas.example.org.",
     "[::1", "a@evil.example", "evil.example/127.0.0.1", "xn--localhost"],
)  # fmt: skip
def test_names_that_somebody_else_may_point_here_are_refused(door, host):
    assert knock(door, {"host": host}) == (421, "wrong-host")


def test_request_without_a_host_is_refused(door):
    assert knock(door, {}) == (421, "wrong-host")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1:7860"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},  # a link to the page
    ],
)
def test_our_own_page_and_links_to_it_are_let_in(door, headers):
    assert knock(door, HERE | headers) == IN


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://127.0.0.1:3000"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:bad"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
    ],
)
def test_other_sites_pages_are_refused(door, headers, kind):
    refused = ("close", None) if kind == "websocket" else (403, "wrong-origin")
    assert knock(door, HERE | headers, kind=kind) == refused


def test_form_of_another_site_is_refused_though_it_navigates(door):
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert knock(door, HERE | headers, method="POST") == (403, "wrong-origin")


def test_origin_behind_a_proxy_may_leave_its_port_out(door):
    host = {"host": "atlas.example.org"}
    assert knock(door, host | {"origin": "https://atlas.example.org"}) == IN
    assert knock(door, host | {"origin": "https://other.example.org"}) == (403, "wrong-origin")


def test_token_opens_and_nothing_else_does(locked):
    assert knock(locked, HERE | {"authorization": f"Bearer {TOKEN}"}) == IN
    assert knock(locked, HERE | {"authorization": f"bearer  {TOKEN} "}) == IN
    for wrong in ("", "Bearer", "Bearer x", f"Basic {TOKEN}", TOKEN):
        assert knock(locked, HERE | {"authorization": wrong}) == (401, "no-token")
    assert knock(locked, kind="websocket") == ("close", None)


def test_cookie_opens_in_place_of_the_token():
    keys = Keys(TOKEN)
    locked = Guard(_reading, Access(token=TOKEN), keys)
    cookie = keys.redeem(keys.new_link())
    assert knock(locked, HERE | {"cookie": f"other=1; {COOKIE}={cookie}"}) == IN
    for wrong in (f"{COOKIE}={cookie}0", f"{COOKIE}=", "=;;;=", f"x{COOKIE}={cookie}"):
        assert knock(locked, HERE | {"cookie": wrong}) == (401, "no-token")


@pytest.mark.parametrize("path", ["/api/v1/health", "/api/v1/ready", "/enter/abc"])
def test_what_needs_no_token(locked, path):
    assert knock(locked, path=path) == IN


@pytest.mark.parametrize(
    "path", ["/", "/api/v1/health/", "/api/v1/health/../atlases", "/enter", "//api/v1/health"]
)
def test_paths_beside_those_need_one(locked, path):
    assert knock(locked, path=path) == (401, "no-token")


def test_guessing_is_slow_for_who_guesses_and_for_nobody_else(locked):
    right = HERE | {"authorization": f"Bearer {TOKEN}"}
    for guess in range(10):
        headers = HERE | {"authorization": f"Bearer {guess}"}
        assert knock(locked, headers) == (401, "no-token")
    assert knock(locked, right) == (429, "too-fast")  # it might be a guess, too
    assert knock(locked, right, client="192.0.2.8") == IN


def test_client_that_comes_too_often_waits():
    door = Guard(_reading, Access(rate=0.001, burst=3), None)
    assert [knock(door)[0] for _ in range(4)] == [200, 200, 200, 429]
    assert knock(door, client="192.0.2.8") == IN


def test_body_that_says_it_is_too_large_is_not_read(door):
    length = str(Access.body + 1)
    assert knock(door, HERE | {"content-length": length}, method="POST") == (413, "too-large")
    assert knock(door, HERE | {"content-length": length}, "/api/v1/photos", "POST") == IN


def test_body_that_does_not_say_so_is_not_read_to_its_end(door):
    half = b"x" * (Access.body // 2)
    assert knock(door, method="POST", chunks=(half, half)) == IN
    assert knock(door, method="POST", chunks=(half, half, b"x")) == (413, "too-large")


def test_body_that_does_not_come_is_given_up():
    door = Guard(_reading, Access(body_seconds=0.05), None)
    assert knock(door, method="POST", chunks=(b"x", None)) == (408, "too-slow")


@pytest.mark.parametrize(
    ("header", "closed"),
    [
        ((b"transfer-encoding", b"chunked"), True),
        ((b"content-length", b"1"), True),
        ((b"content-length", b"0"), False),
        ((b"accept", b"*/*"), False),
    ],
)
def test_connection_of_a_body_that_is_not_read_is_closed(locked, header, closed):
    """Who sends for ever would else be listened to for ever."""
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), header]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "client": None}
    asyncio.run(locked(scope, None, send))
    assert ((b"connection", b"close") in sent[0]["headers"]) is closed


@pytest.mark.parametrize("length", ["-1", "1e9", "0x10", "٣", "9" * 19, ""])
def test_length_that_is_none_is_refused(door, length):
    headers = HERE | {"content-length": length.encode().decode("latin-1")}
    assert knock(door, headers, method="POST") == (400, "blank")


@pytest.mark.parametrize("name", ["host", "origin", "authorization", "content-length"])
def test_header_that_decides_may_be_there_but_once(door, name):
    twice = [(b"host", b"127.0.0.1"), (name.encode(), b"1"), (name.encode(), b"127.0.0.1")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": twice, "client": None}
    assert asyncio.run(_knock(door, scope, (b"",))) == (400, "blank")


def test_door_opens_for_the_lifespan(locked):
    heard = []

    async def app(scope, receive, send):
        heard.append(scope["type"])

    asyncio.run(Guard(app, Access(token=TOKEN), Keys(TOKEN))({"type": "lifespan"}, None, None))
    assert heard == ["lifespan"]
