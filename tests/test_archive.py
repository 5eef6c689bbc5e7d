"""Files of every release, which every later version reads; see `archive/README.md`."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
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
from styleatlas.store.registry import EMBEDDED

from .near import assert_near

ARCHIVE = Path(__file__).parent / "archive"
VERSIONS = sorted(path.name for path in ARCHIVE.iterdir() if path.is_dir())
SETTINGS = PrecomputeSettings(images=24, table="jacobian", probes=8, statistics=200, samples=0)
PHRASES = 64


@pytest.fixture(params=VERSIONS)
def release(request: pytest.FixtureRequest) -> Path:
    return ARCHIVE / request.param


@pytest.fixture(scope="module")
def generator() -> StyleGANGenerator:
    return load_generator("avatars", "cpu")


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
    release, generator, tmp_path, name, rows, columns, edits
):
    recipe = read_recipe(release / name)
    assert recipe.generator == generator.identity
    assert [*recipe.edits] == edits
    recipe.require_atlas(Atlas.open(EMBEDDED.atlas))
    given = ["--from-picture", str(release / name), "-o", str(tmp_path / name)]
    if "latents" in recipe.inputs:
        sha256 = hashlib.sha256((release / "styles.npz").read_bytes()).hexdigest()
        assert recipe.inputs["latents"] == sha256
        given += ["--latent", str(release / "styles.npz")]
    else:
        given += ["--styles", str(tmp_path / "styles.npz")]
    result = CliRunner().invoke(main, ["edit", "avatars", *given])
    assert result.exit_code == 0, result.output
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


def images_of(path: Path, height: int, width: int) -> np.ndarray:
    """The images of a sheet without its labels, which are above and to the left."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"), np.int16)
    return pixels[-height:, -width:]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_interrupted_run_is_resumed_and_ends_in_the_archived_atlas(release, generator, tmp_path):
    shutil.copytree(release / "atlas.h5.work", tmp_path / "atlas.h5.work")
    whole = prompt_set("avatars")
    prompts = PromptSet(whole.phrases[:PHRASES], whole.templates)
    arguments = (generator, load_encoder("avatars", "cpu"), prompts, SETTINGS)
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
    assert np.abs(atlas.consistency - known.consistency).max() < 1e-3
    live = known.consistency > 0
    # The random probes of an image come of a singular value decomposition, whose last vectors are
    # others on every kind of processor. What the leading probes see of a row is the same, but for
    # rounding, which is most where a channel hardly moves an image.
    basis = Probes.of(known.prompts.embeddings, SETTINGS.probes, SETTINGS.seed).basis
    one, other = (unit(table.rows[live] @ basis.T) for table in (atlas, known))
    assert np.median(np.abs(one - other).max(1)) < 1e-4 and np.abs(one - other).max() < 0.02
    assert np.median((atlas.rows * known.rows).sum(1)) > 0.4
    assert np.median(atlas.strength[live] / known.strength[live]) == pytest.approx(1, abs=0.1)
    assert list(tmp_path.iterdir()) == []
