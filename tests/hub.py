"""A Hub of this machine: enough of the HTTP of Hugging Face that huggingface_hub takes it for one,
and what can go wrong with it.

Small files are answered by the Hub itself, kept by Git's SHA-1; large ones by another host to which
it sends one on, kept by SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

LARGE = 1000
"""Files of more bytes are large."""
TOKEN = "hf_ThisIsATestTokenThatNobodyMayEverRead"


def commit_of(number: int) -> str:
    return f"{number:040x}"


@dataclass
class Repository:
    """What one holds, commit by commit.

    Args:
        commits: the files of each, by its hash.
        branches: their newest commits.
        gated: whether nobody may read it who did not agree.
        private: whether only who has the token sees it.
    """

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Files are added, or changed; the hash of the commit."""
        before = self.commits.get(self.branches.get(branch, ""), {})
        made = commit_of(len(self.commits) + 1)
        self.commits[made] = {**before, **files}
        self.branches[branch] = made
        return made


class Host:
    """One HTTP server; `asked` are the headers of every request so far, behind method and path."""

    def __init__(self, answer: Callable[[Host, BaseHTTPRequestHandler], None]) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                told = {name.lower(): value for name, value in self.headers.items()}
                outer.asked.append((self.command, unquote(self.path), told))
                with suppress(ConnectionError):
                    answer(outer, self)

            do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def count(self, method: str, part: str = "") -> int:
        """How many requests of a method had that in their path."""
        return sum(one == method and part in path for one, path, _ in self.asked)

    def __enter__(self) -> Host:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def answer(
    handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: object
) -> None:
    """An answer; names of headers with _ for -."""
    handler.send_response(status)
    told = {"Content-Length": len(body), **{k.replace("_", "-"): v for k, v in headers.items()}}
    for name, value in told.items():
        handler.send_header(name, str(value))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """The connection ends in the middle."""
    handler.wfile.flush()
    with suppress(OSError):
        handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


