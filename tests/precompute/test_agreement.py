"""Atlases drawn by drafts: first it is measured that they show CLIP what whole images do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from styleatlas import load_encoder
from styleatlas.engine.models.draft import Draft
from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.networks.stylegan2 import StyleGAN2Config
from styleatlas.precompute.agreement import AgreementBlock, agreement, require_agreement
from styleatlas.precompute.blocks import Models
from styleatlas.precompute.build import open_work, precompute
from styleatlas.precompute.estimate import estimate
from styleatlas.precompute.existing import extend, extension_of
from styleatlas.precompute.reports import atlas_text, estimate_text, summary
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.prompts.sets import PromptSet
from styleatlas.store.atlas import Atlas
from styleatlas.store.bank import PromptBank
from styleatlas.store.describe import atlas_record
from styleatlas.store.errors import OptionError, ResumeError
from styleatlas.store.fingerprint import ModelIdentity

from .setups import setup_of
from .test_resume import stop_after
from .test_samples import assert_samples_near

CONFIG = StyleGAN2Config(
    z_dim=5, w_dim=6, mapping_layers=2, channels={4: 8, 8: 7, 16: 6, 32: 5}, c_dim=0
)
PROMPTS = PromptSet(tuple("abcdefgh"), ("{}",))
SETTINGS = PrecomputeSettings(table="sweep", images=2, statistics=20, samples=40, seed=3)


@pytest.fixture(autouse=True)
def _small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("styleatlas.precompute.plan._MAX_PAIRS", 16)
        patch.setattr("styleatlas.precompute.samples.MAX_PULLED", 20)
        yield


@pytest.fixture(scope="module")
def encoder(clip_folder):
    """Sees 16 px."""
    return load_encoder(clip_folder, "cpu")


@pytest.fixture
def whole(make_network) -> Callable[..., StyleGANGenerator]:
    """A generator of 32 px whose last toRGB adds so much, in shares of what random ones do."""

    def make(share: float = 0.01, **changes: object) -> StyleGANGenerator:
        network = make_network(config=replace(CONFIG, **changes))
        network.synthesis.b32.torgb.weight.data *= share
        network.synthesis.b32.torgb.bias.data *= share
        return StyleGANGenerator(network, ModelIdentity(f"share {share:g}", "0" * 64, {}))

    return make


@pytest.fixture
def draft(whole, encoder) -> Draft:
    return Draft.for_clip(whole(), encoder)


def silent(progress: object) -> None:
    pass


def test_agreement_is_of_embeddings_around_the_whole_images_mean_and_of_phrases_scores():
    random = np.random.default_rng(0)
    whole = random.normal(size=(10, 6)) + 3
    draft = whole + random.normal(size=(10, 6)) * 0.4 + 0.1
    texts = random.normal(size=(7, 6))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    bank = PromptBank(tuple("abcdefg"), texts.astype(np.float32))
    halves = [
        (AgreementBlock(first, first + 5), {"whole": whole[part], "draft": draft[part]})
        for first, part in ((0, slice(5)), (5, slice(5, 10)))
    ]
    cosines = []
    for one, other in zip(whole - whole.mean(0), draft - whole.mean(0), strict=True):
        cosines.append(one @ other / np.sqrt(one @ one * (other @ other)))
    centred = bank.embeddings.astype(np.float64) - bank.embeddings.mean(0, dtype=np.float64)
    correlations = [np.corrcoef(whole @ phrase, draft @ phrase)[0, 1] for phrase in centred]
    assert agreement(bank, halves) == {
        "samples": 10,
        "median_cosine": pytest.approx(np.median(cosines), abs=6e-5),
        "lowest_tenth_cosine": pytest.approx(np.quantile(cosines, 0.1), abs=6e-5),
        "median_correlation": pytest.approx(np.median(correlations), abs=6e-5),
        "lowest_tenth_correlation": pytest.approx(np.quantile(correlations, 0.1), abs=6e-5),
    }


def test_block_sees_the_same_samples_whole_and_as_drafts(draft, encoder):
    models, nothing = Models(draft, encoder), setup_of(torch.zeros(0, draft.layout.size))
    found = AgreementBlock(0, 64).run(models, nothing)
    parts = [
        AgreementBlock(first, last).run(models, nothing) for first, last in ((0, 40), (40, 64))
    ]
    for name in ("whole", "draft"):
        assert found[name].shape == (64, encoder.width)
        joined = np.concatenate([part[name] for part in parts])
        np.testing.assert_allclose(joined, found[name], atol=1e-5)
    assert np.std(found["whole"], 0).mean() > 1e-3, "other images each"
    assert 1e-6 < np.abs(found["whole"] - found["draft"]).max() < 0.5


def test_atlas_of_a_draft_tells_its_side_and_its_agreement_and_leaves_out_what_it_lacks(
    draft, encoder, whole
):
    atlas = precompute(draft, encoder, PROMPTS, SETTINGS, silent)
    settings = atlas.fingerprint.settings
    assert settings["draft"] == 16 and settings["agreement"]["samples"] == 64
    assert 0.97 <= settings["agreement"]["median_cosine"] < 1
    reached = [x.name for x in draft.layout if not x.name.startswith("b32.")]
    named = {atlas.layout.locate(int(flat))[0].name for flat in atlas.channels}
    assert named == set(reached) and atlas.layout == whole().layout
    assert len(atlas.channels) == draft.reaching.size < atlas.layout.size
    swept = {row["layer"]: row["swept"] for row in atlas_record(atlas)["layers"]}
    assert swept["b16.torgb"] == 6 and swept["b32.conv0"] == swept["b32.torgb"] == 0
    record = summary(atlas)
    left = atlas.layout.size - len(atlas.channels)
    assert (record["draft"], record["unreached"]) == (16, left)
    told = atlas_text("a.h5", record)
    assert "CLIP saw drafts of 16 px: over 64 samples the median cosine is 0.9" in told
    assert f"{left} channels of later layers do not reach the draft and were not measured" in told


def test_samples_of_a_draft_are_its_renders_of_the_latents_of_whole_ones(draft, encoder, whole):
    settings = replace(SETTINGS, table="none")
    found = precompute(draft, encoder, PROMPTS, settings, silent).samples
    wanted = precompute(whole(), encoder, PROMPTS, settings, silent).samples
    assert np.array_equal(found.w, wanted.w) and np.array_equal(found.weight, wanted.weight)
    w = torch.from_numpy(found.w.astype(np.float32))[:, None].expand(-1, 8, -1)
    with torch.inference_mode():
        seen = encoder.images(draft.render(draft.styles(w))).numpy()
    np.testing.assert_allclose(found.embedding, seen, atol=2e-3)
    assert not np.array_equal(found.embedding, wanted.embedding)


def test_slopes_through_a_draft_are_those_of_its_renders(draft, encoder):
    jacobian = replace(SETTINGS, table="jacobian", probes=encoder.width, strength=0.01, samples=0)
    swept = replace(jacobian, table="sweep", probes=None)
    slopes = precompute(draft, encoder, PROMPTS, jacobian, silent)
    sweep = precompute(draft, encoder, PROMPTS, swept, silent)
    assert np.array_equal(slopes.channels, sweep.channels)
    live = sweep.consistency > 0.5
    assert live.sum() > 10
    assert np.median((slopes.rows * sweep.rows).sum(1)[live]) > 0.95


def test_draft_that_shows_other_things_is_refused_and_leaves_no_work(whole, encoder, tmp_path):
    arguments = (Draft.for_clip(whole(30), encoder), encoder, PROMPTS, SETTINGS)
    figure = r"-?0\.\d+"
    message = (
        r"^draft of 16 px: CLIP sees other things in it than in whole images: over 64 samples the "
        rf"median cosine is {figure} \(lowest tenth {figure}\), the median correlation of phrases' "
        rf"scores {figure} \({figure}\); both medians must be 0\.97 or more; leave out --draft$"
    )
    with (
        pytest.raises(OptionError, match=message),
        open_work(tmp_path / "a.h5", *arguments) as work,
    ):
        precompute(*arguments, silent, work)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("low", ["median_cosine", "median_correlation"])
def test_either_median_below_the_figure_refuses_a_draft(draft, low):
    sound = dict.fromkeys(("median_cosine", "median_correlation"), 0.97)
    require_agreement(draft, {**sound, "lowest_tenth_cosine": 0.1})
    with pytest.raises(OptionError, match="both medians must be"):
        require_agreement(draft, {**sound, low: 0.9699})


def test_stopped_run_of_a_draft_resumes_and_compares_no_sample_again(
    draft, encoder, tmp_path, monkeypatch
):
    undisturbed = precompute(draft, encoder, PROMPTS, SETTINGS, silent)
    arguments = (draft, encoder, PROMPTS, SETTINGS)

    def start() -> Atlas:
        with open_work(tmp_path / "a.h5", *arguments) as work:
            atlas = precompute(*arguments, silent, work)
            work.finish()
        return atlas

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        stop_after(patch, 6, ZeroDivisionError())
        start()
    with monkeypatch.context() as patch:
        patch.setattr(AgreementBlock, "run", None)
        atlas = start()
    assert atlas.fingerprint.settings == undisturbed.fingerprint.settings
    np.testing.assert_allclose(atlas.rows, undisturbed.rows, atol=1e-5)
    assert_samples_near(atlas.samples, undisturbed.samples)


def test_work_of_a_draft_is_not_gone_on_with_by_whole_images(draft, encoder, tmp_path, monkeypatch):
    arguments = (encoder, PROMPTS, SETTINGS)
    with pytest.raises(ZeroDivisionError), open_work(tmp_path / "a.h5", draft, *arguments) as work:
        stop_after(monkeypatch, 2, ZeroDivisionError())
        precompute(draft, *arguments, silent, work)
    with pytest.raises(ResumeError, match=r"settings\.draft is 16 there and unset here"):
        open_work(tmp_path / "a.h5", draft.whole, *arguments)


def test_samples_are_added_by_the_draft_that_drew_the_others_alone(draft, encoder, tmp_path):
    path = tmp_path / "a.h5"
    few = replace(SETTINGS, table="none", samples=20)
    undisturbed = precompute(draft, encoder, PROMPTS, replace(few, samples=40), silent)
    asked = PrecomputeSettings(samples=40)
    for drawn, other, message in (
        (draft, draft.whole, "drafts of 16 px, not of whole images, .*; give --draft, or choose"),
        (draft.whole, draft, "whole images, not of drafts of 16 px, .*; leave out --draft, or"),
        (draft, Draft(draft.whole, 8), "drafts of 16 px, not of drafts of 8 px, .*; give --draft"),
    ):
        precompute(drawn, encoder, PROMPTS, few, silent).write(path)
        with pytest.raises(OptionError, match=rf"a\.h5: holds an atlas of {message}"):
            extension_of(path, other, encoder, asked, {"samples"})
        extension = extension_of(path, drawn, encoder, asked, {"samples"})
        grown = extend(drawn, encoder, extension, silent)
        assert len(grown.samples) == 40
        if drawn is draft:
            assert_samples_near(grown.samples, undisturbed.samples)
            assert grown.fingerprint.settings == undisturbed.fingerprint.settings


def test_dry_run_tells_the_draft_and_what_it_must_come_up_to(draft, encoder):
    record = estimate(draft, encoder, PROMPTS, SETTINGS, 1)
    assert record["draft"] == 16 and record["channels"] == draft.reaching.size
    assert record["renders"] == 2 * 64 + 40 + 20 + 2 * 2 * draft.reaching.size
    assert record["seconds"].keys() <= {"prompts", "agreement", "samples", "sweep"}
    assert "images of 16 px; 64 samples are first seen whole, too, and" in estimate_text(record)
    without = estimate(draft.whole, encoder, PROMPTS, SETTINGS, 1)
    assert without["draft"] is None and "draft" not in estimate_text(without)


def test_atlas_with_a_damaged_record_of_its_agreement_is_still_told_of(draft, encoder):
    atlas = precompute(draft, encoder, PROMPTS, replace(SETTINGS, samples=0), silent)
    for agreement_told in (None, 7, {}):
        settings = {**atlas.fingerprint.settings, "agreement": agreement_told}
        spoilt = replace(atlas, fingerprint=replace(atlas.fingerprint, settings=settings))
        assert "the median cosine is None" in atlas_text("a.h5", summary(spoilt))


def test_conditional_draft_is_compared_over_its_classes_or_the_one_asked_for(whole, encoder):
    model = Draft.for_clip(whole(c_dim=3), encoder)
    nothing = setup_of(torch.zeros(0, model.layout.size))
    models = Models(model, encoder)
    mixed = AgreementBlock(0, 8).run(models, nothing)["whole"]
    alone = AgreementBlock(0, 8, 1).run(models, nothing)["whole"]
    same = np.abs(mixed - alone).max(1) < 1e-5
    assert 0 < same.sum() < 8, "some of class 1 by chance, not all"
    settings = replace(SETTINGS, table="none", samples=4, label=2)
    assert precompute(model, encoder, PROMPTS, settings, silent).fingerprint.settings["draft"] == 16
