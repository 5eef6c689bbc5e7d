"""The page and its service: gone and back, two tabs, the link that lets one in, behind a proxy."""

from __future__ import annotations

import json
import signal
import socket

import pytest

from ...service import TOKEN, running

pytestmark = pytest.mark.browser
GLASSES, SMILE = "a face with glasses", "a smiling face"
GONE = "The server does not answer"
LOST = ("Failed to load resource", "WebSocket connection to")
"""What the browser's console tells of every request that failed."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_page_says_that_the_server_is_gone_and_comes_back_by_itself(visit, tmp_path):
    port = free_port()
    with running(tmp_path / "kept", "--port", port, "--rate", 10_000) as service:
        studio = visit(service)
        studio.forgiven = LOST
        studio.open()
        shown = studio.added(GLASSES)
        service.stop(signal.SIGKILL)
        studio.page.get_by_text(GONE).wait_for()
        assert studio.page.locator(".edit-target").all_inner_texts() == [GLASSES]
        studio.slider(GLASSES).press("Shift+ArrowLeft")  # nothing is lost, and it is caught up on
        studio.button("Auto").click()  # which nobody answers
        studio.expect(studio.button("Auto")).to_be_enabled()
    with running(tmp_path / "kept", "--port", port, "--rate", 10_000):
        studio.expect(studio.page.get_by_text(GONE)).to_have_count(0)
        studio.until_other(shown)
        studio.slider(GLASSES).press("Shift+ArrowRight")
        studio.until_again(shown)
        assert studio.page.get_by_role("alert").count() == 0


def refusing(studio, status: int, times: int) -> list[object]:
    """Refuses so many live sessions; all that were tried."""
    tried: list[object] = []

    def answer(socket) -> None:
        tried.append(socket)
        if len(tried) > times:
            socket.connect_to_server()
        else:
            socket.on_message(lambda _: (socket.send(told), socket.close(code=1008)))

    told = json.dumps({"title": "No", "status": status, "detail": "no session for you"})
    studio.page.route_web_socket("**/api/v1/live", answer)
    return tried


def test_session_that_is_refused_for_now_is_opened_later(visit, ready):
    studio = visit(ready)
    tried = refusing(studio, 429, 2)  # of the stage, and of the row
    studio.page.goto(studio.url)
    alert = studio.page.get_by_role("alert")
    studio.expect(alert).to_contain_text("no session for you")
    studio.settle()
    studio.expect(alert).to_have_count(0)
    assert len(tried) == 4


def test_session_that_is_refused_for_good_is_not_tried_again(visit, ready):
    studio = visit(ready)
    tried = refusing(studio, 422, 1000)
    studio.page.goto(studio.url)
    alert = studio.page.get_by_role("alert")
    studio.expect(alert).to_contain_text("no session for you")
    alert.get_by_role("button").click()
    studio.add(GLASSES)
    studio.expect(alert).to_contain_text("no session for you")
    assert len(tried) == 2


def test_two_tabs_have_documents_of_their_own_and_share_what_was_used(visit, ready):
    one = visit(ready).open()
    one.added(GLASSES)
    other = visit(ready, context=one.page.context).open()
    assert other.page.locator(".edit-target").all_inner_texts() == [GLASSES]  # where one left off
    other.added(SMILE)
    assert one.page.locator(".edit-target").all_inner_texts() == [GLASSES]
    one.page.reload()
    one.settle()
    assert one.page.locator(".edit-target").all_inner_texts() == [GLASSES]
    one.page.locator("#target").click()
    one.page.get_by_role("option", name=SMILE, exact=True).wait_for()  # used in the other tab
    other.button("Settings").click()
    other.choose("Dark")
    one.expect(one.page.locator("html")).to_have_attribute("data-theme", "dark")


def test_link_lets_a_browser_in_once(visit, tmp_path):
    secret = tmp_path / "token"
    secret.write_text(TOKEN)
    with running(tmp_path / "kept", "--token-file", secret, "--rate", 10_000) as service:
        assert "/enter/" in service.link
        stranger, studio, again = (visit(service) for _ in range(3))
        for one in (stranger, studio, again):
            one.forgiven = LOST
        stranger.page.goto(service.url)
        assert "those who have its link" in stranger.page.content()
        studio.page.goto(service.link)
        studio.settle().added(GLASSES)
        cookies = studio.page.context.cookies()
        assert [(one["httpOnly"], one["sameSite"]) for one in cookies] == [(True, "Strict")]
        again.page.goto(service.link)
        assert "those who have its link" in again.page.content()
