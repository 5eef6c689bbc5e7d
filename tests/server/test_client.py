"""The Python client, with a running service and with one that fails on purpose."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from styleatlas.server import client as module
from styleatlas.server.client import Client, Failed, Job, Refused
from styleatlas.store.errors import ServiceError

PAIR = {"neutral": "a face", "target": "a face with glasses"}
EDIT = {"seeds": [1], "edits": [PAIR], "alpha": 1.0, "method": "direction"}


@pytest.fixture
def client(service) -> Client:
    return Client(service.url)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)


def test_edit_is_asked_for_waited_for_and_saved(client, tmp_path):
    done = client.wait(client.edit(**EDIT))
    assert (done.kind, done.state, done.has_ended) == ("edit", "done", True)
    assert done.record["edits"][0]["target"] == PAIR["target"]
    client.save(done.pictures[0], tmp_path / "edit.png")
    with Image.open(tmp_path / "edit.png") as picture:
        assert picture.size == (64, 64)
    client.delete("jobs", done.id)
    with pytest.raises(Refused, match="no such job") as refused:
        client.job(done.id)
    assert refused.value.status == 404


def test_photo_is_sent_and_inverted(client, drawings, tmp_path):
    drawings(3).save(tmp_path / "me.png")
    photo, crops = client.photo(tmp_path / "me.png")
    assert client.wait(crops).pictures[0]["role"] == "crop"
    found = client.wait(client.invert(photo, steps=0))
    assert client.wait(client.edit(latents=found.latents, edits=[PAIR])).state == "done"
    client.delete("photos", photo)


def test_events_end_with_the_job(client):
    kinds = [event.kind for event in client.events(client.edit(**EDIT))]
    assert kinds[0] == "queued" and kinds[-1] == "done"


def test_look_up_answers(client):
    assert client.look_up("phrases", prefix="a face with gl")["phrases"] == ["a face with glasses"]


def test_job_that_failed_says_why(client):
    job = client.edit(**EDIT | {"layers": ["none"]})
    with pytest.raises(Failed, match="none"):
        client.wait(job)


def test_body_that_is_none_is_refused_with_the_services_words(client):
    with pytest.raises(Refused, match=r"body\.seeds.*; send what") as refused:
        client.edit(**EDIT | {"seeds": []})
    assert refused.value.problem["status"] == 422


class Failing(BaseHTTPRequestHandler):
    """Answers as its server's list of answers says; None hangs up."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.keys.append(self.headers["Idempotency-Key"])
        status = self.server.answers.pop(0)
        if status is None:
            return
        body = json.dumps({"id": "j", "kind": "edit", "state": "waiting"}).encode()
        torn = status == "torn"
        self.send_response(202 if torn else status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:9] if torn else body)

    def do_GET(self):
        """Events of a job, of which each connection brings one more and then breaks."""
        seen = int(self.headers["Last-Event-ID"])
        kind = "progress" if seen < 3 else "done"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(f"id: {seen + 1}\r\nevent: {kind}\r\ndata: {{}}\r\n\r\n".encode())
        self.wfile.write(b"id: 9\r\nevent: torn")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def failing():
    with ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.keys = []
        yield server
        server.shutdown()


def test_what_fails_on_the_way_is_asked_again_by_the_same_key(failing):
    failing.answers = [503, None, "torn", 429, 202]
    job = Client(f"http://127.0.0.1:{failing.server_port}").edit(**EDIT)
    assert job.id == "j" and len(set(failing.keys)) == 1 and len(failing.keys) == 5


def test_what_will_not_be_better_is_asked_once(failing):
    failing.answers = [422, 202]
    with pytest.raises(Refused):
        Client(f"http://127.0.0.1:{failing.server_port}").edit(**EDIT)
    assert len(failing.keys) == 1


def test_events_go_on_where_the_connection_broke(failing):
    client = Client(f"http://127.0.0.1:{failing.server_port}")
    told = [(event.number, event.kind) for event in client.events(Job("j", "edit", "waiting", {}))]
    assert told == [(1, "progress"), (2, "progress"), (3, "progress"), (4, "done")]


def test_it_gives_up_in_the_end(failing):
    failing.answers = [None] * module.TRIES
    with pytest.raises(ServiceError, match="cannot be reached"):
        Client(f"http://127.0.0.1:{failing.server_port}").edit(**EDIT)
    assert len(failing.keys) == module.TRIES
