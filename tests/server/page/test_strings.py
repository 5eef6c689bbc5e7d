"""Strings that hurt, in every field: shown as text, refused in words, and nothing else comes."""

from __future__ import annotations

import pytest

from .conftest import REFUSED

pytestmark = pytest.mark.browser
HURTING = {
    "markup": '<script>document.title="broken"</script><img src=x onerror=document.title="broken">',
    "right to left": "‮وجه مبتسم‬ مع نظارات",
    "emoji": "👩‍🎤 with 🕶️ and 🏳️‍🌈",
    "template": "${1+1} {{7*7}} {target} %s \\u0041",
    "combining": "Z̸͑̕a̵͌l̴͐g̷͗o̸ " * 4,
    "zero width": "a​ b‌ c﻿ d",
    "10,000 letters": "y" * 10_000,
    "arrow": "a face -> a hat : 3",
}
OFTEN = ("markup", "right to left", "10,000 letters")


@pytest.fixture
def studio(studio):
    studio.forgiven = (REFUSED,)
    return studio


@pytest.fixture(
    params=[*OFTEN, *(pytest.param(x, marks=pytest.mark.long) for x in HURTING if x not in OFTEN)]
)
def text(request) -> str:
    return HURTING[request.param]


def stands(studio) -> None:
    """Nothing was run, and nothing hangs out to the side."""
    title = studio.page.title()
    assert title.endswith("StyleAtlas") and title != "broken"
    assert studio.page.locator("#app img, #app script").count() == 0
    over = "document.documentElement.scrollWidth - innerWidth"
    assert studio.page.evaluate(over) <= 0


def test_as_a_prompt_it_is_shown_as_text_or_refused_in_words(studio, text):
    field = studio.page.locator("#target")
    field.fill(text)
    field.press("Enter")
    target = studio.page.locator(".edit-target")
    alert = studio.page.get_by_role("alert")
    target.or_(alert).first.wait_for()
    if target.count():
        plain = " ".join(text.replace("\ufeff", " ").split())  # which is white space to browsers
        shown = " ".join(target.first.inner_text().split())
        assert plain.startswith(shown.rstrip("…")) or shown == plain
    studio.page.wait_for_selector(".facts:not(.is-waiting), [role=alert]")
    stands(studio)
    studio.tab("Explore")
    studio.page.locator(".explore, .hint").first.wait_for()
    stands(studio)


def test_as_the_neutral_prompt_and_as_something_kept(studio, text):
    studio.page.get_by_role("combobox", name="What the pictures are now").fill(text)
    studio.page.get_by_role("combobox", name="What the pictures are now").press("Tab")
    studio.page.locator("#target").fill("a face with glasses")
    studio.page.locator("#target").press("Enter")
    studio.page.locator(".edit").first.wait_for()
    field = studio.page.get_by_role("combobox", name="Something that stays as it is")
    field.fill(text)
    field.press("Enter")
    studio.page.locator(".tag").first.wait_for()
    stands(studio)


def test_as_the_name_of_a_preset(studio, text):
    studio.added("a face with glasses")
    studio.tab("Save")
    field = studio.page.get_by_label("Name these edits")
    field.fill(text)
    field.press("Enter")
    name = studio.page.locator(".preset bdi")
    assert text.strip().startswith(name.inner_text()[:20])
    stands(studio)


def test_as_a_strength(studio, text):
    studio.added("a face with glasses")
    field = studio.page.get_by_label("Strength of a face with glasses, as a number")
    field.fill(text)
    field.press("Enter")
    studio.expect(field).to_have_value("1.00")
    stands(studio)


def test_as_beta(studio, text):
    studio.page.locator(".further summary").click()
    field = studio.page.get_by_label("Beta", exact=True)
    field.fill(text)
    field.press("Tab")
    studio.expect(field).to_have_value("")
    stands(studio)


def test_as_the_name_of_a_photo(studio, text, drawings, tmp_path):
    from io import BytesIO

    file = BytesIO()
    drawings(3).save(file, "PNG")
    studio.button("Your photo").click()
    given = {
        "name": text[:200].replace("/", "_"),
        "mimeType": "image/png",
        "buffer": file.getvalue(),
    }
    studio.page.get_by_role("dialog").locator("input[type=file]").set_input_files([given])
    studio.page.locator(".crop-box").wait_for()
    stands(studio)
