"""Work it out: ways that take longer than a look-up, the queue, and what is seldom asked for."""

from __future__ import annotations

import re

import pytest

from .conftest import REFUSED

pytestmark = pytest.mark.browser
GLASSES = "a face with glasses"
WHY = "264 channels by samples"


@pytest.fixture
def open_further(studio):
    """The page with an edit, and the options below it opened."""
    studio.added(GLASSES)
    studio.page.locator(".further summary").click()
    return studio


def work_out(studio, way: str) -> None:
    studio.choose(way)
    studio.button("Work it out").click()


def test_best_of_all_is_shown_and_says_why(open_further):
    shown = open_further.pixels()
    work_out(open_further, "Best of all")
    open_further.page.locator(".notice", has_text=WHY).wait_for()
    open_further.until_other(shown)


def test_optimisation_says_how_far_it_is(open_further):
    shown = open_further.pixels()
    work_out(open_further, "Optimise")
    work = open_further.page.locator(".work")
    open_further.expect(work).to_contain_text(re.compile(r"optimize \d+%"))
    bar = work.locator("progress")
    open_further.expect(bar).to_have_attribute("value", re.compile(r"0\.\d|1"))
    open_further.page.locator(".notice", has_text="8 of 8 images optimised").wait_for()
    open_further.until_other(shown)
    open_further.expect(work).to_have_count(0)


def test_mapper_that_is_not_trained_is_refused_in_words(open_further):
    work_out(open_further, "Mapper")
    alert = open_further.page.get_by_role("alert")
    open_further.expect(alert).to_contain_text("train one with")


def test_work_tells_its_place_in_the_queue_and_is_called_off(open_further, ready):
    open_further.forgiven = (REFUSED,)  # its events end with it
    pair = {"neutral": "a face", "target": GLASSES}
    long = {"seeds": list(range(64)), "edits": [pair], "method": "optimize"}
    with ready.client() as client:
        other = client.post("/api/v1/edits", json=long).json()["id"]
        with open_further.page.expect_response("**/api/v1/edits") as response:
            work_out(open_further, "Optimise")
        own = f"/api/v1/jobs/{response.value.json()['id']}"
        work = open_further.page.locator(".work")
        open_further.expect(work).to_contain_text("1 in the queue")
        work.get_by_role("button", name="Cancel").click()
        open_further.expect(work).to_have_count(0)
        open_further.until(lambda: client.get(own).status_code == 404, "its end")
        assert client.delete(f"/api/v1/jobs/{other}").status_code == 204


def test_work_goes_on_where_its_events_end_early(open_further):
    open_further.forgiven = ("Failed to load resource",)
    refusals = [503, 502, 429]  # of its events, of itself, and of its events again

    def answer(route) -> None:
        if refusals:
            route.fulfill(status=refusals.pop(0))
        else:
            route.continue_()

    open_further.page.route("**/api/v1/jobs/**", answer)
    work_out(open_further, "Best of all")
    open_further.page.locator(".notice", has_text=WHY).wait_for()
    assert not refusals
    assert open_further.page.get_by_role("alert").count() == 0


def test_beta_is_given_and_found_by_itself_again(open_further):
    plain = open_further.pixels()
    field = open_further.page.get_by_label("Beta", exact=True)
    field.fill("0.4")
    field.press("Tab")
    open_further.until_other(plain)
    open_further.expect(field).to_have_value("0.400")
    open_further.button("By itself").click()
    open_further.until_again(plain)
    open_further.expect(field).to_have_value("")


def test_truncation_draws_other_pictures(open_further):
    plain = open_further.pixels()
    slider = open_further.page.get_by_role("slider", name="Truncation")
    slider.fill("0.2")
    open_further.until_other(plain)
    open_further.expect(open_further.page.locator(".further output")).to_have_text("0.20")
    open_further.button("Back", exact=True).click()
    open_further.until_again(plain)
