"""How the live page feels, from the browser's side: `python benchmarks/page.py [--gradio]`.

Chromium on this machine drags a slider there and back for some seconds, by its pointer, sixty moves
a second. Of every picture that is painted: the milliseconds since the last move that it knows of
(p50, p95), and how many are painted a second. Then how long after its address was entered one can
write into the page, and it shows pictures; and three things that people want, in steps (clicks,
words written, drags, keys) and in seconds, without the time that a person takes to think: the first
edit, the right strength, three prompts compared.

With `--gradio` also the same edit as a Gradio demo (`pip install gradio`): a box, a slider and a
picture that follow one another, on an Editor in Gradio's own process.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

from styleatlas.store.records import text_table

sys.path.insert(0, str(Path(__file__).parent))
from browser import BEARD, GLASSES, SMILE, add, chromium, service, settle, until

DEMO = """
import gradio, styleatlas
editor = styleatlas.load("avatars")

def edit(target, alpha):
    asked = {"target": target, "alpha": alpha, "method": "direction"}
    return editor.edit(seeds=[4], neutral="a face", **asked).pil()

with gradio.Blocks() as demo:
    words = gradio.Textbox("a face with glasses", label="Target")
    alpha = gradio.Slider(-2.5, 2.5, 1.0, step=0.05, label="Alpha")
    picture = gradio.Image(label="Picture", format="webp")
    for asked in (words.submit, alpha.change):
        asked(edit, [words, alpha], picture, trigger_mode="always_last", show_progress="hidden")
demo.launch(server_name="127.0.0.1", server_port=PORT, quiet=True)
"""
WATCH = """() => {
  const seen = window.seen = {inputs: [], paints: []};
  addEventListener("input", () => seen.inputs.push(performance.now()), true);
  const raw = WebSocket.prototype.send;
  const asked = new Map();
  WebSocket.prototype.send = function (text) {
    const message = JSON.parse(text);
    if (message.number !== undefined) {
      const key = `${this.mark ??= Math.random()} ${message.number}`;
      asked.set(key, seen.inputs.at(-1));
      if (!this.heard) {
        this.heard = true;
        this.addEventListener("message", (event) => {
          if (typeof event.data === "string") return;
          const bytes = new Uint8Array(event.data);
          const told = JSON.parse(new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(10))));
          seen.arrived = asked.get(`${this.mark} ${told.number}`);
        });
      }
    }
    return raw.call(this, text);
  };
  new MutationObserver((changes) => {
    if (!changes.some(({target}) => target.matches("canvas.is-main"))) return;
    const of = seen.arrived;
    requestAnimationFrame(() => requestAnimationFrame((now) => seen.paints.push([now, now - of])));
  }).observe(document, {subtree: true, attributes: true, attributeFilter: ["data-painted"]});
}"""


@click.command(help=__doc__)
@click.option("--seconds", default=8.0, show_default=True, help="Of each drag.")
@click.option(
    "--atlas", default="avatars", show_default=True, help="As serve takes it, with options."
)
@click.option("--gradio", is_flag=True, help="Also a Gradio demo.")
@click.option("--rounds", default=3, show_default=True, help="Of which the best is told.")
def main(seconds: float, atlas: str, gradio: bool, rounds: int) -> None:
    click.echo(f"{platform.processor() or platform.machine()}, {platform.python_version()}")
    with chromium() as browser:
        with service(*atlas.split()) as url:
            drags = [ours(browser, url, seconds) for _ in range(rounds)]
            openings = [opening(browser, url) for _ in range(rounds)]
            tasks = our_tasks(browser, url)
        rows = [{"page": "StyleAtlas", **min(drags, key=lambda row: row["p95 ms"])}]
        if gradio:
            with gradio_demo() as url:
                drags = [theirs(browser, url, seconds) for _ in range(rounds)]
            rows.append({"page": "Gradio", **min(drags, key=lambda row: row["p95 ms"])})
    click.echo(text_table(rows))
    click.echo(text_table([min(openings, key=lambda row: row["interactive ms"])]))
    click.echo(text_table(tasks))


def opened(browser: Any, url: str) -> Any:
    page = browser.new_page(viewport={"width": 1440, "height": 900}, locale="en-GB")
    page.set_default_timeout(120_000)
    page.goto(url)
    return page


def opening(browser: Any, url: str) -> dict[str, Any]:
    """Of a browser that has nothing of the page yet."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
    page = context.new_page()
    page.goto(url, wait_until="commit")
    page.locator("#target").fill("a")
    row = {"interactive ms": round(page.evaluate("performance.now()"))}
    settle(page)
    row["pictures ms"] = round(page.evaluate("performance.now()"))
    context.close()
    return row


