"""Samples drawn in blocks: which they are, what is kept of them, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from styleatlas import load_encoder, load_generator
from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.precompute import drawing
from styleatlas.precompute.build import open_work, precompute
from styleatlas.precompute.drawing import Drawing, average_w, sample_latents
from styleatlas.precompute.estimate import estimate
from styleatlas.precompute.executors import open_executor
from styleatlas.precompute.reports import atlas_text, run_progress, summary
from styleatlas.precompute.samples import PULLED_PSI, SamplesBlock, pulled_count
from styleatlas.precompute.scheduler import RunProgress
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.precompute.worker import Sources
from styleatlas.prompts.sets import PromptSet
from styleatlas.store.atlas import Atlas
from styleatlas.store.errors import OptionError, ResumeError
from styleatlas.store.fingerprint import ModelIdentity
from styleatlas.store.sample_set import SampleSet

from ..checkpoint_files import small_stylegan2
from ..near import assert_near
from .test_resume import stop_after

PROMPTS = PromptSet(("word", "other"), ("{}",))
ALONE = PrecomputeSettings(table="none", samples=50, statistics=20)
HALF = 2**-11  # what half precision rounds by, relative
ARRAYS = ("w", "label", "embedding", "pulled", "centre", "weight", "bias")


@pytest.fixture(autouse=True)
def _small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("styleatlas.precompute.plan._MAX_PAIRS", 16)
        patch.setattr("styleatlas.precompute.samples.MAX_PULLED", 20)
        yield


def drawn(generator, encoder, settings=ALONE, report=lambda progress: None, **how) -> Atlas:
    return precompute(generator, encoder, PROMPTS, settings, report, **how)


def assert_samples_near(found: SampleSet, wanted: SampleSet) -> None:
    assert np.array_equal(found.label, wanted.label)
    for name in ARRAYS:
        if name != "label":
            one, other = (np.float32(getattr(x, name)) for x in (found, wanted))
            assert_near(one, other, 2 * HALF)
    assert found.pulled_psi == wanted.pulled_psi


@pytest.fixture(scope="module")
def conditional(make_network) -> StyleGANGenerator:
    network = make_network(config=small_stylegan2(c_dim=3, embed_features=4, layer_features=9))
    return StyleGANGenerator(network, ModelIdentity("classes", "c" * 64, {}))


# Which they are


def test_sample_is_the_same_however_many_there_are(generator, monkeypatch):
    monkeypatch.setattr(drawing, "_CHUNK", 8)
    few, many = (sample_latents(generator, n, seed=3)[0] for n in (5, 40))
    assert few.dtype == np.float16 and many.shape == (40, 5)
    assert np.array_equal(few, many[:5])
    assert len(np.unique(many, axis=0)) == 40, "no two chunks are alike"
    assert not np.isin(many, sample_latents(generator, 40, seed=4)[0]).all(1).any()


def test_chunks_are_of_the_size_that_atlases_were_drawn_with():
    assert drawing._CHUNK == 1000


def test_latents_are_at_psi_1_and_unlike_those_of_the_images(generator):
    w, label = sample_latents(generator, 1000, seed=0)
    assert w.astype(float).std() == pytest.approx(1, abs=0.03), "which is z, here"
    assert set(label) == {-1} and label.dtype == np.int32


def test_classes_are_drawn_at_random_or_all_are_the_one_asked_for(conditional):
    w, label = sample_latents(conditional, 60, seed=0)
    assert set(label) == {0, 1, 2}
    assert set(sample_latents(conditional, 60, seed=0, label=2)[1]) == {2}
    again = sample_latents(conditional, 60, seed=0, label=2)[0]
    same = label == 2
    assert_near(np.float32(w[same]), np.float32(again[same]), HALF)
    assert (np.abs(np.float32(w[~same]) - again[~same]).max(1) > 1e-3).all()
    with pytest.raises(OptionError, match="class 3: this generator has classes 0 to 2"):
        sample_latents(conditional, 1, seed=0, label=3)


def test_average_is_what_truncation_pulls_towards(conditional, generator):
    assert_near(average_w(conditional), conditional.network.mapping.w_avg.numpy())
    assert not average_w(generator).any()


def test_generator_whose_layers_take_different_latents_is_refused(generator, monkeypatch):
    map_ = generator.map

    def layered(*arguments, **options):
        w = map_(*arguments, **options).clone()
        w[:, 1] += 1
        return w

    monkeypatch.setattr(generator, "map", layered)
    with pytest.raises(OptionError, match=r"take different w, .*leave them out: --samples 0"):
        sample_latents(generator, 1, seed=0)


# What is kept


def test_embeddings_are_those_of_the_images_of_the_latents_that_are_kept(generator, encoder):
    samples = drawn(generator, encoder).samples
    assert (len(samples), len(samples.pulled)) == (50, 20)
    for psi, found in ((1.0, samples.embedding), (PULLED_PSI, samples.pulled)):
        w = samples.centre + psi * (np.float32(samples.w[: len(found)]) - samples.centre)
        wide = torch.from_numpy(w.astype(np.float32))[:, None].expand(-1, 2, -1)
        known = encoder.images(generator.render(generator.styles(wide))).numpy()
        assert_near(np.float32(found), known, 2 * HALF)
    assert samples.pulled_psi == PULLED_PSI and samples.styles is None


def test_samples_of_a_conditional_generator_have_classes(conditional, make_encoder):
    atlas = drawn(conditional, make_encoder(23))
    assert set(atlas.samples.label) == {0, 1, 2}
    assert atlas.samples.weight.shape == (conditional.layout.size, 6)
    assert_near(atlas.samples.centre, conditional.network.mapping.w_avg.numpy())


def test_styles_that_are_not_affine_are_kept_themselves(generator, encoder, monkeypatch):
    affine = generator.styles
    monkeypatch.setattr(generator, "styles", lambda w: affine(w) + 0.1 * torch.sin(9 * w[:, 0, :1]))
    samples = drawn(generator, encoder).samples
    assert samples.weight is None and samples.bias is None
    wide = torch.from_numpy(np.float32(samples.w))[:, None].expand(-1, 2, -1)
    assert_near(np.float32(samples.styles), generator.styles(wide).numpy(), 2 * HALF)


def test_settings_say_which_samples_there_are(generator, encoder, draw):
    settings = drawn(generator, encoder).fingerprint.settings
    assert settings == {
        "table": "none",
        "truncation": 0.7,
        "statistics": 20,
        "samples": 50,
        "sample_psi": 1.0,
        "seed": 0,
        "label": None,
        "precision": "float32",
        "clip_precision": "float32",
        "templates": ["{}"],
    }
    without = draw(generator, encoder, images=1)
    assert without.samples is None
    assert not {"samples", "sample_psi"} & without.fingerprint.settings.keys()


def test_samples_change_nothing_of_the_table(draw, make_generator, make_encoder):
    one, other = (
        draw(make_generator(), make_encoder(), images=3, samples=samples) for samples in (0, 30)
    )
    assert (len(other.samples), one.samples) == (30, None)
    for name in ("style_mean", "style_std", "rows", "consistency", "strength"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_refitted_table_and_table_of_probes_leave_the_samples(generator, encoder):
    for table, more in (("sweep", {"refit": 8}), ("jacobian", {"probes": 28})):
        settings = replace(ALONE, table=table, images=2, **more)
        assert len(drawn(generator, encoder, settings).samples) == 50


def test_atlas_of_samples_alone_is_written_read_and_told(generator, encoder, tmp_path):
    atlas = drawn(generator, encoder)
    atlas.write(tmp_path / "a.h5")
    read = Atlas.open(tmp_path / "a.h5")
    assert len(read.channels) == 0 and len(read.prompts) == 2
    for name in ARRAYS:
        assert np.array_equal(getattr(read.samples, name), getattr(atlas.samples, name))
    record = summary(read)
    assert record == {"channels": 0, "samples": 50, "pulled_samples": 20, "prompts": 2}
    first, last = atlas_text("a.h5", record).splitlines()
    assert first == "a.h5: 50 samples, 20 of them also at psi 0.7, 2 prompts, no channels"
    assert last == "next: styleatlas info a.h5"


def test_summary_of_an_atlas_with_both_tells_the_samples_in_a_line(draw, generator, encoder):
    atlas = draw(generator, encoder, images=3, samples=30)
    record = summary(atlas)
    assert (record["samples"], record["pulled_samples"]) == (30, 20)
    assert "  30 samples, 20 of them also at psi 0.7" in atlas_text("a.h5", record).splitlines()
    without = summary(draw(generator, encoder, images=3))
    assert without["samples"] == 0 and "samples" not in atlas_text("a.h5", without)


# Blocks


def test_samples_come_first_in_blocks_of_their_own(generator, encoder):
    settings = replace(ALONE, table="sweep", images=2)
    plan = settings.plan(generator, encoder.width)
    kinds = [block.kind for block in plan.blocks]
    assert kinds == ["samples"] * 4 + ["pulled"] * 2 + ["sweep"] * 2
    assert [(x.first, x.last) for x in plan.samples] == [(0, 16), (16, 32), (32, 48), (48, 50)]
    assert [(x.first, x.last) for x in plan.pulled] == [(0, 16), (16, 20)]
    assert plan.shapes(2, 28)[4] == {"embedding": (2, 28)}
    assert (plan.first_pulled, plan.first_slopes, plan.first_sweep) == (5, 7, 7)
    assert sum(plan.renders) == 50 + 20 + 2 * 12 * 2


def test_every_sample_is_rendered_once_and_told(generator, encoder):
    calls: list[RunProgress] = []
    drawn(generator, encoder, report=calls.append)
    assert generator.images_rendered == 70 == calls[-1].renders == calls[-1].of_renders
    told = [run_progress(call, generator.layout).record for call in calls[1:]]
    assert [(x["kind"], x["samples"]) for x in told] == [
        *(("samples", span) for span in ([0, 15], [16, 31], [32, 47], [48, 49])),
        *(("pulled", span) for span in ([0, 15], [16, 19])),
    ]
    assert not any("channels" in record for record in told)


@pytest.mark.parametrize("finished", range(6))
def test_run_stopped_among_the_samples_resumes_to_the_same_bits(
    make_generator, make_encoder, tmp_path, monkeypatch, finished
):
    undisturbed = drawn(make_generator(), make_encoder()).samples
    arguments = (make_generator(), make_encoder(), PROMPTS, ALONE)

    def start() -> Atlas:
        with open_work(tmp_path / "a.h5", *arguments) as work:
            atlas = precompute(*arguments, lambda progress: None, work)
            work.finish()
        return atlas

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        stop_after(patch, finished, ZeroDivisionError())
        start()
    count = stop_after(monkeypatch, 6, AssertionError())
    resumed = start().samples
    assert len(count) == 6 - finished
    for name in ARRAYS:
        assert np.array_equal(getattr(resumed, name), getattr(undisturbed, name)), name
    assert list(tmp_path.iterdir()) == []


def test_other_number_of_samples_is_refused_by_name_while_blocks_are_kept(
    generator, encoder, tmp_path, monkeypatch
):
    arguments = (generator, encoder, PROMPTS, ALONE)
    with (
        pytest.raises(ZeroDivisionError),
        open_work(tmp_path / "a.h5", *arguments) as work,
        monkeypatch.context() as patch,
    ):
        stop_after(patch, 2, ZeroDivisionError())
        precompute(*arguments, lambda progress: None, work)
    with pytest.raises(ResumeError, match=r"settings\.samples is 50 there and 60 here"):
        open_work(tmp_path / "a.h5", *arguments[:3], replace(ALONE, samples=60))


def test_embeddings_are_of_unit_length_whatever_the_encoder_makes(generator, encoder, monkeypatch):
    images = encoder.images
    monkeypatch.setattr(encoder, "images", lambda x: 1.01 * images(x))  # as in bfloat16
    lengths = np.linalg.norm(np.float32(drawn(generator, encoder).samples.embedding), axis=1)
    assert lengths == pytest.approx(1, abs=HALF)


def test_generator_short_of_memory_gives_the_same_samples(
    make_generator, make_encoder, monkeypatch
):
    known = drawn(make_generator(), make_encoder()).samples
    short, render = make_generator(), make_generator().render

    def limited(styles, noise="const"):
        if len(styles) > 3:
            raise MemoryError
        return render(styles, noise)

    monkeypatch.setattr(short, "render", limited)
    assert_samples_near(drawn(short, make_encoder()).samples, known)


@pytest.mark.long
def test_two_workers_draw_the_samples_of_one():
    models = load_generator("avatars", "cpu"), load_encoder("avatars", "cpu")
    known = drawn(*models)
    with open_executor(2, None, "cpu") as executor:
        found = drawn(*models, executor=executor, sources=Sources("avatars", "avatars"))
    assert_samples_near(found.samples, known.samples)
    assert np.array_equal(found.samples.w, known.samples.w), "which come from here"


def test_estimate_counts_samples_in_seconds_and_bytes(generator, encoder, tmp_path):
    record = estimate(generator, encoder, PROMPTS, ALONE, workers=1)
    assert (record["samples"], record["renders"], record["channels"]) == (50, 70, 0)
    assert record["seconds"].keys() <= {"samples", "prompts"}
    none = estimate(generator, encoder, PROMPTS, replace(ALONE, table="sweep", samples=0), 1)
    assert none["samples"] == 0 and "samples" not in none["seconds"]


def test_bytes_that_are_foretold_are_those_of_the_file(generator, encoder, tmp_path):
    many = replace(ALONE, samples=20_000)
    plan = many.plan(generator, encoder.width)
    atlas = drawn(generator, encoder)
    samples, repeat = atlas.samples, np.zeros(20_000, int)
    assert samples is not None
    w, label, embedding = samples.w[repeat], samples.label[repeat], samples.embedding[repeat]
    whole = replace(samples, w=w, label=label, embedding=embedding)
    replace(atlas, samples=whole).write(tmp_path / "a.h5")
    size = (tmp_path / "a.h5").stat().st_size
    assert plan.atlas_bytes(2, encoder.width, 5, generator.layout.size) == pytest.approx(
        size, rel=0.03
    )


def test_pulled_samples_are_the_first_up_to_a_thousand(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("styleatlas.precompute.samples.MAX_PULLED", 1000)
    assert [pulled_count(n) for n in (0, 7, 1000, 4000)] == [0, 7, 1000, 1000]


def test_drawing_of_known_samples_draws_only_the_others(generator, encoder):
    known = drawn(generator, encoder).samples
    run: Callable = lambda blocks, first: iter(())  # noqa: E731
    whole = Drawing.of(generator, 50, 0, None, known)
    plan = replace(ALONE, samples=0, table="sweep").plan(generator, encoder.width)
    assert whole.measure(generator, encoder, plan, run, {}) is known


def test_block_is_a_plain_record_of_latents_and_numbers(generator, encoder):
    block = SamplesBlock(3, 7, np.zeros((4, 5), np.float32))
    assert (block.count, block.renders, block.cost(generator.layout)) == (4, 4, 4)
    assert not hasattr(block, "channels")
