"""The works with a worker that nothing happens to."""

from __future__ import annotations

import asyncio
import io
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from styleatlas.engine.editor import load
from styleatlas.engine.fallbacks.mapper import read_mapper
from styleatlas.engine.models.latents import read_latents
from styleatlas.engine.models.sampling import w_from_seeds
from styleatlas.engine.pictures.recipe import read_recipe
from styleatlas.server.works.foreman import Works
from styleatlas.server.works.nouns import Settings
from styleatlas.store.errors import (
    KeyReused,
    Missing,
    QueueFull,
    ServiceError,
    TooMany,
    WorkerError,
)

from ...archive_files import ARCHIVE
from ...near import assert_pixels_near
from .conftest import ENDLESS, SMILE, Served, body, serving


@pytest.fixture(scope="module")
def editor():
    return load("avatars")


@pytest.fixture(scope="module")
def photo(served: Served) -> bytes:
    """An avatar, twice as large, with a frame around it."""
    job = served.done("edit", seeds=[7], edits=SMILE, alpha=0.0)
    with Image.open(served.file(job.result["pictures"][0]["name"])) as drawn:
        canvas = Image.new("RGB", (160, 150), "navy")
        canvas.paste(drawn.convert("RGB").resize((128, 128)), (20, 10))
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()


def upload(served: Served, content: bytes) -> str:
    return served.call(served.works.upload(content, "anna")).id


def test_edit_is_that_of_the_editor(served, editor):
    job = served.done("edit", seeds=[3, 1], edits=SMILE)
    wanted = editor.edit(seeds=[3, 1], neutral="a face", target="a smiling face")
    assert [picture["image"] for picture in job.result["pictures"]] == ["seed 3", "seed 1"]
    for number, picture in enumerate(job.result["pictures"]):
        assert (picture["role"], picture["type"]) == ("picture", "image/png")
        assert (picture["width"], picture["height"]) == (64, 64)
        with Image.open(served.file(picture["name"])) as found:
            assert_pixels_near(found.convert("RGB"), pixels(wanted.images[number]))
    told = job.result["record"]["images"]
    assert [image["alpha"] for image in told] == pytest.approx(wanted.alphas[:, 0], abs=1e-3)
    assert [image["status"] for image in told] == list(wanted.status)
    recipe = read_recipe(served.file(job.result["pictures"][0]["name"]))
    assert recipe.seeds == (3,)


