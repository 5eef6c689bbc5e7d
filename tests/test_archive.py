"""Files of every release, which every later version reads; see `archive/README.md`."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from styleatlas import Atlas, load_encoder, load_generator
from styleatlas.cli import main
from styleatlas.engine.fallbacks.mapper import read_mapper
from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.models.latents import read_latents
from styleatlas.engine.models.sampling import styles_from_seeds, w_from_seeds
from styleatlas.engine.pictures.recipe import read_recipe
from styleatlas.precompute.build import open_work, precompute
from styleatlas.precompute.probes import Probes
from styleatlas.precompute.scheduler import RunProgress
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.prompts.sets import PromptSet, prompt_set
from styleatlas.store.errors import ResumeError
from styleatlas.store.registry import EMBEDDED

from .archive_files import ARCHIVE, clip_of
from .near import assert_near
from .server.works.conftest import SMILE, serving

VERSIONS = sorted(path.name for path in ARCHIVE.iterdir() if path.is_dir())
SETTINGS = PrecomputeSettings(images=24, table="jacobian", probes=8, statistics=200, samples=0)
PHRASES = 64


@pytest.fixture(params=VERSIONS)
def release(request: pytest.FixtureRequest) -> Path:
    return ARCHIVE / request.param


@pytest.fixture(scope="module")
def generator() -> StyleGANGenerator:
    return load_generator("avatars", "cpu")


@pytest.fixture
def clip(release, tmp_path) -> Path:
    """The CLIP of the release."""
    return clip_of(release, tmp_path / "clip")


@pytest.fixture
def shipped_then(clip, tmp_path) -> Path:
    """The atlas that shipped with the release."""
    out = tmp_path / "shipped.h5"
    run("prompts", "renew", "avatars", "--clip", clip, "-o", out)
    return out


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result


def refusal(*arguments: object) -> str:
    """What the command line says when it refuses."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.output
    return result.stderr


def test_first_release_is_there():
    assert "0.1.0" in VERSIONS


def test_atlas_is_sound_and_its_numbers_are_sane(release, generator):
    result = CliRunner().invoke(main, ["verify", str(release / "atlas.h5")])
    assert result.exit_code == 0 and "FAIL" not in result.output, result.output
    atlas = Atlas.open(release / "atlas.h5")
    assert atlas.library == f"styleatlas {release.name}"
    assert atlas.layout == generator.layout and len(atlas.prompts) == PHRASES
    assert atlas.fingerprint.generator == generator.identity
    assert atlas.fingerprint.settings["method"] == SETTINGS.table, "as it was called"
    assert set(atlas.images) == {SETTINGS.images}
    assert np.array_equal(atlas.channels, np.arange(len(atlas.channels)))
    live = atlas.consistency > 0
    assert live.mean() > 0.95
    assert np.linalg.norm(atlas.rows[live], axis=1) == pytest.approx(1, abs=1e-5)
    assert 0.15 < np.median(atlas.consistency) < 0.6 and atlas.consistency.max() <= 1 + 1e-6
    assert atlas.strength.min() >= 0 and 0.01 < np.median(atlas.strength) < 0.5
    assert (atlas.style_std > 0).all() and 0.1 < np.median(atlas.style_std) < 1
    shipped = Atlas.open(EMBEDDED.atlas)  # of many images and probes, where this one has 8
    cosines = (atlas.rows * shipped.rows).sum(1)
    assert np.array_equal(shipped.channels, atlas.channels)
    assert np.median(cosines) > 0.15 and np.quantile(cosines, 0.1) > -0.05


def test_mapper_is_read_and_applied(release, generator):
    mapper = read_mapper(release / "mapper.safetensors", generator)
    about = mapper.about
    assert (about.neutral, about.target) == ("a face", "a winking face")
    assert about.library == f"styleatlas {release.name}"
    about.require_generator(generator.identity)
    w = w_from_seeds(generator, [1, 2], 0.7)
    styles = generator.styles(w)
    edited = mapper.edited(generator, styles, w)
    moved = (edited - styles).abs() / styles.std()
    assert 1e-4 < moved.max() < 1, "it moves a little, after two steps"
    assert torch.isfinite(generator.render(edited)).all()


