"""Live sessions: a WebSocket that takes where the sliders stand, and gives pictures.

The client's first message is a `LiveStart`, every other a `LiveMessage`, as JSON texts. A frame
comes as one binary message: a line of JSON that tells the `number` of the message it answers and
what the picture is, then the picture's bytes. Frame 0 shows the images as they are. A message that
a newer one overtook has no frame. What is wrong comes as a text, a problem as any other of
the service's.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TypeVar

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import ValidationError

from ...store.errors import StyleAtlasError
from ..bodies import Body, LiveMessage, LiveStart
from ..works.foreman import Works
from ..works.nouns import Frame
from ..works.session import LiveSession
from .problems import refusal_of
from .rates import Buckets

START_SECONDS = 10.0
RATE, BURST = 200.0, 400.0
"""Messages a second of a session, and at once; those beyond wait where they come from."""
_POLICY, _LATER = 1008, 1013  # codes of RFC 6455 and IANA's registry
Message = TypeVar("Message", bound=Body)

router = APIRouter()


@router.websocket("/api/v1/live")
async def live(socket: WebSocket) -> None:
    works: Works = socket.app.state.jobs.works
    await socket.accept()
    with suppress(WebSocketDisconnect):
        try:
            start = await asyncio.wait_for(_receive(socket, LiveStart), START_SECONDS)
            session = await works.live(socket.scope["styleatlas.client"], start.plain())
        except (StyleAtlasError, ValidationError) as error:
            await _refuse(socket, error)
            await socket.close(_POLICY)
        except asyncio.TimeoutError:
            await socket.close(_POLICY, "no first message came")
        else:
            await _serve(socket, session)


async def _serve(socket: WebSocket, session: LiveSession) -> None:
    """Hands messages and frames on until either side ends."""
    tasks = [
        asyncio.create_task(_listen(socket, session)),
        asyncio.create_task(_show(socket, session)),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        await socket.close(_LATER, "the session has ended; open another")
    except StyleAtlasError as error:
        await _refuse(socket, error)
        await socket.close(_LATER)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await session.close()


async def _listen(socket: WebSocket, session: LiveSession) -> None:
    pace = Buckets(RATE, BURST)
    while True:
        while wait := pace.wait(session.client):
            await asyncio.sleep(wait)
        try:
            session.send((await _receive(socket, LiveMessage)).plain())
        except ValidationError as error:
            await _refuse(socket, error)


async def _show(socket: WebSocket, session: LiveSession) -> None:
    async for frame in session.frames():
        await socket.send_bytes(written(frame))


def written(frame: Frame) -> bytes:
    """A frame as one message: a line of JSON, then the picture."""
    told = {"number": frame.number, "type": frame.type, "whole": frame.whole, **frame.status}
    return json.dumps(told).encode() + b"\n" + frame.content


async def _receive(socket: WebSocket, model: type[Message]) -> Message:
    """Raises: ValidationError: the message is none such; WebSocketDisconnect: there is no more."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    text = message.get("text")
    return model.model_validate_json(message.get("bytes") or b"" if text is None else text)


async def _refuse(socket: WebSocket, error: Exception) -> None:
    await socket.send_text(refusal_of(error).problem().model_dump_json(exclude_none=True))
