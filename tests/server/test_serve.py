"""`styleatlas serve` from start to end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from styleatlas import server
from styleatlas.cli import main
from styleatlas.commands import serve as module
from styleatlas.commands.serve import Duration, _listen, _token
from styleatlas.server.api.run import shown_names
from styleatlas.server.works.nouns import Settings
from styleatlas.store.errors import OptionError

from ..service import PATIENCE, TOKEN, running

PAIR = {"neutral": "a face", "target": "a face with glasses"}
LONG = {"seeds": [1], **PAIR, "steps": 40, "patience": 40}


def test_link_lets_one_browser_in_and_works_once(locked):
    with locked.client() as browser:
        stranger = browser.get("/", headers={"Accept": "text/html,*/*"})
        assert stranger.status_code == 401 and "open the one that the service" in stranger.text
        assert browser.get("/").json()["type"] == "urn:styleatlas:problem:no-token"
        page = browser.get(locked.link)
        cookie = page.headers["set-cookie"]
        assert page.status_code == 200 and 'content="0;url=../"' in page.text
        assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
        assert "Secure" not in cookie  # it came by HTTP
        assert browser.get("/").status_code == 200
        assert browser.get("/api/v1/status").json()["ready"] in (True, False)
    with locked.client() as other:
        assert other.get(locked.link).status_code == 401
        assert other.get("/").status_code == 401


def test_program_tells_the_token_and_asks_for_more_links(locked):
    with locked.client(headers={"Authorization": f"Bearer {TOKEN}"}) as program:
        link = program.post("/api/v1/links").json()["url"]
    with locked.client() as browser:
        assert browser.get(link).status_code == 200
        assert browser.get("/").status_code == 200


def test_token_link_and_cookie_are_in_no_line_of_the_log(locked):
    with locked.client(headers={"Authorization": f"Bearer {TOKEN}"}) as program:
        link = program.post("/api/v1/links").json()["url"]
        cookie = program.get(link).cookies["styleatlas"]
        program.get(f"/?token={TOKEN}")
    text = "".join(locked.log)
    for secret in (TOKEN, link.rpartition("/")[2], locked.link.rpartition("/")[2], cookie):
        assert secret not in text


def test_whether_it_is_ready_anybody_may_ask(locked):
    with locked.client() as anybody:
        assert anybody.get("/api/v1/health").json() == {"status": "alive"}
        assert anybody.get("/api/v1/ready").status_code in (200, 503)
        assert anybody.get("/api/v1/metrics").status_code == 401


def test_metrics_count_requests_and_jobs(http):
    http.post("/api/v1/sheets/samples", json=PAIR, headers={"Prefer": "wait=60"})
    http.get("/no/such/path/with/a/secret")
    assert http.request("SECRET", "/api/v1/health").status_code == 405
    text = http.get("/api/v1/metrics").text
    route = 'method="POST",route="/api/v1/sheets/samples",status="200"'
    assert f"styleatlas_requests_total{{{route}}}" in text
    assert "styleatlas_ready 1.0" in text and "styleatlas_happened_total" in text
    assert "secret" not in text.lower()


def test_docs_pages_that_load_from_elsewhere_are_off(http):
    assert [http.get(path).status_code for path in ("/docs", "/redoc")] == [404, 404]
    page = http.get("/")
    assert page.status_code == 200 and "StyleAtlas" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_stopped_service_lets_a_job_end_and_the_next_one_has_it(tmp_path):
    with running(tmp_path / "kept") as service, service.client() as http:
        wait = {"Prefer": "wait=60"}
        done = http.post("/api/v1/sheets/samples", json=PAIR, headers=wait).json()
        other = http.post("/api/v1/sheets/samples", json=PAIR).json()
        assert service.stop() == 143
    with running(tmp_path / "kept") as service, service.client() as http:
        assert http.get(done["url"]).json() == done
        picture = done["result"]["pictures"][0]
        assert len(http.get(picture["url"]).content) > 1000
        assert http.get(other["events"]).text.count("event: done") == 1
        assert http.get(other["url"]).json()["state"] == "done"


def test_stopped_service_tells_to_the_end_what_becomes_of_a_job(tmp_path):
    with running(tmp_path / "kept", "--drain", "1h") as service, service.client() as http:
        job = http.post("/api/v1/optimisations", json=LONG).json()
        with http.stream("GET", job["events"]) as events:
            lines = events.iter_lines()
            assert any(line.startswith("event: progress") for line in lines)
            service.process.terminate()
            assert any(line == "event: done" for line in lines)
        assert service.process.wait(PATIENCE) == 143


def test_second_signal_ends_the_waiting_for_jobs(tmp_path):
    endless = LONG | {"steps": 10_000, "patience": 10_000}
    with running(tmp_path / "kept", "--drain", "1h") as service, service.client() as http:
        job = http.post("/api/v1/optimisations", json=endless).json()
        with http.stream("GET", job["events"]) as events:
            assert any(line.startswith("event: progress") for line in events.iter_lines())
            service.process.terminate()
            while http.post("/api/v1/optimisations", json=endless).status_code != 503:
                pass
            service.process.terminate()
            assert service.process.wait(PATIENCE) == 143


def test_page_comes_whole_however_few_requests_a_client_may_send(tmp_path):
    page = Path(server.__file__).parent / "page"
    files = [path.relative_to(page) for path in page.rglob("*") if path.is_file()]
    with running(tmp_path / "kept", "--rate", 0.1) as service, service.client() as http:
        assert http.get("/").status_code == 200
        shown = [http.get(f"/page/{path.as_posix()}").status_code for path in files]
        assert 429 not in shown and shown.count(200) > 40
        asked = [http.get("/api/v1/health").status_code for _ in range(200)]
        assert asked[0] == 200 and asked[-1] == 429


def test_killed_service_starts_again_what_ran(tmp_path):
    with running(tmp_path / "kept") as service, service.client() as http:
        job = http.post("/api/v1/optimisations", json=LONG).json()
        with http.stream("GET", job["events"]) as events:
            for line in events.iter_lines():
                if line.startswith("event: progress"):
                    break
            service.stop(signal.SIGKILL)
    with running(tmp_path / "kept") as service, service.client() as http:
        told = http.get(job["events"]).text
        assert "event: again" in told and "event: done" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "can be reached from elsewhere; give --token-file, or --no-token"),
        (["--token-file", __file__, "--no-token"], "exclude each other"),
        (["--keep", "soon"], "'soon' is no time such as"),
        (["--keep", "0h"], "'0h' is no time"),
        (["--port", "70000"], "70000 is not in the range"),
    ],
)
def test_wrong_usage_is_said_before_anything_starts(words, message):
    done = CliRunner().invoke(main, ["serve", "avatars", *words])
    assert done.exit_code == 2 and message in " ".join(done.stderr.split())


def test_port_in_use_is_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(
            main, ["serve", "avatars", "--port", port, "--folder", str(tmp_path)]
        )
    assert done.exit_code == 1 and done.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}: cannot be listened at" in done.stderr


def test_answers_do_not_wait_for_more_to_send():
    """Else each would take 40 ms longer, by Nagle's algorithm and delayed acknowledgements."""
    with (
        _listen("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.proto == socket.IPPROTO_TCP  # which asyncio looks at


@pytest.mark.parametrize("content", [b"", b"short", b"two words of some length", b"\xff" * 40])
def test_file_that_holds_no_secret_is_refused(tmp_path, content):
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(OptionError, match=r"token: (must hold|cannot be read)"):
        _token(tmp_path / "token")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1.5m", 90), ("24h", 86400), ("2d", 172800)]
)
def test_times_are_read(text, seconds):
    assert Duration().convert(text, None, None) == seconds


def test_models_that_cannot_be_loaded_end_it_in_one_line(tmp_path):
    (tmp_path / "g.pkl").write_bytes(b"no generator")
    done = subprocess.run(
        [sys.executable, "-m", "styleatlas", "serve", "avatars", "--port", "0", "--folder",
         str(tmp_path / "kept"), "--generator", str(tmp_path / "g.pkl")],
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("styleatlas serve: ") and "g.pkl" in last
    assert "Traceback" not in done.stderr


def test_service_lives_behind_a_proxy_and_below_a_path(tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    options = ("--root-path", "/atlas/", "--trusted-proxy", "127.0.0.1")
    known = ("--allowed-host", "Atlas.example.org", "--token-file", tmp_path / "token")
    forwarded = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    forwarded |= {"Host": "atlas.example.org", "Origin": "https://atlas.example.org"}
    with running(tmp_path / "kept", *options, *known) as service:
        with service.client(headers=forwarded) as http:
            assert "/atlas/enter/" in service.link  # which the proxy takes off
            cookie = http.get(service.link.replace("/atlas", "")).headers["set-cookie"]
            assert "Secure" in cookie and "Path=/atlas" in cookie
            http.base_url = service.url.removesuffix("/atlas")  # as a proxy asks
            token = {"Authorization": f"Bearer {TOKEN}"}
            answer = http.post("/api/v1/sheets/samples", json=PAIR, headers=token)
            assert answer.headers["location"].startswith("/atlas/api/v1/jobs/")
            schema = http.get("/openapi.json", headers=token).json()
            assert schema["servers"] == [{"url": "/atlas"}]
            request = answer.headers["x-request-id"]
        service.stop()
        service.follower.join()
        (line,) = [line for line in service.lines() if line.get("request") == request]
        assert line["client"] == "192.0.2.7"


def test_program_without_the_extra_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "socketio" else name)
    done = CliRunner().invoke(main, ["serve", "avatars"])
    assert done.exit_code == 1
    assert "needs socketio; install it with `pip install 'styleatlas[server]'`" in done.stderr


def test_recipes_name_files_and_no_folders():
    settings = Settings("/srv/a/ffhq.h5", Path("x"), generator="/srv/g.pkl", clip="avatars")
    assert shown_names(settings) == {"atlas": "ffhq.h5", "generator": "g.pkl", "clip": "avatars"}


def test_no_other_command_imports_what_the_service_needs():
    program = """
import sys
from styleatlas.cli import main
try:
    main(["query", "prompts", "avatars", "b4.conv1", "--top", "1"])
except SystemExit:
    pass
print(*sorted({"fastapi", "uvicorn", "starlette", "pydantic", "socketio"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == ""


def test_process_that_answers_holds_no_models(service):
    maps = Path(f"/proc/{service.process.pid}/maps")
    if not maps.exists():
        pytest.skip("there is no /proc")
    assert "libtorch" not in maps.read_text()
