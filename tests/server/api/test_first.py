"""The contract of older pages, by a real Socket.IO client."""

from __future__ import annotations

import io
import queue

import pytest
import socketio
from PIL import Image

from styleatlas.server.api.first import promised_of

EVENTS = ("image_processing", "image_edited", "image_edit_error")


@pytest.fixture(scope="module")
def photo(drawings) -> bytes:
    file = io.BytesIO()
    drawings(3).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(params=["websocket", pytest.param("polling", marks=pytest.mark.long)])
def page(service, request):
    """A page that listens: its client, and a queue of what it hears."""
    heard: queue.Queue = queue.Queue()
    client = socketio.Client(reconnection=False)
    for name in EVENTS:
        client.on(name, lambda data, name=name: heard.put((name, data)))
    client.connect(service.url, transports=[request.param], wait_timeout=60)
    yield client, heard
    client.eio.disconnect(abort=True)  # without the goodbye, for which a poll has to come back


def edit(http, page, photo, **query) -> dict:
    client, _ = page
    files = {"image": ("../../me.png", photo, "image/png")}
    answer = http.post("/edit", params={"sid": client.get_sid(), **query}, files=files)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_edit_is_promised_told_and_fetched(http, page, photo):
    promised = edit(http, page, photo, prompt="a face with glasses")
    assert set(promised) == {"image_path", "restored_path"}
    _, heard = page
    told = []
    while not told or told[-1][0] == "image_processing":
        told.append(heard.get(timeout=120))
    assert told[-1] == ("image_edited", promised)
    for name, data in told[:-1]:
        assert name == "image_processing" and 0 <= data["step"] <= data["steps"]
    edited, restored = (
        Image.open(io.BytesIO(http.get(promised[key]).content))
        for key in ("image_path", "restored_path")
    )
    assert (edited.size, restored.size) == ((64, 64), (160, 160))


def test_edit_that_fails_is_told_in_words(http, page, photo, service):
    promised = edit(http, page, b"no picture", prompt="a face with glasses")
    _, heard = page
    name, data = heard.get(timeout=120)
    assert name == "image_edit_error"
    assert data["error"] and str(service.folder) not in data["error"] and "\n" not in data["error"]
    assert http.get(promised["image_path"]).status_code == 404


def test_edit_by_a_mapper_that_there_is_not_is_told(http, page, photo):
    edit(http, page, photo, mapper="none-of-this-name")
    name, data = page[1].get(timeout=120)
    assert name == "image_edit_error" and "none-of-this-name" in data["error"]


def test_mappers_are_names(http):
    assert http.get("/mappers").json() == []


@pytest.mark.parametrize(
    "query",
    [
        *({}, {"prompt": "a", "mapper": "b"}, {"prompt": ""}, {"mapper": "../../etc/passwd"}),
        {"prompt": "a secret -> another"},
    ],
)
def test_edit_of_nothing_is_a_problem(http, service, photo, query):
    pictures = service.folder / "pictures"
    before = set(pictures.glob("*.photo"))
    answer = http.post("/edit", params=query, files={"image": photo})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(pictures.glob("*.photo")) == before, "no photo is kept for nothing"
    assert "secret" not in "".join(service.log)


@pytest.mark.parametrize(
    "name",
    ["", "x", "none-edited", "..%2f..%2fetc%2fpasswd", "../../etc/passwd", "%2e%2e/%2e%2e/passwd"],
)
def test_images_are_found_by_promised_names_alone(http, name):
    assert http.get(f"/images/{name}").status_code in (404, 422)


def test_promises_stand_behind_what_a_proxy_takes_off():
    assert promised_of("j", "/atlas").image_path == "/atlas/images/j-edited"
