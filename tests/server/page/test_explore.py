"""Explore: what the atlas knows of an edit, down to channels."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser
GLASSES = "a face with glasses"


@pytest.fixture
def exploring(studio):
    studio.added(GLASSES)
    studio.tab("Explore")
    studio.page.locator(".channel").first.wait_for()
    return studio


def names(studio) -> list[str]:
    return studio.page.locator(".channel-name").all_inner_texts()


def test_without_an_edit_it_says_what_to_do(studio):
    studio.tab("Explore")
    studio.page.get_by_text("Add an edit, and here is what the atlas knows of it.").wait_for()


def test_channels_are_those_that_the_edit_moves_most(exploring, http):
    asked = {"neutral": "a face", "target": GLASSES, "top": 12}
    told = http.get("/api/v1/directions", params=asked).json()["channels"]
    assert names(exploring) == [one["channel"] for one in told]
    assert "264 channels move" in exploring.page.locator(".explore").inner_text()


def test_layer_shows_its_channels_and_can_move_alone(exploring):
    whole = exploring.pixels()
    exploring.page.get_by_role("button", name="of the edit").and_(
        exploring.page.get_by_title("b8.conv1: ")
    ).click()
    exploring.page.get_by_role("heading", name="Channels of b8.conv1").wait_for()
    assert names(exploring) and all(name.startswith("b8.conv1:") for name in names(exploring))
    exploring.button("Move only this layer").click()
    exploring.until_other(whole)
    exploring.button("Move all layers").click()
    exploring.until_again(whole)


def test_channel_is_shown_at_both_sides_with_its_phrases(exploring, http):
    channel = names(exploring)[0]
    exploring.page.locator(".channel").first.click()
    image = exploring.page.locator(".channel-cells img")
    image.wait_for()
    exploring.until(lambda: image.evaluate("image => image.naturalWidth") == 5 * 64, "pictures")
    told = http.get(f"/api/v1/channels/{channel}", params={"top": 3}).json()["records"]
    shown = exploring.page.locator(".channel-sides")
    for phrase in (one["prompt"] for one in told):
        exploring.expect(shown).to_contain_text(phrase)


def test_similar_prompt_becomes_an_edit(exploring):
    near = exploring.page.locator(".phrase-button").first
    words = near.inner_text()
    assert words != GLASSES
    near.click()
    exploring.expect(exploring.page.locator(".explore-title bdi").first).to_have_text(words)
    exploring.tab("Edit")
    assert exploring.page.locator(".edit-target").all_inner_texts() == [GLASSES, words]


def test_what_comes_along_can_be_kept(exploring):
    whole = exploring.pixels()
    phrase = exploring.page.locator(".others .phrase").first.inner_text()
    exploring.button(f"Keep {phrase} as it is").click()
    exploring.until_other(whole)
    exploring.tab("Edit")
    exploring.expect(exploring.page.locator(".tag bdi")).to_have_text([phrase])


def test_samples_are_shown_in_three_rows(exploring):
    rows = exploring.page.locator(".samples-window")
    exploring.expect(rows).to_have_count(3)
    for at in range(3):
        assert "url(" in rows.nth(at).evaluate("row => getComputedStyle(row).backgroundImage")
    heads = exploring.page.locator(".samples-row figcaption").all_inner_texts()
    assert heads == ["Have it most", "In the middle of those that have it", "Lack it most"]
