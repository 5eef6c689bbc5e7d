"""Around the whole service: a number for every request, a line in the log, and no traceback."""

from __future__ import annotations

import json
import logging
import secrets
import time
from datetime import datetime, timezone
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..works.traces import places
from .metrics import Metrics
from .problems import unforeseen

LOG = logging.getLogger("styleatlas.server")
_HEADERS = (
    (b"content-security-policy",
     b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
     b"font-src 'self'; "
     b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)  # fmt: skip


class JsonLines(logging.Formatter):
    """A record as one line of JSON; what is under `told` stands beside the message.

    Args:
        prompts: whether the words of errors may be told, in which prompts may be.
    """

    def __init__(self, prompts: bool = False) -> None:
        super().__init__()
        self._prompts = prompts

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, timezone.utc).isoformat("T", "milliseconds")
        line: dict[str, Any] = {"time": when, "level": record.levelname.lower()}
        line |= {"event": record.getMessage(), **getattr(record, "told", {})}
        if record.exc_info and (error := record.exc_info[1]):
            told = self.formatException(record.exc_info)
            line["traceback"] = told if self._prompts else places(error)
        return json.dumps(line, ensure_ascii=False, default=str)


def tell(event: str, **told: Any) -> None:
    """Writes a line of the log."""
    LOG.info(event, extra={"told": told})


class Envelope:
    """Every request gets an id, which its answer and its line in the log bear, and every answer the
    headers that keep a browser safe. A line names the route and not the path, in which names of
    pictures are, whoever knows which may see them; and no query, where prompts are.

    What nobody foresaw is written to the log with its traceback, and is 500 to the client.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request = scope["styleatlas.request"] = secrets.token_hex(8)
        status, size, began = 0, 0, time.perf_counter()

        async def sent(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": _with_ours(message["headers"], request)}
            elif message["type"] == "websocket.accept":
                status = 101
            size += len(message.get("body", b"") or message.get("bytes", b"") or b"")
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except Exception:
            LOG.exception("error", extra={"told": {"request": request}})
            if scope["type"] == "http" and not status:
                await unforeseen().response(request)(scope, receive, sent)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "-")
            method = scope.get("method", "WEBSOCKET")
            self._metrics.count(method, route, status, seconds)
            client = scope.get("styleatlas.client")
            tell("request", request=request, client=client, method=method, route=route,
                 status=status, ms=round(1000 * seconds, 1), bytes=size)  # fmt: skip


def _with_ours(headers: list[tuple[bytes, bytes]], request: str) -> list[tuple[bytes, bytes]]:
    there = {name.lower() for name, _ in headers}
    ours = [(name, value) for name, value in _HEADERS if name not in there]
    if b"cache-control" not in there:
        ours.append((b"cache-control", b"no-store"))
    return [*headers, *ours, (b"x-request-id", request.encode())]
