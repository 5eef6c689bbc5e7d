"""invert --tune: the generator tuned to photos, and edits with it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from styleatlas import load_generator
from styleatlas.cli import main
from styleatlas.engine.photos import tune
from styleatlas.store.registry import EMBEDDED

from .edit_calls import GLASSES, pixels

INVERT = ("invert", "avatars", "--steps", "0")


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch) -> None:
    few(monkeypatch)


def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "STEPS", 15)
    monkeypatch.setattr(tune, "RATE", 3e-3)
    monkeypatch.setattr(tune, "ENOUGH", {"LPIPS": 0.0, "pixels": 0.0})


@pytest.fixture(scope="module")
def made(drawings, tmp_path_factory) -> tuple[str, Path]:
    """What the command answers, and a folder with the photo, a drawing with what no avatar has: a
    green scarf; and all that the command makes of it."""
    folder = tmp_path_factory.mktemp("tuned")
    image = drawings(3)
    image.paste((20, 140, 60), (40, 128, 120, 150))
    image.save(folder / "me.png")
    with pytest.MonkeyPatch.context() as patch:
        few(patch)
        patch.setenv("STYLEATLAS_MODELS", str(folder / "models"))
        call = [*INVERT, "--no-cache", folder / "me.png", "-o", folder / "me.npz"]
        more = ["--tune", folder / "me.safetensors", "--sheet", folder / "s.png"]
        told = CliRunner().invoke(main, list(map(str, [*call, *more])))
    assert told.exit_code == 0, told.output
    return told.stdout, folder


@pytest.fixture
def photo(made, tmp_path) -> Path:
    return Path(shutil.copy(made[1] / "me.png", tmp_path))


@pytest.fixture
def tuned(made) -> Path:
    return made[1] / "me.safetensors"


def scarf(image: np.ndarray) -> float:
    """How far the scarf's place is from its green, of 255."""
    side = image.shape[0]
    part = image[int(0.83 * side) : int(0.92 * side), int(0.3 * side) : int(0.7 * side)]
    return float(np.abs(part.astype(int) - (20, 140, 60)).mean())


def test_it_is_told_how_far_the_generator_moved(made, tuned, run):
    text, path = made[0], tuned
    last = text.splitlines()[-1]
    found = re.fullmatch(
        rf"{path}: a tuned generator, 0\.\d MiB; pixels and CLIP (0\.\d+) to (0\.\d+) after 15 "
        r"steps; its styles moved by 0 sigma, directions do the same to the photos by a cosine of "
        rf"(0\.\d\d), to other images of (0\.\d\d); edit with --generator {path}",
        last,
    )
    assert found is not None, last
    before, after, here, elsewhere = map(float, found.groups())
    assert after < 0.8 * before and 0.3 < here < 1 and 0.3 < elsewhere < 1
    record = json.loads(run("info", path, "--json").stdout)
    assert record["kind"] == "tuned generator" and record["photos"] == ["me"]
    assert record["tuning"]["moved_sigma"] == 0 and record["tuning"]["steps"] == 15
    parent = load_generator("avatars", "cpu").identity
    assert record["tuned_from"] == {"name": "avatars", "sha256": parent.sha256, "file": None}
    size = path.stat().st_size
    assert size < 0.3 * EMBEDDED.part("generator").stat().st_size
    assert sorted(x.name for x in path.parent.iterdir()) == [
        "me.npz", "me.png", "me.safetensors", "s.png"
    ]  # fmt: skip


def test_the_sheet_shows_the_photo_the_inversion_and_the_tuned(made):
    side = 192
    cells = pixels(made[1] / "s.png")[-side:]
    photo, inversion, now = (
        cells[:, -side * k : cells.shape[1] - side * (k - 1)] for k in (3, 2, 1)
    )
    assert scarf(photo) < 8 and scarf(now) < 0.75 * scarf(inversion)


def test_the_photo_is_edited_with_it_and_put_back(tuned, run, photo, tmp_path):
    out = {}
    for name, more in (("tuned", ("--generator", tuned)), ("parent", ("--steps", "0"))):
        out[name] = tmp_path / f"{name}.png"
        told = run("edit", "avatars", "--photo", photo, *more, *GLASSES, "-o", out[name],
                   "--sheet", tmp_path / f"sheet-{name}.png")  # fmt: skip
        assert told.exit_code == 0, told.output
    sheets = {name: pixels(tmp_path / f"sheet-{name}.png")[-64:] for name in out}
    edits = {name: sheet[:, -64:] for name, sheet in sheets.items()}
    assert scarf(edits["tuned"]) < 0.9 * scarf(edits["parent"]), "by the pivot, not looked up anew"
    assert pixels(out["tuned"]).shape == (160, 160, 3)
    before, after = pixels(photo), pixels(out["tuned"])
    assert np.abs(after.astype(int) - before)[60:100].mean() > 5, "glasses"
    assert scarf(after) < 10, "the scarf is the photo's own"