def test_styles_are_those_of_the_edit(release, generator):
    read = read_latents(release / "styles.npz", generator)
    assert read.names == ("styles 1", "styles 2")
    before = styles_from_seeds(generator, [1, 2], 0.6)
    moved = (read.styles - before).abs()
    assert (moved[:, generator.layout.parse("b16.conv1:20")] < 1e-4).all(), "which was excluded"
    assert (moved > 0.01).any(1).all() and moved.max() < 10


@pytest.mark.parametrize(
    ("name", "rows", "columns", "edits"),
    [
        ("edit.png", 2, 2, [("a face", "a face with glasses", 1.0)]),
        (
            "latents.png",
            2,
            4,
            [("a face", "a smiling face", 2.0), ("a face", "a bald face", 1.0)],
        ),
    ],
)
def test_picture_is_made_again_from_its_recipe(
    release, generator, clip, shipped_then, tmp_path, name, rows, columns, edits
):
    recipe = read_recipe(release / name)
    assert recipe.generator == generator.identity
    assert [*recipe.edits] == edits
    recipe.require_atlas(Atlas.open(shipped_then))
    given = ["--from-picture", release / name, "-o", tmp_path / name, "--clip", clip]
    if "latents" in recipe.inputs:
        sha256 = hashlib.sha256((release / "styles.npz").read_bytes()).hexdigest()
        assert recipe.inputs["latents"] == sha256
        given += ["--latent", release / "styles.npz"]
    else:
        given += ["--styles", tmp_path / "styles.npz"]
    run("edit", shipped_then, *given)
    if "latents" not in recipe.inputs:
        again, once = (
            read_latents(folder / "styles.npz", generator) for folder in (tmp_path, release)
        )
        assert (again.styles - once.styles).abs().max() < 0.01, "of alphas that are searched for"
    side = 64  # the images end at the right and at the bottom; a font may be drawn otherwise
    known, found = (images_of(path, rows * side, columns * side) for path in (
        release / name, tmp_path / name
    ))  # fmt: skip
    assert np.abs(found - known).max() <= 2
    assert known.std() > 20, "there is something to see"


def test_picture_of_the_text_tower_of_then_tells_what_to_do(release, tmp_path):
    given = ("--from-picture", release / "edit.png", "-o", tmp_path / "edit.png")
    told = refusal("edit", "avatars", *given)
    then, now = (Atlas.open(path).fingerprint.clip for path in (
        release / "atlas.h5", EMBEDDED.atlas
    ))  # fmt: skip
    assert told == (
        f"styleatlas edit: atlas: is of CLIP {now}, and the picture was made with {then}; name the "
        "atlas and the CLIP of then, or ask for its edits, which `styleatlas info` tells, without "
        "the picture\n"
    )
    assert "a face with glasses" in run("info", release / "edit.png").output


def test_atlas_takes_the_prompts_of_todays_text_tower(release, tmp_path):
    query = ("query", "channels", release / "atlas.h5", "--target", "a ginger")
    told = refusal(*query, "--neutral", "a face")
    assert "styleatlas prompts renew ATLAS --clip avatars" in told
    run("prompts", "renew", release / "atlas.h5", "-o", tmp_path / "renewed.h5")
    before, after = Atlas.open(release / "atlas.h5"), Atlas.open(tmp_path / "renewed.h5")
    assert after.fingerprint.clip == Atlas.open(EMBEDDED.atlas).fingerprint.clip
    shipped = Atlas.open(EMBEDDED.atlas).prompts
    for text, row in zip(after.prompts.texts, after.prompts.embeddings, strict=True):
        assert np.allclose(row, shipped.find(text), atol=1e-6), text
    for name in ("rows", "consistency", "strength", "style_mean", "style_std", "images"):
        assert np.array_equal(getattr(after, name), getattr(before, name)), name
    run("query", "channels", tmp_path / "renewed.h5", "--neutral", "a face", "--target", "a ginger")


