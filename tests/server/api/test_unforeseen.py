"""What nobody foresaw: a problem to the client, places without words to the log."""

from __future__ import annotations

import asyncio
import json
import logging
import socket

import httpx
from fastapi import FastAPI

from styleatlas.server.api.logs import LOG, Envelope, JsonLines
from styleatlas.server.api.metrics import Metrics
from styleatlas.server.api.problems import on_unforeseen

PROMPT = " ".join(["a", "secret", "prompt"])  # as a traceback shows the lines of the source


async def asked() -> httpx.Response:
    """The answer of a route that fails with a prompt in its words."""
    app = FastAPI()
    app.add_exception_handler(Exception, on_unforeseen)

    @app.get("/")
    async def fail() -> None:
        try:
            raise ValueError(PROMPT)
        except ValueError as error:
            raise RuntimeError(PROMPT) from error

    transport = httpx.ASGITransport(Envelope(app, Metrics(dict)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get("/")


def test_error_of_a_route_is_a_problem_and_its_words_are_in_no_log(caplog):
    LOG.addHandler(caplog.handler)
    try:
        answer = asyncio.run(asked())
    finally:
        LOG.removeHandler(caplog.handler)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"].endswith("unforeseen") and PROMPT not in answer.text
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR][:1]
    line = json.loads(JsonLines().format(record))
    assert line["request"] == problem["request"]
    assert PROMPT not in json.dumps(line)
    assert all(word in line["traceback"] for word in ("ValueError", "RuntimeError", "in fail"))
    assert PROMPT in JsonLines(prompts=True).format(record)


def test_what_is_no_request_is_a_problem(service):
    with socket.create_connection(service.address) as client:
        client.sendall(b"this is no request\r\n\r\n")
        answer = b""
        while part := client.recv(2**16):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400") and b"application/problem+json" in head
    assert json.loads(body)["detail"] == "what came is no request of HTTP/1.1"
