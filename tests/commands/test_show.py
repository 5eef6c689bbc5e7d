"""sheet and report."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from styleatlas import Atlas, load_generator
from styleatlas.engine.jobs.sample_sheet import draw_seeds
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.engine.pages.channel_sheet import draw_sheet, sheet_records
from styleatlas.store.registry import EMBEDDED

from ..near import assert_pixels_near

PAIR = ("--neutral", "a picture", "--target", "a picture channel7")


@pytest.fixture
def png(tmp_path):
    return tmp_path / "sheet.png"


@pytest.fixture
def page(tmp_path):
    return tmp_path / "report.html"


# sheet


def test_sheet_shows_the_channels_named(answer, tiny_path, tiny_atlas, checkpoint, png):
    labels = [tiny_atlas.layout.label(flat) for flat in (2, 9)]
    options = ("--generator", checkpoint, "--seed", "3,5", "--truncation", "0.5")
    told = answer("sheet", tiny_path, *labels, *options, "-o", png, "--steps", "-4,0")
    assert told == f"{png}: 2 x 2 x 2 images (channels, seeds, steps)\n"
    generator = load_generator(checkpoint, "cpu")
    styles = styles_from_seeds(generator, [3, 5], 0.5)
    records = sheet_records(tiny_atlas, [2, 9])
    known = draw_sheet(generator, tiny_atlas, styles, [3, 5], records, [-4.0, 0.0])
    with Image.open(png) as picture:
        assert_pixels_near(picture, known)


def test_sheet_shows_the_channels_a_prompt_moves_most(
    answer, tiny_path, tiny_atlas, checkpoint, png
):
    options = ("--generator", checkpoint, "--top", 3, "--seed", "1", "-o", png, "--json")
    record = json.loads(answer("sheet", tiny_path, *PAIR, *options))
    found = tiny_atlas.query_channels(tiny_atlas.direction(PAIR[1], PAIR[3]), top=3)
    assert [c["channel"] for c in record["channels"]] == [c["channel"] for c in found]
    scores = [c["score"] for c in record["channels"]]
    assert scores == pytest.approx([c["score"] for c in found], abs=1e-3)
    assert record["seeds"] == [1] and record["steps"] == [-10, -5, 0, 5, 10]
    assert record["output"] == str(png) and png.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--top", "3"),
        ("--top", "3", "--neutral", "a"),
        PAIR,
        ("b8.conv0:0", "--top", "3", *PAIR),
        ("b8.conv0:0", "--target", "a"),
    ],
    ids=" ".join,
)
def test_sheet_takes_channels_or_a_prompt(run, tiny_path, png, arguments):
    result = run("sheet", tiny_path, *arguments, "-o", png)
    assert result.exit_code == 2
    assert "name CHANNELs, or give --top, --neutral and --target" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("b8.conv0:99",), "b8.conv0 go from 0 to"),
        (("b8.conv0:0", "--steps", "0,200"), "step 200: must lie between -100 and 100"),
        (("b8.conv0:0", "--truncation", "9"), "truncation 9: must lie between -2 and 2"),
        (("b8.conv0:0", "--class", "1"), "class 1: this generator is not conditional"),
        (("b8.conv0:0", "--seed", "1-5000"), "is too large for one picture"),
        (("--top", "0", *PAIR), "top 0: must be at least 1"),
        (
            ("--top", "1", "--neutral", "a picture", "--target", "unheard of"),
            'CLIP: this atlas was drawn with "countable clip 0"; name its file by --clip',
        ),
    ],
)
def test_sheet_that_cannot_be_drawn_is_explained(
    refused, tiny_path, checkpoint, png, arguments, message
):
    given = (tiny_path, *arguments, "--generator", checkpoint, "-o", png)
    assert message in refused("sheet", *given)


def test_sheet_of_a_generator_that_is_not_at_hand_or_another_is_refused(
    refused, tiny_path, countable_path, checkpoint, png
):
    found = refused("sheet", tiny_path, "b8.conv0:0", "-o", png)
    assert 'this atlas was drawn with "tiny"; name its file by --generator' in found
    options = ("--generator", checkpoint, "-o", png)
    found = refused("sheet", countable_path, "b8.conv0:0", *options)
    assert "atlas and generator do not belong together" in found


def test_sheet_is_written_as_png_alone(refused, tiny_path, tmp_path):
    found = refused("sheet", tiny_path, "b8.conv0:0", "-o", tmp_path / "sheet.jpg")
    assert "pictures are written as PNG" in found


def test_sheet_of_a_generator_alone_shows_its_samples(answer, checkpoint, png, tmp_path):
    options = ("--seed", "3,5-6", "--truncation", "0.5")
    told = answer("sheet", checkpoint, *options, "-o", png)
    assert told == f"{png}: 3 images\n"
    known = tmp_path / "known.png"
    draw_seeds(load_generator(checkpoint, "cpu"), (3, 5, 6), 0.5, None, known)
    with Image.open(png) as picture, Image.open(known) as expected:
        assert_pixels_near(picture, expected)
    record = json.loads(answer("sheet", checkpoint, *options, "-o", png, "--json"))
    assert record == {"output": str(png), "seeds": [3, 5, 6], "truncation": 0.5}


def test_sheet_of_a_name_without_a_channel_is_one_of_samples(answer, png):
    assert answer("sheet", EMBEDDED.name, "--seed", "1-64", "-o", png) == f"{png}: 64 images\n"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--steps", "1"), "steps"),
        (("--tuned",), "tuned"),
        (("--clip", "avatars"), "clip"),
        (("--generator", "avatars"), "generator"),
    ],
)
def test_sheet_of_samples_takes_nothing_that_is_of_channels(run, png, options, named):
    result = run("sheet", EMBEDDED.name, *options, "-o", png)
    assert result.exit_code == 2 and not png.exists()
    assert f"--{named} is of style channels: name CHANNELs" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--seed", "1-9999"), "sheet of 100 x 100 images: is too large for one picture"),
        (("--truncation", "9"), "truncation 9: must lie between -2 and 2"),
        (("--class", "1"), "class 1: this generator is not conditional"),
    ],
)
def test_sheet_of_samples_that_cannot_be_drawn_is_explained(
    refused, checkpoint, png, options, message
):
    assert message in refused("sheet", checkpoint, *options, "-o", png)


def test_sheet_of_a_generator_that_is_not_there_is_refused(refused, png):
    told = refused("sheet", "nowhere.pkl", "-o", png)
    assert told == "nowhere.pkl: no such file; check the path, or name `avatars` or `faces`"


# report


def test_report_without_a_generator_is_written_without_torch(process, countable_path, page):
    done = process("report", countable_path, *PAIR, "-o", page)
    assert done.returncode == 0, done.stderr
    assert set(done.stderr.split()) <= {"imported:", "faiss"}
    assert done.stdout == f"{page}: 0.0 MiB, 0 channels in pictures\n"
    text = page.read_text("utf-8")
    assert text.startswith("<!doctype html>\n<html") and text.endswith("</html>\n")
    assert "a picture channel7" in text and "<img" not in text


def test_report_with_a_generator_shows_its_channels(answer, tiny_path, checkpoint, page):
    told = answer("report", tiny_path, "--generator", checkpoint, "-o", page)
    assert told.endswith(" 5 channels in pictures\n")
    assert page.read_text("utf-8").count('<img src="data:image/png;base64,') == 5


def test_report_of_the_embedded_atlas_needs_no_generator_named(answer, page):
    answer("report", EMBEDDED.name, "-o", page)
    text = page.read_text("utf-8")
    assert text.count("<img ") == 8
    assert Atlas.open(EMBEDDED.atlas).fingerprint.generator.sha256 in text


def test_report_draws_every_pair_of_prompts(answer, countable_path, page):
    other = ("--neutral", "something else", "--target", "a picture")
    answer("report", countable_path, *PAIR, *other, "-o", page)
    text = page.read_text("utf-8")
    assert "“a picture” → “a picture channel7”" in text
    assert "“something else” → “a picture”" in text


def test_report_takes_prompts_in_pairs(run, countable_path, page):
    result = run("report", countable_path, *PAIR, "--target", "a", "-o", page)
    assert result.exit_code == 2
    assert "give --neutral and --target equally often" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "report.pdf"), "reports are written as HTML; end the name in .html"),
        (("-o", "nowhere/report.html"), "does not exist; create it first"),
        (
            ("-o", "report.html", "--neutral", "unheard", "--target", "of"),
            'CLIP: this atlas was drawn with "countable clip 0"; name its file by --clip',
        ),
    ],
)
def test_report_that_cannot_be_written_is_explained(
    refused, countable_path, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert message in refused("report", countable_path, *arguments)


def test_report_with_another_generator_is_refused(refused, countable_path, checkpoint, page):
    options = ("--generator", checkpoint, "-o", page)
    found = refused("report", countable_path, *options)
    assert "atlas and generator do not belong together" in found
