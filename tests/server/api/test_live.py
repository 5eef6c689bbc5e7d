"""Live sessions over a WebSocket."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

import styleatlas

PAIR = {"neutral": "a face", "target": "a face with glasses"}


@pytest.fixture
def socket(service):
    with connect(service.url.replace("http", "ws") + "/api/v1/live", proxy=None) as socket:
        yield socket


def send(socket, **message) -> None:
    socket.send(json.dumps(message))


def frame(socket) -> tuple[dict, Image.Image]:
    """The next frame: what it tells, and its picture."""
    message = socket.recv(timeout=60)
    assert isinstance(message, bytes), message
    line, _, content = message.partition(b"\n")
    return json.loads(line), Image.open(io.BytesIO(content))


def test_frames_show_what_the_messages_say(socket):
    send(socket, seeds=[1], format="webp")
    told, before = frame(socket)
    assert (told["number"], told["type"], told["whole"]) == (0, "image/webp", True)
    assert (before.format, before.size) == ("WEBP", (told["width"], told["height"]))
    send(socket, number=1, edits=[PAIR | {"alpha": 1.0}])
    told, after = frame(socket)
    assert told["number"] == 1
    wanted = styleatlas.load("avatars", device="cpu").edit(seeds=1, **PAIR, alpha=1.0).pil()
    near, far = (_difference(after, other) for other in (wanted, before))  # frames lose nothing
    assert near < 1 and far > 5 * near


def _difference(one: Image.Image, other: Image.Image) -> float:
    """The mean of pixels, of 255."""
    pixels = (np.asarray(image.convert("RGB"), float) for image in (one, other))
    return float(np.abs(np.subtract(*pixels)).mean())


def test_newest_message_wins(socket):
    send(socket, seeds=[1])
    for number in range(1, 201):
        send(socket, number=number, edits=[PAIR | {"alpha": number / 100}], moving=number < 200)
    seen = [frame(socket)[0]["number"]]
    while seen[-1] != 200:
        seen.append(frame(socket)[0]["number"])
    assert seen == sorted(set(seen)) and len(seen) < 200


def test_message_that_is_none_is_told_and_the_session_goes_on(socket):
    send(socket, seeds=[1])
    assert frame(socket)[0]["number"] == 0
    for wrong in ("{", "[]", '{"number": -1}', '{"number": 1, "edits": [{}]}', '{"number": NaN}'):
        socket.send(wrong)
        problem = json.loads(socket.recv(timeout=60))
        assert problem["type"] == "urn:styleatlas:problem:invalid"
    socket.send(b"\x00\xff")
    assert json.loads(socket.recv(timeout=60))["status"] == 422
    send(socket, number=2)
    assert frame(socket)[0]["number"] == 2


@pytest.mark.parametrize(
    "start", ['{"seeds": []}', "nonsense", '{"latents": "../../etc/passwd"}', '{"latents": "none"}']
)
def test_session_of_nothing_is_not_opened(socket, start):
    socket.send(start)
    problem = json.loads(socket.recv(timeout=60))
    assert problem["status"] in (404, 422)
    with pytest.raises(ConnectionClosed):
        socket.recv(timeout=60)


def test_message_that_is_too_large_ends_the_session(socket):
    send(socket, seeds=[1])
    socket.send("x" * 2**17)
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            socket.recv(timeout=60)
    assert closed.value.rcvd.code == 1009


def test_page_of_another_site_opens_none(service):
    url = service.url.replace("http", "ws") + "/api/v1/live"
    with pytest.raises(InvalidStatus) as refused:
        connect(url, proxy=None, origin=Origin("http://evil.example"))
    assert refused.value.response.status_code == 403


def test_session_ends_with_its_socket(service, http):
    url = service.url.replace("http", "ws") + "/api/v1/live"
    with connect(url, proxy=None) as socket:
        send(socket, seeds=[1])
        frame(socket)
        assert http.get("/api/v1/status").json()["sessions"] >= 1
    while http.get("/api/v1/status").json()["sessions"]:
        pass
