"""The door: who is let in, from where, how often, and with how much."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access import Access
from .problems import Refusal
from .rates import Buckets, client_of
from .tokens import COOKIE, Keys

OPEN = ("/api/v1/health", "/api/v1/ready")
"""Paths that need no token: they say nothing but whether the service works."""
ENTER = "/enter/"
LARGE = ("/api/v1/photos", "/edit")
"""Paths that take photos."""
_GUESSES, _GUESS_SECONDS = 10, 60


class Guard:
    """Stands before the whole service, its WebSockets and Socket.IO too. A request that is let in
    knows its `styleatlas.client`.

    Raises nothing: what is refused is answered with a problem, and a WebSocket is not opened.
    """

    def __init__(self, app: ASGIApp, access: Access, keys: Keys | None) -> None:
        self._app, self._access, self._keys = app, access, keys
        self._buckets = Buckets(access.rate, access.burst)
        self._guesses = Buckets(_GUESSES / _GUESS_SECONDS, _GUESSES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        limit = self._access.photo if scope["path"] in LARGE else self._access.body
        body = _Body(scope, receive, send, limit, self._access.body_seconds)
        try:
            headers = _read_headers(scope)
            self._require_host(headers)
            self._require_same_origin(scope, headers)
            client = client_of((scope.get("client") or (None,))[0])
            self._require_patience(client)
            self._require_token(scope, headers, client)
            _require_length(headers, limit)
        except Refusal as refusal:
            await refuse(scope, receive, body.send, refusal)
            return
        scope["styleatlas.client"] = client
        await self._app(scope, body.receive, body.send)

    def _require_host(self, headers: dict[str, str]) -> None:
        """A name that an attacker's DNS may point here is refused; an address cannot be."""
        name = _host_name(headers.get("host", ""))
        if name is None or not (_is_address(name) or name in ("localhost", *self._access.hosts)):
            raise Refusal(
                421,
                "wrong-host",
                "the request is for a host that is not served here",
                "start the service with --allowed-host and that name",
            )

    def _require_same_origin(self, scope: Scope, headers: dict[str, str]) -> None:
        """Other sites' pages may link here, and nothing else."""
        link = scope.get("method") == "GET" and headers.get("sec-fetch-mode") == "navigate"
        foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not link
        origin = headers.get("origin")
        if foreign or (origin is not None and not _is_of(origin, headers["host"])):
            raise Refusal(403, "wrong-origin", "the request comes from another site's page")

    def _require_patience(self, client: str) -> None:
        if wait := self._buckets.wait(client):
            raise _too_fast(wait)

    def _require_token(self, scope: Scope, headers: dict[str, str], client: str) -> None:
        path = scope["path"]
        if self._keys is None or path in OPEN or path.startswith(ENTER):
            return
        cookie = _cookie(headers)
        if cookie is not None and self._keys.knows(cookie):
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if self._guesses.is_empty(client):  # not even a right one: it might be a guess
                raise _too_fast(_GUESS_SECONDS / _GUESSES)
            if self._keys.opens(token.strip()):
                return
            self._guesses.wait(client)
        raise Refusal(
            401,
            "no-token",
            "the request does not tell the token",
            "send `Authorization: Bearer TOKEN`, or open the link that the service printed",
            {"WWW-Authenticate": "Bearer"},
        )


async def refuse(scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
    """Answers with the problem; a WebSocket stays closed, which its client sees as 403."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.detail})
        return
    await refusal.answer(scope)(scope, receive, send)


def _too_fast(wait: float) -> Refusal:
    seconds = str(math.ceil(wait))
    return Refusal(
        429,
        "too-fast",
        "there are too many requests from this client",
        f"wait {seconds} s",
        {"Retry-After": seconds},
    )


class _Body:
    """What a client sends, of which no more is read than may come, and for no longer. A connection
    is closed by the answer to a body that was not read to its end: who sends without an end would
    be listened to as long."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, limit: int, seconds: float
    ) -> None:
        self._receive, self._send = receive, send
        self._limit, self._size = limit, 0
        self._seconds, self._until = seconds, time.monotonic() + seconds
        names = {name.lower() for name, value in scope["headers"] if value != b"0"}
        self._whole = not names & {b"content-length", b"transfer-encoding"}
        self._is_http = scope["type"] == "http"

    async def receive(self) -> Message:
        """The next part. Once the body is there it only waits for the client to hang up, as long as
        that takes.

        Raises:
            Refusal: it is too large, or does not come.
        """
        if self._whole or not self._is_http:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._until - time.monotonic())
        except asyncio.TimeoutError:
            told = f"the body did not come within {self._seconds:g} s"
            raise Refusal(408, "too-slow", told) from None
        self._size += len(message.get("body", b""))
        if self._size > self._limit:
            raise _too_large(self._limit)
        self._whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self._whole:
            close = (b"connection", b"close")
            message = {**message, "headers": [*message["headers"], close]}
        await self._send(message)


def _require_length(headers: dict[str, str], limit: int) -> None:
    if "content-length" in headers and "transfer-encoding" in headers:
        # A proxy may go by the other of them, and take for a body what is a request here.
        raise Refusal(400, "http", "Content-Length and Transfer-Encoding exclude each other")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 18:
        raise Refusal(400, "http", "Content-Length is no number")
    if int(length) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> Refusal:
    return Refusal(413, "too-large", f"the body is larger than {limit:,} bytes", "send less")


def _read_headers(scope: Scope) -> dict[str, str]:
    """By their names in lower case; what decides who is let in may be there but once."""
    found: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1").lower()
        if name in found and name in _ONCE:
            raise Refusal(400, "http", f"the header {name} is there twice")
        found[name] = value.decode("latin-1")
    return found


_ONCE = ("host", "origin", "authorization", "content-length", "sec-fetch-site", "sec-fetch-mode")


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_of(origin: str, host: str) -> bool:
    """Whether an origin is the host that the request is for; the port that a scheme implies may be
    left out."""
    try:
        one = urlsplit(origin)
        usual = {"http": 80, "https": 443}.get(one.scheme)
        other = urlsplit(f"//{host}")
        same = (one.port or usual) == (other.port or usual)
        return usual is not None and same and one.hostname == other.hostname
    except ValueError:
        return False


def _cookie(headers: dict[str, str]) -> str | None:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value
