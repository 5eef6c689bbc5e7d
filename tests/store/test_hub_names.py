"""Names on the Hub: what they say, and what is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from styleatlas.store.errors import OptionError
from styleatlas.store.hub_names import HubName, is_hub, read_name

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("hf://me/faces/ffhq.pkl", HubName("me/faces", "ffhq.pkl")),
        ("hf://me/faces/ffhq.pkl@v1.0", HubName("me/faces", "ffhq.pkl", "v1.0")),
        ("hf://me/faces/a b/c.h5@refs/pr/1", HubName("me/faces", "a b/c.h5", "refs/pr/1")),
        (f"hf://M-e_1/x.y/g.pt@{COMMIT}", HubName("M-e_1/x.y", "g.pt", COMMIT)),
        ("hf://me/faces/a@b.pkl@main", HubName("me/faces", "a@b.pkl", "main")),
        ("hf://me/faces", HubName("me/faces")),
        ("hf://me/faces@feature", HubName("me/faces", "", "feature")),
    ],
)
def test_a_name_is_read_and_written_as_it_was(source, name):
    assert is_hub(source) and read_name(source) == name and str(name) == source


def test_open_clips_way_of_naming_a_repository_is_understood():
    assert is_hub("hf-hub:me/clip") and str(read_name("hf-hub:me/clip")) == "hf://me/clip"


@pytest.mark.parametrize("path", ["hf/me", "./hf://x", "hf:/me/x", "", Path("hf://me/x/y")])
def test_what_begins_otherwise_is_a_path(path):
    assert not is_hub(path)


@pytest.mark.parametrize(
    "source",
    [
        "hf://",
        "hf://me",
        "hf:///x/y",
        "hf://me//y",
        "hf://../etc/passwd",
        "hf://me/../x",
        "hf://me/faces/../../x",
        "hf://me/faces/./x",
        "hf://me/faces/",
        "hf://me/faces//x",
        "hf://me/faces/a\\b",
        "hf://me/faces/a\0b",
        "hf://me/faces/a\nb",
        "hf://me/faces/" + "x" * 256,
        "hf://me/" + "x" * 97,
        "hf://-me/faces/x",
        "hf://me/fa--ces/x",
        "hf://me/faces.git/x",
        "hf://mé/faces/x",
        "hf://me/faces/x@",
        "hf://me/faces/x@../main",
        "hf://me/faces/x@/main",
        "hf://me/faces/x@a b",
        "hf://me/faces/x@a//b",
        "hf://datasets/me/faces/x",
        "hf://spaces/me/faces",
        "hf-hub:clip",
    ],
)
def test_what_is_no_name_says_how_one_is_written(source):
    with pytest.raises(OptionError, match=r"is no name on the Hub, .*; write hf://OWNER/REPO/FIL"):
        read_name(source)


def test_a_revision_in_the_middle_is_told_to_stand_at_the_end():
    with pytest.raises(OptionError, match="the revision stands behind the file"):
        read_name("hf://me/faces@main/ffhq.pkl")


def test_a_commit_always_names_the_same():
    assert read_name(f"hf://me/faces/x@{COMMIT}").is_pinned
    assert not read_name("hf://me/faces/x@main").is_pinned
    assert not read_name("hf://me/faces/x").is_pinned


def test_what_lies_beside_a_file_is_of_its_folder_and_revision():
    name = read_name("hf://me/clips/small/clip.bin@main")
    assert str(name.beside("config.json")) == "hf://me/clips/small/config.json@main"
    assert str(read_name("hf://me/clips").beside("config.json")) == "hf://me/clips/config.json"