def images_of(path: Path, height: int, width: int) -> np.ndarray:
    """The images of a sheet without its labels, which are above and to the left."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"), np.int16)
    return pixels[-height:, -width:]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_run_of_the_text_tower_of_then_is_not_gone_on_with_by_todays(release, generator, tmp_path):
    shutil.copytree(release / "atlas.h5.work", tmp_path / "atlas.h5.work")
    whole = prompt_set("avatars")
    prompts = PromptSet(whole.phrases[:PHRASES], whole.templates)
    arguments = (generator, load_encoder("avatars", "cpu"), prompts, SETTINGS)
    with pytest.raises(ResumeError, match=r"another run: CLIP is .*: delete the"):
        open_work(tmp_path / "atlas.h5", *arguments)


def test_interrupted_run_is_resumed_and_ends_in_the_archived_atlas(
    release, generator, clip, tmp_path
):
    shutil.copytree(release / "atlas.h5.work", tmp_path / "atlas.h5.work")
    whole = prompt_set("avatars")
    prompts = PromptSet(whole.phrases[:PHRASES], whole.templates)
    arguments = (generator, load_encoder(clip, "cpu"), prompts, SETTINGS)
    calls: list[RunProgress] = []
    with open_work(tmp_path / "atlas.h5", *arguments) as work:
        assert (work.complaints, work.done, work.total) == ([], {0, 1}, 4)
        atlas = precompute(*arguments, calls.append, work)
        assert work.done == {0, 1, 2, 3}
        work.finish()
    assert (calls[0].blocks, calls[0].resumed) == (2, 2)
    assert len(calls) == 3, "the start, and the two blocks that were missing"
    known = Atlas.open(release / "atlas.h5")
    assert atlas.prompts.texts == known.prompts.texts
    assert np.abs(atlas.prompts.embeddings - known.prompts.embeddings).max() < 1e-6, "are block 0"
    for name in ("style_mean", "style_std"):
        assert_near(getattr(atlas, name), getattr(known, name))
    apart = np.abs(atlas.consistency - known.consistency)
    assert np.quantile(apart, 0.99) < 1e-3, "half of it was drawn by another processor"
    assert apart.max() < 0.05, "what hardly moves anything turns with the rounding"
    live = known.consistency > 0
    # The random probes of an image come of a singular value decomposition, whose last vectors are
    # others on every kind of processor. What the leading probes see of a row is the same, but for
    # rounding, which is most where a channel hardly moves an image.
    basis = Probes.of(known.prompts.embeddings, SETTINGS.probes, SETTINGS.seed).basis
    one, other = (unit(table.rows[live] @ basis.T) for table in (atlas, known))
    assert np.median(np.abs(one - other).max(1)) < 1e-3 and np.abs(one - other).max() < 0.05
    assert np.median((atlas.rows * known.rows).sum(1)) > 0.4
    assert np.median(atlas.strength[live] / known.strength[live]) == pytest.approx(1, abs=0.1)
    assert list(tmp_path.iterdir()) == [clip]


def test_jobs_of_a_service_go_on(release, tmp_path):
    """What was done is there, what waited is done, and what ran begins again."""
    folder = tmp_path / "served"
    folder.mkdir()
    shutil.copy(release / "jobs.sqlite", folder)
    with closing(sqlite3.connect(folder / "jobs.sqlite")) as table:
        jobs = dict(table.execute("SELECT kind, id FROM jobs"))
    with serving(folder) as served:
        edit = served.submit("edit", key="mine-1", seeds=[1, 2], edits=SMILE)
        assert (edit.id, edit.state) == (jobs["edit"], "done")
        assert [image["status"] for image in edit.result["record"]["images"]] == ["reached"] * 2
        assert served.works.job(jobs["mapper"]).problem.kind == "refused"
        running = served.works.job(jobs["optimise"])
        served.until(running, "progress")
        served.call(served.works.cancel(running.id))
        assert served.ended(served.works.job(jobs["texts"])).state == "done"
