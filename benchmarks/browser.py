"""A service of its own and a browser on it, for `page.py` and `page_pictures.py`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
GLASSES, SMILE, BEARD = "a face with glasses", "a smiling face", "a face with a beard"


@contextmanager
def service(*options: str) -> Iterator[str]:
    """`styleatlas serve`, its models loaded; the address of its page."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["serve", *options, "--port", "0", "--rate", "10000", "--folder", folder]
        command = [sys.executable, "-m", "styleatlas", *words]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            url = process.stdout.readline().strip()
            while not _ready(url):
                time.sleep(0.2)
            yield url
        finally:
            process.terminate()
            process.wait()


def _ready(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return bool(direct.open(f"{url}api/v1/ready").status == 200)
    except urllib.error.URLError:
        return False


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright's; `scripts/browser` finds or installs the program."""
    from playwright.sync_api import sync_playwright

    finder = Path(__file__).parents[1] / "scripts" / "browser"
    named = os.environ.get("STYLEATLAS_BROWSER") or shutil.which("chromium")
    path = named or subprocess.run([finder], check=True, capture_output=True, text=True).stdout
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path.strip(), args=list(SWITCHES))
        yield browser
        browser.close()


def settle(page: Any) -> None:
    """Waits until the stage shows something."""
    page.wait_for_selector("[data-ready=true] canvas.is-main[data-painted]")


def until(page: Any, holds: str) -> None:
    """Waits for a JavaScript expression; Playwright's own way would evaluate it in the page, whose
    policy forbids that."""
    while not page.evaluate(f"Boolean({holds})"):
        page.wait_for_timeout(50)


def add(page: Any, target: str) -> Any:
    """Adds an edit, and waits until the picture has come to rest; its slider."""
    page.locator("#target").fill(target)
    page.locator("#target").press("Enter")
    slider = page.get_by_role("slider", name=f"Strength of {target}", exact=True)
    slider.wait_for()
    page.wait_for_selector(".caption .told")
    page.wait_for_selector(".facts [role=img]")
    return slider
