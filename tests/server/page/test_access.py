"""For everybody: what axe-core finds, the keyboard alone, languages, small and large screens."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser
GLASSES = "a face with glasses"
SERIOUS = ("serious", "critical")
STATES = ("first", "edited", "explore", "save", "strengths", "grid", "divider", "photo", "settings")
IN_THE_DARK = ("first", "edited", "explore")


def show(studio, state: str) -> None:
    if state == "first":
        return
    studio.added(GLASSES)
    if state == "explore":
        studio.tab("Explore")
        studio.page.locator(".channel").first.click()
        studio.page.locator(".channel-cells img").wait_for()
    elif state == "save":
        studio.tab("Save")
    elif state in ("strengths", "grid", "divider"):
        name = state.capitalize()
        studio.choose(name)
        studio.page.locator(".stage-frame canvas[data-painted]").first.wait_for()
    elif state == "photo":
        studio.button("Your photo").click()
        studio.page.get_by_role("dialog").wait_for()
    elif state == "settings":
        studio.button("Settings").click()


def findings(studio) -> list[str]:
    """What axe-core finds serious, by rule and element."""
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]

    found = Axe().run(studio.page).response["violations"]
    return [
        f"{one['id']}: {node['target']}: {node['failureSummary']}"
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


@pytest.mark.parametrize(
    ("state", "theme"),
    [
        *((state, "light") for state in STATES),
        *((state, "dark") for state in IN_THE_DARK),
        *(
            pytest.param(state, "dark", marks=pytest.mark.long)
            for state in STATES
            if state not in IN_THE_DARK
        ),
    ],
)
def test_axe_finds_nothing_serious(visit, ready, state, theme):
    studio = visit(ready, color_scheme=theme, reduced_motion="reduce").open()
    show(studio, state)
    assert findings(studio) == []


@pytest.mark.parametrize("width", [360, 768, 2560])
def test_nothing_hangs_out_to_the_side(visit, ready, width):
    studio = visit(ready, viewport={"width": width, "height": 800}).open()
    studio.added(GLASSES)
    for tab in ("Explore", "Save", "Edit"):
        studio.tab(tab)
        over = studio.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert over <= 0, tab
    assert findings(studio) == []


def test_slider_is_reached_by_keys_and_what_has_the_focus_is_seen(studio):
    page = studio.page
    studio.added(GLASSES)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    name = ""
    for _ in range(60):
        page.keyboard.press("Tab")
        name = page.evaluate(
            "(document.activeElement.ariaLabel || document.activeElement.innerText || '').trim()"
        )
        assert looks_focused(page), name
        if name == f"Strength of {GLASSES}":
            break
    assert name == f"Strength of {GLASSES}"
    before = studio.pixels()
    page.keyboard.press("Shift+ArrowLeft")
    studio.until_other(before)


def looks_focused(page) -> bool:
    """Whether what has the focus looks otherwise than without."""
    box = page.evaluate(
        """() => { const one = document.activeElement;
          const {x, y, width, height} = one.getBoundingClientRect();
          return one === document.body ? null : {x, y, width, height}; }"""
    )
    if box is None:
        return True  # the browser's own
    near = 8
    size = page.viewport_size
    left, top = max(0, box["x"] - near), max(0, box["y"] - near)
    clip = {
        "x": left,
        "y": top,
        "width": max(1, min(box["width"] + 2 * near, size["width"] - left)),
        "height": max(1, min(box["height"] + 2 * near, size["height"] - top)),
    }
    focused = page.screenshot(clip=clip, animations="disabled", caret="initial")
    page.evaluate("window.held = document.activeElement; held.blur()")
    plain = page.screenshot(clip=clip, animations="disabled", caret="initial")
    page.evaluate("held.focus({focusVisible: true})")
    return focused != plain


def test_dialog_holds_the_focus_and_gives_it_back(studio):
    opener = studio.button("Your photo")
    opener.press("Enter")
    dialog = studio.page.get_by_role("dialog", name="Your photo")
    dialog.wait_for()
    for _ in range(6):
        studio.page.keyboard.press("Tab")
        assert studio.page.evaluate(
            """() => { const {activeElement, body} = document;
              return activeElement === body || Boolean(activeElement.closest("dialog")); }"""
        )
    studio.page.keyboard.press("Escape")
    studio.expect(dialog).to_have_count(0)
    studio.expect(opener).to_be_focused()


def test_what_happens_is_read_out(studio):
    studio.added(GLASSES)
    studio.expect(studio.page.locator("#live")).to_contain_text("Seed 1:")


def test_page_speaks_the_browsers_language(visit, ready):
    studio = visit(ready, locale="de-AT").open()
    assert studio.page.locator("html").get_attribute("lang") == "de"
    assert studio.page.get_by_role("tab").first.inner_text() != "Edit"


def test_reduced_motion_moves_nothing(visit, ready):
    studio = visit(ready, reduced_motion="reduce").open()
    studio.added(GLASSES)
    moving = studio.page.evaluate(
        """document.getAnimations()
          .filter((one) => one.effect.getComputedTiming().duration > 1).length"""
    )
    assert moving == 0


def test_first_view_is_light_and_asks_nobody_else(visit, ready):
    studio = visit(ready)
    sizes: list[int] = []
    studio.page.on(
        "requestfinished",
        lambda request: (
            sizes.append(request.sizes()["responseBodySize"])
            if "/api/" not in request.url
            else None
        ),
    )
    studio.open()
    assert 50_000 < sum(sizes) < 200_000
