"""How the service and its workers speak over pipes: an object of JSON, and bytes beside it.

JSON, and no pickle: who took over a worker by a picture could else take over the service.
"""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any, BinaryIO

from ...store.errors import WorkerError

Message = dict[str, Any]
_SIZES = struct.Struct("<II")
_MOST = 2**26  # bytes of a part


def packed(message: Message, content: bytes = b"") -> bytes:
    """A message as it goes over a pipe."""
    told = json.dumps(message, separators=(",", ":")).encode()
    return _SIZES.pack(len(told), len(content)) + told + content


async def receive(stream: asyncio.StreamReader) -> tuple[Message, bytes]:
    """The next message of a pipe.

    Raises:
        WorkerError: it ended, or what comes is no message.
    """
    try:
        told, content = _sizes(await stream.readexactly(_SIZES.size))
        return _message(await stream.readexactly(told)), await stream.readexactly(content)
    except (asyncio.IncompleteReadError, OSError) as error:
        raise WorkerError("worker: its pipe ended") from error


def read(stream: BinaryIO) -> tuple[Message, bytes]:
    """The same of a file that blocks."""
    told, content = _sizes(_exactly(stream, _SIZES.size))
    return _message(_exactly(stream, told)), _exactly(stream, content)


def _sizes(head: bytes) -> tuple[int, int]:
    told, content = _SIZES.unpack(head)
    if max(told, content) > _MOST:
        raise WorkerError("worker: sends what is no message")
    return told, content


def _message(told: bytes) -> Message:
    try:
        message = json.loads(told)
    except ValueError as error:
        raise WorkerError("worker: sends what is no message") from error
    if not isinstance(message, dict):
        raise WorkerError("worker: sends what is no message")
    return message


def _exactly(stream: BinaryIO, size: int) -> bytes:
    found = stream.read(size)  # of a buffered file: less at its end alone
    if len(found) < size:
        raise WorkerError("service: its pipe ended")
    return found