def summary(paints: list[list[float]], seconds: float) -> dict[str, Any]:
    late = np.array([one[1] for one in paints])
    if not len(late):
        raise SystemExit("nothing was painted; is the page another?")
    p50, p95 = np.quantile(late, [0.5, 0.95])
    return {
        "pictures a second": round(len(late) / seconds, 1),
        "p50 ms": round(float(p50)),
        "p95 ms": round(float(p95)),
    }


def drag(page: Any, slider: Any, seconds: float) -> float:
    """There and back until the time is over; the seconds that it took."""
    box = slider.bounding_box()
    y, left, width = box["y"] + box["height"] / 2, box["x"] + 14, box["width"] - 28
    most, at = float(slider.get_attribute("max")), float(slider.input_value())
    page.mouse.move(left + width * (at + most) / (2 * most), y)
    page.mouse.down()
    begun = time.perf_counter()
    while (passed := time.perf_counter() - begun) < seconds:
        share = 0.5 + 0.45 * np.sin(2 * np.pi * passed / 2)
        page.mouse.move(left + width * share, y)
        page.wait_for_timeout(max(0.0, 1000 / 60 - 1000 * (time.perf_counter() - begun - passed)))
    page.mouse.up()
    return passed


def ours(browser: Any, url: str, seconds: float) -> dict[str, Any]:
    page = opened(browser, url)
    page.evaluate(WATCH)
    settle(page)
    slider = add(page, GLASSES)
    page.evaluate("seen.paints.length = 0")
    passed = drag(page, slider, seconds)
    paints = page.evaluate("seen.paints")
    page.close()
    return summary(paints, passed)


def theirs(browser: Any, url: str, seconds: float) -> dict[str, Any]:
    """A picture of Gradio's is another address of an image; it answers the last move before it was
    asked for, of which the page tells nothing, so that the newest one before the picture is taken:
    the demo looks better than it is."""
    page = opened(browser, url)
    slider = page.locator("input[type=range]").first
    slider.wait_for()
    page.evaluate(
        """() => { const seen = window.seen = {inputs: [], paints: []};
          addEventListener("input", () => seen.inputs.push(performance.now()), true);
          const told = (image) => { const of = seen.inputs.at(-1);
            const shown = () => requestAnimationFrame((now) => seen.paints.push([now, now - of]));
            image.decode().then(shown, () => {}); };
          new MutationObserver((changes) => changes.forEach((change) => {
            if (change.target.tagName === "IMG") told(change.target);
            for (const node of change.addedNodes ?? [])
              for (const image of node.querySelectorAll?.("img") ?? []) told(image);
          })).observe(document,
            {subtree: true, childList: true, attributes: true, attributeFilter: ["src"]}); }"""
    )
    passed = drag(page, slider, seconds)
    page.wait_for_timeout(1000)
    paints = page.evaluate("seen.paints")
    page.close()
    return summary(paints, passed)


@contextmanager
def gradio_demo() -> Iterator[str]:
    port = 7899
    process = subprocess.Popen([sys.executable, "-c", DEMO.replace("PORT", str(port))])
    try:
        import socket

        while socket.socket().connect_ex(("127.0.0.1", port)):
            if process.poll() is not None:
                raise SystemExit("the Gradio demo did not start; is gradio installed?")
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait()


def our_tasks(browser: Any, url: str) -> list[dict[str, Any]]:
    """What people want to come to, by the fewest steps that the page has for it."""
    rows = []

    def task(name: str, steps: str, do: Callable[[Any], None]) -> None:
        page = opened(browser, url)
        settle(page)
        begun = time.perf_counter()
        do(page)
        count = steps.count(",") + 1
        seconds = round(time.perf_counter() - begun, 2)
        rows.append({"task": name, "steps": count, "seconds": seconds, "which": steps})
        page.close()

    def right(page: Any) -> None:
        page.get_by_role("radio", name="Seed 4").click()
        add(page, GLASSES)
        page.get_by_role("button", name="Auto", exact=True).click()
        page.locator(".found").wait_for()
        page.wait_for_selector(".caption .told.is-reached")

    def three(page: Any) -> None:
        for target in (GLASSES, SMILE, BEARD):
            add(page, target)
        page.locator(".view", has_text="Grid").click()
        cells = 5 * 8
        until(page, f"document.querySelectorAll('.grid canvas[data-painted]').length === {cells}")

    task("first edit", "words, Enter", lambda page: add(page, GLASSES))
    task("right strength", "picture, words, Enter, Auto", right)
    task("three prompts on eight pictures", "words, Enter, words, Enter, words, Enter, Grid", three)
    return rows


if __name__ == "__main__":
    main()