def pixels(image: Tensor) -> np.ndarray:
    """Of a render (3, H, W) in [-1, 1]."""
    return ((image.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def test_smaller_picture_shows_the_same(served):
    job = served.done("edit", seeds=[3], edits=SMILE)
    name = job.result["pictures"][0]["name"]
    smaller = served.works.pictures.open(name, webp=True)
    assert smaller.type == "image/webp"
    with Image.open(smaller.path) as one, Image.open(served.file(name)) as other:
        assert one.format == "WEBP"
        assert np.array_equal(np.asarray(one.convert("RGB")), np.asarray(other.convert("RGB")))
    assert smaller.path.stat().st_size < served.file(name).stat().st_size


def test_what_happens_to_a_job_is_told_in_order_and_again_from_any_number(served):
    job = served.done("optimise", seeds=[1], neutral="a face", target="a pirate", steps=30)
    events = served.events(job)
    kinds = [event.kind for event in events]
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert kinds[:2] == ["queued", "started"] and kinds[-1] == "done"
    assert set(kinds[2:-1]) == {"progress"}
    assert events[2].data["of"] == 30 and 0 <= events[2].data["done"] <= 30
    assert events[-1].data["result"] == job.result
    assert served.events(job, after=2) == events[2:]
    assert served.events(job, after=len(events)) == []
    with pytest.raises(Missing):
        served.call(anext(served.works.events("nothing")))


def test_photo_is_cut_out_inverted_and_edited(served, photo):
    given, box = upload(served, photo), [20.0, 10.0, 128.0]
    crops = served.done("crops", photo=given, align=box)
    assert crops.result["record"]["crops"][0]["quad"][0] == [20.0, 10.0]
    job = served.done("edit", photo=given, align=box, edits=SMILE, alpha=0.5)
    roles = {picture["role"]: picture for picture in job.result["pictures"]}
    assert roles.keys() == {"photo", "sheet", "crop"}
    with Image.open(served.file(roles["photo"]["name"])) as whole:
        edited, before = np.asarray(whole.convert("RGB")), np.asarray(Image.open(io.BytesIO(photo)))
        assert edited.shape == before.shape
        assert np.array_equal(edited[:, :18], before[:, :18]), "what lies outside stays"
        assert not np.array_equal(edited[:, 20:148], before[:, 20:148])
    assert job.result["record"]["photos"][0]["photo"] == "photo"


def test_photo_is_inverted_once_and_what_was_found_ends_with_it(served, photo):
    given, box = upload(served, photo), [20.0, 10.0, 128.0]
    inverted = served.done("inversion", photo=given, align=box)
    edited = served.done("edit", photo=given, align=box, edits=SMILE, alpha=0.5)
    elsewhere = served.done("edit", photo=given, align=[21.0, 10.0, 127.0], edits=SMILE, alpha=0.5)
    refined = [
        any(event.data.get("what") == "invert" for event in served.events(job))
        for job in (inverted, edited, elsewhere)
    ]
    assert refined == [True, False, True]
    rows = [job.result["record"]["photos"][0] for job in (inverted, edited)]
    assert rows[0]["distance"] == rows[1]["distance"] and rows[0]["steps"] == rows[1]["steps"] > 0
    kept = served.folder / "pictures"
    assert len(list(kept.glob(f"{given}.*.inversion"))) == 2
    assert served.call(served.works.forget(given))
    assert not list(kept.glob(f"{given}*"))


def test_inversion_is_edited_as_latents(served, photo, editor):
    given = upload(served, photo)
    inverted = served.done("inversion", photo=given, align=[20.0, 10.0, 128.0], steps=5)
    latents = inverted.result["latents"]
    read = read_latents(served.file(f"{latents}.npz"), editor.generator)
    assert len(read.styles) == 1 and read.w is not None
    job = served.done("edit", latents=latents, edits=SMILE, alpha=0.0)
    with Image.open(served.file(job.result["pictures"][0]["name"])) as found:
        (wanted,) = editor.generator.render(read.styles)
        assert_pixels_near(found.convert("RGB"), pixels(wanted))


def test_film_has_its_frames(served):
    job = served.done("film", seeds=[3], edits=SMILE, seconds=1.0, fps=10.0, format="webp")
    (picture,) = job.result["pictures"]
    assert (picture["role"], picture["type"]) == ("film", "image/webp")
    with Image.open(served.file(picture["name"])) as film:
        times = []
        for frame in range(film.n_frames):
            film.seek(frame)
            film.load()
            times.append(film.info["duration"])
        assert len(times) > 5 and sum(times) == 1000


def test_sheets_and_embeddings_are_made_of_the_atlas(served, editor):
    texts = served.done("texts", prompts=["a face with a hat", "a purple dog"])
    found = np.array(texts.result["record"]["embeddings"], np.float32)
    wanted = np.stack([editor.texts.embed(text) for text in ("a face with a hat", "a purple dog")])
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    for kind, roles, given in (
        ("channels", ["sheet", "cells"], {"channels": ["b16.conv1:20"], "seeds": [1]}),
        ("samples", ["sheet"], {"neutral": "a face", "target": "a face with a hat"}),
    ):
        pictures = served.done(kind, **given).result["pictures"]
        assert [one["role"] for one in pictures] == roles
        for picture in pictures:
            with Image.open(served.file(picture["name"])) as image:
                assert image.size == (picture["width"], picture["height"])


def test_prompts_of_strangers_are_remembered_in_the_folder_alone(served):
    texts = served.folder / "cache" / "texts"
    before = set(texts.rglob("*.f4"))
    served.done("texts", prompts=["a green dragon"])
    assert len(set(texts.rglob("*.f4")) - before) == 1


def test_folder_is_nobody_elses(tmp_path):
    async def opened() -> None:
        works = await Works.open(Settings("avatars", tmp_path / "folder"))
        await works.close()

    asyncio.run(opened())
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        ("crops", {"photo": b"not a picture"}, "photo: is no picture of a kind that is read"),
        ("crops", {"photo": b"\x89PNG\r\n\x1a\n" + bytes(100)}, "photo: cannot be read"),
        ("inversion", {"photo": b""}, "photo: is empty"),
        ("mapper", {"mapper": "wink", "seeds": [1]}, "mapper wink: there is none of this name"),
        ("edit", {"seeds": [1], "edits": SMILE, "method": "mapper"}, "mapper: none in mappers"),
        ("channels", {"channels": ["b16.nothing:1"]}, "b16.nothing"),
        ("edit", {"seeds": [1], "edits": SMILE, "layers": ["b999"]}, "b999"),
        ("optimise", {**ENDLESS, "freeze": ["b999"]}, "b999"),
    ],
)
def test_what_cannot_be_done_is_told_without_a_place(served, kind, given, told):
    if "photo" in given:
        given = {**given, "photo": upload(served, given["photo"])}
    job = served.ended(served.submit(kind, **given))
    assert (job.state, job.problem.kind, job.result) == ("failed", "refused", None)
    assert told in job.problem.detail and "\n" not in job.problem.detail
    assert str(served.folder) not in job.problem.detail and "/" not in job.problem.detail


