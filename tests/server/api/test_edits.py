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


def test_edit_is_the_picture_that_python_makes(http, editor, tmp_path):
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
    exec(job["recipe"]["python"].replace("result.save", "result.pil().save"), {}, namespace)
    wanted = namespace["result"].pil()
    assert np.abs(np.asarray(made, int) - np.asarray(wanted, int)).max() <= 1
    (tmp_path / "edit.png").write_bytes(content.content)
    assert read_recipe(tmp_path / "edit.png").edits[0].target == PAIR["target"]
