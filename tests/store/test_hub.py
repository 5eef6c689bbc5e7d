"""Files of the Hub: fetched whole and proven, or not at all, whatever goes wrong on the way."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from styleatlas.store import hub as module
from styleatlas.store import registry
from styleatlas.store.errors import FetchError, NotOnHub, OptionError, OutputError
from styleatlas.store.hub import cached, fetched, kept, remove
from styleatlas.store.hub_names import read_name
from styleatlas.store.progress import Progress

from ..hub import TOKEN, Hub, answer, commit_of, cut_at, files_below, hang_up, hub_of

SMALL, LARGE = b"a card\n", bytes(range(256)) * 40
FILE = "hf://me/faces/large.bin"


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[Hub]:
    with hub_of(monkeypatch, tmp_path) as hub:
        hub.repository("me/faces").commit({"small.txt": SMALL, "large.bin": LARGE})
        yield hub


@pytest.fixture
def again(monkeypatch):
    """What a new process knows: nothing."""
    return lambda: monkeypatch.setattr(module, "_seen", {})


def refused(message: str, source: str = FILE, error: type[Exception] = FetchError) -> str:
    with pytest.raises(error, match=message) as caught:
        fetched(source)
    text = str(caught.value)
    assert type(caught.value) is error, type(caught.value)
    assert "\n" not in text and text.startswith(source) and "; " in text
    assert TOKEN not in text and "secret" not in text
    return text


def test_a_small_and_a_large_file_come_whole(hub, tmp_path):
    for file, content in (("small.txt", SMALL), ("large.bin", LARGE)):
        found = fetched(f"hf://me/faces/{file}")
        assert found.path.read_bytes() == content
        assert str(found.name) == f"hf://me/faces/{file}@{commit_of(1)}"
        assert found.path.is_relative_to(tmp_path / "cache")


def test_a_run_asks_once_and_sees_one_commit(hub):
    first = fetched(FILE)
    asked = len(hub.host.asked)
    hub.repository("me/faces").commit({"large.bin": LARGE[::-1]})
    assert fetched(FILE) == first and len(hub.host.asked) == asked


def test_another_run_takes_the_newest_and_fetches_nothing_that_is_there(hub, again):
    fetched(FILE)
    again()
    fetched(FILE)
    assert hub.store.count("GET") == 1
    hub.repository("me/faces").commit({"large.bin": LARGE[::-1]})
    again()
    assert fetched(FILE).path.read_bytes() == LARGE[::-1]
    assert fetched(f"{FILE}@{commit_of(1)}").path.read_bytes() == LARGE


def test_a_commit_that_is_in_the_cache_is_not_asked_for(hub, again):
    fetched(FILE)
    again()
    hub.host.asked.clear()
    assert fetched(f"{FILE}@{commit_of(1)}").path.read_bytes() == LARGE
    assert hub.host.asked == []


@pytest.mark.parametrize("revision", ["v1", "refs/pr/1"])
def test_a_branch_or_a_tag_is_a_revision(hub, revision):
    hub.repository("me/faces").commit({"large.bin": LARGE[::-1]}, revision)
    assert fetched(f"{FILE}@{revision}").path.read_bytes() == LARGE[::-1]
    assert fetched(FILE).path.read_bytes() == LARGE


def test_the_cache_serves_while_the_hub_is_down_or_shut(hub, again):
    fetched(FILE)
    for status in (500, 503, 401, 403):
        again()
        hub.down = status
        assert fetched(FILE).path.read_bytes() == LARGE


def test_the_cache_serves_off_the_network_and_what_is_not_in_it_says_so(hub, again, monkeypatch):
    fetched(FILE)
    again()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = len(hub.host.asked)
    assert fetched(FILE).path.read_bytes() == LARGE
    refused(
        "is not in the cache, and HF_HUB_OFFLINE keeps off the network; fetch it once without by "
        "`styleatlas models fetch hf://me/faces/small.txt`",
        "hf://me/faces/small.txt",
    )
    assert len(hub.host.asked) == asked


def test_no_network_is_told_apart_from_nothing_there(hub, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        template = nobody + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        refused("cannot be fetched .*; check the network, the proxy and HF_ENDPOINT")


def test_what_is_not_there_is_named(hub):
    refused(
        r"the Hub shows no repository me/nothing; check the name, or, if it is private, log in",
        "hf://me/nothing/x.pkl",
    )
    refused(
        r"me/faces holds no such file; see http://127.*/me/faces/tree/main",
        "hf://me/faces/x.pkl",
        NotOnHub,
    )
    refused("me/faces has no revision v9; see http://127.*/me/faces", f"{FILE}@v9", NotOnHub)
    with pytest.raises(OptionError, match="hf://me/faces: is a whole repository; name a file in"):
        fetched("hf://me/faces")


def test_what_is_gone_from_the_hub_is_gone_though_the_cache_had_it(hub, again):
    fetched(FILE)
    again()
    made = hub.repository("me/faces").commit({})
    del hub.repository("me/faces").commits[made]["large.bin"]
    refused("me/faces holds no such file", FILE, NotOnHub)


def test_a_gated_repository_says_where_its_conditions_are(hub, monkeypatch):
    hub.repository("me/faces").gated = True
    for token in (None, TOKEN):
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        refused(r"is gated; agree to its conditions at http://127.*/me/faces, and log in by `hf au")


def test_a_private_one_is_read_with_the_token_which_no_other_host_hears(hub, monkeypatch):
    hub.repository("me/faces").private = True
    refused("the Hub shows no repository me/faces; check the name, or, if it is private, log in")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert fetched(FILE).path.read_bytes() == LARGE
    assert any("authorization" in told for _, _, told in hub.host.asked)
    assert hub.store.asked and not any("authorization" in told for _, _, told in hub.store.asked)


def test_a_token_that_cannot_be_sent_is_not_shown(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}\u2013")
    refused("cannot be fetched")


def test_the_hubs_other_answers_are_told(hub):
    hub.down = 429
    refused(r"the Hub answers 429 \(.*\); try again later")
    hub.down = 403
    refused(r"the Hub refuses this account \(403\); log in by `hf auth login`, or set HF_TOKEN")


@pytest.mark.parametrize(
    "told",
    [{"X_Repo_Commit": None}, {"X_Repo_Commit": "../../../x"}]
    + [{"X_Linked_ETag": tag} for tag in ('"../../../x"', '""', '"a/b"')],
)
def test_a_server_that_does_not_answer_as_the_hub_does_is_refused(hub, told, tmp_path):
    hub.told = told
    refused("the server does not tell its size, hash and commit, as the Hub does; check HF_ENDPOIN")
    assert not any("large.bin" in name for name in files_below(tmp_path))


def test_a_file_whose_size_is_not_told_is_not_kept(hub, tmp_path):
    hub.told = {"X_Linked_Size": None}
    with pytest.raises(FetchError):  # newer huggingface_hub tells none, older ones 0
        fetched(FILE)
    nothing_is_left(tmp_path)


def test_a_large_one_is_refused_before_it_is_fetched(hub, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "MOST_BYTES", len(LARGE) - 1)
    refused(f"holds {len(LARGE):,} bytes, and files of at most {len(LARGE) - 1:,} are taken; name")
    assert hub.store.asked == [] and files_below(tmp_path) == []


def test_a_disk_without_room_is_told_before(hub, monkeypatch, tmp_path):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=len(LARGE) - 1))
    with pytest.raises(OutputError, match=r"bytes in .*cache/me, and 10,239 are free there; "):
        fetched(FILE)
    assert hub.store.asked == [] and files_below(tmp_path) == []


@pytest.mark.ordinary_user
def test_a_cache_that_cannot_be_written_says_where(hub, tmp_path):
    (tmp_path / "cache").mkdir(mode=0o500)
    with pytest.raises(OutputError, match=r"cannot be kept in .*cache \(Permission denied\); make"):
        fetched(FILE)


def test_a_cut_connection_is_gone_on_with(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100)
    hub.trouble = cut_at(1000, 3000, 100)
    assert fetched(FILE).path.read_bytes() == LARGE
    ranges = [told.get("range") for _, _, told in hub.store.asked]
    assert ranges == [None, "bytes=1000-", "bytes=4000-", "bytes=4100-"]


def nothing_is_left(folder: Path) -> None:
    left = [name for name in files_below(folder) if "refs/" not in name]
    assert left == [], left
    assert cached(read_name(FILE)) is None and kept() == []


def test_one_that_ends_before_its_end_is_not_kept(hub, tmp_path, again):
    hub.trouble = lambda handler, content: answer(handler, 200, content[:5000])
    refused("ended after 5,000 of 10,240 bytes; try again, or check the network")
    nothing_is_left(tmp_path)
    hub.trouble = None
    assert fetched(FILE).path.read_bytes() == LARGE


def test_one_that_is_longer_than_was_told_is_stopped(hub, tmp_path):
    def endless(handler, content):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        while True:
            handler.wfile.write(content)

    hub.trouble = endless
    refused("is longer than the 10,240 bytes that the Hub tells; try again later")
    nothing_is_left(tmp_path)


@pytest.mark.parametrize("file", ["large.bin", "small.txt"])
def test_other_bytes_of_the_same_size_are_not_kept(hub, tmp_path, file, monkeypatch):
    source = f"hf://me/faces/{file}"
    hub.trouble = lambda handler, content: answer(handler, 200, content[::-1])
    if file == "small.txt":
        tag = hashlib.sha1(b"blob 7\0" + SMALL[::-1]).hexdigest()
        hub.told = {"ETag": f'"{tag}"'}
    refused("came damaged, for its hash is [0-9a-f]{12} and the Hub's [0-9a-f]{12}; it was", source)
    left = [name for name in files_below(tmp_path) if "refs/" not in name]
    assert left == [] and cached(read_name(source)) is None


def test_a_cache_that_others_filled_is_proven_before_it_is_read(hub, tmp_path, again):
    path = fetched(FILE).path
    for note in kept():
        note.note.unlink()
    again()
    os.chmod(path.resolve(), 0o600)
    path.resolve().write_bytes(LARGE[::-1])
    refused("came damaged", FILE)
    assert fetched(FILE).path.read_bytes() == LARGE


def test_silence_ends(hub, tmp_path, monkeypatch):
    """Every try waits a second here; that it goes on trying is huggingface_hub's."""

    def silent(handler, content):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        hub_done.wait(30)
        hang_up(handler)

    import threading
    import time

    hub_done = threading.Event()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    hub.trouble = silent
    try:
        refused("cannot be fetched .*; check the network")
    finally:
        hub_done.set()
    nothing_is_left(tmp_path)


