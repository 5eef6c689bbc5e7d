"""Steering: words, sliders, edits as a list, what is kept, and what became of it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from .conftest import REFUSED

pytestmark = pytest.mark.browser
GLASSES, SMILE = "a face with glasses", "a smiling face"


def drag(studio, slider, to: float) -> tuple[float, float]:
    """Takes the slider's thumb, and leaves the pointer down where it is to go: x, y in pixels."""
    box, most = slider.bounding_box(), float(slider.get_attribute("max"))
    thumb = 20  # px
    at = (float(slider.input_value()) + most) / (2 * most)
    there = (to + most) / (2 * most)
    place = [box["x"] + thumb / 2 + share * (box["width"] - thumb) for share in (at, there)]
    y = box["y"] + box["height"] / 2
    studio.page.mouse.move(place[0], y)
    studio.page.mouse.down()
    studio.page.mouse.move(place[1], y, steps=12)
    return place[1], y


def test_words_change_the_picture(studio):
    before = studio.pixels()
    after = studio.added(GLASSES)
    assert np.abs(after.astype(int) - before).max() > 50
    assert studio.page.locator(".caption .told").inner_text().startswith("Shows it")


def test_picture_moves_while_the_slider_is_held(studio):
    whole = studio.added(GLASSES)
    slider = studio.slider(GLASSES)
    x, y = drag(studio, slider, -1.0)
    studio.until_other(whole)  # the pointer is still down
    for aside in (80, 0, 80, 0):  # of a few frames it says how many there are
        shown = studio.pixels()
        studio.page.mouse.move(x + aside, y)
        studio.until_other(shown)
    studio.expect(studio.page.locator(".caption .pace")).to_contain_text("pictures a second")
    studio.page.mouse.up()
    assert float(slider.input_value()) < 0
    studio.rested()


def test_slider_that_is_brought_back_to_where_it_was_is_at_rest(studio):
    """A browser tells of no change then."""
    whole = studio.added(GLASSES)
    drag(studio, studio.slider(GLASSES), -1.0)
    studio.until_other(whole)
    drag_to = studio.slider(GLASSES).bounding_box()
    most = float(studio.slider(GLASSES).get_attribute("max"))
    x = drag_to["x"] + 10 + (1 + most) / (2 * most) * (drag_to["width"] - 20)
    studio.page.mouse.move(x, drag_to["y"] + drag_to["height"] / 2, steps=6)
    studio.expect(studio.slider(GLASSES)).to_have_value("1")
    studio.page.mouse.up()
    studio.rested()
    studio.until_again(whole)


def test_slider_goes_fine_steps_by_arrows_and_coarse_ones_with_shift(studio):
    studio.added(GLASSES)
    slider = studio.slider(GLASSES)
    slider.focus()
    slider.press("ArrowLeft")
    assert float(slider.input_value()) == pytest.approx(0.95)
    slider.press("Shift+ArrowLeft")
    assert float(slider.input_value()) == pytest.approx(0.45)
    slider.press("ArrowRight")
    assert float(slider.input_value()) == pytest.approx(0.5)
    assert slider.get_attribute("aria-valuetext") == "0.50"


def test_edit_that_is_switched_off_leaves_the_picture_as_it_was(studio):
    before = studio.pixels()
    after = studio.added(GLASSES)
    switch = studio.page.get_by_role("switch", name=GLASSES)
    switch.click()
    studio.until_again(before)
    switch.click()
    studio.until_again(after)


def test_edits_have_an_order_and_go(studio):
    studio.added(GLASSES)
    studio.added(SMILE)
    targets = studio.page.locator(".edit-target")
    studio.expect(targets).to_have_text([GLASSES, SMILE])
    studio.button(f"Move {SMILE} up").click()
    studio.expect(targets).to_have_text([SMILE, GLASSES])
    studio.button(f"Remove {GLASSES}").click()
    studio.expect(targets).to_have_text([SMILE])


def test_prompt_is_told_by_kind_share_and_examples(studio):
    studio.added(GLASSES)
    facts = studio.page.locator(".facts")
    facts.get_by_text("40% of what this generator draws").wait_for()
    facts.get_by_role("img").wait_for()
    assert facts.get_by_role("img").get_attribute("aria-label").endswith(GLASSES)


def test_suggestions_come_from_the_bank_and_are_taken_by_keys(studio):
    studio.page.locator("#target").press_sequentially("a face with gl")
    listed = studio.page.get_by_role("option")
    listed.first.wait_for()
    words = listed.first.inner_text()
    assert "gl" in words
    studio.page.locator("#target").press("ArrowDown")
    studio.page.locator("#target").press("Enter")
    if not studio.page.locator(".edit").count():
        studio.page.locator("#target").press("Enter")
    studio.slider(words).wait_for()


def test_automatic_alpha_says_where_it_found_it(studio):
    studio.page.get_by_role("radio", name=re.compile("Seed 4")).click()
    studio.added(GLASSES)
    studio.button("Auto").click()
    told = studio.page.locator(".found")
    told.wait_for()
    alpha = re.search(r"This picture needs (\d\.\d+)", told.inner_text())
    assert alpha and float(alpha[1]) == pytest.approx(0.62, abs=0.01)  # as the command finds it
    slider = studio.slider(GLASSES)
    assert float(slider.input_value()) == pytest.approx(float(alpha[1]), abs=0.03)


def test_each_image_says_what_became_of_it(studio):
    studio.added(GLASSES)
    words = studio.page.locator(".row .cell-word")
    studio.until(lambda: all(words.all_inner_texts()), "a word below each picture")
    assert set(words.all_inner_texts()) <= {"shows it", "had it", "not yet", "too far"}


def test_more_of_the_samples_come(studio):
    before = studio.pixels()
    studio.page.locator(".row").get_by_role("button", name="More").click()
    studio.page.get_by_role("radio", name=re.compile("Seed 9")).wait_for()
    studio.until_other(before)


def test_what_is_kept_and_which_layers_move_change_the_edit(studio):
    plain = studio.added(GLASSES)
    studio.page.locator(".further summary").click()
    studio.choose("4")
    studio.until_other(plain)
    studio.choose("4")
    studio.until_again(plain)
    field = studio.page.get_by_role("combobox", name="Something that stays as it is")
    field.fill("a face with a moustache")
    field.press("Enter")
    studio.until_other(plain)


def test_unknown_words_are_refused_in_words(studio):
    studio.forgiven = (REFUSED,)
    studio.add("x" * 250)
    studio.page.get_by_role("alert").first.wait_for()
    assert "token" in studio.page.get_by_role("alert").first.inner_text()
