"""Photos over HTTP: sent, cut out, inverted, edited, and gone when somebody says so."""

from __future__ import annotations

import io
import socket

import numpy as np
import pytest
from PIL import Image

PAIR = {"neutral": "a face", "target": "a face with glasses"}
WAIT = {"Prefer": "wait=60"}


@pytest.fixture(scope="module")
def photo(drawings) -> bytes:
    file = io.BytesIO()
    drawings(3).save(file, "PNG")
    return file.getvalue()


def send(http, content: bytes, **query) -> dict:
    answer = http.post("/api/v1/photos", content=content, params=query, headers=WAIT)
    assert answer.status_code == 200, answer.text
    return answer.json()


def picture(http, view: dict) -> Image.Image:
    return Image.open(io.BytesIO(http.get(view["url"]).content))


def test_photo_is_cut_out_by_a_worker(http, photo):
    sent = send(http, photo)
    crops = sent["crops"]
    assert sent["bytes"] == len(photo) and crops["state"] == "done", crops
    (view,) = crops["result"]["pictures"]
    assert (view["role"], view["face"]) == ("crop", 1)
    assert picture(http, view).size == (64, 64)
    assert crops["recipe"] is None  # nobody does that by hand


def test_photo_that_is_sent_again_under_its_key_is_kept_once(http, service, photo):
    query, headers = {"align": "none"}, {**WAIT, "Idempotency-Key": "a-photo"}
    before = len(list((service.folder / "pictures").glob("*.photo")))
    first, again = (
        http.post("/api/v1/photos", content=photo, params=query, headers=headers) for _ in range(2)
    )
    assert first.json() == again.json() and again.headers["location"] == first.headers["location"]
    assert len(list((service.folder / "pictures").glob("*.photo"))) == before + 1
    for content, more in ((photo + b"x", query), (photo, {})):
        other = http.post("/api/v1/photos", content=content, params=more, headers=headers)
        assert other.status_code == 422 and other.json()["type"].endswith("key-reused")
    assert len(list((service.folder / "pictures").glob("*.photo"))) == before + 1


def test_photo_is_inverted_and_edited_and_put_back(http, photo):
    sent = send(http, photo)["id"]
    asked = {"photo": sent, "steps": 0}
    found = http.post("/api/v1/inversions", json=asked, headers=WAIT).json()
    latents = found["result"]["latents"]
    edit = {"edits": [PAIR], "alpha": 1.0, "method": "direction"}
    of_latents = http.post("/api/v1/edits", json=edit | {"latents": latents}, headers=WAIT).json()
    assert of_latents["state"] == "done", of_latents
    of_photo = http.post("/api/v1/edits", json=edit | {"photo": sent}, headers=WAIT).json()
    views = {view["role"]: view for view in of_photo["result"]["pictures"]}
    assert picture(http, views["photo"]).size == (160, 160)
    assert picture(http, views["crop"]).size == (64, 64)
    before = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"), float)
    after = np.asarray(picture(http, views["photo"]).convert("RGB"), float)
    assert np.abs(after - before).max() > 50  # there are glasses now


def test_photo_changes_only_where_the_mask_is_white(http, photo):
    sent = send(http, photo)["id"]
    mask, file = Image.new("L", (160, 160)), io.BytesIO()
    mask.paste(255, (0, 0, 160, 80))
    mask.save(file, "PNG")
    painted = send(http, file.getvalue(), align="none")["id"]
    asked = {"photo": sent, "mask": painted, "edits": [PAIR], "alpha": 2.0, "method": "direction"}
    made = http.post("/api/v1/edits", json=asked, headers=WAIT).json()
    assert made["state"] == "done", made
    assert "--mask mask.png" in made["recipe"]["command"] and made["recipe"]["python"] is None
    (view,) = [view for view in made["result"]["pictures"] if view["role"] == "photo"]
    before = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"), float)
    change = np.abs(np.asarray(picture(http, view).convert("RGB"), float) - before)
    assert change[:80].max() > 50
    assert not change[80:].any()
    assert http.delete(f"/api/v1/photos/{painted}").status_code == 204
    assert http.get(made["url"]).status_code == 404  # what was made by it went with it


@pytest.mark.parametrize("spoilt", [{"seeds": [1]}, {"latents": "found"}])
def test_mask_without_a_photo_is_refused(http, spoilt):
    answer = http.post("/api/v1/edits", json={**spoilt, "mask": "painted", "edits": [PAIR]})
    assert answer.status_code == 422 and "mask" in answer.json()["detail"]


def test_mask_of_another_size_is_told_in_words(http, photo):
    sent, file = send(http, photo)["id"], io.BytesIO()
    Image.new("L", (10, 10)).save(file, "PNG")
    painted = send(http, file.getvalue(), align="none")["id"]
    asked = {"photo": sent, "mask": painted, "edits": [PAIR]}
    made = http.post("/api/v1/edits", json=asked, headers=WAIT).json()
    assert made["state"] == "failed" and "is 10 x 10" in made["problem"]["detail"], made


def test_deleted_photo_is_gone_with_all_that_was_made_of_it(http, photo):
    sent = send(http, photo)
    asked = {"photo": sent["id"], "steps": 0}
    found = http.post("/api/v1/inversions", json=asked, headers=WAIT).json()
    assert http.delete(f"/api/v1/photos/{sent['id']}").status_code == 204
    for job in (sent["crops"], found):
        assert http.get(job["url"]).status_code == 404
        for view in job["result"]["pictures"]:
            assert http.get(view["url"]).status_code == 404
    asked = {"latents": found["result"]["latents"], "edits": [PAIR]}
    for body in (asked, {"photo": sent["id"], "edits": [PAIR]}):
        answer = http.post("/api/v1/edits", json=body)
        assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")
    assert http.delete(f"/api/v1/photos/{sent['id']}").status_code == 404


def test_what_is_no_picture_fails_in_words_and_no_path(http, service):
    crops = send(http, b"GIF89a and then nothing that a picture has")["crops"]
    assert crops["state"] == "failed"
    assert str(service.folder) not in crops["problem"]["detail"]


def test_body_of_another_kind_is_refused_before_it_is_kept(http):
    answer = http.post(
        "/api/v1/photos", content=b"{}", headers={"content-type": "application/json"}
    )
    assert answer.status_code == 415 and answer.json()["mend"]


def test_photo_that_is_sent_in_pieces_is_bounded_though_it_says_no_length(service):
    """The service answers and hangs up; whether the answer comes through is the network's luck."""
    with socket.create_connection(service.address) as sender:
        sender.settimeout(60)
        sender.sendall(b"POST /api/v1/photos HTTP/1.1\r\nHost: localhost\r\n")
        sender.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                sender.sendall(b"100000\r\n" + bytes(2**20) + b"\r\n")
    kept = [path for path in service.folder.rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in kept) < 2**25
