"""Attacks on the service, over real sockets: each is refused, nothing leaks, and the next request
is served. `README.md` lists them."""

from __future__ import annotations

import json
import os
import re
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ..service import TOKEN, Service, running
from .photo_attacks import PHOTOS
from .server_attacks import ATTACKS, EDITS, Raw

SECRET = "root:"  # how a file of passwords begins
PAIR = {"neutral": "a face", "target": "a sad face"}
EDIT = {"seeds": [1], "edits": [PAIR], "alpha": 1.0, "method": "direction"}


def ask(service: Service, content: bytes) -> bytes:
    """Sends bytes, and reads until the service hangs up or has answered."""
    with socket.create_connection(service.address) as client:
        client.settimeout(60)
        received = b""
        try:
            client.sendall(content)
            while part := client.recv(2**16):
                received += part
        except ConnectionError:  # it hung up while more was sent
            pass
    return received


def status_of(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.1 ([0-9]{3}) ", answer)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_attack_is_refused_and_tells_nothing(attack: Raw, service, http):
    answer = ask(service, attack.content)
    assert status_of(answer) in attack.refused, answer[:2000]
    text = answer.decode("latin-1")
    for leak in (
        "Traceback",
        'File "',
        str(service.folder),
        str(Path(__file__).parents[2]),
        SECRET,
    ):
        assert leak not in text
    assert http.get("/api/v1/health").status_code == 200


def test_readme_lists_every_request():
    text = Path(__file__).with_name("README.md").read_text("utf-8")
    _, _, requests = text.partition("# Hostile requests")
    assert re.findall(r"^\| `(.+?)` \|", requests, re.M) == list(ATTACKS)


def test_second_request_hidden_in_the_body_of_a_first_is_not_served(service):
    hidden = b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = ask(
        service,
        b"POST /api/v1/edits HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (len(hidden) + 5) + hidden,
    )
    assert status_of(answer) == 400 and answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("name", PHOTOS)
def test_photo_that_harms_its_reader_fails_its_own_job_alone(name, http, service):
    sent = http.post(
        "/api/v1/photos", content=PHOTOS[name].make(), headers={"Prefer": "wait=60"}
    ).json()
    crops = sent["crops"]
    assert crops["state"] == "failed" and crops["problem"]["kind"] == "refused", crops
    assert str(service.folder) not in crops["problem"]["detail"]
    status = http.get("/api/v1/status").json()
    assert not status["counts"].get("lost"), status  # the worker lives
    assert http.delete(f"/api/v1/photos/{sent['id']}").status_code == 204


def test_file_with_a_path_for_a_name_is_written_nowhere(http, service):
    files = {"image": ("../../../evil.png\0.svg", b"no picture", "image/svg+xml")}
    answer = http.post("/edit", params={"prompt": "a hat"}, files=files)
    assert answer.status_code in (200, 422)
    for _, folders, names in os.walk(service.folder.parents[1]):  # while jobs' folders go
        assert not [name for name in (*folders, *names) if "evil" in name]


def test_markup_comes_back_as_nothing_that_a_browser_shows(http):
    edits = [PAIR | {"target": "<script>alert(1)</script>"}]
    answer = http.post("/api/v1/edits", json=EDIT | {"edits": edits})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    missing = http.get("/<script>alert(1)</script>")
    assert "<script>" not in missing.text


def test_thousand_ranges_make_no_large_answer(http):
    job = http.post("/api/v1/edits", json=EDIT, headers={"Prefer": "wait=60"}).json()
    url = job["result"]["pictures"][0]["url"]
    size = len(http.get(url).content)
    many = http.get(url, headers={"Range": "bytes=" + ",".join(["0-"] * 1000)})
    assert len(many.content) < 4 * size


@pytest.mark.parametrize("cut", [10, 60, 200])
def test_client_that_hangs_up_in_the_middle_leaves_nothing(service, http, cut):
    waiting = http.get("/api/v1/status").json()["counts"]
    body = json.dumps(EDIT).encode()
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    whole = head % EDITS.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with socket.create_connection(service.address) as client:
        client.sendall(whole[:cut])
    assert http.get("/api/v1/status").json()["counts"] == waiting


def test_head_that_does_not_come_is_not_waited_for(service):
    """Whoever sends a byte now and then would else keep a connection for ever."""
    with socket.create_connection(service.address) as client:
        client.settimeout(120)
        client.sendall(b"GET / HTTP/1.1\r\nHost: local")
        assert client.recv(1) == b""


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Cookie": "styleatlas=9999999999.x.0000"},
        {"Cookie": f"styleatlas={TOKEN}"},
        {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/v1/atlases", f"/?token={TOKEN}", "/socket.io/?EIO=4"])
def test_nobody_comes_in_without_the_token(locked, headers, path):
    with locked.client(headers=headers) as client:
        answer = client.get(path)
    assert answer.status_code in (401, 429) and "www-authenticate" in answer.headers


def test_token_is_not_guessed_fast(tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    options = ("--token-file", tmp_path / "token", "--rate", 10_000)
    with running(tmp_path / "kept", *options) as service, service.client() as client:
        answers = [
            client.get("/", headers={"Authorization": f"Bearer {guess:032}"}).status_code
            for guess in range(50)
        ]
    assert answers[:10] == [401] * 10 and answers.count(429) >= 30


def test_link_is_not_guessed(locked):
    with locked.client() as client:
        for guess in ("x", "%2e%2e", "A" * 32, "A" * 1000):
            assert client.get(f"/enter/{guess}").status_code == 401


def test_flood_of_requests_and_of_jobs_waits_and_others_are_served(tmp_path):
    options = ("--rate", 0.1, "--jobs", 2, "--drain", "1s")
    with running(tmp_path / "kept", *options) as service, service.client() as http:
        long = {"seeds": [1], **PAIR, "steps": 5000, "patience": 5000}
        jobs = [http.post("/api/v1/optimisations", json=long) for _ in range(3)]
        assert [job.status_code for job in jobs] == [202, 202, 429]
        assert jobs[2].json()["type"].endswith("too-many")
        floods = [http.get("/api/v1/health") for _ in range(200)]
        assert floods[-1].status_code == 429 and int(floods[-1].headers["retry-after"]) >= 1
        forged = http.get("/api/v1/health", headers={"X-Forwarded-For": "192.0.2.1"})
        assert forged.status_code == 429  # nobody's word is taken for who asks
        address = ("127.0.0.2", 0)  # another client
        with socket.create_connection(service.address, source_address=address) as other:
            other.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert other.recv(2**16).startswith(b"HTTP/1.1 200")


def test_flood_of_live_sessions_is_refused(service):
    url = service.url.replace("http", "ws") + "/api/v1/live"
    with ExitStack() as stack:

        def opened(address: str) -> str | bytes:
            how = {"proxy": None, "source_address": (address, 0)}
            session = stack.enter_context(connect(url, **how))
            session.send('{"seeds": [1]}')
            return session.recv(timeout=60)

        first = [opened("127.0.0.1") for _ in range(20)]
        problems = [json.loads(message) for message in first if isinstance(message, str)]
        assert [problem["status"] for problem in problems] == [429] * (20 - 16)
        assert isinstance(opened("127.0.0.2"), bytes), "another client is served"


def test_flood_of_messages_is_read_at_a_pace_and_others_are_served(service):
    url = service.url.replace("http", "ws") + "/api/v1/live"
    edits = [{**PAIR, "alpha": 1.0, "target": f"{PAIR['target']} {'x' * 200}"}] * 16
    with connect(url, proxy=None) as session, service.client() as http:
        session.send('{"seeds": [1]}')
        assert isinstance(session.recv(timeout=60), bytes)
        for number in range(1, 901):
            told = {"number": number, "edits": edits if number < 900 else [], "moving": True}
            session.send(json.dumps(told))
            if not number % 100:
                assert http.get("/api/v1/health").status_code == 200
        last = 0
        while last != 900:
            frame = session.recv(timeout=60)
            last = json.loads(frame.partition(b"\n")[0])["number"] if type(frame) is bytes else 0


def test_session_that_sends_bytes_that_are_none_is_only_told(service):
    url = service.url.replace("http", "ws") + "/api/v1/live"
    with connect(url, proxy=None) as session:
        session.send(bytes(range(256)))
        assert json.loads(session.recv(timeout=60))["status"] == 422
        with pytest.raises(ConnectionClosed):
            session.recv(timeout=60)
