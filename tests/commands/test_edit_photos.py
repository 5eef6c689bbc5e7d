"""edit --photo: pictures of people's own, edited and put back."""

from __future__ import annotations

import csv
import json
import struct

import numpy as np
import pytest
from PIL import Image

from styleatlas.engine.jobs import photos as jobs
from styleatlas.engine.photos.read import read_photo

from .. import photo_files as files
from ..attacks.photo_attacks import ODD, PHOTOS
from ..encoder_files import avatars_encoder
from ..near import assert_pixels_near
from .edit_calls import GLASSES, pixels

START = ("--steps", "0")
EDIT = ("edit", "avatars", *GLASSES, *START)


@pytest.fixture
def photo(drawings, tmp_path):
    path = tmp_path / "me.png"
    drawings(3).save(path)
    return path


def eyes_and_chest(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """How much changed, of 255, where an avatar has its eyes, and at the lower edge."""
    change = np.abs(after.astype(int) - before).max(2)
    height, width = change.shape
    eyes = change[int(0.38 * height) : int(0.62 * height), int(0.25 * width) : int(0.75 * width)]
    return float(eyes.mean()), float(change[int(0.9 * height) :].mean())


def test_a_photo_is_edited_and_written_whole(answer, photo, tmp_path):
    out = tmp_path / "out.png"
    text = answer(*EDIT, "--photo", photo, "-o", out)
    assert text.startswith(f"{out}: {photo}, whole picture: 160 pixels wide; ")
    assert "by look-up" in text and "1 image: 1 reached" in text
    eyes, chest = eyes_and_chest(pixels(photo), pixels(out))
    assert eyes > 10 and chest < 3
    assert not [path for path in tmp_path.iterdir() if path.name not in ("me.png", "out.png")]


def variant(kind: str, image: Image.Image) -> tuple[str, bytes]:
    """A drawing as somebody's file: its name, and its content."""
    if kind == "jpeg":
        return "me.jpg", files.saved(image, "JPEG", quality=83, subsampling=2)
    if kind == "turned":
        lying = image.transpose(Image.Transpose.ROTATE_90)
        return "me.jpg", files.saved(lying, "JPEG", quality=95, exif=files.exif({0x0112: 6}))
    if kind == "cmyk":
        return "me.jpg", files.saved(image.convert("CMYK"), "JPEG", quality=95)
    if kind == "deep":
        deep = np.asarray(image).astype(np.uint16) * 257
        rows = files.deep_rows(deep)
        return "me.png", files.png(*image.size, 16, 2, rows)
    if kind == "profile":
        return "me.tif", files.saved(image, "TIFF", icc_profile=files.rgb_profile())
    if kind == "webp":
        return "me.webp", files.saved(image, "WEBP", lossless=True)
    clear = image.convert("RGBA")
    clear.putalpha(Image.fromarray((np.indices((160, 160))[0] > 4).astype(np.uint8) * 255))
    return "me.png", files.saved(clear, "PNG")


@pytest.mark.parametrize("kind", ["jpeg", "turned", "cmyk", "deep", "profile", "webp", "clear"])
def test_photos_as_people_have_them(run, drawings, tmp_path, kind):
    name, content = variant(kind, drawings(3))
    path = tmp_path / name
    path.write_bytes(content)
    out = tmp_path / f"out{path.suffix}"
    lossless = tmp_path / "lossless.tif"
    for target in (out, lossless):
        told = run(*EDIT, "--photo", path, "-o", target)
        assert told.exit_code == 0, told.stderr
    said = {"cmyk": "has a printer's colours (CMYK)", "deep": "has more than 8 bits a channel"}
    notes = told.stderr.splitlines()
    assert len(notes) == (kind in said)
    assert all(line.startswith(f"{path}: {said[kind]}") for line in notes)
    before, after = read_photo(path), read_photo(out)
    assert after.shape == before.shape and after.profile == before.profile
    assert before.tables is None or after.tables == before.tables
    assert (after.alpha is None) == (before.alpha is None)
    eyes, chest = eyes_and_chest(before.pixels, after.pixels)
    assert eyes > 10 and chest < 3
    # Without loss, what did not change is the photo's, bit for bit: the lower edge is.
    written = read_photo(lossless)
    assert np.array_equal(written.pixels[-12:], before.pixels[-12:])
    assert not np.array_equal(written.pixels, before.pixels)


def test_outside_of_the_mask_nothing_changes(answer, photo, tmp_path):
    painted = np.zeros((160, 160), np.uint8)
    painted[:, :80] = 255
    Image.fromarray(painted).save(tmp_path / "hair.png")
    whole, half = tmp_path / "whole.png", tmp_path / "half.png"
    answer(*EDIT, "--photo", photo, "-o", whole)
    answer(*EDIT, "--photo", photo, "--mask", tmp_path / "hair.png", "-o", half)
    before, free, bound = pixels(photo), pixels(whole), pixels(half)
    assert np.array_equal(bound[:, 80:], before[:, 80:])
    assert np.array_equal(bound[:, :80], free[:, :80])
    assert not np.array_equal(free[:, 80:], before[:, 80:])


def test_a_part_of_a_photo_is_edited_and_all_else_stays(answer, drawings, tmp_path):
    wide = Image.effect_noise((420, 300), 80).convert("RGB")
    wide.paste(drawings(3, 200), (150, 60))
    path, out = tmp_path / "wall.png", tmp_path / "out.png"
    wide.save(path)
    answer(*EDIT, "--photo", path, "--align", "box", "150,60,200", "-o", out)
    before, after = pixels(path), pixels(out)
    inside = np.zeros((300, 420), bool)
    inside[60:260, 150:350] = True
    assert np.array_equal(after[~inside], before[~inside])
    assert eyes_and_chest(before[60:260, 150:350], after[60:260, 150:350])[0] > 10
    quoted = tmp_path / "quoted.png"
    answer(*EDIT, "--photo", path, "--align", "box 150,60,200", "-o", quoted)
    assert quoted.read_bytes() == out.read_bytes()


def test_a_picture_is_made_again_from_its_recipe_and_the_photo(answer, refused, photo, tmp_path):
    out, again = tmp_path / "out.png", tmp_path / "again.png"
    options = ("--align", "box", "0,0,150", "--alpha", "0.8")
    answer(*EDIT, *options, "--photo", photo, "-o", out)
    record = json.loads(answer("info", out, "--json"))["inputs"]["photos"]
    assert record[0]["align"] == [0, 0, 150] and record[0]["invert"]["steps"] == 0
    answer("edit", "avatars", "--from-picture", out, "--photo", photo, "-o", again)
    assert again.read_bytes() == out.read_bytes()
    said = refused("edit", "avatars", "--from-picture", out, "-o", tmp_path / "no.png")
    assert said == f"{out}: was made of a photo; name it by --photo"
    # Of another photo the edit is taken, and not where it lay.
    other = tmp_path / "other.png"
    Image.open(photo).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(other)
    text = answer("edit", "avatars", "--from-picture", out, "--photo", other, *START, "-o", again)
    assert "other.png, whole picture" in text and "alpha 0.8" in text


def test_a_recipe_knows_the_encoder_that_found_the_latent(answer, refused, photo, tmp_path):
    mine, other = avatars_encoder(tmp_path / "mine.pt"), avatars_encoder(tmp_path / "other.pt", 1)
    out, again = tmp_path / "out.png", tmp_path / "again.png"
    text = answer(*EDIT, "--photo", photo, "--encoder", mine, "-o", out)
    assert "by the photo encoder" in text
    (record,) = json.loads(answer("info", out, "--json"))["inputs"]["photos"]
    known = json.loads(answer("info", mine, "--json"))["sha256"]
    assert (record["invert"]["start"], record["invert"]["encoder"]) == ("encoder", known)
    replay = ("edit", "avatars", "--from-picture", out, "--photo", photo, "-o", again)
    answer(*replay, "--encoder", mine)
    assert again.read_bytes() == out.read_bytes()
    again.unlink()
    said = refused(*replay)
    assert said == (
        f"start encoder: there is no photo encoder of the weights {known[:12]}; name it by "
        "--encoder (in Python photo_encoder=)"
    )
    assert f'of the weights {known[:12]}, and this one is "other"' in refused(
        *replay, "--encoder", other
    )


def test_a_folder_by_another_encoder_is_made_again(answer, photo, tmp_path):
    (tmp_path / "photos").mkdir()
    photo.rename(tmp_path / "photos" / "me.png")
    folder = ("--photo", tmp_path / "photos", "-o", tmp_path / "out")
    encoder = avatars_encoder(tmp_path / "mine.pt")
    assert "1 photo edited" in answer(*EDIT, *folder, "--encoder", encoder)
    assert "1 there already" in answer(*EDIT, *folder, "--encoder", encoder)
    assert "1 photo edited" in answer(*EDIT, *folder)


def test_the_mark_is_left_out_with_the_recipe(answer, refused, photo, tmp_path):
    marked, bare = tmp_path / "marked.png", tmp_path / "bare.png"
    answer(*EDIT, "--photo", photo, "-o", marked)
    answer(*EDIT, "--photo", photo, "--no-mark", "-o", bare)
    assert b"compositeWithTrainedAlgorithmicMedia" in marked.read_bytes()
    content = bare.read_bytes()
    assert b"compositeWith" not in content and b"tyle" not in content.replace(b"IDAT", b"")[:200]
    assert np.array_equal(pixels(marked), pixels(bare))
    said = refused("edit", "avatars", "--from-picture", bare, "-o", tmp_path / "no.png")
    assert "holds no recipe" in said


def test_a_sheet_shows_photo_inversion_and_edit(answer, photo, tmp_path):
    sheet = tmp_path / "sheet.png"
    answer(*EDIT, "--photo", photo, "-o", tmp_path / "out.jpg", "--sheet", sheet)
    with Image.open(sheet) as picture:
        assert picture.width == 3 * 128 and picture.height > 128
        row = np.asarray(picture.convert("RGB"))[-128:]
    crop, inversion, edit = (row[:, 128 * i : 128 * (i + 1)].astype(int) for i in range(3))
    assert np.abs(crop - inversion).mean() < np.abs(edit - inversion).mean() + 10
    assert eyes_and_chest(inversion, edit)[0] > 10 and np.abs(crop - inversion).mean() < 12


def test_columns_make_a_sheet_and_films_show_the_crop(answer, refused, photo, tmp_path):
    strip = tmp_path / "strip.png"
    text = answer(*EDIT, "--photo", photo, "--alpha", "0,1", "-o", strip)
    assert "alpha 1: 1 image: 1 reached" in text
    with Image.open(strip) as picture:
        assert picture.width == 2 * 128
    film = tmp_path / "film.gif"
    answer(*EDIT, "--photo", photo, "--seconds", "0.4", "-o", film)
    with Image.open(film) as shown:
        assert shown.size == (64, 64) and shown.n_frames == 8
    said = refused(*EDIT[:1], *EDIT[1:], "--photo", photo, "--before", "-o", tmp_path / "no.jpg")
    assert "several columns make a sheet of crops" in said
    for option in (("--mask", photo), ("--sheet", tmp_path / "s.png"), ("--face", "1:2")):
        said = refused(
            *EDIT[:1], *EDIT[1:], "--photo", photo, *option, "--alpha", "0,1", "-o", strip
        )
        assert said.split(":")[0] in ("mask", "sheet", "face")


def rows_of(folder) -> list[dict[str, str]]:
    with (folder / "edits.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def friends(drawings, tmp_path):
    folder = tmp_path / "friends"
    folder.mkdir()
    drawings(3).save(folder / "ann.png")
    drawings(4).save(folder / "bob.jpg", quality=90)
    drawings(8).save(folder / "cy.bmp")
    return folder


def test_a_folder_is_edited_and_goes_on_where_it_was_left(
    answer, friends, drawings, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    text = answer(*EDIT, "--photo", friends, "-o", out)
    assert text.startswith(f"{out}: 3 photos edited; {out / 'edits.csv'}\n")
    assert sorted(path.name for path in out.iterdir()) == [
        *("ann.png", "bob.jpg", "cy.png", "edits.csv")
    ]
    rows = rows_of(out)
    assert [row["photo"] for row in rows] == ["ann.png", "bob.jpg", "cy.bmp"]
    assert all(row["status"] == "reached" and float(row["alpha"]) > 0 for row in rows)
    assert all(0 < float(row["farther"]) <= 1 and row["identity"] == "" for row in rows)

    edited = []
    known = jobs.PhotoWork.edited

    def counted(self, path, *arguments, **more):
        edited.append(path.name)
        return known(self, path, *arguments, **more)

    monkeypatch.setattr(jobs.PhotoWork, "edited", counted)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    text = answer(*EDIT, "--photo", friends, "-o", out)
    assert text.startswith(f"{out}: 0 photos edited, 3 there already; ") and edited == []
    (out / "bob.jpg").unlink()
    drawings(6).save(friends / "cy.bmp")
    answer(*EDIT, "--photo", friends, "-o", out)
    assert edited == ["bob.jpg", "cy.bmp"]
    after = {path.name: path.read_bytes() for path in out.iterdir()}
    assert after["ann.png"] == before["ann.png"] and after["bob.jpg"] == before["bob.jpg"]
    assert after["cy.png"] != before["cy.png"]
    edited.clear()
    answer(*EDIT, "--alpha", "0.5", "--photo", friends, "-o", out)
    assert edited == ["ann.png", "bob.jpg", "cy.bmp"]


def bomb() -> bytes:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + files.chunk(b"IHDR", header) + files.chunk(b"IDAT", b"")


def test_photos_that_fail_are_told_and_the_others_made(run, friends, tmp_path):
    whole = (friends / "ann.png").read_bytes()
    hostile = {
        "cut.png": whole[: len(whole) // 2],
        "empty.jpg": b"",
        "huge.png": bomb(),
        "text.jpg": b"<html>",
        "wide.png": files.saved(Image.new("RGB", (90, 40)), "PNG"),
    }
    for name, content in hostile.items():
        (friends / name).write_bytes(content)
    out = tmp_path / "out"
    told = run(*EDIT, "--photo", friends, "-o", out)
    assert told.exit_code == 1 and told.stdout.startswith(f"{out}: 3 photos edited, 5 failed; ")
    *lines, last = told.stderr.splitlines()
    assert last == (
        f"styleatlas edit: 5 of the photos could not be edited; {out / 'edits.csv'} says why"
    )
    assert len(lines) == 5
    for name, line in zip(sorted(hostile), lines, strict=True):
        assert line.startswith(f"{friends / name}: ")
    failed = {row["photo"]: row for row in rows_of(out) if row["status"] == "failed"}
    assert sorted(failed) == sorted(hostile)
    assert "is 90 x 40" in failed["wide.png"]["error"]
    made = sorted(path.name for path in out.iterdir())
    assert made == ["ann.png", "bob.jpg", "cy.png", "edits.csv"]


def test_a_single_photo_that_fails_leaves_nothing(refused, tmp_path):
    path = tmp_path / "me.jpg"
    for content, said in ((b"", "is empty"), (b"GIF89a", "cannot be read"), (bomb(), "3600")):
        path.write_bytes(content)
        told = refused("edit", *EDIT[1:], "--photo", path, "-o", tmp_path / "out.jpg")
        assert told.startswith(f"{path}: ") and (said in told or "million" in told)


def test_originals_are_never_written_over(refused, run, friends, tmp_path):
    said = refused("edit", *EDIT[1:], "--photo", friends, "-o", friends)
    assert "is one of the photos, and would be lost" in said
    me = friends / "ann.png"
    said = refused("edit", *EDIT[1:], "--photo", me, "-o", me)
    assert "is read by the same command, and would be lost" in said
    other = tmp_path / "other"
    other.mkdir()
    (other / "ann.png").write_bytes(me.read_bytes())
    said = refused("edit", *EDIT[1:], "--photo", me, "--photo", other, "-o", tmp_path / "out")
    assert 'two pictures would be called "ann.png"' in said
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "edits.csv").write_text("mine\n1\n")
    said = refused("edit", *EDIT[1:], "--photo", me, "-o", tmp_path / "out")
    assert "is no list of edited photos" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--photo", "{photo}", "--seed", "2"), "--photo and --seed exclude each other"),
        (("--photo", "{photo}", "--latent", "{photo}"), "--photo and --latent exclude each other"),
        (("--face", "2"), "--face is said of photos; give --photo, too"),
        (("--align", "none"), "--align is said of photos"),
        (("--no-cache",), "--no-cache is said of photos"),
        (("--photo", "{photo}", "--align", "left"), "is not face, none, or box X,Y,SIZE"),
        (("--photo", "{photo}", "--align", "box"), "is not face, none, or box X,Y,SIZE"),
        (("--photo", "{photo}", "--face", "0"), "is not a face's number"),
        (("--photo", "{photo}", "--face", "1,1"), "names a face twice"),
        (("--photo", "{photo}", "--face", "1:x"), "is not a face's number"),
        (("--photo", "{photo}", "--steps", "-1"), "--steps"),
        (("--photo", "{photo}", "--sheet", "{out}"), "-o and --sheet name one file"),
    ],
)
def test_wrong_usage(run, photo, tmp_path, options, said):
    out = tmp_path / "out.png"
    words = [str(word).format(photo=photo, out=out) for word in options]
    told = run("edit", "avatars", *GLASSES, *words, "-o", out)
    assert told.exit_code == 2 and said in told.stderr, told.output
    assert not out.exists() and told.stdout == ""


def test_what_does_not_go_together_is_told_before_the_work(refused, friends, photo, tmp_path):
    out = tmp_path / "out.png"
    own = ("edit", *EDIT[1:], "--photo", friends)
    assert "is one picture, and the photos are 3; name a folder" in refused(*own, "-o", out)
    assert "--mask: is of one photo" in refused(*own, "--mask", photo, "-o", tmp_path / "o")
    assert "--sheet: is of one photo" in refused(*own, "--sheet", out, "-o", tmp_path / "o")
    kept = refused(*own, "--styles", tmp_path / "s.npz", "-o", tmp_path / "o")
    assert kept.startswith("--styles: are not kept of a folder of photos")
    one = ("edit", *EDIT[1:], "--photo", photo)
    assert "photos are written as JPEG, PNG" in refused(*one, "-o", tmp_path / "out.bmp")
    assert "are not aligned by faces" in refused(*one, "--face", "2", "-o", out)
    wide = tmp_path / "wide.png"
    Image.new("RGB", (90, 40)).save(wide)
    said = refused("edit", *EDIT[1:], "--photo", wide, "-o", out)
    assert "is 90 x 40" in said and "--align box 25,0,40" in said
    assert "is 90 x 40, and" in refused(*one, "--mask", wide, "-o", out)


def test_doubts_are_told(run, drawings, tmp_path):
    path = tmp_path / "noise.png"
    Image.effect_noise((20, 20), 90).convert("RGB").save(path)
    told = run(*EDIT, "--photo", path, "-o", tmp_path / "out.png")
    assert told.exit_code == 0
    said = told.stderr
    assert f"{path}, whole picture: has 20 pixels where the generator draws 64" in said
    assert "is unlike the samples of the atlas" in said


def test_json_tells_every_crop(answer, photo, tmp_path):
    styles = tmp_path / "s.npz"
    text = answer(*EDIT, "--photo", photo, "--json", "--styles", styles, "-o", tmp_path / "o.jpg")
    told = json.loads(text)
    (crop,) = told["photos"]
    assert crop["photo"] == str(photo) and crop["face"] == "whole picture"
    assert crop["status"] == told["images"][0]["status"] == "reached"
    assert crop["steps"] == 0 and 0 <= crop["kept"] <= 1 and crop["identity"] is None
    with np.load(styles) as held:
        assert held["styles"].shape[0] == 1


def test_inversions_are_kept_unless_unwanted(answer, photo, tmp_path):
    out = tmp_path / "out.png"
    answer(*EDIT, "--photo", photo, "--no-cache", "-o", out)
    assert json.loads(answer("cache", "list", "--json"))["inversions"] == []
    answer(*EDIT, "--photo", photo, "-o", out)
    assert len(json.loads(answer("cache", "list", "--json"))["inversions"]) == 1


def test_atlas_of_faces_without_their_finder_says_what_to_fetch(run, photo, tmp_path, monkeypatch):
    told = run(*EDIT, "--photo", photo, "--align", "face", "-o", tmp_path / "out.png")
    assert told.exit_code == 1 and not (tmp_path / "out.png").exists()
    assert told.stderr == (
        "styleatlas edit: mtcnn: not fetched yet; `styleatlas models fetch mtcnn` fetches it\n"
    )


def test_a_long_inversion_goes_on_where_it_was_interrupted(run, photo, tmp_path, monkeypatch):
    own = ("edit", "avatars", *GLASSES, "--steps", "6", "--no-cache", "--photo", photo)
    whole, out = tmp_path / "whole.png", tmp_path / "out.png"
    assert run(*own, "-o", whole).exit_code == 0
    told = []

    def stop_at_three(self, progress):
        told.append(progress.done)
        if progress.label == "invert" and progress.done == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("styleatlas.store.work.SAVE_SECONDS", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr("styleatlas.commands.progress.ProgressLater.__call__", stop_at_three)
        stopped = run(*own, "-o", out)
    state = tmp_path / "out.png.work"
    assert stopped.exit_code == 130 and state.exists() and not out.exists()
    assert f"interrupted: {state} keeps the state: the same command resumes" in stopped.stderr
    other = run("edit", "avatars", *GLASSES, "--steps", "9", "--photo", photo, "-o", out)
    assert other.exit_code == 1 and f"{state}: " in other.stderr and not out.exists()
    assert run(*own, "-o", out).exit_code == 0
    assert not state.exists()
    assert_pixels_near(pixels(out), pixels(whole))


def test_odd_and_hostile_pictures_each_have_their_outcome(run, tmp_path):
    folder, out = tmp_path / "strange", tmp_path / "out"
    folder.mkdir()
    names = {}
    for number, (name, made) in enumerate({**PHOTOS, **ODD}.items()):
        names[f"{number:02}.jpg"] = name  # whatever it is: its content tells
        (folder / f"{number:02}.jpg").write_bytes(made.make())
    told = run(*EDIT, "--photo", folder, "--align", "box", "0,0,8", "-o", out)
    assert told.exit_code == 1
    rows = rows_of(out)
    outcome = {names[row["photo"]]: row["status"] for row in rows}
    assert outcome.keys() == {*PHOTOS, *ODD}
    thin = {name for name, odd in ODD.items() if min(odd.size) <= 4}  # without such a part
    failed = {name for name, status in outcome.items() if status == "failed"}
    assert failed == set(PHOTOS) | thin and len(thin) < len(ODD)
    errors = [row["error"] for row in rows if row["error"]]
    assert len(errors) == len(failed)
    lines = told.stderr.splitlines()
    assert [line for line in lines if line in errors] == errors
    written = {path.name for path in out.iterdir()} - {"edits.csv"}
    assert written == {row["picture"] for row in rows if row["status"] != "failed"}
    assert f"{len(rows) - len(failed)} photos edited, {len(failed)} failed" in told.stdout