@torch.inference_mode()
def test_mapper_is_applied_as_its_command_does(tmp_path, editor):
    mappers = tmp_path / "mappers"
    mappers.mkdir()
    shutil.copy(ARCHIVE / "0.1.0/mapper.safetensors", mappers / "wink.safetensors")
    with serving(tmp_path / "folder", mappers=mappers) as served:
        job = served.done("mapper", mapper="wink", seeds=[3], strength=2.0)
        (picture,) = job.result["pictures"]
        with Image.open(served.file(picture["name"])) as found:
            shown = found.convert("RGB")
    generator = editor.generator
    w = w_from_seeds(generator, [3], 0.7)
    mapper = read_mapper(mappers / "wink.safetensors", generator)
    wanted = generator.render(mapper.edited(generator, generator.styles(w), w, strength=2.0))
    assert_pixels_near(shown, pixels(wanted[0]))
    assert job.result["record"]["mapper"]["target"] == "a winking face"


def test_key_makes_one_job(served):
    first = served.submit("texts", key="k", prompts=["a face"])
    assert served.submit("texts", key="k", prompts=["a face"]).id == first.id
    assert served.submit("texts", key="k", client="bo", prompts=["a face"]).id != first.id
    with pytest.raises(KeyReused):
        served.submit("texts", key="k", prompts=["a hat"])


def test_what_a_job_is_of_has_to_be_there(served):
    for given in ({"photo": "x" * 32}, {"latents": "x" * 32}):
        with pytest.raises(Missing):
            served.submit("edit", edits=SMILE, **given)
    assert not served.works.health()["waiting"]


def test_jobs_that_wait_are_stopped_at_once_and_others_move_up(served):
    running = served.submit("optimise", **ENDLESS)
    served.until(running, "progress")
    first, second = (served.submit("texts", client=c, prompts=["a face"]) for c in ("bo", "carl"))
    assert (first.place, second.place) == (1, 2)
    assert served.call(served.works.cancel(first.id))
    assert not served.call(served.works.cancel(first.id)), "once is enough"
    assert [event.kind for event in served.events(first)] == ["queued", "cancelled"]
    assert served.works.job(second.id).place == 1
    assert served.call(served.works.cancel(running.id))
    assert served.ended(running).state == "cancelled"
    assert served.ended(second).state == "done"


def test_edits_of_several_that_fit_are_rendered_together(served):
    running = served.submit("optimise", **ENDLESS)
    served.until(running, "progress")
    given = {"edits": SMILE, "method": "direction"}
    jobs = [
        served.submit("edit", client=client, seeds=seeds, **given)
        for client, seeds in (("bo", [1, 2]), ("carl", [2, 3]), ("dora", [4]))
    ]
    dropped = served.submit("edit", client="eve", seeds=[5], **given)
    served.call(served.works.cancel(dropped.id))
    served.call(served.works.cancel(running.id))
    ended = [served.ended(job) for job in jobs]
    assert [served.events(job)[1].data for job in jobs] == [{"together": 3}] * 3
    alone = served.done("edit", seeds=[1, 2, 3, 4], **given)
    wanted = {image["image"]: image for image in alone.result["record"]["images"]}
    pictures = {picture["image"]: picture["name"] for picture in alone.result["pictures"]}
    for job, seeds in zip(ended, ([1, 2], [2, 3], [4]), strict=True):
        names = [f"seed {seed}" for seed in seeds]
        assert [image["image"] for image in job.result["record"]["images"]] == names
        assert [picture["image"] for picture in job.result["pictures"]] == names
        for image, picture in zip(
            job.result["record"]["images"], job.result["pictures"], strict=True
        ):
            assert image["alpha"] == pytest.approx(wanted[image["image"]]["alpha"], abs=1e-3)
            with (
                Image.open(served.file(picture["name"])) as one,
                Image.open(served.file(pictures[picture["image"]])) as other,
            ):
                assert_pixels_near(one.convert("RGB"), other.convert("RGB"))


