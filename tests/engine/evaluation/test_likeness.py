"""LPIPS and identity of images before and after an edit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from styleatlas import Editor, load_encoder
from styleatlas.engine.evaluation.judges import AttributeJudge
from styleatlas.engine.evaluation.likeness import UNCHANGED, Likeness
from styleatlas.engine.evaluation.page import evaluation_html
from styleatlas.engine.evaluation.run import evaluate
from styleatlas.engine.evaluation.samples import sample_strips
from styleatlas.engine.evaluation.suite import read_suite
from styleatlas.engine.evaluation.summary import evaluation_record, summary_text
from styleatlas.engine.evaluation.variants import PAPER, PAPER_BETA, Variant
from styleatlas.engine.models.identity import load_identity
from styleatlas.engine.models.load import load_generator
from styleatlas.engine.models.perceptual import load_perceptual
from styleatlas.engine.steering.direction import Choice
from styleatlas.store.atlas import Atlas
from styleatlas.store.errors import OptionError
from styleatlas.store.registry import EMBEDDED

from ... import lpips_files
from ...dlib_files import as_fetched, dlib_weights

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def perceptual(tmp_path_factory):
    path = lpips_files.write_flax(tmp_path_factory.mktemp("lpips") / "alexnet.ckpt", "alex")
    return load_perceptual([str(path)], CPU)


@pytest.fixture(scope="module")
def dlib(tmp_path_factory):
    """So wide apart that some pictures are one person's and some are not."""
    weights = dlib_weights()
    weights["fc"] *= 10
    with pytest.MonkeyPatch.context() as patch:
        as_fetched(tmp_path_factory.mktemp("data"), patch, weights)
        return load_identity("dlib", None, CPU)


def pictures(n: int, height: int, width: int | None = None) -> torch.Tensor:
    """Smooth pictures (n, 3, height, width) in [-1, 1], no two alike."""
    noise = torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(n + height))
    return F.interpolate(noise, (height, width or height), mode="bicubic").tanh()


def compared(likeness: Likeness, before: torch.Tensor, after: torch.Tensor):
    return likeness.compare(likeness.see(before), likeness.see(after))


def test_lpips_is_that_of_the_pictures(perceptual):
    before, after = pictures(6, 64, 96).split(3)
    found = compared(Likeness(perceptual), before, after)
    assert list(found) == ["lpips"]
    wanted = perceptual.distance(before, after)
    np.testing.assert_allclose(found["lpips"], wanted.numpy(), rtol=1e-5)


def test_of_large_pictures_lpips_is_that_of_means(perceptual):
    """512 x 768 pixels come to 256 x 384, each the mean of four."""
    before, after = pictures(2, 512, 768).split(1)
    small = [x.unflatten(3, (384, 2)).unflatten(2, (256, 2)).mean((3, 5)) for x in (before, after)]
    found = compared(Likeness(perceptual), before, after)["lpips"]
    np.testing.assert_allclose(found, perceptual.distance(*small).numpy(), rtol=1e-4)


def test_what_is_out_of_range_is_seen_as_a_picture_would_show_it(perceptual, dlib):
    before, after = pictures(2, 64).split(1)
    likeness = Likeness(perceptual, dlib)
    found, wanted = (compared(likeness, before, x) for x in (5 * after, (5 * after).clamp(-1, 1)))
    assert found == wanted


def test_identity_by_dlib_has_the_cosine_and_dlibs_own_rule(dlib):
    before = pictures(1, 64)
    way = pictures(2, 64)[:1]
    near = torch.cat([before + step * way for step in (0.0, 0.02, 0.2, 1.0)]).clamp(-1, 1)
    before = before.expand(4, -1, -1, -1)
    found = compared(Likeness(identity=dlib), before, near)
    assert list(found) == ["identity", "same_person"]
    apart = (dlib.describe(near) - dlib.describe(before)).norm(dim=1).numpy()
    assert (apart < 0.6).any() and (apart >= 0.6).any()
    np.testing.assert_array_equal(found["same_person"], np.where(apart < 0.6, 100, 0))
    cosines = (dlib.embed(near) * dlib.embed(before)).sum(1)
    np.testing.assert_allclose(found["identity"], cosines.numpy(), atol=1e-6)


