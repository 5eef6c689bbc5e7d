from __future__ import annotations

import asyncio
import os
import re
import shutil

import pytest

from styleatlas.server.works.nouns import Limits
from styleatlas.server.works.pictures import Pictures, forget_files, token
from styleatlas.store.errors import DiskFull, Missing, TooLarge


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "pictures"


@pytest.fixture
def pictures(folder):
    return Pictures(folder, Limits(upload=1000, reserve=0))


def made(tmp_path, name: str = "a.png", size: int = 10):
    path = tmp_path / token() / name
    path.parent.mkdir()
    path.write_bytes(os.urandom(size))
    return path


def receive(pictures: Pictures, content):
    return asyncio.run(pictures.receive(content))


def names_in(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_names_are_not_to_be_guessed():
    names = {token() for _ in range(1000)}
    assert len(names) == 1000
    assert all(re.fullmatch("[A-Za-z0-9_-]{32}", name) for name in names)


def test_picture_is_handed_out_by_its_name_alone(pictures, tmp_path):
    path = made(tmp_path)
    name = pictures.adopt(path, token())
    found = pictures.open(name)
    assert found.path.read_bytes() == path.read_bytes()
    assert (found.type, found.etag) == ("image/png", name)
    for other in (
        "",
        ".",
        "..",
        "../a.png",
        f"/{name}",
        f"{name}\0",
        f"./{name}",
        name[:-1],
        "a.png",
    ):
        with pytest.raises(Missing):
            pictures.open(other)


def test_smaller_picture_is_handed_out_where_it_is_taken(pictures, tmp_path):
    stem = token()
    for name in ("a.png", "a.webp"):
        pictures.adopt(made(tmp_path, name), stem)
    assert pictures.open(f"{stem}.png", webp=True).type == "image/webp"
    assert pictures.open(f"{stem}.png").type == "image/png"
    alone = pictures.adopt(made(tmp_path), token())
    assert pictures.open(alone, webp=True).type == "image/png"
    assert pictures.remove(f"{stem}.png") and not pictures.remove(f"{stem}.png")
    assert names_in(pictures.folder) == [alone]


def test_photo_is_never_handed_out(pictures):
    upload = receive(pictures, b"a photo")
    assert pictures.photo(upload.id).read_bytes() == b"a photo"
    assert upload.bytes == 7 == pictures.size
    for name in (upload.id, f"{upload.id}.photo"):
        with pytest.raises(Missing):
            pictures.open(name)
    for other in ("../x", "", "x" * 32):
        with pytest.raises(Missing, match=r"^photo: there are none of this id"):
            pictures.photo(other)
    assert pictures.remove_photo(upload.id) and not pictures.remove_photo(upload.id)
    assert names_in(pictures.folder) == []


def test_photo_of_too_many_bytes_is_refused_before_it_is_all_there(pictures, folder):
    sent = []

    async def endless():
        while True:
            sent.append(1)
            yield bytes(300)

    with pytest.raises(TooLarge, match=r"^photo: has more than"):
        receive(pictures, endless())
    assert len(sent) == 4
    assert names_in(folder) == []


def test_photo_whose_client_hangs_up_leaves_nothing(pictures, folder):
    async def half():
        yield bytes(300)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        receive(pictures, half())
    assert names_in(folder) == [] and pictures.size == 0


def test_nothing_is_taken_where_the_disk_has_only_its_reserve(folder):
    pictures = Pictures(folder, Limits(reserve=2**62))
    with pytest.raises(DiskFull, match=r"^disk: of the service has no room"):
        receive(pictures, b"a photo")
    assert names_in(folder) == []


def test_oldest_go_where_all_are_too_large(folder, tmp_path):
    pictures = Pictures(folder, Limits(disk=250))
    names = [pictures.adopt(made(tmp_path, size=100), token()) for _ in range(4)]
    assert pictures.size == 200
    assert names_in(folder) == sorted(names[2:])


def test_next_service_hands_out_what_is_there(pictures, folder, tmp_path):
    names = [pictures.adopt(made(tmp_path, size=10), token()) for _ in range(3)]
    for age, name in enumerate(names):
        os.utime(folder / name, (1000 - age, 1000 - age))
    (folder / "incoming-x").write_bytes(b"half a photo")
    (folder / "notes.txt").write_text("somebody's own")
    again = Pictures(folder, Limits(disk=25))
    assert again.size == 30
    assert again.open(names[1]).etag == names[1]
    assert "incoming-x" not in names_in(folder) and "notes.txt" in names_in(folder)
    last = again.adopt(made(tmp_path, size=10), token())
    assert {*names_in(folder)} == {"notes.txt", names[0], last}, "the oldest went"


def found_of(pictures: Pictures, upload: str, tmp_path, key: str):
    """What a job found of a photo, in its folder."""
    folder = tmp_path / token()
    folder.mkdir()
    (folder / f"{key}.inversion").write_bytes(b"found")
    (folder / "notes.inversion").write_bytes(b"no key")
    pictures.keep_inversions(upload, folder)
    return folder


def test_what_was_found_of_a_photo_is_lent_to_its_jobs_and_ends_with_it(pictures, folder, tmp_path):
    one, other = (receive(pictures, b"a photo").id for _ in range(2))
    found_of(pictures, one, tmp_path, "a" * 64)
    found_of(pictures, one, tmp_path, "b" * 64)
    found_of(pictures, other, tmp_path, "c" * 64)
    with pytest.raises(Missing):
        pictures.open(f"{one}.{'a' * 64}.inversion")
    pictures.lend_inversions(one, tmp_path / "lent")
    assert names_in(tmp_path / "lent") == [f"{'a' * 64}.inversion", f"{'b' * 64}.inversion"]
    pictures.keep_inversions(one, tmp_path / "lent")
    assert pictures.size == 2 * 7 + 3 * 5, "each counts once"
    assert pictures.remove_photo(one)
    assert names_in(folder) == sorted([f"{other}.photo", f"{other}.{'c' * 64}.inversion"])
    found_of(pictures, one, tmp_path, "a" * 64)
    assert len(names_in(folder)) == 2, "of a photo that is gone nothing is kept"
    (folder / f"{other}.photo").unlink()  # as by a service that was killed at it
    assert Pictures(folder, Limits()).size == 0 and names_in(folder) == []


def test_what_is_older_than_it_is_kept_goes(pictures, tmp_path):
    name = pictures.adopt(made(tmp_path), token())
    pictures.forget_before(0.0)
    assert pictures.open(name)
    pictures.forget_before(2.0**40)
    with pytest.raises(Missing):
        pictures.open(name)


@pytest.mark.parametrize("how", ["above", "link", "absolute"])
def test_worker_that_names_files_of_others_is_not_believed(pictures, tmp_path, how):
    job = tmp_path / "job"
    job.mkdir()
    secret = made(tmp_path, "secret.png")
    (job / "link.png").symlink_to(secret)
    name = {"above": os.path.relpath(secret, job), "link": "link.png", "absolute": str(secret)}[how]
    told = {"record": {}, "notes": [], "pictures": [{"file": name}], "latents": None}
    with pytest.raises(ValueError, match=r"lies elsewhere"):
        pictures.take_in(job, told)
    assert names_in(pictures.folder) == []


def test_what_two_jobs_made_together_stays_where_one_is_forgotten(pictures, tmp_path):
    job = tmp_path / "job"
    job.mkdir()
    (job / "a.png").write_bytes(bytes(10))
    told = {"record": {}, "notes": [], "latents": None}
    one, two = (
        pictures.take_in(job, {**told, "pictures": [{"file": "a.png", "role": "picture"}]})
        for _ in range(2)
    )
    shutil.rmtree(job)
    first, second = (result["pictures"][0]["name"] for result in (one, two))
    assert pictures.remove(first)
    assert pictures.open(second).path.stat().st_size == 10


def test_remembered_prompts_have_an_age_and_a_size(tmp_path):
    for age, name in enumerate("abcd"):
        path = tmp_path / "texts" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(10))
        os.utime(path, (1000 - age, 1000 - age))
    forget_files(tmp_path, 997.5, 20)
    assert names_in(tmp_path / "texts") == ["a", "b"]