def test_batch_that_cannot_be_done_is_told_to_each(served):
    """As of a class, which this generator has none of."""
    running = served.submit("optimise", **ENDLESS)
    served.until(running, "progress")
    given = {"edits": SMILE, "method": "direction"}
    jobs = [
        served.submit("edit", client=client, seeds=[1], label=3, **given)
        for client in ("bo", "carl")
    ]
    served.call(served.works.cancel(running.id))
    for job in jobs:
        ended = served.ended(job)
        assert ended.state == "failed" and ended.problem.kind == "refused"


def test_who_has_too_many_is_refused_and_others_are_not(tmp_path):
    with serving(tmp_path, each=2, waiting=3) as served:
        running = served.submit("optimise", **ENDLESS)
        served.submit("texts", prompts=["a face"])
        with pytest.raises(TooMany, match=r"^jobs: 2 of yours wait or run; wait for one"):
            served.submit("texts", prompts=["a face"])
        served.submit("texts", client="bo", prompts=["a face"])
        with pytest.raises(QueueFull, match=r"^queue: 3 jobs wait; try again"):
            served.submit("texts", client="carl", prompts=["a face"])
        served.call(served.works.cancel(running.id))


def test_requests_that_come_at_once_are_counted(tmp_path):
    async def at_once(served: Served) -> list[object]:
        asked = body("texts", prompts=["a face"])
        many = (served.works.submit("texts", asked, "anna") for _ in range(6))
        return await asyncio.gather(*many, return_exceptions=True)

    with serving(tmp_path, each=2) as served:
        found = served.call(at_once(served))
        assert [isinstance(one, TooMany) for one in found] == [False] * 2 + [True] * 4


def test_photos_of_a_client_have_a_bound(tmp_path):
    """Else one could drive out all that others have, as the oldest go where there is too much."""
    with serving(tmp_path, photos=2**20) as served:
        first = upload(served, bytes(2**20))
        with pytest.raises(TooMany, match=r"^photos: yours have 1 MiB; delete some"):
            upload(served, b"one more")
        assert served.call(served.works.upload(b"a photo", "bo"))
        assert served.call(served.works.forget(first))
        assert upload(served, b"one more")


def test_client_that_hangs_up_leaves_a_job_that_is_done(served):
    async def hung_up() -> None:
        task = asyncio.create_task(
            served.works.submit("texts", body("texts", prompts=["a face"]), "gone", "key")
        )
        await asyncio.sleep(0)  # so that it begins
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    served.call(hung_up())
    known = served.submit("texts", client="gone", key="key", prompts=["a face"])
    assert served.ended(known).state == "done"


def test_photo_that_is_forgotten_takes_along_all_that_was_made_of_it(served, photo):
    given, box = upload(served, photo), {"align": [20.0, 10.0, 128.0]}
    crops = served.done("crops", photo=given, **box)
    inverted = served.done("inversion", photo=given, steps=0, **box)
    edited = served.done("edit", latents=inverted.result["latents"], edits=SMILE)
    other = served.done("texts", prompts=["a face"])
    names = [p["name"] for job in (crops, inverted, edited) for p in job.result["pictures"]]
    assert served.call(served.works.forget(given))
    for name in (*names, f"{inverted.result['latents']}.npz"):
        with pytest.raises(Missing):
            served.works.pictures.open(name)
    for job in (crops, inverted, edited):
        assert served.works.job(job.id) is None
    assert served.works.job(other.id) == other
    assert not served.call(served.works.forget(given))
    last = served.done("texts", prompts=["a face"])  # its worker is done with those before
    left = {folder.name for folder in (served.folder / "work").iterdir()}
    assert left <= {last.id}, "nothing is left of it"


def test_service_is_not_served_twice_from_one_folder(served):
    settings = Settings("avatars", served.folder)
    with pytest.raises(ServiceError, match="another service is at work here"):
        served.call(Works.open(settings))


def test_models_that_cannot_be_loaded_are_told(tmp_path):
    async def opened() -> None:
        works = await Works.open(Settings(str(tmp_path / "nothing.h5"), tmp_path / "folder"))
        try:
            await works.loaded()
        finally:
            await works.close()

    with pytest.raises(WorkerError, match=r"nothing\.h5"):
        asyncio.run(opened())