def test_another_network_has_no_rule_of_its_own():
    clip = load_identity("clip", load_encoder(EMBEDDED.name, "cpu"), CPU)
    likeness = Likeness(identity=clip)
    assert likeness.measured == ("identity",)
    before, after = pictures(4, 64).split(2)
    found = compared(likeness, before, after)
    assert list(found) == ["identity"]
    cosines = (clip.embed(before) * clip.embed(after)).sum(1)
    np.testing.assert_allclose(found["identity"], cosines.numpy(), atol=1e-6)


def test_a_picture_that_is_left_as_it_is_has_the_figures_of_one_unchanged(perceptual, dlib):
    likeness = Likeness(perceptual, dlib)
    assert likeness.measured == tuple(UNCHANGED)
    found = compared(likeness, *[pictures(2, 64)] * 2)
    for name, value in UNCHANGED.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6)


def test_nothing_is_measured_by_nothing():
    likeness = Likeness()
    assert likeness.measured == ()
    assert compared(likeness, *pictures(2, 8).split(1)) == {}


def test_pictures_too_small_for_lpips_are_refused(perceptual):
    with pytest.raises(OptionError, match=r"LPIPS by alex: reads images of 31 pixels"):
        Likeness(perceptual).see(pictures(1, 30))


@pytest.fixture(scope="module")
def evaluation(perceptual, dlib):
    """One edit of three avatars, and by a table that knows no way to it."""
    atlas = Atlas.open(EMBEDDED.atlas)
    still = replace(atlas, rows=0 * atlas.rows, consistency=0 * atlas.consistency)
    models = load_generator(EMBEDDED.name, "cpu"), load_encoder(EMBEDDED.name, "cpu")
    suite = read_suite(EMBEDDED.suite)
    choice = Choice(rule="paper", beta=PAPER_BETA)
    return evaluate(
        Editor(atlas, *models),
        AttributeJudge(EMBEDDED),
        replace(suite, trials=suite.trials[10:11]),
        (3, 4, 5),
        variants=[
            Variant("default", Editor(atlas, *models), Choice()),
            Variant(PAPER, Editor(still, *models), choice, (2.0,)),
        ],
        likeness=Likeness(perceptual, dlib),
    )


def test_an_evaluation_measures_its_edits(evaluation, perceptual, dlib):
    default, still = (result.outcomes[0].likeness for result in evaluation.results)
    direction = evaluation.results[0].directions[0]
    result = evaluation.editor.apply(evaluation.styles, direction)
    before = evaluation.editor.generator.render(result.before)
    wanted = compared(Likeness(perceptual, dlib), before, result.images)
    for name, figures in wanted.items():
        np.testing.assert_allclose(default[name], figures[None], atol=2e-3)
    assert default["lpips"].max() > 0.05
    assert evaluation.results[1].directions == (None,)
    for name, value in UNCHANGED.items():
        np.testing.assert_array_equal(still[name], np.full((1, 3), value))


def test_figures_text_and_page_tell_it(evaluation):
    record = evaluation_record(evaluation)
    assert (record["lpips"], record["identity"]) == ("alex", "dlib")
    lacking = evaluation.tallies(evaluation.results[0].outcomes[0]).absent[0]
    assert lacking.any()
    (point,) = record["ways"][0]["points"]
    for name, figures in evaluation.results[0].outcomes[0].likeness.items():
        wanted = figures[0][lacking].mean()
        assert record["edits"][0][name] == point[name] == pytest.approx(wanted, abs=1e-4)
    assert "LPIPS  identity  same person %" in summary_text(record)
    page = evaluation_html(record, sample_strips(evaluation))
    for head in ("LPIPS", "identity", "same person %"):
        assert f">{head}</th>" in page
    assert "less than 0.6 apart" in page


def test_what_is_not_measured_is_not_told(countable):
    evaluation, record, _ = countable
    assert record["lpips"] is record["identity"] is None
    assert all(row[name] is None for row in record["edits"] for name in UNCHANGED)
    assert "LPIPS" not in summary_text(record)
    assert "LPIPS</th>" not in evaluation_html(record, sample_strips(evaluation))
