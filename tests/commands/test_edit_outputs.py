"""What edit writes besides sheets: folders, films and files of styles."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from styleatlas.engine.jobs import edit as jobs

from ..near import assert_pixels_near
from .edit_calls import ALPHA, EASY, GLASSES, PAIR, TWELVE, pixels


def test_folder_has_a_picture_an_image_by_its_name(draw_to, edit, tmp_path):
    text = draw_to(tmp_path / "a" / "b", *PAIR, *EASY, *ALPHA, "--seed", "2-4")
    assert text.startswith(f"{tmp_path / 'a' / 'b'}: 3 images\n")
    names = sorted(path.name for path in (tmp_path / "a" / "b").iterdir())
    assert names == ["seed 2.png", "seed 3.png", "seed 4.png"]
    for seed in (2, 3, 4):
        found = pixels(tmp_path / "a" / "b" / f"seed {seed}.png")
        assert_pixels_near(found, edit("--seed", seed))


def test_folder_is_made_a_batch_at_a_time(draw_to, edit, tmp_path, monkeypatch):
    sizes = []
    known = jobs.run

    def counted(editor, images, job):
        sizes.append(len(images.names))
        return known(editor, images, job)

    monkeypatch.setattr(jobs, "run", counted)
    monkeypatch.setattr(jobs, "batch_size", lambda generator: 2)
    folder = tmp_path / "folder"
    folder.mkdir()
    draw_to(folder, *PAIR, *EASY, "--alpha", "0,4", "--before", "--seed", "1-5")
    assert sizes == [2, 2, 1]
    assert len(list(folder.iterdir())) == 5
    strip = ("--alpha", "0,4", "--before")
    for seed in (1, 4, 5):
        assert_pixels_near(pixels(folder / f"seed {seed}.png"), edit("--seed", seed, *strip))


def test_json_of_a_folder_tells_every_image(run, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "batch_size", lambda generator: 2)
    told = run("edit", "avatars", *GLASSES, "--alpha", "1,3", "--seed", "1-3", "--json",
               "-o", tmp_path / "folder")  # fmt: skip
    lines = json.loads(told.stdout)["images"]
    assert sorted((line["image"], line["alpha"]) for line in lines) == [
        (f"seed {seed}", alpha) for seed in (1, 2, 3) for alpha in (1, 3)
    ]


def test_image_twice_in_a_folder_is_refused(refused_edit, tmp_path):
    found = refused_edit("--seed", "1-3,2", "-o", tmp_path / "folder")
    assert 'two pictures would be called "seed 2.png"' in found
    assert not (tmp_path / "folder").exists()


def test_folder_that_cannot_be_made_is_named(refused_edit, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "folder"):
        assert f"{path}: cannot be made ({tmp_path / 'file'} is not a folder)" in refused_edit(
            "-o", path
        )


def test_film_goes_there_and_back(draw_to, edit, tmp_path):
    path = tmp_path / "o.gif"
    text = draw_to(path, *PAIR, *EASY, *ALPHA, "--seconds", 0.5, "--seed", "1,2")
    assert text.startswith(f"{path}: 2 images\n")
    with Image.open(path) as film:
        assert film.n_frames == 10 and film.size == (16, 8)
        frames = []
        for i in range(film.n_frames):
            film.seek(i)
            frames.append(np.asarray(film.convert("RGB")).astype(int))
    ends = [np.hstack([edit("--seed", s, "--alpha", a) for s in (1, 2)]) for a in (0, 4)]
    for frame, end in zip((frames[0], frames[5]), ends, strict=True):
        assert np.abs(frame - end).mean() < 8  # of a palette's colours
    assert np.array_equal(frames[4], frames[6])


@pytest.mark.parametrize(
    ("more", "stops"),
    [(("--edit", TWELVE, "--grid"), (0, 4)), (("--alpha", "2,6"), (0, 2, 6))],
    ids=["edits", "alphas"],
)
def test_film_of_several_columns_goes_to_each_in_turn_and_back(
    more, stops, draw_to, edit, tmp_path
):
    path = tmp_path / "o.gif"
    draw_to(path, *PAIR, *EASY, *ALPHA, "--seconds", 0.6, "--seed", 1, *more)
    with Image.open(path) as film:
        assert film.n_frames == 12
        frames = []
        for i in range(film.n_frames):
            film.seek(i)
            frames.append(np.asarray(film.convert("RGB")).astype(int))
    ends = [edit("--seed", 1, "--alpha", stop) for stop in stops]
    for frame, end in zip(frames[::4], ends, strict=False):
        assert np.abs(frame - end).mean() < 8  # of a palette's colours
    assert np.abs(frames[8] - frames[4]).mean() > 1, "the last is another than the one before"
    assert np.abs(frames[11] - frames[0]).mean() < np.abs(frames[8] - frames[0]).mean()


def test_film_of_an_automatic_alpha(run, tmp_path):
    path = tmp_path / "o.webp"
    told = run("edit", "avatars", *GLASSES, "--seed", 3, "--seconds", 0.2, "-o", path)
    assert told.exit_code == 0, told.output
    with Image.open(path) as film:
        assert film.n_frames == 4 and film.size == (64, 64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--before",), "film: begins with the images as they were, and goes from one"),
        (("--seconds", "0"), "seconds 0: must be above 0 and at most 60"),
        (("--seconds", "nan"), "seconds nan: must be above 0"),
        (("--seconds", "61"), "seconds 61: must be above 0 and at most 60"),
        (("--fps", "-1"), "frames a second -1: must be above 0"),
        (("--fps", "inf"), "frames a second inf: must be above 0"),
        (("--fps", "51"), "frames a second 51: .gif films have at most 50"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_film_that_cannot_be_is_refused(refused_edit, tmp_path, options, message):
    assert message in refused_edit("-o", tmp_path / "o.gif", *options)


@pytest.mark.parametrize("name", ["out.jpg", "out.tar.gz", "none/out.png", "none/out.gif"])
def test_place_is_checked_before_anything_is_rendered(refused_edit, tmp_path, monkeypatch, name):
    def rendered(*_):
        raise AssertionError("rendered")

    monkeypatch.setattr(jobs, "run", rendered)
    message = "create it first" if "/" in name else "end the name in .png"
    assert message in refused_edit("-o", tmp_path / name)


def test_sheet_too_large_is_refused_before_it_is_rendered(refused_edit):
    alphas = ",".join("1" * 1000)
    assert "is too large for one picture" in refused_edit("--seed", "1-1600", "--alpha", alphas)


# styles


def test_styles_that_were_saved_are_what_another_edit_starts_from(draw_to, edit, tmp_path):
    path = tmp_path / "styles.npz"
    edited = edit("--seed", "3", "--styles", path)
    with np.load(path) as saved:
        assert saved["styles"].shape == (1, len(saved["styles"][0]))
        assert saved["seeds"].tolist() == [3]
    again = edit("--latent", path, "--alpha", "0")
    assert_pixels_near(again, edited)
    twice = edit("--latent", path)
    assert_pixels_near(twice, edit("--seed", "3", "--alpha", "8"))


def test_styles_hold_column_after_column(edit, tmp_path):
    path = tmp_path / "styles.npz"
    edit("--seed", "3,4", "--alpha", "0,4", "--styles", path)
    with np.load(path) as saved:
        assert len(saved["styles"]) == 4 and "seeds" not in saved
    edit("--seed", "3,4", "--alpha", "0", "--styles", tmp_path / "before.npz")
    with np.load(path) as saved, np.load(tmp_path / "before.npz") as before:
        assert np.array_equal(saved["styles"][:2], before["styles"])
        assert not np.array_equal(saved["styles"][2:], before["styles"])


def test_styles_of_a_folder_are_in_the_order_of_those_of_a_sheet(
    draw_to, edit, tmp_path, monkeypatch
):
    options = ("--seed", "1-5", "--alpha", "0,4")
    edit(*options, "--styles", tmp_path / "sheet.npz")
    monkeypatch.setattr(jobs, "batch_size", lambda generator: 2)
    draw_to(tmp_path / "folder", *PAIR, *EASY, *options, "--styles", tmp_path / "folder.npz")
    with np.load(tmp_path / "sheet.npz") as one, np.load(tmp_path / "folder.npz") as other:
        assert one["styles"] == pytest.approx(other["styles"], abs=1e-6)


def test_files_of_latents_with_one_name_are_not_written_over_each_other(edit, draw_to, tmp_path):
    folder = tmp_path / "latents"
    folder.mkdir()
    edit("--seed", "3", "--styles", folder / "me.npz")
    with np.load(folder / "me.npz") as saved:
        np.save(folder / "me.npy", saved["styles"] + 1)
    draw_to(tmp_path / "out", *PAIR, *EASY, "--alpha", "4", "--latent", folder)
    first, second = (pixels(tmp_path / "out" / f"{name}.png") for name in ("me", "me (2)"))
    assert_pixels_near(second, edit("--latent", folder / "me.npz"))
    assert not np.array_equal(first, second)


def test_bad_place_for_styles_is_refused_before_the_edit(refused_edit, tmp_path):
    assert "end the name in .npz" in refused_edit("--styles", tmp_path / "styles.npy")
    assert "create it first" in refused_edit("--styles", tmp_path / "none" / "styles.npz")


def test_json_lists_the_strongest_channels_unless_all_are_asked_for(answer, tmp_path):
    chosen = ("--alpha", "3", "--channels", "50", "-o", tmp_path / "o.png", "--json")
    arguments = ("edit", "avatars", "--edit", "a face -> a sad face", *chosen)
    (few,) = json.loads(answer(*arguments))["edits"]
    (every,) = json.loads(answer(*arguments, "--all-channels"))["edits"]
    assert (len(few["channels"]), few["channels_moved"]) == (20, 50)
    scores = [abs(channel["score"]) for channel in every["channels"]]
    assert len(scores) == 50
    assert [abs(channel["score"]) for channel in few["channels"]] == sorted(scores)[::-1][:20]
