"""The pictures of the live page in the docs: `python benchmarks/page_pictures.py docs/images`.

The page at four widths in both themes, the parts of it that docs/page.md tells of, and a film of
about 20 s of somebody who steers, `page.webp`. Pictures are what Chromium shows of a service with
the embedded models; nothing is drawn in afterwards but the pointer of the film.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).parent))
from browser import GLASSES, SMILE, add, chromium, service, settle, until

SIZES = {360: 740, 768: 1024, 1440: 900, 2560: 1440}
QUALITY = 82
FILM, FILM_FPS = (1200, 750), 11


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--only", help="Those whose names hold this.", default="")
def main(folder: Path, only: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with service("avatars") as url, chromium() as browser:
        for width, height in SIZES.items():
            for theme in ("light", "dark"):
                if only in (name := f"page-{width}-{theme}"):
                    shoot_edits(opened(browser, url, width, height, theme), folder / f"{name}.webp")
        for name, shoot in (("page-explore", shoot_explore), ("page-photo", shoot_photo)):
            if only in name:
                shoot(opened(browser, url, 1280, 800, "light"), folder / f"{name}.webp")
        if only in "page-film":
            Film(opened(browser, url, *FILM, "light")).shoot(folder / "page.webp")


def opened(browser: Any, url: str, width: int, height: int, theme: str) -> Any:
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme=theme, locale="en-GB"
    )
    page.set_default_timeout(120_000)
    page.goto(url)
    settle(page)
    return page


def shoot_edits(page: Any, path: Path) -> None:
    """Two edits on a face that had neither."""
    page.get_by_role("radio", name="Seed 4").click()
    add(page, SMILE)
    slider = add(page, GLASSES)
    slider.press("Shift+ArrowLeft")
    slider.press("Shift+ArrowRight")
    page.evaluate("document.activeElement.blur()")
    told = "[...document.querySelectorAll('.cell-word')]"
    until(page, f"{told}.every((e) => e.textContent === 'as asked')")  # at half of it, two are not
    save(page, path)


def shoot_explore(page: Any, path: Path) -> None:
    add(page, GLASSES)
    page.get_by_role("tab", name="Explore").click()
    page.locator(".channel").first.click()
    until(page, "document.querySelector('.channel-cells img')?.naturalWidth > 0")
    page.mouse.move(0, 0)
    save(page, path)


def shoot_photo(page: Any, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "holiday.png"
        face = Image.fromarray(drawn(42)).resize((420, 420), Image.Resampling.LANCZOS)
        picture = Image.new("RGB", (960, 640), (222, 217, 206))
        picture.paste(face, (330, 120))
        picture.save(photo)
        page.get_by_role("button", name="Your photo").click()
        page.locator("dialog input[type=file]").set_input_files(photo)
        page.get_by_role("slider", name="Size").fill("420")
        box = page.locator(".crop-box")
        box.focus()
        for key, count in (("ArrowRight", 15), ("ArrowDown", 2)):
            for _ in range(count):
                box.press(key)
        page.evaluate("document.activeElement.blur()")
        save(page, path)


def drawn(seed: int) -> Any:
    """An avatar of the embedded generator, (64, 64, 3)."""
    import torch

    from styleatlas import load_generator, styles_from_seeds
    from styleatlas.engine.models.preprocess import to_bytes

    generator = load_generator("avatars", "cpu")
    with torch.inference_mode():
        images = generator.render(styles_from_seeds(generator, [seed], 0.7))
    return to_bytes(images)[0].numpy()


def save(page: Any, path: Path) -> None:
    page.wait_for_timeout(400)  # letters fade in
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, quality=QUALITY, method=6)
    click.echo(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    page.close()


class Film:
    """Somebody who uses the page, a frame at a time: each step is shown once it is done, so that
    no frame depends on how fast the machine is."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.frames: list[Image.Image] = []
        self.at = (600.0, 420.0)

    def shoot(self, path: Path) -> None:
        page = self.page
        # of frames that wait for screenshots
        page.evaluate("document.styleSheets[0].insertRule('.pace { visibility: hidden }')")
        self.wait(0.8)
        self.click(page.get_by_role("radio", name="Seed 4"))
        self.wait(0.4)
        self.write(SMILE)
        self.drag(SMILE, (1.6, 0.3, 1.0))
        self.write(GLASSES)
        self.drag(GLASSES, (0.4, 1.2))
        self.wait(0.6)
        self.click(page.locator(".view", has_text="Divider"))
        self.divide((0.25, 0.75, 0.5))
        self.click(page.locator(".view", has_text="Grid"))
        until(page, "document.querySelectorAll('.grid canvas[data-painted]').length == 32")
        self.wait(1.6)
        self.click(page.get_by_role("tab", name="Explore"))
        page.locator(".channel").first.wait_for()
        self.wait(0.4)
        self.click(page.locator(".channel").first)
        until(page, "document.querySelector('.channel-cells img')?.naturalWidth > 0")
        self.wait(1.6)
        self.click(page.locator(".view", has_text="One"))
        self.click(page.get_by_role("tab", name="Edit"))
        self.wait(1.6)
        first, *others = self.frames
        duration = round(1000 / FILM_FPS)
        how = {"duration": duration, "loop": 0, "quality": 70, "method": 4}
        first.save(path, save_all=True, append_images=others, **how)
        click.echo(
            f"{path}: {len(self.frames) / FILM_FPS:.1f} s, {path.stat().st_size / 1e6:.1f} MB"
        )

    def frame(self) -> None:
        image = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        x, y = self.at
        pointer = [(x, y), (x, y + 19), (x + 4.5, y + 15), (x + 12, y + 14)]
        ImageDraw.Draw(image).polygon(pointer, "white", "black", 1)
        self.frames.append(image)

    def wait(self, seconds: float) -> None:
        self.frame()
        self.frames += self.frames[-1:] * (round(seconds * FILM_FPS) - 1)

    def go(self, x: float, y: float) -> None:
        (x0, y0), steps = self.at, 4
        for step in range(1, steps + 1):
            share = step / steps
            share = share * share * (3 - 2 * share)
            self.at = (x0 + (x - x0) * share, y0 + (y - y0) * share)
            self.page.mouse.move(*self.at)
            self.frame()

    def click(self, locator: Any) -> None:
        box = locator.bounding_box()
        self.go(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.page.mouse.down()
        self.page.mouse.up()
        self.page.wait_for_timeout(500)
        self.frame()

    def write(self, words: str) -> None:
        self.click(self.page.locator("#target"))
        for at, letter in enumerate(words):
            self.page.keyboard.type(letter)
            if at % 2:
                self.frame()
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("Enter")
        slider = self.page.get_by_role("slider", name=f"Strength of {words}", exact=True)
        slider.wait_for()
        self.page.wait_for_selector(".facts [role=img]")
        self.page.wait_for_timeout(600)
        self.wait(0.4)

    def drag(self, target: str, stops: tuple[float, ...]) -> None:
        slider = self.page.get_by_role("slider", name=f"Strength of {target}", exact=True)
        thumb = 20

        def place(alpha: float) -> float:
            box, most = slider.bounding_box(), float(slider.get_attribute("max"))
            share = (alpha + most) / (2 * most)
            return box["x"] + thumb / 2 + share * (box["width"] - thumb)

        box = slider.bounding_box()
        y, now = box["y"] + box["height"] / 2, float(slider.input_value())
        self.go(place(now), y)
        self.page.mouse.down()
        for stop in stops:
            for step in range(1, 9):
                x = place(now + (stop - now) * step / 8)
                self.at = (x, y)
                self.page.mouse.move(x, y)
                self.page.wait_for_timeout(150)
                self.frame()
            now = stop
        self.page.mouse.up()
        self.page.wait_for_selector(".caption .told")
        self.wait(0.6)

    def divide(self, stops: tuple[float, ...]) -> None:
        line, frame = self.page.locator(".split-line"), self.page.locator(".split")
        box, whole = line.bounding_box(), frame.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.go(x, y)
        self.page.mouse.down()
        for stop in stops:
            goal = whole["x"] + stop * whole["width"]
            for step in range(1, 7):
                self.at = (x + (goal - x) * step / 6, y)
                self.page.mouse.move(*self.at)
                self.frame()
            x = goal
        self.page.mouse.up()
        self.wait(0.5)


if __name__ == "__main__":
    main()
