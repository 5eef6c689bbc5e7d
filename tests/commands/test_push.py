"""push: an atlas with its card on a Hub of this machine, and what refuses it."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from styleatlas import Atlas
from styleatlas.engine.jobs.card import MARK, PICTURE
from styleatlas.engine.pictures.recipe import AtlasIdentity
from styleatlas.store.registry import EMBEDDED

from ..hub import TOKEN, Hub, commit_of, hub_of

PLACE = "hf://me/tiny-atlas"


@pytest.fixture
def hub(monkeypatch, tmp_path_factory) -> Iterator[Hub]:
    with hub_of(monkeypatch, tmp_path_factory.mktemp("hub")) as hub:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


def pushed(hub: Hub, name: str = "me/tiny-atlas", branch: str = "main") -> dict[str, bytes]:
    repository = hub.repositories[name]
    files = dict(repository.commits[repository.branches[branch]])
    files.pop(".gitattributes", None)
    return files


def test_an_atlas_lies_there_with_its_card_and_is_used_by_its_name(run, hub, tiny_path):
    done = run("push", tiny_path, PLACE, "--licence", "cc-by-4.0", "--yes")
    assert done.exit_code == 0, done.output
    name = f"{PLACE}/tiny.h5@{commit_of(2)}"
    assert done.stdout == f"{name}\n" and TOKEN not in done.output
    files = pushed(hub)
    assert files.keys() == {"tiny.h5", "README.md"}
    assert files["tiny.h5"] == tiny_path.read_bytes() and hub.uploads  # by the host of large files
    assert hub.messages == ["Atlas tiny.h5"]
    card = files["README.md"].decode()
    assert card.startswith('---\nlibrary_name: styleatlas\nlicense: "cc-by-4.0"\n') and MARK in card
    assert f"styleatlas edit {PLACE}/tiny.h5 --generator GENERATOR --clip CLIP" in card
    assert Atlas.open(name).fingerprint == Atlas.open(tiny_path).fingerprint


def test_the_card_shows_samples_where_the_generator_is_known_by_name(run, hub):
    done = run("push", "avatars", "hf://me/avatars", "--yes", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["files"] == ["README.md", "avatars.h5", PICTURE] and told["licence"] is None
    files = pushed(hub, "me/avatars")
    with Image.open(io.BytesIO(files[PICTURE])) as picture:
        assert picture.width >= 3 * 64 and picture.info == {}
    card = files["README.md"].decode()
    assert f"]({PICTURE})" in card and "The licence of the atlas is not stated." in card
    assert "--generator" not in card and "--clip CLIP" not in card
    assert "license" not in card.partition("\n---\n")[0]


def test_a_dry_run_prints_the_card_and_sends_nothing(run, hub, tiny_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    done = run("push", tiny_path, PLACE, "--dry-run", "--private")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("---\n") and "# tiny-atlas: an atlas for Style" in done.stdout
    assert "me/tiny-atlas: tiny.h5, 0.0 MB\n" in done.stderr
    assert "the repository is private if it is made now" in done.stderr
    assert hub.host.asked == []


def test_it_asks_and_a_no_sends_nothing(hub, tiny_path):
    command = [sys.executable, "-m", "styleatlas", "push", str(tiny_path), PLACE]
    front, back = pty.openpty()
    process = subprocess.Popen(command, stdin=back, stdout=subprocess.PIPE, stderr=back)
    os.close(back)
    os.write(front, b"n\n")
    assert process.wait(120) == 1 and process.stdout.read() == b""
    told = os.read(front, 10000).decode()
    assert "Send it? [y/N]" in told and "not agreed to; nothing was sent" in told
    process.stdout.close()
    os.close(front)
    assert hub.repositories == {}


def test_without_a_terminal_it_wants_yes(run, hub, tiny_path):
    done = run("push", tiny_path, PLACE)
    assert done.exit_code == 2 and "give --yes" in done.stderr and hub.repositories == {}


def test_a_private_repository_a_branch_and_a_name(run, hub, tiny_path):
    assert run("push", tiny_path, PLACE, "--private", "--yes").exit_code == 0
    repository = hub.repositories["me/tiny-atlas"]
    assert repository.private
    repository.branches["next"] = repository.branches["main"]
    done = run("push", tiny_path, f"{PLACE}/other.h5@next", "--yes")
    assert done.stdout == f"{PLACE}/other.h5@{commit_of(3)}\n", done.output
    assert "other.h5" in pushed(hub, branch="next") and "other.h5" not in pushed(hub)


def test_a_card_of_somebody_else_stays_and_one_of_push_is_renewed(run, hub, tiny_path):
    repository = hub.repository("me/tiny-atlas")
    repository.commit({"README.md": b"# Mine\n"})
    done = run("push", tiny_path, PLACE, "--yes")
    assert (
        done.exit_code == 0 and "has a card that `push` did not write, which stays" in done.stderr
    )
    assert pushed(hub)["README.md"] == b"# Mine\n" and "tiny.h5" in pushed(hub)
    repository.commit({"README.md": f"{MARK}\nthe first".encode()})
    assert run("push", tiny_path, PLACE, "--yes").exit_code == 0
    assert b"the first" not in pushed(hub)["README.md"]


def evaluation(folder: Path, **other: object) -> Path:
    """What `evaluate` writes, in short."""
    figure = {"value": 96.04, "low": 95.0, "high": 96.9}
    point = {"alpha": None, "success": figure, "preservation": {**figure, "low": None}}
    told = {
        "atlas": {"sha256": AtlasIdentity.of(Atlas.open("avatars"), "auto").sha256},
        "judge": "avatars",
        "seeds": [1, 2, 3],
        "ways": [{"best": 0, "points": [{**point, "fully_right": figure, "damaged": None}]}],
        "edits": [{"neutral": "a", "target": t} for t in "xyx"],
        **other,
    }
    folder.mkdir()
    (folder / "evaluation.json").write_text(json.dumps(told))
    return folder


def test_figures_of_an_evaluation_stand_in_the_card(run, hub, tmp_path):
    folder = evaluation(tmp_path / "quality")
    done = run("push", "avatars", PLACE, "--evaluation", folder, "--dry-run")
    assert "| success | 96.0 % (95.0 to 96.9) |" in done.stdout, done.output
    assert "| preservation | 96.0 % |" in done.stdout and "damaged |" not in done.stdout
    assert "2 edits of 3 seeds, judged by `avatars`" in done.stdout


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"atlas": {"sha256": "0" * 64}}, "is an evaluation of another atlas; evaluate this one"),
        ({"ways": []}, "cannot be read as what `styleatlas evaluate` writes (list index out of"),
        ({"judge": None, "seeds": 3}, "cannot be read as what `styleatlas evaluate` writes"),
        ({"ways": [{"best": "x", "points": [1]}]}, "cannot be read as what"),
    ],
)
def test_figures_of_something_else_are_refused(refused, hub, tmp_path, other, message):
    folder = evaluation(tmp_path / "quality", **other)
    told = refused("push", "avatars", PLACE, "--evaluation", folder, "--yes")
    assert message in told and hub.host.asked == []


def test_a_picture_is_sent_without_what_it_tells(run, hub, tiny_path, tmp_path):
    from PIL.PngImagePlugin import PngInfo

    about, path = PngInfo(), tmp_path / "mine.png"
    about.add_text("where", "/home/me")
    Image.new("RGB", (5, 3), "red").save(path, pnginfo=about)
    assert run("push", tiny_path, PLACE, "--picture", path, "--yes").exit_code == 0
    content = pushed(hub)[PICTURE]
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.getpixel((2, 1)) == (255, 0, 0) and picture.size == (5, 3)
    assert b"/home/me" not in content


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_picture_that_is_none_is_refused(refused, hub, tiny_path, tmp_path, content):
    path = tmp_path / "mine.png"
    path.write_bytes(content)
    told = refused("push", tiny_path, PLACE, "--picture", path, "--yes")
    assert told.startswith(f"{path}: cannot be read as a PNG") and hub.host.asked == []


def only(hub: Hub) -> None:
    """Nothing is there but what stood there before."""
    assert all(pushed(hub, name) == {} for name in hub.repositories)


def told_of(run, *arguments: object) -> str:
    done = run("push", *arguments, "--yes")
    assert done.exit_code == 1 and done.stdout == "", done.output
    last = done.stderr.splitlines()[-1]
    assert last.startswith("styleatlas push: ") and TOKEN not in done.output
    return last.removeprefix("styleatlas push: ")


def test_who_is_not_logged_in_is_told_before_anything_is_sent(run, hub, tiny_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    told = told_of(run, tiny_path, PLACE)
    assert "who writes to the Hub has to be known to it; log in by `hf auth login`" in told
    assert hub.host.asked == []


@pytest.mark.parametrize(
    ("step", "status", "message"),
    [
        ("/api/repos/create", 403, "the Hub refuses this account (403); log in"),
        ("/preupload/", 403, "the Hub refuses this account (403); log in"),
        ("objects/batch", 413, "the Hub answers 413"),
        ("/commit/", 412, "the Hub answers 412"),
        ("/commit/", 500, "the Hub answers 500"),
    ],
)
def test_a_step_that_is_refused_leaves_no_file(run, hub, tiny_path, step, status, message):
    hub.refuse = {step: (status, "")}
    told = told_of(run, tiny_path, PLACE)
    assert message in told
    made = "; the repository me/tiny-atlas was made, and may stay, empty"
    assert told.endswith(made) == bool(hub.repositories)
    only(hub)
    if hub.repositories:  # of one that stood there before nothing is said
        assert made not in told_of(run, tiny_path, PLACE)


def test_bytes_that_arrive_damaged_are_in_no_commit(run, hub, tiny_path):
    hub.refuse_uploads = True
    told = told_of(run, tiny_path, PLACE)
    assert "the Hub" in told
    only(hub)


@pytest.mark.parametrize("there", [True, False])
def test_a_branch_that_is_not_there_is_named_and_nothing_made(run, hub, tiny_path, there):
    if there:
        hub.repository("me/tiny-atlas").commit({})
    told = told_of(run, tiny_path, f"{PLACE}@next")
    assert told.startswith(f"{PLACE}/tiny.h5@next: me/tiny-atlas has no branch next, and")
    assert told.endswith(f"make it at {hub.host.url}/me/tiny-atlas, or leave @next out")
    only(hub)
    assert len(hub.repositories) == there and hub.host.count("POST") == 0


@pytest.mark.parametrize("file", ["README.md", PICTURE])
@pytest.mark.parametrize("by_itself", [True, False])
def test_an_atlas_does_not_take_the_name_of_what_tells_of_it(
    refused, hub, tiny_path, tmp_path, file, by_itself
):
    atlas, place = tiny_path, f"{PLACE}/{file}"
    if by_itself:
        atlas, place = tmp_path / file, PLACE
        atlas.write_bytes(tiny_path.read_bytes())
    for further in ((), ("--dry-run",)):
        told = refused("push", atlas, place, "--yes", *further)
        assert told.startswith(f"{PLACE}/{file}: ") and told.endswith(f"otherwise, {PLACE}/NAME.h5")
    assert hub.host.asked == []


def test_off_a_terminal_no_bars_are_drawn_and_bars_are_as_they_were(run, hub, tiny_path):
    from huggingface_hub import utils

    hub.repository("me/tiny-atlas").commit({"README.md": MARK.encode()})
    for off in (False, True):
        if off:
            utils.disable_progress_bars()
        try:
            assert run("push", tiny_path, PLACE, "--yes").exit_code == 0
            assert utils.are_progress_bars_disabled() is off
        finally:
            utils.enable_progress_bars()
    command = [sys.executable, "-m", "styleatlas", "push", str(tiny_path), PLACE, "--yes"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert all(line.startswith(("note: ", "me/tiny-atlas: ", "licence: ")) for line in lines), lines
    assert "%" not in done.stderr


@pytest.mark.parametrize("place", ["here", "hf://me", f"{PLACE}@{commit_of(1)}", "a.h5"])
def test_a_place_that_is_none_is_wrong_usage(run, hub, tiny_path, place):
    assert run("push", tiny_path, place, "--yes").exit_code == 2 and hub.host.asked == []


def test_a_licence_that_is_no_identifier_is_refused(refused, hub, tiny_path):
    told = refused("push", tiny_path, PLACE, "--licence", "MIT\nx: y", "--yes")
    assert told.endswith("is no identifier such as apache-2.0, cc-by-nc-4.0 or other")
    told = refused("push", f"{PLACE}/tiny.h5", PLACE, "--yes")
    assert hub.host.count("POST") == 0
    assert EMBEDDED.atlas.is_file()
