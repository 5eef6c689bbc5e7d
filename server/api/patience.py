"""A connection that does not wait for ever."""

from __future__ import annotations

import asyncio
import sys

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .problems import Refusal

HEAD_SECONDS = 10.0
_CONNECTIONS, _FILES = 2000, 200
"""At once, and what else the process has open."""


def most_connections() -> int:
    """How many there may be at once, once the system has been asked for as many files as that
    takes."""
    if sys.platform == "win32":
        return _CONNECTIONS
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CONNECTIONS + _FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(soft // 2, soft - _FILES)
    return _CONNECTIONS


class Impatient(H11Protocol):
    """HTTP/1.1 by h11 that hangs up where the head of a request does not come whole in time, for
    which uvicorn itself waits as long as any client likes, and where there are too many connections
    already, or half as many from one address, unless it is a proxy's."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._is_one_too_many():
            transport.abort()
        else:
            self._expect_head()

    def _is_one_too_many(self) -> bool:
        most, there = self.config.limit_concurrency, self.server_state.connections
        if most is None or len(there) <= most // 2:
            return False
        if len(there) >= most:
            return True
        own = sum(_address(one) == _address(self) for one in there)
        return own > most // 2 and not self.config.proxy_headers

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._expect_head()
        else:
            self._expect_nothing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answers what is no request, and hangs up; as a problem, which uvicorn's own is not."""
        answer = Refusal(400, "http", "what came is no request of HTTP/1.1").response(None)
        headers = [*answer.raw_headers, (b"connection", b"close")]
        for part in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(part) or b"")
        self.transport.close()

    def _expect_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _expect_nothing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _address(connection: object) -> object:
    """Whose a connection is: one of this kind, or a WebSocket."""
    transport = getattr(connection, "transport", None)
    peer = None if transport is None else transport.get_extra_info("peername")
    return peer[0] if isinstance(peer, tuple) else None
