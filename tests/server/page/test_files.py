"""The files of the live page: whole, small, of one version, and nothing from elsewhere."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from styleatlas.server.api.page import page_router
from styleatlas.server.api.problems import Refusal, on_error

PAGE = Path(__file__).parents[3] / "server" / "page"
SCRIPTS = sorted((*PAGE.glob("js/**/*.js"), *PAGE.glob("text/*.js")))
FIRST_VIEW = 200_000
LONGEST = 400
ROW = re.compile(r"^\| (\S+\.\w+) \| (?:[^|]+\|){3} ([0-9a-f]{64}) \|$", re.MULTILINE)
PATHS = {
    b'"./preact.mjs"': b'"preact"',
    b'"./hooks.mjs"': b'"preact/hooks"',
    b'"./signals-core.mjs"': b'"@preact/signals-core"',
}
"""Of imports, and the names that stand in the packages."""


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    app.include_router(page_router())
    app.add_exception_handler(Refusal, on_error)
    return TestClient(app)


def texts(language: str) -> dict[str, str]:
    """The texts of a language; they are plain JavaScript strings, one a key."""
    source = (PAGE / "text" / f"{language}.js").read_text("utf-8")
    return dict(re.findall(r'^  "?([\w-]+)"?:\s+"(.*)",$', source, re.MULTILINE))


def test_what_others_made_is_as_they_published_it() -> None:
    told = dict(ROW.findall((PAGE / "vendor" / "README.md").read_text("utf-8")))
    files = [path for path in (PAGE / "vendor").glob("*.*") if path.name != "README.md"]
    assert {path.name for path in files} == set(told)
    for path in files:
        content = path.read_bytes()
        if path.suffix == ".mjs":
            for here, there in PATHS.items():
                content = content.replace(here, there)
        assert hashlib.sha256(content).hexdigest() == told[path.name], path.name


def test_both_languages_say_the_same_things() -> None:
    english, german = texts("en"), texts("de")
    assert len(english) > 100
    assert english.keys() == german.keys()
    values = re.compile(r"\{\w+\}")
    for key, text in english.items():
        assert sorted(values.findall(text)) == sorted(values.findall(german[key])), key


def test_every_text_that_is_asked_for_is_there_and_none_besides() -> None:
    source = "".join(path.read_text("utf-8") for path in PAGE.glob("js/**/*.js"))
    known = texts("en").keys()
    asked = set(re.findall(r'\bt\("([\w-]+)"', source)) - {"key"}  # which a comment explains
    assert asked <= known
    written = set(re.findall(r"[\w-]+", " ".join(re.findall(r'"([\w -]+)"', source))))
    families = ("status-", "step-", "view-", "theme-", "tab-", "method-")
    assert {k for k in known - asked - written if not k.startswith(families)} == set()


def test_each_kind_of_step_has_its_words() -> None:
    source = "".join(path.read_text("utf-8") for path in PAGE.glob("js/**/*.js"))
    words = set(re.findall(r'\b(?:step|settle)\("(\w+)"', source)) | {"switchedOn", "switchedOff"}
    assert {f"step-{word}" for word in words} <= texts("en").keys()


def test_all_modules_are_asked_for_at_once() -> None:
    index = (PAGE / "index.html").read_text("utf-8")
    preloaded = set(re.findall(r'rel="modulepreload" href="page/([^"]+)"', index))
    modules = {path.relative_to(PAGE).as_posix() for path in (*SCRIPTS, *PAGE.glob("vendor/*.mjs"))}
    assert preloaded == modules - {"js/main.js"}


def test_all_styles_are_used() -> None:
    index = (PAGE / "index.html").read_text("utf-8")
    linked = set(re.findall(r'rel="stylesheet" href="page/([^"]+)"', index))
    assert linked == {path.relative_to(PAGE).as_posix() for path in PAGE.glob("css/*.css")}


def test_nothing_comes_from_elsewhere() -> None:
    names = ("http://www.w3.org/",)  # a namespace, which nobody fetches
    address = re.compile(r"(?:https?:)?//[\w.-]+\.\w{2,}[^\s\"']*")
    for path in (*SCRIPTS, *PAGE.glob("css/*.css"), *PAGE.glob("*.*")):
        for found in address.findall(path.read_text("utf-8")):
            assert found.startswith(names), (path.name, found)


def test_files_are_short() -> None:
    for path in (*SCRIPTS, *PAGE.glob("css/*.css"), PAGE / "index.html"):
        assert len(path.read_text("utf-8").splitlines()) <= LONGEST, path.name


def test_the_first_view_is_small(client: TestClient) -> None:
    index = client.get("/").text
    names = re.findall(r'(?:href|src)="(page/[^"]+)"', index)
    sizes = [
        int(client.get(f"/{name}", headers={"Accept-Encoding": "gzip"}).headers["Content-Length"])
        for name in set(names)
    ]
    assert len(sizes) > 30
    assert sum(sizes) + len(index) < FIRST_VIEW


def test_a_file_that_did_not_change_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/page/js/main.js")
    assert first.status_code == 200
    assert first.text == (PAGE / "js" / "main.js").read_text("utf-8")
    assert first.headers["Content-Type"] == "text/javascript; charset=utf-8"
    again = client.get("/page/js/main.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/page/js/main.js", headers={"If-None-Match": '"x"'}).status_code == 200


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip, br", True), ("identity", False), ("gzip;q=0, identity", False), ("gzip;q=0.5", True)],
)
def test_files_are_packed_where_that_is_understood(
    client: TestClient, accepted: str, packed: bool
) -> None:
    headers = {"Accept-Encoding": accepted}
    with client.stream("GET", "/page/css/base.css", headers=headers) as answer:
        content = b"".join(answer.iter_raw())
    assert answer.headers.get("Content-Encoding") == ("gzip" if packed else None)
    plain = gzip.decompress(content) if packed else content
    assert plain == (PAGE / "css" / "base.css").read_bytes()


@pytest.mark.parametrize(
    "name",
    ["vendor/README.md", "../api/page.py", "..%2Fapi%2Fpage.py", "js", "", "js/main.js/", "x\x00"],
)
def test_nothing_but_the_page_is_handed_out(client: TestClient, name: str) -> None:
    assert client.get(f"/page/{name.replace(chr(0), '%00')}").status_code == 404
