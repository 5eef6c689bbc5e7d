from __future__ import annotations

import asyncio
import io
import struct

import pytest

from styleatlas.server.works.wire import packed, read, receive
from styleatlas.store.errors import WorkerError


def received(content: bytes):
    async def main():
        stream = asyncio.StreamReader()
        stream.feed_data(content)
        stream.feed_eof()
        return [await receive(stream), await receive(stream)]

    return asyncio.run(main())


def test_messages_come_as_they_were_sent():
    sent = [({"told": "frame", "number": 3}, b"\x00picture\xff"), ({"told": "idle"}, b"")]
    stream = b"".join(packed(message, content) for message, content in sent)
    assert received(stream) == sent
    file = io.BufferedReader(io.BytesIO(stream))
    assert [read(file), read(file)] == sent


@pytest.mark.parametrize(
    "content",
    [
        b"",
        packed({"told": "idle"})[:-1],
        struct.pack("<II", 2**31, 0) + b"x",
        struct.pack("<II", 2, 2**31) + b"{}",
        struct.pack("<II", 2, 0) + b"[]",
        struct.pack("<II", 2, 0) + b"\xff\xff",
        struct.pack("<II", 4, 0) + b"{]}x",
    ],
)
def test_what_is_no_message_ends_the_pipe(content):
    with pytest.raises(WorkerError):
        received(content)
    with pytest.raises(WorkerError):
        read(io.BufferedReader(io.BytesIO(content)))