def test_the_latents_are_edited_with_it(tuned, run, tmp_path):
    told = run("edit", "avatars", "--latent", tuned.with_name("me.npz"), "--generator", tuned,
               *GLASSES, "-o", tmp_path / "e.png", "--json")  # fmt: skip
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["tuned"] == {"moved_sigma": 0.0, "by": "samples"}


def test_a_known_photo_is_found_at_once_and_others_as_ever(tuned, run, drawings, photo, tmp_path):
    drawings(4).save(tmp_path / "ann.png")
    told = run("invert", "avatars", photo, tmp_path / "ann.png", "--generator", tuned,
               "-o", tmp_path / "two.npz")  # fmt: skip
    assert told.exit_code == 0, told.output
    with np.load(tmp_path / "two.npz") as two, np.load(tuned.with_name("me.npz")) as one:
        assert np.array_equal(two["w_plus"][0], one["w_plus"][0])
        assert two["steps"][0] == 0 < two["steps"][1]
        assert two["distance"][0] < one["distance"][0]
    more = run("invert", "avatars", photo, "--steps", "3", "--generator", tuned,
               "-o", tmp_path / "more.npz")  # fmt: skip
    with np.load(tmp_path / "more.npz") as held:
        assert more.exit_code == 0 and held["steps"][0] == 3


def test_one_of_several_photos(run, drawings, photo, tmp_path):
    drawings(4).save(tmp_path / "ann.png")
    (tmp_path / "bob.png").write_bytes(b"no picture")
    told = run(*INVERT, photo, tmp_path / "ann.png", tmp_path / "bob.png", "-o",
               tmp_path / "p.npz", "--tune", tmp_path / "p.safetensors")  # fmt: skip
    assert told.exit_code == 1 and "1 of 3 photos could not be inverted" in told.stderr
    assert [pivot.name for pivot in load_generator(tmp_path / "p.safetensors", "cpu").tuning.pivots]
    assert "after 30 steps" in told.stdout


def test_nothing_is_written_over_or_tuned_twice(tuned, run, refused, photo, tmp_path):
    again = refused(*INVERT, photo, "-o", tmp_path / "b.npz", "--tune", tuned)
    assert again == f"{tuned}: is there already; delete it, or name another --tune"
    call = (*INVERT, photo, "-o", tmp_path / "b.npz", "--generator", tuned)
    twice = run(*call, "--tune", tmp_path / "b.safetensors")
    assert twice.exit_code == 1 and not list(tmp_path.glob("b.*"))
    assert twice.stderr.splitlines()[-1].startswith("styleatlas invert: me: is itself tuned from ")


def test_style_space_and_other_names_are_refused(run, refused, photo, tmp_path):
    told = run(*INVERT, photo, "--space", "s", "-o", tmp_path / "a.npz", "--tune",
               tmp_path / "a.safetensors")  # fmt: skip
    assert told.exit_code == 2 and "--tune is by latents of w or w+" in told.stderr
    other = refused(*INVERT, photo, "-o", tmp_path / "a.npz", "--tune", tmp_path / "a.pt")
    assert "a tuned generator's name must end in .safetensors" in other


def test_an_interrupted_tuning_goes_on(run, photo, tmp_path, monkeypatch):
    monkeypatch.setattr("styleatlas.store.work.SAVE_SECONDS", 0)
    call = (*INVERT, photo, "-o", tmp_path / "me.npz", "--tune", tmp_path / "me.safetensors")
    step = tune.Tuner._gradients
    made = []

    def stop(self, number: int) -> None:
        made.append(number)
        if len(made) == 13:
            raise KeyboardInterrupt
        step(self, number)

    monkeypatch.setattr(tune.Tuner, "_gradients", stop)
    told = run(*call)
    assert told.exit_code == 130 and (tmp_path / "me.npz").exists()
    assert "me.safetensors.work keeps the state: the same command resumes" in told.stderr
    assert not (tmp_path / "me.safetensors").exists()
    made.append(0)
    told = run(*call)
    assert told.exit_code == 0, told.output
    assert made[-1] == 14 and len(made) < 13 + 1 + 3 + 15
    assert not (tmp_path / "me.safetensors.work").exists()


def test_a_picture_of_it_is_made_again_by_it_alone(tuned, run, photo, tmp_path):
    one, two = tmp_path / "1.png", tmp_path / "2.png"
    call = ("edit", "avatars", "--photo", photo)
    assert run(*call, "--generator", tuned, *GLASSES, "-o", one).exit_code == 0
    again = ("edit", "avatars", "--from-picture", one, "--photo", photo, "-o", two)
    assert run(*again, "--generator", tuned).exit_code == 0
    assert np.array_equal(pixels(one), pixels(two))
    told = run(*again)
    assert told.exit_code == 1 and "tuned from the atlas's own" in told.stderr
    with Image.open(one) as picture:
        assert picture.size == (160, 160)
