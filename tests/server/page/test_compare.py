"""Comparing: before and after, strengths, the row, prompts by images; and a closer look."""

from __future__ import annotations

import pytest

from .conftest import same

pytestmark = pytest.mark.browser
GLASSES, SMILE = "a face with glasses", "a smiling face"


def painted(studio, selector: str, count: int):
    """Canvases that all show something."""
    found = studio.page.locator(f"{selector} canvas[data-painted]")
    studio.expect(found).to_have_count(count)
    return [found.nth(at) for at in range(count)]


def test_before_is_seen_while_something_is_held(studio):
    before = studio.pixels()
    after = studio.added(GLASSES)
    box = studio.page.locator(".zoomable").bounding_box()
    studio.page.mouse.move(box["x"] + 100, box["y"] + 100)
    studio.page.mouse.down()
    studio.until_again(before)
    studio.page.mouse.up()
    studio.until_again(after)
    studio.page.keyboard.press("Escape")
    studio.page.locator(".caption-words").click()  # away from the prompt, where b is a letter
    studio.page.evaluate("document.activeElement.blur()")
    studio.page.keyboard.down("b")
    studio.until_again(before)
    studio.page.keyboard.up("b")
    studio.until_again(after)


def test_before_ends_where_the_key_is_let_go_in_another_window(studio):
    before = studio.pixels()
    after = studio.added(GLASSES)
    studio.page.evaluate("document.activeElement.blur()")
    studio.page.keyboard.down("b")
    studio.until_again(before)
    studio.page.evaluate("dispatchEvent(new Event('blur'))")
    studio.until_again(after)


def test_divider_shows_before_on_its_left_and_goes_by_keys(studio):
    before = studio.pixels()
    after = studio.added(GLASSES)
    studio.choose("Divider")
    whole, cut = studio.stage, studio.page.locator("canvas.is-cut")
    studio.until_again(after, whole)
    studio.until_again(before, cut)
    line = studio.page.get_by_role("slider", name="Divider between before and after")
    assert line.get_attribute("aria-valuenow") == "50"
    line.press("ArrowLeft")
    line.press("Shift+ArrowLeft")
    studio.expect(line).to_have_attribute("aria-valuenow", "38")
    clip = cut.evaluate("canvas => getComputedStyle(canvas).clipPath")
    box, frame = line.bounding_box(), studio.page.locator(".split").bounding_box()
    middle = (box["x"] + box["width"] / 2 - frame["x"]) / frame["width"]
    assert middle == pytest.approx(0.38, abs=0.01)
    assert clip.startswith("inset(0")


def test_strengths_stand_side_by_side_and_one_is_taken(studio):
    before = studio.pixels()
    after = studio.added(GLASSES)
    studio.choose("Strengths")
    shown = painted(studio, ".strengths", 6)
    studio.until_again(before, shown[0])
    studio.until_again(after, shown[3])
    studio.button("Take strength 1.60").click()
    studio.choose("One")
    assert float(studio.slider(GLASSES).input_value()) == 1.6
    studio.until_other(after)


def test_strip_shows_the_row_before_and_after(studio):
    before = studio.pixels()
    after = studio.added(GLASSES)
    studio.choose("Strip")
    shown = painted(studio, ".strip", 16)
    studio.until_again(before, shown[0])
    studio.until_again(after, shown[1])


def test_grid_shows_each_prompt_on_each_image(studio):
    before = studio.pixels()
    glasses = studio.added(GLASSES)
    both = studio.added(SMILE)
    studio.choose("Grid")
    shown = painted(studio, ".grid", 4 * 8)
    for row, wanted in ((0, before), (1, glasses), (3, both)):
        studio.until_again(wanted, shown[8 * row])
    smile = studio.pixels(shown[16])
    assert not any(same(smile, other) for other in (before, glasses, both))
    heads = studio.page.locator(".grid tbody th").all_inner_texts()
    assert heads == ["Before", GLASSES, SMILE, "All together"]


def test_picture_is_looked_at_closely_by_keys_wheel_and_double_click(studio):
    frame = studio.page.locator(".zoomable")
    told = studio.page.locator(".zoom-told")
    frame.press("+")
    studio.expect(told).to_have_text("1.4\u00d7")
    frame.press("0")
    studio.expect(told).to_have_count(0)
    frame.dblclick()
    studio.expect(told).to_have_text("2.5\u00d7")
    frame.press("ArrowLeft")
    shift = studio.page.locator(".zoomed").evaluate("e => e.style.transform")
    assert "scale(2.5)" in shift and "translate(0" not in shift
    told.click()
    studio.expect(told).to_have_count(0)


def test_fingers_pinch_and_hold(visit, ready):
    studio = visit(ready, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    studio.open()
    before = studio.pixels()
    after = studio.added(GLASSES)
    studio.page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    box = studio.page.locator(".zoomable").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    device = studio.page.context.new_cdp_session(studio.page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": px, "y": py, "id": at} for at, (px, py) in enumerate(places)]
        device.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (x, y))
    studio.until_again(before)
    touch("touchEnd")
    studio.until_again(after)
    touch("touchStart", (x - 30, y))
    touch("touchStart", (x - 30, y), (x + 30, y))
    for step in range(1, 9):
        touch("touchMove", (x - 30 - 8 * step, y), (x + 30 + 8 * step, y))
    touch("touchEnd")
    studio.expect(studio.page.locator(".zoom-told")).to_be_visible()
    width = studio.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390  # nothing stands out to the side
