"""Edits over HTTP, from the request to the picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import styleatlas
from styleatlas.engine.pictures.recipe import read_recipe

PAIR = {"neutral": "a face", "target": "a face with glasses"}
EDIT = {"seeds": [1], "edits": [PAIR], "alpha": 1.0, "method": "direction"}
WAIT = {"Prefer": "wait=60"}


@pytest.fixture(scope="module")
def editor():
    return styleatlas.load("avatars", device="cpu")


def test_edit_is_the_picture_that_python_makes(http, editor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = http.post("/api/v1/edits", json=EDIT, headers=WAIT)
    assert answer.status_code == 200 and answer.headers["preference-applied"] == "wait=60"
    job = answer.json()
    assert job["state"] == "done", job
    (picture,) = job["result"]["pictures"]
    content = http.get(picture["url"])
    assert content.headers["content-type"] == "image/png" == picture["type"]
    made = Image.open(io.BytesIO(content.content))
    assert made.size == (picture["width"], picture["height"])
    namespace: dict = {}
    exec(job["recipe"]["python"], {}, namespace)
    wanted = namespace["result"].pil()
    assert np.abs(np.asarray(made, int) - np.asarray(wanted, int)).max() <= 1
    (tmp_path / "edit.png").write_bytes(content.content)
    assert read_recipe(tmp_path / "edit.png").request().edits[0].target == PAIR["target"]


def test_edit_of_several_seeds_has_a_picture_each(http):
    job = http.post("/api/v1/edits", json=EDIT | {"seeds": [3, 1, 2]}, headers=WAIT).json()
    pictures = job["result"]["pictures"]
    assert [picture["image"] for picture in pictures] == ["seed 3", "seed 1", "seed 2"]
    assert {image["status"] for image in job["result"]["record"]["images"]}
    assert len({http.get(picture["url"]).content for picture in pictures}) == 3


def test_prompt_that_no_bank_holds_is_embedded_by_the_worker(http):
    edits = [PAIR | {"target": "a face with quite unusual glasses"}]
    job = http.post("/api/v1/edits", json=EDIT | {"edits": edits}, headers=WAIT).json()
    assert job["state"] == "done", job


def test_what_the_engine_refuses_is_a_failed_job_that_says_why(http):
    body = EDIT | {"layers": ["no such layer"]}
    job = http.post("/api/v1/edits", json=body, headers=WAIT).json()
    assert job["state"] == "failed" and "result" not in job["problem"]
    assert "no such layer" in job["problem"]["detail"]
    assert job["problem"]["kind"] == "refused"


def test_folder_of_mappers_is_nobodys_business(http, service):
    body = {"seeds": [1], "edits": [PAIR], "method": "mapper"}
    job = http.post("/api/v1/edits", json=body, headers=WAIT).json()
    assert job["problem"]["kind"] == "refused" and "mapper" in job["problem"]["detail"]
    assert str(service.folder.parent) not in job["problem"]["detail"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"seeds": []}, "body.seeds"),
        ({"seeds": ["1"]}, "body.seeds.0"),
        ({"seeds": [2**32]}, "body.seeds.0"),
        ({"seeds": list(range(65))}, "body.seeds"),
        ({"photo": "abc"}, "body"),
        ({"seeds": None}, "body"),
        ({"edits": []}, "body.edits"),
        ({"edits": [PAIR | {"weight": 0}]}, "body.edits.0"),
        ({"edits": [PAIR | {"neutral": "a -> b"}]}, "body.edits.0"),
        ({"edits": [PAIR | {"target": "\u202e"}]}, "body.edits.0.target"),
        ({"alpha": 1.0, "probability": 0.5}, "body"),
        ({"alpha": 1e300}, "body.alpha"),
        ({"method": "magic"}, "body.method"),
        ({"unknown": 1}, "body.unknown"),
    ],
)
def test_body_that_is_none_is_refused_and_says_where(http, change, place):
    answer = http.post("/api/v1/edits", json=EDIT | change)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert place in [error["place"] for error in problem["errors"]], problem
    assert problem["mend"]


def test_film_is_one(http):
    body = {"seeds": [1], "edits": [PAIR], "alpha": 1.0, "seconds": 0.5, "fps": 8, "format": "gif"}
    job = http.post("/api/v1/films", json=body | {"seconds": 0.5}, headers=WAIT).json()
    (picture,) = job["result"]["pictures"]
    answer = http.get(picture["url"])
    with Image.open(io.BytesIO(answer.content)) as film:
        assert (film.format, film.n_frames) == ("GIF", 4)
    assert answer.headers["content-type"] == picture["type"] == "image/gif"


def test_optimisation_tells_its_progress(http):
    body = {"seeds": [1], **PAIR, "steps": 2}
    job = http.post("/api/v1/optimisations", json=body, headers=WAIT).json()
    assert job["state"] == "done", job
    events = http.get(job["events"]).text
    assert "event: progress" in events


def test_sheets_are_drawn(http):
    channels = {"channels": ["b16.conv1:20"], "seeds": [1], "steps": [-5.0, 0.0, 5.0]}
    job = http.post("/api/v1/sheets/channels", json=channels, headers=WAIT).json()
    assert job["result"]["record"]["channels"][0]["channel"] == "b16.conv1:20"
    shown = {view["role"]: (view["width"], view["height"]) for view in job["result"]["pictures"]}
    assert shown["cells"] == (3 * 64, 64) and shown["sheet"][0] > 3 * 64  # which has letters, too
    job = http.post("/api/v1/sheets/samples", json=PAIR, headers=WAIT).json()
    assert job["result"]["record"]["kind"] == "two-state"
    (picture,) = job["result"]["pictures"]
    assert Image.open(io.BytesIO(http.get(picture["url"]).content)).width == picture["width"]
