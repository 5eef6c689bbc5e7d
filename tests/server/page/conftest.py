"""The live page in a real browser, as people see it: things are found by their roles and names, and
tests wait for pictures and states."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ...conftest import BROWSER
from ...service import Service

REFUSED = "Failed to load resource: the server responded with a status of 4"
PATIENCE = 120.0
"""Seconds that end what hangs."""
MILLISECONDS = 1000 * PATIENCE
SWITCHES = (
    "--no-sandbox",  # which root has none of
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",  # a camera that shows a test picture
)
_PIXELS = """canvas => {
  const {width, height} = canvas;
  const pen = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true});
  pen.drawImage(canvas, 0, 0);
  const {data} = pen.getImageData(0, 0, width, height);
  let text = "";
  for (let at = 0; at < data.length; at += 8192)
    text += String.fromCharCode(...data.subarray(at, at + 8192));
  return [height, width, btoa(text)];
}"""

Pixels = NDArray[np.uint8]


class Studio:
    """A page that somebody uses.

    Attributes:
        page: Playwright's.
        complaints: what the browser's console said, errors of the page and requests elsewhere.
        forgiven: beginnings of what the console may say: it tells every answer of 400 and more,
            however well the page goes on.
    """

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.complaints: list[str] = []
        self.forgiven: tuple[str, ...] = ()
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("console", self._hear)
        page.on("request", self._see)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(self.forgiven):
            self.complaints.append(f"{message.type}: {message.text}")

    def _see(self, request: Any) -> None:
        if not request.url.startswith((self.url, "blob:", "data:", self.url.replace("http", "ws"))):
            self.complaints.append(f"request: {request.url}")

    def open(self, path: str = "/") -> Studio:
        """Loads the page, and waits for the first picture."""
        self.page.goto(self.url + path)
        return self.settle()

    def settle(self) -> Studio:
        """Waits until the stage shows something."""
        self.page.wait_for_selector("[data-ready=true] canvas.is-main[data-painted]")
        return self

    def button(self, name: str, **options: Any) -> Any:
        return self.page.get_by_role("button", name=name, **options)

    def expect(self, locator: Any) -> Any:
        """Playwright's assertions, which wait."""
        from playwright.sync_api import expect

        expect.set_options(timeout=MILLISECONDS)
        return expect(locator)

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def choose(self, name: str) -> None:
        """Takes one of several by its word, as people do: the box itself is drawn over. Unlike a
        box that is forced, it is clicked once it stands still."""
        chosen = self.page.get_by_label(name, exact=True)
        self.page.locator("label", has=chosen).click()

    @property
    def stage(self) -> Any:
        """The picture that stands in the middle."""
        return self.page.locator("canvas.is-main").first

    def pixels(self, canvas: Any = None) -> Pixels:
        """What a canvas shows (H, W, 4): the stage's, if none is given."""
        height, width, text = (canvas or self.stage).evaluate(_PIXELS)
        return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Waits for what a page cannot be asked to wait for."""
        for _ in range(int(PATIENCE * 20)):
            if holds():
                return
            self.page.wait_for_timeout(50)
        pytest.fail(f"did not come: {what}")

    def until_other(self, before: Pixels, canvas: Any = None) -> Pixels:
        """Waits for another picture than there was."""
        self.until(lambda: not np.array_equal(self.pixels(canvas), before), "another picture")
        return self.pixels(canvas)

    def until_again(self, wanted: Pixels, canvas: Any = None) -> None:
        """Waits for the very same picture."""
        self.until(lambda: same(self.pixels(canvas), wanted), "the same picture again")

    def add(self, target: str) -> None:
        """Writes what the pictures are to be, and adds the edit."""
        field = self.page.locator("#target")
        field.fill(target)
        field.press("Enter")
        self.slider(target).wait_for()

    def added(self, target: str) -> Pixels:
        """Adds an edit, and waits until the picture shows it, at rest."""
        before = self.pixels()
        self.add(target)
        self.until_other(before)
        return self.rested()

    def rested(self) -> Pixels:
        """The picture once it has come to rest: the same twice, with its status told."""
        self.page.wait_for_selector(".caption .told")
        shown = self.pixels()
        self.until_again(shown)
        return shown

    def slider(self, target: str) -> Any:
        return self.page.get_by_role("slider", name=f"Strength of {target}", exact=True)


def same(one: Pixels, other: Pixels) -> bool:
    """Whether nobody could tell them apart: in a batch of another size, a level may be rounded
    otherwise."""
    return one.shape == other.shape and bool(np.abs(one.astype(int) - other).max() <= 1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """For the tests of a file alone: while it is there, its event loop runs."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=list(SWITCHES))
        yield started
        started.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Studio]]:
    """Opens a page of a service in a browser that remembers nothing, or in one that is there;
    in the end nothing may have been complained of."""
    contexts: list[Any] = []
    studios: list[Studio] = []

    def visit(service: Service, context: Any = None, **options: Any) -> Studio:
        usual = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB"}
        if context is None:
            context = browser.new_context(**{**usual, **options})
            context.set_default_timeout(MILLISECONDS)
            contexts.append(context)
        studios.append(Studio(context.new_page(), service.url))
        return studios[-1]

    yield visit
    for context in contexts:
        context.close()
    assert [one for studio in studios for one in studio.complaints] == []


@pytest.fixture(scope="session")
def ready(service: Service) -> Service:
    """The service with its models loaded."""
    with service.client() as client:
        while client.get("/api/v1/ready").status_code != 200:
            time.sleep(0.1)
    return service


@pytest.fixture
def studio(visit: Callable[..., Studio], ready: Service) -> Studio:
    return visit(ready).open()
