"""Rows refitted from composites: the regression, what is measured, and runs that are stopped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from styleatlas.engine.models.load import load_encoder, load_generator
from styleatlas.precompute.blocks import Models
from styleatlas.precompute.build import open_work, precompute
from styleatlas.precompute.estimate import estimate
from styleatlas.precompute.executors import open_executor
from styleatlas.precompute.plan import Plan, composite_blocks
from styleatlas.precompute.refit import composite_steps, fitted, refit, ridge, with_responses
from styleatlas.precompute.reports import atlas_text, summary
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.precompute.statistics import composite_styles
from styleatlas.precompute.worker import LocalWorker, Sources
from styleatlas.prompts.sets import PromptSet
from styleatlas.store.atlas import Atlas
from styleatlas.store.errors import OptionError

from ..near import assert_atlases_near, assert_near
from .setups import setup_of

PHRASES = tuple(f"a picture channel{k}" for k in range(2, 14))
PROMPTS = PromptSet(PHRASES, ("{}",))
ARRAYS = ("channels", "rows", "consistency", "strength", "images")
FEW = 128 * 2 + 44  # composites, in three blocks


def cosines(one, other) -> np.ndarray:
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def same(one: Atlas, other: Atlas) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ARRAYS)


def refitted(atlas: Atlas, generator, encoder, number: int) -> Atlas:
    """The atlas refitted from so many composites, in this process."""
    pool = composite_styles(generator, 0.7, 0)
    worker = LocalWorker(Models(generator, encoder), setup_of(pool, pool=pool))
    blocks = composite_blocks(atlas.layout, atlas.channels, number)
    plan = Plan(atlas.layout, atlas.channels, composites=blocks)
    return refit(atlas, plan, 0, lambda some, first: [(block, worker(block)) for block in some])


def spoilt(atlas: Atlas, size: float) -> Atlas:
    """The atlas with noise of so many times its rows' lengths in its rows."""
    noise = np.random.default_rng(3).normal(size=atlas.rows.shape) / np.sqrt(atlas.rows.shape[1])
    rows = atlas.rows + size * noise * np.linalg.norm(atlas.rows, axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return replace(atlas, rows=(rows / np.where(lengths > 0, lengths, 1)).astype(np.float32))


@pytest.fixture(scope="module")
def perfect(draw, make_generator, make_encoder) -> Atlas:
    """Of many images, by steps about as large as those of composites."""
    return draw(make_generator(), make_encoder(), PHRASES, ("{}",), images=300, strength=3.0)


@pytest.fixture
def without_gate(perfect, generator) -> Atlas:
    """The same, knowing nothing of the gated channel, whose effect depends on the image: all
    others act alone, and alike in all images."""
    alive = np.where(perfect.channels == generator.GATED, 0, 1).astype(np.float32)
    rows, consistency = perfect.rows * alive[:, None], perfect.consistency * alive
    return replace(perfect, rows=rows, consistency=consistency)


# The regression


def test_fit_is_the_least_squares_solution_of_the_ridge_written_as_more_rows():
    random = np.random.default_rng(0)
    before = random.normal(size=(7, 5)) * random.uniform(0.05, 2, (7, 1))
    steps, moves = random.normal(size=(40, 7)) * 20, random.normal(size=(40, 5)) * 20
    lengths = np.linalg.norm(before, axis=1)
    typical = np.sqrt(np.mean(lengths**2))
    root = np.diag(np.sqrt(3000 * typical / (lengths + 0.02 * typical)))
    stacked = np.vstack([steps, root]), np.vstack([moves, root @ before])
    expected = np.linalg.lstsq(*stacked, rcond=None)[0]
    found = fitted(before, steps, moves)
    assert found == pytest.approx(expected, abs=1e-9)
    assert np.abs(found - before).max() > 0.1, "it moved"


def test_ridge_is_what_was_found_good_and_grows_with_the_composites():
    assert ridge(1550) == pytest.approx(3000, rel=0.05)
    assert ridge(6200) == pytest.approx(10_000, rel=0.05)
    assert ridge(10) == 3000, "few composites are noise, too"


def test_weak_channels_are_held_faster_than_strong_ones():
    before = np.diag([1.0, 0.1])
    moved = fitted(before, np.ones((50, 2)), np.ones((50, 2))) - before
    assert np.linalg.norm(moved[0]) > 3 * np.linalg.norm(moved[1]) > 0


def test_responses_of_the_atlas_are_the_fitted_ones_and_consistencies_stay(countable_atlas):
    random = np.random.default_rng(1)
    wanted = countable_atlas.responses + 0.01 * random.normal(size=countable_atlas.rows.shape)
    wanted[countable_atlas.consistency == 0] = 0
    wanted[4] = 0
    found = with_responses(countable_atlas, wanted)
    assert found.responses == pytest.approx(wanted, abs=1e-7)
    others = np.arange(len(wanted)) != 4
    assert np.array_equal(found.consistency[others], countable_atlas.consistency[others])
    assert not found.rows[4].any() and found.consistency[4] == 0


# What is measured


def test_perfect_table_of_channels_that_act_alone_stays_as_it_is(without_gate, generator, encoder):
    found = refitted(without_gate, generator, encoder, 400)
    live = without_gate.consistency > 0
    assert cosines(found.rows[live], without_gate.rows[live]).min() > 0.99
    assert not np.array_equal(found.rows, without_gate.rows), "it was fitted"


def test_composites_mend_a_table_that_noise_has_spoilt(without_gate, generator, encoder):
    live = without_gate.consistency > 0
    noisy = spoilt(without_gate, 0.8)
    before, few, many = (
        cosines(atlas.rows[live], without_gate.rows[live])
        for atlas in (
            noisy,
            refitted(noisy, generator, encoder, 400),
            refitted(noisy, generator, encoder, 1600),
        )
    )
    assert before.mean() < 0.85
    assert (few > before).mean() > 0.9 and few.mean() > before.mean() + 0.05
    assert many.mean() > few.mean()


def test_dead_channels_are_not_moved_and_stay_dead(perfect, generator, encoder):
    dead = perfect.row_of(generator.DEAD)
    assert not composite_steps(perfect, 60, 0)[:, dead].any()
    found = refitted(perfect, generator, encoder, 60)
    assert not found.rows[dead].any()
    assert found.consistency[dead] == 0 and found.strength[dead] == perfect.strength[dead]


def test_table_without_any_response_stays_as_it_is(perfect, generator, encoder):
    nothing = replace(perfect, rows=perfect.rows * 0, consistency=perfect.consistency * 0)
    assert same(refitted(nothing, generator, encoder, 20), nothing)


def test_composites_are_steps_of_a_few_sigma_the_same_for_the_same_seed(perfect):
    steps = composite_steps(perfect, 50, 7)
    largest = np.abs(steps).max(1)
    assert largest.min() >= 2.5 and largest.max() <= 5
    assert np.array_equal(steps, composite_steps(perfect, 50, 7))
    assert not np.array_equal(steps, composite_steps(perfect, 50, 8))


def test_one_half_of_the_composites_are_directions_of_phrases(perfect):
    texts = perfect.phrases.embeddings
    towards = composite_steps(perfect, 48, 0) @ perfect.responses
    best = ((towards @ texts.T) / np.linalg.norm(towards, axis=1, keepdims=True)).max(1)
    assert np.median(best[:24]) > np.median(best[24:]) + 0.2


def test_bank_without_phrases_leaves_random_composites(draw, generator, encoder):
    atlas = draw(generator, encoder, phrases=())
    steps = composite_steps(atlas, 20, 0)
    assert (np.abs(steps).max(1) >= 2.5).all()
    assert (steps < 0).any(0).sum() == 11, "every live channel, to both sides"


# As a part of a run


def settings_of(**others) -> PrecomputeSettings:
    usual = {"images": 20, "table": "sweep", "statistics": 50, "samples": 0, "refit": FEW}
    return PrecomputeSettings(**{**usual, **others})


@pytest.mark.parametrize("method", ["sweep", "screened", "jacobian", "reference-torch"])
def test_run_refits_the_table_of_any_method_and_says_so(generator, encoder, method):
    calls, settings = [], settings_of(table=method)
    found = precompute(generator, encoder, PROMPTS, settings, calls.append)
    plain = precompute(
        generator, encoder, PROMPTS, replace(settings, refit=None), lambda progress: None
    )
    again = refitted(plain, generator, encoder, FEW)
    for name in ARRAYS:
        assert_near(getattr(found, name), getattr(again, name))
    assert not np.array_equal(found.rows, plain.rows)
    assert found.fingerprint.settings["refit"] == FEW
    assert plain.fingerprint.settings["refit"] is None
    last = calls[-1]
    assert (last.renders, last.blocks) == (last.of_renders, last.of_blocks)
    assert [(c.last.kind, c.last.count) for c in calls[-3:]] == [
        ("composites", 128), ("composites", 128), ("composites", 44),
    ]  # fmt: skip
    assert "rows were refitted from 300 composite" in atlas_text("a.h5", summary(found))
    assert "refitted" not in atlas_text("a.h5", summary(plain))


def stop_after(patch, blocks: int) -> list[int]:
    """Let the worker be interrupted after some blocks; the list counts those that were drawn."""
    work_on, drawn = LocalWorker.__call__, []

    def stopping(*given):
        if len(drawn) == blocks:
            raise KeyboardInterrupt
        drawn.append(1)
        return work_on(*given)

    patch.setattr(LocalWorker, "__call__", stopping)
    return drawn


@pytest.mark.parametrize("method", ["sweep", "screened"])
def test_run_stopped_among_the_composites_resumes_to_the_same_bits(
    make_generator, make_encoder, tmp_path, monkeypatch, method
):
    settings = settings_of(table=method)
    arguments = (make_generator(), make_encoder(), PROMPTS, settings)
    undisturbed = precompute(*arguments, lambda progress: None)
    blocks = len(settings.plan(arguments[0], arguments[1].width).blocks)
    for finished in range(blocks - 4, blocks):  # from before the composites to the last of them
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            stop_after(patch, finished)
            with open_work(tmp_path / "a.h5", *arguments) as work:
                precompute(*arguments, lambda progress: None, work)
        with monkeypatch.context() as patch, open_work(tmp_path / "a.h5", *arguments) as work:
            drawn = stop_after(patch, blocks)
            again = precompute(*arguments, lambda progress: None, work)
            work.finish()
        assert same(again, undisturbed) and again.fingerprint == undisturbed.fingerprint
        assert len(drawn) == blocks - finished
        assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_composites_drawn_by_several_processes_are_the_same(checkpoint, clip_folder):
    models = load_generator(str(checkpoint), "cpu"), load_encoder(str(clip_folder), "cpu")
    arguments = (*models, PromptSet(("f", "a", "ce"), ("{}",)), settings_of(images=2))
    here = precompute(*arguments, lambda progress: None)
    sources = Sources(str(checkpoint), str(clip_folder))
    with open_executor(2, None, "cpu") as executor:
        there = precompute(*arguments, lambda progress: None, None, executor, sources)
    assert_atlases_near(there, here)
    assert here.fingerprint.settings["refit"] == FEW


def test_estimate_counts_the_composites(generator, encoder, monkeypatch):
    clock = "styleatlas.precompute.estimate._seconds"
    monkeypatch.setattr(clock, lambda work, device: (work(), 1.0)[1])
    with_refit, without = (
        estimate(generator, encoder, PROMPTS, settings_of(refit=number), 1)
        for number in (FEW, None)
    )
    assert with_refit["renders"] - without["renders"] == 8 * FEW
    assert with_refit["blocks"] - without["blocks"] == 3
    assert with_refit["work_folder_bytes"] - without["work_folder_bytes"] == 8 * FEW * encoder.width
    # Eight composites were tried, which took a second.
    assert with_refit["seconds"]["composites"] == pytest.approx(FEW / 8, abs=0.05)
    assert "composites" not in without["seconds"]


@pytest.mark.parametrize("number", [0, -3, 20_001])
def test_number_of_composites_out_of_range_is_refused(number):
    with pytest.raises(OptionError, match=f"refit {number}: must lie between 1 and 20000"):
        PrecomputeSettings(refit=number)
