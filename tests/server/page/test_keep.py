"""Keeping: steps back and forth, links, presets, what is downloaded, and what a reload brings."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from styleatlas.engine.pictures.recipe import read_recipe

from .conftest import PATIENCE, same

pytestmark = pytest.mark.browser
GLASSES, SMILE = "a face with glasses", "a smiling face"


def deed(studio, name: str):
    studio.tab("Save")
    return studio.page.locator(".deed", has_text=name)


def copied(studio) -> str:
    return studio.page.evaluate("navigator.clipboard.readText()")


@pytest.fixture
def studio(visit, ready):
    return visit(ready, permissions=["clipboard-read", "clipboard-write"]).open()


def test_undo_restores_the_bytes_and_redo_brings_them_back(studio):
    first = studio.pixels()
    glasses = studio.added(GLASSES)
    both = studio.added(SMILE)
    studio.button("Back", exact=True).click()
    studio.until_again(glasses)
    studio.page.evaluate("document.activeElement.blur()")
    studio.page.keyboard.press("Control+z")
    studio.until_again(first)
    studio.expect(studio.button("Back", exact=True)).to_be_disabled()
    studio.page.keyboard.press("Control+Shift+z")
    studio.until_again(glasses)
    studio.button("Forth", exact=True).click()
    studio.until_again(both)
    studio.tab("Save")
    studio.button("The beginning").click()
    studio.until_again(first)


def test_slider_that_is_dragged_is_one_step_of_the_history(studio):
    studio.added(GLASSES)
    slider = studio.slider(GLASSES)
    slider.focus()
    box = slider.bounding_box()
    studio.page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2)
    studio.page.mouse.down()
    for share in (0.6, 0.5, 0.3):
        studio.page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)
    studio.page.mouse.up()
    studio.button("Back", exact=True).click()
    studio.expect(slider).to_have_value("1")


def test_link_restores_the_state_and_holds_no_picture(visit, ready, studio):
    studio.page.get_by_role("radio", name="Seed 4").click()
    studio.added(GLASSES)
    before = studio.added(SMILE)
    studio.button("Copy link").click()
    studio.page.get_by_text("The link is on the clipboard.").first.wait_for()
    link = copied(studio)
    assert link.startswith(ready.url) and len(link) < 2000
    other = visit(ready).open(link.removeprefix(ready.url))
    assert other.page.locator(".edit-target").all_inner_texts() == [GLASSES, SMILE]
    other.until_again(before)
    assert "#" not in other.page.url  # a reload does not undo what comes next


def test_link_of_another_atlas_says_so(visit, ready, studio):
    studio.added(GLASSES)
    studio.button("Copy link").click()
    studio.page.get_by_text("The link is on the clipboard.").first.wait_for()
    link = copied(studio).removeprefix(ready.url)
    other = visit(ready)
    forged = other_atlas(link)
    other.open(forged)
    other.page.get_by_text("This link was made with “elsewhere”").wait_for()
    assert other.page.locator(".edit-target").all_inner_texts() == [GLASSES]


def other_atlas(link: str) -> str:
    import base64

    head, _, text = link.partition("#s=")
    told = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    assert told["atlas"] == "avatars"
    assert not {"photo", "latents", "picture"} & set(told)
    told["atlas"] = "elsewhere"
    return f"{head}#s={base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip('=')}"


@pytest.mark.parametrize("fragment", ["#s=", "#s=!!!", "#s=e30", "#s=" + "A" * 39000, "#other"])
def test_fragment_that_is_no_link_is_left_alone(visit, ready, fragment):
    studio = visit(ready).open("/" + fragment)
    assert studio.page.locator(".edit").count() == 0


def test_preset_is_kept_beyond_a_reload_and_taken_up(studio):
    glasses = studio.added(GLASSES)
    studio.tab("Save")
    studio.page.get_by_label("Name these edits").fill("reader")
    studio.page.get_by_label("Name these edits").press("Enter")
    studio.tab("Edit")
    studio.button(f"Remove {GLASSES}").click()
    studio.until_other(glasses)
    studio.page.reload()
    studio.settle()
    studio.tab("Save")
    studio.button("reader", exact=True).click()
    studio.until_again(glasses)


def test_settings_and_the_document_survive_a_reload(studio):
    glasses = studio.added(GLASSES)
    studio.button("Settings").click()
    studio.choose("Dark")
    studio.choose("Deutsch")
    studio.page.reload()
    studio.settle().until_again(glasses)
    assert studio.page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    ground = studio.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == "rgb(21, 21, 21)"
    assert studio.page.locator("html").get_attribute("lang") == "de"
    assert studio.page.get_by_role("tab", name="Erkunden").count() == 1


def test_picture_comes_as_png_with_its_recipe(studio, tmp_path):
    shown = studio.added(GLASSES)
    with studio.page.expect_download() as download:
        deed(studio, "PNG that holds").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.name == "a-face-with-glasses.png"
    assert read_recipe(path) is not None
    made = np.asarray(Image.open(path).convert("RGB"), int)
    assert np.abs(made - shown[:, :, :3]).max() <= 2  # the same picture, not only a similar one


def test_film_comes_and_moves(studio, tmp_path):
    studio.added(GLASSES)
    with studio.page.expect_download() as download:
        deed(studio, "there and back").click()
    content = download.value.path().read_bytes()
    with Image.open(io.BytesIO(content)) as film:
        assert film.format == "WEBP" and film.n_frames > 10


def test_command_that_is_copied_makes_the_same_picture(studio, tmp_path):
    shown = studio.added(GLASSES)
    deed(studio, "Copy as command").click()
    studio.page.get_by_text("The command is on the clipboard.").first.wait_for()
    words = shlex.split(copied(studio))
    assert words[:3] == ["styleatlas", "edit", "avatars"]
    run = [sys.executable, "-m", *words]
    subprocess.run(run, cwd=tmp_path, check=True, capture_output=True, timeout=PATIENCE)
    made = np.asarray(Image.open(tmp_path / "edited" / "seed 1.png").convert("RGB"), int)
    assert np.abs(made - shown[:, :, :3]).max() <= 2


def test_python_that_is_copied_can_be_read_by_python(studio):
    studio.added(GLASSES)
    deed(studio, "Copy as Python").click()
    studio.page.get_by_text("The Python is on the clipboard.").first.wait_for()
    text = copied(studio)
    compile(text, "copied", "exec")
    assert "styleatlas.load(atlas='avatars')" in text


def test_what_was_written_by_strangers_is_not_believed(visit, ready):
    """The browser's memory may hold anything: an older page's, or what somebody put there."""
    studio = visit(ready).open()
    first = studio.pixels()
    studio.page.evaluate(
        """() => { for (const key of ["doc", "settings", "presets", "recent", "photos"])
             localStorage.setItem("styleatlas." + key, '{"seeds": "x", "edits": [7, null], "a":');
             sessionStorage.clear(); }"""
    )
    studio.page.reload()
    assert same(studio.settle().pixels(), first)