def test_a_download_is_reported(hub):
    told: list[Progress] = []
    fetched(FILE, told.append)
    assert told[-1].done == told[-1].total == len(LARGE) and told[-1].label == "large.bin"
    assert told[-1].record == {"file": FILE, "bytes": len(LARGE), "total": len(LARGE)}


def test_what_was_fetched_is_known_until_it_is_removed(hub, again, tmp_path):
    repository = hub.repository("me/faces")
    fetched(FILE), fetched("hf://me/faces/small.txt")
    repository.commit({"large.bin": LARGE[::-1]})
    again()
    fetched(FILE)
    names = [str(one.name) for one in kept()]
    first, second = (f"{FILE}@{commit_of(n)}" for n in (1, 2))
    assert names == [first, second, f"hf://me/faces/small.txt@{commit_of(1)}"]
    assert [one.bytes for one in kept()] == [len(LARGE), len(LARGE), len(SMALL)]
    assert [str(one.name) for one in remove(read_name(first))] == [first]
    assert cached(read_name(first)) is None and cached(read_name(second)) is not None
    assert len(remove(read_name("hf://me/faces"))) == 2
    assert kept() == [] and files_below(tmp_path) == []


def test_bytes_that_another_commit_has_too_stay(hub, again):
    fetched(FILE)
    hub.repository("me/faces").commit({"other.txt": b"x"})
    again()
    fetched(FILE)
    assert hub.store.count("GET") == 1  # the same bytes
    remove(read_name(f"{FILE}@{commit_of(1)}"))
    again()
    assert fetched(f"{FILE}@{commit_of(2)}").path.read_bytes() == LARGE
    assert hub.store.count("GET") == 1


def test_what_another_program_removed_is_told(hub, tmp_path):
    fetched(FILE)
    shutil.rmtree(tmp_path / "cache")
    (one,) = kept()
    assert one.path is None
    assert remove(read_name(FILE)) == [one] and kept() == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"name": "hf://x"}', b"[" * 9000])
def test_a_note_that_is_none_is_passed_over(hub, content):
    fetched(FILE)
    (one,) = kept()
    one.note.write_bytes(content)
    assert kept() == []
    assert fetched(FILE).path.read_bytes() == LARGE


def test_the_registry_finds_what_lies_on_the_hub(hub):
    assert registry.is_name(FILE) and registry.is_name("avatars") and not registry.is_name("x.pkl")
    assert registry.part_of(FILE, "generator").read_bytes() == LARGE
    assert registry.file_of(FILE) == registry.part_of(FILE, "atlas")
    assert registry.known_as(FILE) == f"{FILE}@{commit_of(1)}"
    assert registry.known_as("avatars") == "avatars" and registry.known_as("a/b.pkl") == "b"
    assert registry.file_of("a/b.pkl") == Path("a/b.pkl")
