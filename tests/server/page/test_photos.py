"""Own photos: taken in by every way, cut, drawn by the generator, painted on, put back, ended."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .conftest import REFUSED, same

pytestmark = pytest.mark.browser
GLASSES = "a face with glasses"
LEFT, TOP, SIDE, SIZE = 200, 60, 160, (480, 320)
"""Where in the photo a face is, and how large the photo is."""


@pytest.fixture(scope="module")
def photo(drawings, tmp_path_factory) -> Path:
    """A face in the midst of a larger picture."""
    picture = Image.new("RGB", SIZE, (228, 224, 214))
    picture.paste(drawings(42, SIDE), (LEFT, TOP))
    path = tmp_path_factory.mktemp("photo") / "holiday.png"
    picture.save(path)
    return path


def box_of(studio) -> list[int]:
    return [
        int(part) for part in studio.page.locator(".crop-box").get_attribute("data-box").split()
    ]


def choose(studio, photo: Path) -> None:
    """A photo by the dialog."""
    studio.button("Your photo").click()
    field = studio.page.get_by_role("dialog").locator("input[type=file]")
    field.set_input_files(photo)
    studio.page.locator(".crop-box").wait_for()


def photo_id(studio) -> str:
    """Of the photo in the dialog, once it is sent."""
    return studio.page.evaluate(
        """async () => { const url = new URL("page/js/photo.js", document.baseURI);
          return (await import(url)).choosing.value.held.upload; }"""
    )


def cut(studio) -> None:
    """The square to where the face is, by its slider and by keys."""
    studio.page.get_by_role("slider", name="Size").fill(str(SIDE))
    box = studio.page.locator(".crop-box")
    box.focus()
    for axis, wanted, keys in ((0, LEFT, ("Left", "Right")), (1, TOP, ("Up", "Down"))):
        while (here := box_of(studio)[axis]) != wanted:
            coarse = "Shift+" if abs(wanted - here) >= SIDE / 10 else ""
            box.press(f"{coarse}Arrow{keys[wanted > here]}")
    assert box_of(studio) == [LEFT, TOP, SIDE]


@pytest.fixture
def standing(studio, photo):
    """The photo on the stage."""
    choose(studio, photo)
    cut(studio)
    stand(studio)
    return studio


def stand(studio) -> None:
    """Has the generator draw it."""
    before = studio.pixels()
    studio.button("Take this part").click()
    studio.page.locator(".photo-bar canvas[data-painted]").nth(1).wait_for()
    studio.until_other(before)


def test_photo_is_drawn_by_the_generator_and_edited_live(standing, photo):
    (part, drawn) = (standing.page.locator(".photo-bar canvas").nth(at) for at in (0, 1))
    face = Image.open(photo).crop((LEFT, TOP, LEFT + SIDE, TOP + SIDE)).resize((64, 64))
    shown = Image.fromarray(standing.pixels(part)).convert("RGB").resize((64, 64))
    assert np.abs(np.asarray(shown, int) - np.asarray(face, int)).mean() < 6  # the part it is of
    near = np.abs(standing.pixels(drawn)[:, :, :3].astype(int) - np.asarray(face, int)).mean()
    assert near < 16, near  # and what the generator makes of it
    before = standing.pixels()
    after = standing.added(GLASSES)
    assert not same(before, after)
    slider = standing.slider(GLASSES)
    slider.press("Shift+ArrowLeft")
    standing.until_other(after)
    standing.button("Back", exact=True).click()
    standing.until_again(after)


def test_photo_comes_back_whole_and_changed_in_its_part_alone(standing, photo):
    standing.added(GLASSES)
    standing.button("Back into the photo").click()
    dialog = standing.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Put the edit in").click()
    made = dialog.get_by_role("img", name="The photo with the edit in it")
    made.wait_for()
    standing.until(lambda: made.evaluate("image => image.naturalWidth") == SIZE[0], "the picture")
    with standing.page.expect_download() as download:
        dialog.get_by_role("button", name="Save the photo").click()
    assert download.value.suggested_filename == "holiday-edited.png"
    whole = np.asarray(Image.open(download.value.path()).convert("RGB"), int)
    change = np.abs(whole - np.asarray(Image.open(photo).convert("RGB"), int)).max(2)
    assert change[TOP : TOP + SIDE, LEFT : LEFT + SIDE].max() > 50
    change[TOP : TOP + SIDE, LEFT : LEFT + SIDE] = 0
    assert not change.any()


def test_photo_changes_only_where_somebody_painted(standing, photo):
    standing.added(GLASSES)
    standing.button("Back into the photo").click()
    dialog = standing.page.get_by_role("dialog")
    put_in = dialog.get_by_role("button", name="Put the edit in")
    dialog.get_by_label("Only where I paint").check()
    standing.expect(put_in).to_be_disabled()
    lacking = dialog.get_by_text("Paint where the photo may change.")
    lacking.wait_for()
    canvas = dialog.locator("canvas.paint")
    box = canvas.bounding_box()
    scale = box["width"] / SIZE[0]
    middle, height = LEFT + SIDE / 2, TOP + 0.45 * SIDE

    def paint() -> None:
        standing.page.mouse.move(box["x"] + (LEFT + 20) * scale, box["y"] + height * scale)
        standing.page.mouse.down()
        standing.page.mouse.move(box["x"] + middle * scale, box["y"] + height * scale, steps=6)
        standing.page.mouse.up()

    paint()
    standing.expect(put_in).to_be_enabled()
    assert lacking.count() == 0
    first = standing.pixels(canvas)[:, :, 3]
    canvas.focus()
    standing.page.keyboard.down("Space")  # by keys, beside the face
    for _ in range(4):
        canvas.press("Shift+ArrowUp")
    standing.page.keyboard.up("Space")
    assert (standing.pixels(canvas)[:, :, 3] > 0).sum() > (first > 0).sum() > 0
    dialog.get_by_role("button", name="Wipe it all").click()
    standing.until(lambda: not standing.pixels(canvas)[:, :, 3].any(), "an empty canvas")
    paint()
    breadth = dialog.get_by_label("Breadth")
    usual = breadth.input_value()
    breadth.fill("0.4")
    dialog.get_by_role("button", name="Erase").click()
    paint()
    standing.expect(put_in).to_be_disabled()
    dialog.get_by_role("button", name="Erase").click()
    breadth.fill(usual)
    paint()
    standing.page.evaluate(
        """() => { const {prototype} = HTMLCanvasElement, {toBlob} = prototype;
          prototype.toBlob = (done) => { prototype.toBlob = toBlob; done(null); }; }"""
    )
    put_in.click()
    dialog.get_by_role("alert").get_by_text("too large for this browser").wait_for()
    put_in.click()
    with standing.page.expect_download() as download:
        dialog.get_by_role("button", name="Save the photo").click()
    whole = np.asarray(Image.open(download.value.path()).convert("RGB"), int)
    change = np.abs(whole - np.asarray(Image.open(photo).convert("RGB"), int)).max(2)
    assert change[:, : int(middle)].max() > 30  # the painted half of the glasses
    assert not change[:, int(middle) + 40 :].any()


def dragged(studio, photo: Path):
    """What a photo is while it is dragged."""
    return studio.page.evaluate_handle(
        """text => { const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
          const data = new DataTransfer();
          data.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
          return data; }""",
        base64.b64encode(photo.read_bytes()).decode(),
    )


def test_photo_is_dropped_anywhere(studio, photo):
    transfer = dragged(studio, photo)
    studio.page.dispatch_event("body", "dragover", {"dataTransfer": transfer})
    studio.page.get_by_text("Drop the photo anywhere").wait_for()
    studio.page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    studio.page.locator(".crop-box").wait_for()
    assert box_of(studio) == [80, 0, 320]  # the largest square in the middle


def test_photo_takes_the_place_of_one_that_is_still_looked_for(studio, photo, ready):
    studio.forgiven = (REFUSED,)
    choose(studio, photo)
    cut(studio)
    first = photo_id(studio)
    handed_in: list[Any] = []  # and takes its time
    studio.page.route("**/api/v1/inversions", lambda route: handed_in.append(route))
    studio.button("Take this part").click()
    studio.until(lambda: bool(handed_in), "the first one's job")
    studio.page.dispatch_event("body", "drop", {"dataTransfer": dragged(studio, photo)})
    studio.page.locator(".crop-box[data-box='80 0 320']").wait_for()
    studio.expect(studio.page.locator(".work")).to_have_count(0)
    with ready.client() as client:
        studio.until(
            lambda: client.post("/api/v1/edits", json=asked(first)).status_code == 404, "its end"
        )
        (job,) = handed_in
        job.continue_()
        assert photo_id(studio) != first
    studio.page.unroute("**/api/v1/inversions")
    stand(studio)


def test_photo_is_pasted_from_the_clipboard(studio, photo):
    content = base64.b64encode(photo.read_bytes()).decode()
    studio.page.evaluate(
        """text => { const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
          const data = new DataTransfer();
          data.items.add(new File([bytes], "pasted.png", {type: "image/png"}));
          const how = {clipboardData: data, bubbles: true, cancelable: true};
          document.body.dispatchEvent(new ClipboardEvent("paste", how)); }""",
        content,
    )
    studio.page.locator(".crop-box").wait_for()


def test_camera_takes_a_picture(visit, ready):
    studio = visit(ready, permissions=["camera"]).open()
    studio.button("Your photo").click()
    studio.button("Camera").click()
    shoot = studio.button("Take the picture")
    studio.expect(shoot).to_be_enabled()
    shoot.click()
    studio.page.locator(".crop-box").wait_for()
    assert studio.page.locator("video").count() == 0  # and the camera is off


def test_square_is_moved_and_sized_by_the_pointer_and_stays_within(studio, photo):
    choose(studio, photo)
    frame = studio.page.locator(".crop").bounding_box()
    scale = frame["width"] / SIZE[0]
    studio.page.mouse.move(frame["x"] + 240 * scale, frame["y"] + 160 * scale)
    studio.page.mouse.down()
    studio.page.mouse.move(frame["x"] + 2000, frame["y"] + 160 * scale, steps=5)
    studio.page.mouse.up()
    assert box_of(studio) == [160, 0, 320]
    corner = studio.page.locator(".crop-corner").first.bounding_box()
    x, y = corner["x"] + corner["width"] / 2, corner["y"] + corner["height"] / 2
    studio.page.mouse.move(x, y)
    studio.page.mouse.down()
    studio.page.mouse.move(x + 100 * scale, y + 100 * scale, steps=5)
    studio.page.mouse.up()
    left, top, side = box_of(studio)
    assert side == pytest.approx(220, abs=6) and left + side == 480 and top + side == 320


def test_what_is_no_picture_is_refused_in_words_and_the_page_goes_on(studio, tmp_path):
    path = tmp_path / "letter.png"
    path.write_bytes(b"not a picture")
    studio.button("Your photo").click()
    studio.page.get_by_role("dialog").locator("input[type=file]").set_input_files(path)
    alert = studio.page.get_by_role("dialog").get_by_role("alert")
    alert.get_by_text("cannot show that file as a picture").wait_for()
    studio.page.keyboard.press("Escape")
    studio.added(GLASSES)


def test_photo_is_ended_with_the_page(studio, photo, ready):
    choose(studio, photo)
    sent = photo_id(studio)
    with ready.client() as client:
        assert client.post("/api/v1/edits", json=asked(sent)).status_code == 202
        studio.page.goto("about:blank")
        studio.until(
            lambda: client.post("/api/v1/edits", json=asked(sent)).status_code == 404, "its end"
        )


def test_photo_is_kept_where_somebody_asks_and_ended_when_they_do(studio, photo, ready):
    choose(studio, photo)
    cut(studio)
    sent = photo_id(studio)
    studio.page.get_by_label("Keep it on the server").check()
    stand(studio)
    shown = studio.pixels()
    studio.page.reload()
    studio.settle().until_again(shown)
    with ready.client() as client:
        studio.button("Back to samples").click()
        studio.until_other(shown)
        studio.button("Your photo").click()
        studio.button("holiday", exact=True).click()
        studio.until_again(shown)
        studio.button("Back to samples").click()
        studio.button("Your photo").click()
        studio.button("End holiday").click()
        studio.until(
            lambda: client.post("/api/v1/edits", json=asked(sent)).status_code == 404, "its end"
        )


def test_photo_that_the_server_has_forgotten_leaves_the_stage(studio):
    samples = studio.pixels()
    studio.page.evaluate(
        """() => localStorage.setItem("styleatlas.photos", JSON.stringify(
             [{photo: "P".repeat(32), latents: "L".repeat(32), name: "holiday"}]))"""
    )
    studio.page.reload()
    studio.settle()
    sockets: list[object] = []
    studio.page.on("websocket", lambda socket: sockets.append(socket))
    studio.button("Your photo").click()
    studio.button("holiday", exact=True).click()
    notice = studio.page.get_by_text("The server has forgotten that photo")
    notice.wait_for()
    studio.page.get_by_role("radio", name="Seed 1").wait_for()
    studio.until_again(samples)
    assert len(sockets) == 3  # of the photo, and of the samples on the stage and in the row
    studio.button("All right").click()
    assert notice.count() == 0
    studio.button("Your photo").click()
    assert studio.page.get_by_text("Kept on the server").count() == 0
    assert studio.page.get_by_role("alert").count() == 0


def test_photo_has_latents_and_channels_of_a_sample_and_ends_with_a_reload(standing):
    standing.added(GLASSES)
    standing.tab("Save")
    with standing.page.expect_download() as download:
        standing.page.locator(".deed", has_text="Latents").click()
    assert download.value.suggested_filename == "latents.npz"  # as the command calls it
    with np.load(download.value.path()) as latents:
        assert latents.files
    standing.tab("Explore")
    standing.page.locator(".channel").first.click()
    standing.page.get_by_text("Shown on seed 1").wait_for()
    standing.page.reload()
    standing.settle()
    standing.page.get_by_text("A photo ends with its page").wait_for()
    standing.page.get_by_role("radio", name="Seed 1").wait_for()


def asked(photo: str) -> dict:
    pair = {"neutral": "a face", "target": GLASSES}
    return {"photo": photo, "align": [LEFT, TOP, SIDE], "edits": [pair]}


def test_inversion_is_called_off(studio, photo):
    studio.forgiven = (REFUSED,)  # its events end with it
    choose(studio, photo)
    studio.button("Take this part").click()
    dialog = studio.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Cancel").click()
    studio.button("Take this part").wait_for()
    assert studio.page.locator(".photo-bar").count() == 0
