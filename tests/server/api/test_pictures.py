"""Pictures: kept by browsers, negotiated, and found by their names alone."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from styleatlas.server.api.pictures import wants_webp

EDIT = {
    "seeds": [1],
    "edits": [{"neutral": "a face", "target": "a face with glasses"}],
    "alpha": 1.0,
    "method": "direction",
}


@pytest.fixture
def url(http) -> str:
    job = http.post("/api/v1/edits", json=EDIT, headers={"Prefer": "wait=60"}).json()
    return job["result"]["pictures"][0]["url"]


def test_picture_never_changes_and_says_so(http, url):
    answer = http.get(url)
    assert "immutable" in answer.headers["cache-control"]
    tag = answer.headers["etag"]
    for known in (tag, f'"other", W/{tag}', "*, " + tag):
        again = http.get(url, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
    assert http.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    ("asked", "status", "kind"),
    [
        ("bytes=0-99", 206, "image/png"),
        ("bytes=999999999-", 416, "application/problem+json"),
        ("bytes=5-2", 400, "application/problem+json"),
        ("letters=0-9", 400, "application/problem+json"),
    ],
)
def test_range_of_a_picture_is_handed_out_or_refused(http, url, asked, status, kind):
    answer = http.get(url, headers={"Range": asked, "Accept": "image/png"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, kind)
    whole = http.get(url, headers={"Accept": "image/png"}).content
    assert status != 206 or answer.content == whole[:100]


def test_browser_gets_webp_and_everybody_else_the_png_with_its_recipe(http, url):
    png = http.get(url, headers={"Accept": "*/*"})
    webp = http.get(url, headers={"Accept": "image/avif,image/webp,image/png,*/*;q=0.8"})
    assert png.headers["content-type"] == "image/png"
    assert webp.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(webp.content)).format == "WEBP"
    assert png.headers["etag"] != webp.headers["etag"]
    assert png.headers["vary"] == webp.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    ("accept", "webp"),
    [
        ("*/*", False),
        ("image/png", False),
        ("image/webp", True),
        ("image/webp;q=0", False),
        ("image/webp;q=0.5, image/png", False),
        ("image/png;q=0.1, image/webp;q=0.2", True),
        ("image/webp;q=nan", False),
        ("image/webp;q=x,,;;", False),
        ("", False),
    ],
)
def test_what_is_accepted_is_read(accept, webp):
    assert wants_webp(accept) is webp


def test_part_of_a_picture_can_be_fetched(http, url):
    whole = http.get(url).content
    part = http.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole[10:20])
