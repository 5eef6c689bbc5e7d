"""Which photos a job takes, what is written of them, and what a recipe tells of one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from styleatlas.engine.jobs.photo_job import (
    PhotoJob,
    file_sha256,
    photo_files,
    photo_kind,
    replayed,
)
from styleatlas.engine.photos.inversion import InvertSettings
from styleatlas.engine.steering.edits import Edit
from styleatlas.engine.steering.request import EditRequest
from styleatlas.store.errors import InputError, OptionError

PAIR = (Edit("a face", "a sad face"),)
SHA = "0" * 64


def test_a_folder_stands_for_the_pictures_in_it_by_their_names(tmp_path):
    folder = tmp_path / "friends"
    (folder / "inner.png").mkdir(parents=True)
    for name in ("b.JPG", "a.webp", "c.heic", ".hidden.png", "notes.txt", "d.tiff"):
        (folder / name).write_bytes(b"")
    me = tmp_path / "me"
    names = [path.name for path in photo_files([me, folder])]
    assert names == ["me", "a.webp", "b.JPG", "c.heic", "d.tiff"]
    with pytest.raises(InputError, match="holds no pictures"):
        photo_files([folder / "inner.png"])


def test_what_is_written_is_told_by_the_name_and_the_columns(tmp_path):
    one = EditRequest(PAIR)
    strip = EditRequest(PAIR, alphas=(0, 1))
    for suffix in (".jpg", ".JPEG", ".png", ".webp", ".tif", ".heic"):
        assert photo_kind(Path(f"me{suffix}"), one, 1) == "photo"
    assert photo_kind(Path("me.gif"), one, 3) == photo_kind(Path("me.MP4"), one, 1) == "film"
    assert photo_kind(Path("me.png"), strip, 3) == "sheet"
    assert photo_kind(Path("me.png"), one.changed(before=True), 1) == "sheet"
    assert photo_kind(Path("me.png"), one.changed(betas=(0.1, 0.2)), 1) == "sheet"
    assert photo_kind(Path("people"), one, 1) == photo_kind(tmp_path, strip, 9) == "folder"
    with pytest.raises(OptionError, match="several columns make a sheet of crops, which is a PNG"):
        photo_kind(Path("me.jpg"), strip, 1)
    with pytest.raises(OptionError, match="is one picture, and the photos are 2; name a folder"):
        photo_kind(Path("me.jpg"), one, 2)


def test_a_recipe_tells_a_photo_as_the_job_had_it():
    settings = InvertSettings(space="s", steps=3)
    job = PhotoJob((Path("me"),), faces=((2, 1.5), (1, 1.0)), settings=settings)
    inputs = {"photos": list(job.inputs(SHA, "face", 2))}
    assert replayed(inputs, SHA) == {"align": "face", "faces": job.faces, "settings": settings}
    assert replayed(inputs, "1" * 64) == {}
    begun = replace(settings, start="encoder", encoder="2" * 64)
    inputs = {"photos": list(replace(job, settings=begun).inputs(SHA, "face", 2))}
    assert replayed(inputs, SHA)["settings"] == begun
    box = PhotoJob((Path("me"),), align=(1.0, 2.0, 3.5))
    assert replayed({"photos": list(box.inputs(SHA, (1.0, 2.0, 3.5), 1))}, SHA) == {
        "align": (1.0, 2.0, 3.5),
        "faces": ((1, 1.0),),
        "settings": InvertSettings(),
    }


@pytest.mark.parametrize(
    "change",
    [
        {"align": "left"},
        {"align": [1, 2]},
        {"face": 0},
        {"face": "all"},
        {"weight": "much"},
        {"weight": None},
        {"invert": []},
        {"invert": {"code": "x"}},
        {"invert": {"steps": 10**9}},
        {"invert": {"space": "z"}},
        {"invert": {"encoder": "\x1b[2K" * 64}},
        {"invert": {"start": ["encoder"]}},
    ],
)
def test_a_hostile_recipe_is_refused(change):
    (record,) = PhotoJob((Path("me"),)).inputs(SHA, "face", 1)
    assert replayed({"photos": [record]}, SHA)
    with pytest.raises(InputError, match="recipe: what it tells of a photo is not as StyleAtlas"):
        replayed({"photos": [{**record, **change}]}, SHA)
    with pytest.raises(InputError, match="recipe: what it tells"):
        replayed({"photos": [{"sha256": SHA}]}, SHA)
    for told in ("me.jpg", {}, [1], None):
        with pytest.raises(InputError, match="recipe: photos must be a list"):
            replayed({"photos": told}, SHA)


def test_all_faces_are_counted_as_they_are_found():
    job = PhotoJob((Path("me"),), faces=())
    assert job.face == "all" and job.weights(3) == (1, 1, 1)
    assert [record["face"] for record in job.inputs(SHA, "face", 3)] == [1, 2, 3]
    assert PhotoJob((Path("me"),)).face == 1
    assert PhotoJob((Path("me"),), faces=((2, 0.5),)).face == (2,)


def test_a_photo_is_known_by_its_bytes(tmp_path):
    (tmp_path / "me").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(tmp_path / "me") == known
    with pytest.raises(InputError, match="cannot be read"):
        file_sha256(tmp_path / "none")