class Hub:
    """The Hub, and beside it the host of large files.

    Args:
        repositories: by OWNER/REPO.
        trouble: what stands in for the answer of the host of large files, by what it is told.
        told: what stands in for headers of the Hub's answers of files.
        refuse: status and X-Error-Code by which a step of a push is refused, by a part of its path.
        refuse_uploads: whether the host of large files finds all that it gets damaged.
        down: a status that the Hub answers whatever it is asked.
        uploads: what the host of large files got, by SHA-256.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.trouble: Callable[[BaseHTTPRequestHandler, bytes], None] | None = None
        self.told: dict[str, str | None] = {}
        self.refuse: dict[str, tuple[int, str]] = {}
        self.down: int | None = None
        self.refuse_uploads = False
        self.uploads: dict[str, bytes] = {}
        self.large: dict[str, bytes] = {}
        self.messages: list[str] = []
        self.host = Host(self._answer)
        self.store = Host(self._large)

    def repository(self, name: str, **how: bool) -> Repository:
        return self.repositories.setdefault(name, Repository(**how))

    def __enter__(self) -> Hub:
        self.host.__enter__()
        self.store.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.host.__exit__()
        self.store.__exit__()

    def _answer(self, host: Host, handler: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(handler.path).path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if self.down is not None:
            return answer(handler, self.down)
        for part, (status, code) in self.refuse.items():
            if part in path:
                return answer(handler, status, b"{}", X_Error_Code=code, X_Error_Message="no")
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/(.+?)/([^/]*)", path):
            # A revision may hold slashes, a file here may not.
            return self._file(handler, *found.groups())
        return self._written(handler, path, body)

    def _may(self, handler: BaseHTTPRequestHandler) -> bool:
        return handler.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _file(self, handler: BaseHTTPRequestHandler, name: str, revision: str, file: str) -> None:
        repository = self.repositories.get(name)
        known = self._may(handler)
        if repository is None or (repository.private and not known):
            return answer(handler, 404 if known else 401, X_Error_Code="RepoNotFound")
        if repository.gated:
            return answer(handler, 403 if known else 401, X_Error_Code="GatedRepo")
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            return answer(handler, 404, X_Error_Code="RevisionNotFound")
        content = repository.commits[commit].get(file)
        if content is None:
            return answer(handler, 404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        if len(content) <= LARGE:
            tag = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            return answer(handler, 200, content, **self._head(commit, tag, None))
        tag = hashlib.sha256(content).hexdigest()
        self.large[tag] = content
        where = f"{self.store.url}/{tag}?signature=secret"
        return answer(handler, 302, b"", Location=where, **self._head(commit, tag, len(content)))

    def _head(self, commit: str, tag: str, size: int | None) -> dict[str, object]:
        told: dict[str, object] = {"X_Repo_Commit": commit, "ETag": f'"{tag}"'}
        if size is not None:
            told |= {"X_Linked_ETag": f'"{tag}"', "X_Linked_Size": size}
        told |= self.told
        return {name: value for name, value in told.items() if value is not None}

    def _large(self, host: Host, handler: BaseHTTPRequestHandler) -> None:
        tag = urlsplit(handler.path).path.strip("/")
        if handler.command == "PUT":
            body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
            if self.refuse_uploads or hashlib.sha256(body).hexdigest() != tag:
                return answer(handler, 400)
            self.uploads[tag] = body
            return answer(handler, 200)
        if self.trouble is not None:
            return self.trouble(handler, self.large[tag])
        return whole(handler, self.large[tag])

    def _written(self, handler: BaseHTTPRequestHandler, path: str, body: bytes) -> None:
        """What `repo_exists`, `create_repo` and `create_commit` ask."""
        if not self._may(handler):
            return answer(handler, 401, b"{}", X_Error_Message="Invalid username or password.")
        if path == "/api/validate-yaml":
            return _json(handler, {"warnings": [], "errors": []})
        if path == "/api/repos/create":
            told = json.loads(body)
            name = f"{told['organization']}/{told['name']}"
            if name in self.repositories:
                told = {"error": "there", "url": f"{self.host.url}/{name}"}
                return answer(handler, 409, json.dumps(told).encode())
            private = bool(told.get("private")) or told.get("visibility") == "private"
            self.repository(name, private=private).commit({".gitattributes": b""})
            return _json(handler, {"url": f"{self.host.url}/{name}"})
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/(.+)", path)
        batch = re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path)
        if batch:
            return _json(handler, self._batch(json.loads(body)))
        about = re.fullmatch(r"/api/models/([^/]+/[^/]+)", path)
        if about and about[1] in self.repositories:
            return _json(handler, {"id": about[1]})
        if found is None:
            return answer(handler, 404, b"{}", X_Error_Code="RepoNotFound")
        name, what, revision = found.groups()
        if revision not in self.repositories[name].branches:
            return answer(handler, 404, b"{}", X_Error_Code="RevisionNotFound")
        if what == "preupload":
            files = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["size"] > LARGE else "regular",
                    "shouldIgnore": False,
                }
                for one in json.loads(body)["files"]
            ]
            return _json(handler, {"files": files})
        return self._commit(handler, self.repositories[name], revision, body)

    def _batch(self, asked: dict) -> dict:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.store.url}/{one['oid']}"}}}
            for one in asked["objects"]
        ]
        return {"transfer": "basic", "objects": objects}

    def _commit(
        self, handler: BaseHTTPRequestHandler, repository: Repository, branch: str, body: bytes
    ) -> None:
        files = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                self.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.uploads[value["oid"]]
        made = repository.commit(files, branch)
        _json(handler, {"commitUrl": f"{self.host.url}/c/{made}", "commitOid": made})


def _json(handler: BaseHTTPRequestHandler, value: object) -> None:
    answer(handler, 200, json.dumps(value).encode(), Content_Type="application/json")


def whole(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """A large file, from where it is asked for."""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range") or "")
    start = int(asked[1]) if asked else 0
    rest = content[start:]
    if not asked:
        return answer(handler, 200, rest)
    between = f"bytes {start}-{len(content) - 1}/{len(content)}"
    return answer(handler, 206, rest, Content_Range=between)


def cut_at(*places: int) -> Callable[[BaseHTTPRequestHandler, bytes], None]:
    """Hangs up after so many bytes of the first answers; the ones behind are whole."""
    left = list(places)

    def trouble(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        if not left:
            return whole(handler, content)
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range") or "")
        start, place = int(asked[1]) if asked else 0, left.pop(0)
        handler.send_response(206 if asked else 200)
        handler.send_header("Content-Length", str(len(content) - start))
        if asked:
            between = f"bytes {start}-{len(content) - 1}/{len(content)}"
            handler.send_header("Content-Range", between)
        handler.end_headers()
        handler.wfile.write(content[start : start + place])
        return hang_up(handler)

    return trouble


@contextmanager
def hub_of(patch: pytest.MonkeyPatch, folder: Path) -> Iterator[Hub]:
    """A Hub, which huggingface_hub takes for the one there is, with a cache in a folder and nobody
    logged in; for processes that are started, too."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    from styleatlas.store import hub as module

    with Hub() as hub:
        cache = folder / "cache"
        values = {
            "HF_ENDPOINT": hub.host.url,
            "HF_HOME": str(folder / "home"),
            "HF_HUB_CACHE": str(cache),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": "1",
            "STYLEATLAS_MODELS": str(folder / "models"),
        }
        for name, value in values.items():
            patch.setenv(name, value)
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
            patch.delenv(name, raising=False)
        template = hub.host.url + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "ENDPOINT", hub.host.url)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
        patch.setattr(constants, "HF_TOKEN_PATH", str(folder / "home" / "token"))
        patch.setattr(module, "_seen", {})
        try:
            yield hub
        finally:
            close_session()


def files_below(folder: Path) -> list[str]:
    """Everything that is no folder, and no lock."""
    found = [path for path in folder.rglob("*") if path.is_symlink() or path.is_file()]
    names = [path.relative_to(folder).as_posix() for path in found]
    quiet = (".lock", "CACHEDIR.TAG", "version.txt")
    return sorted(name for name in names if not name.endswith(quiet))
