"""An atlas that is there already: it gets samples, or is refused, and is never replaced unasked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from styleatlas.precompute.build import precompute
from styleatlas.precompute.existing import (
    estimate_extension,
    extend,
    extension_of,
    open_extension,
    untabled_of,
)
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.prompts.sets import PromptSet
from styleatlas.store.atlas import Atlas
from styleatlas.store.errors import AtlasFormatError, FingerprintError, OptionError

from .test_resume import stop_after
from .test_samples import assert_samples_near

SWEPT = PrecomputeSettings(table="sweep", images=3, statistics=20, seed=4, samples=0)
KEPT = ("style_mean", "style_std", "channels", "rows", "consistency", "strength", "images")
PROMPTS = PromptSet(tuple(f"word{i}" for i in range(8)), ("{}",))


@pytest.fixture(autouse=True)
def _small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("styleatlas.precompute.plan._MAX_PAIRS", 16)
        patch.setattr("styleatlas.precompute.samples.MAX_PULLED", 20)
        yield


@pytest.fixture
def drawn(make_generator, make_encoder):
    def drawn(**changes: object) -> Atlas:
        settings = replace(SWEPT, **changes)
        return precompute(make_generator(), make_encoder(), PROMPTS, settings, lambda done: None)

    return drawn


@pytest.fixture
def grow(make_generator, make_encoder, tmp_path):
    """Give an atlas, as a file, so many samples; returns what it becomes."""

    def grow(atlas: Atlas, samples: int) -> Atlas:
        path, models = tmp_path / "a.h5", (make_generator(), make_encoder())
        atlas.write(path)
        asked = PrecomputeSettings(samples=samples)
        extension = extension_of(path, *models, asked, {"samples"})
        with open_extension(path, *models, extension) as work:
            grown = extend(*models, extension, lambda done: None, work)
            work.finish()
        grown.write(path)
        assert list(tmp_path.iterdir()) == [path]
        return Atlas.open(path)

    return grow


def test_samples_are_added_to_a_table_that_stays_with_its_settings(drawn, grow):
    without, whole = drawn(), drawn(samples=50)
    grown = grow(without, 50)
    for name in KEPT:
        assert np.array_equal(getattr(grown, name), getattr(without, name))
    assert np.array_equal(grown.prompts.embeddings, without.prompts.embeddings)
    assert (grown.created, grown.library) == (without.created, without.library)
    assert grown.fingerprint.settings == whole.fingerprint.settings
    assert_samples_near(grown.samples, whole.samples)


@pytest.mark.parametrize("first", [1, 15, 16, 19, 40])
def test_samples_that_are_extended_are_those_of_one_run(drawn, grow, first):
    few, whole = drawn(table="none", samples=first), drawn(table="none", samples=50)
    grown = grow(few, 50)
    assert_samples_near(grown.samples, whole.samples)
    assert grown.fingerprint == whole.fingerprint
    assert np.array_equal(grown.samples.embedding[:first], few.samples.embedding), "stay as drawn"
    assert np.array_equal(grown.samples.w, whole.samples.w)


def test_samples_alone_get_the_table_that_one_run_draws(drawn, generator, encoder, tmp_path):
    path = tmp_path / "a.h5"
    alone, whole = drawn(table="none", samples=50), drawn(samples=50)
    alone.write(path)
    asked = replace(SWEPT, samples=7, seed=9)
    found = untabled_of(path, generator, encoder, asked, {"table"})
    assert (found.settings.samples, found.settings.seed) == (0, whole.fingerprint.settings["seed"])
    assert found.prompts.phrases == tuple(alone.prompts.texts)
    table = precompute(generator, encoder, found.prompts, found.settings, lambda progress: None)
    joined = found.joined(table)
    for name in KEPT:
        assert np.array_equal(getattr(joined, name), getattr(whole, name)), name
    assert joined.fingerprint == whole.fingerprint
    assert np.array_equal(joined.samples.embedding, alone.samples.embedding)


def test_a_table_is_added_only_where_it_is_asked_for_and_alone(drawn, generator, encoder, tmp_path):
    path, settings = tmp_path / "a.h5", PrecomputeSettings(table="sweep", samples=60)
    models = generator, encoder
    assert untabled_of(path, *models, settings, {"table"}) is None, "nothing lies there"
    drawn(table="none", samples=50).write(path)
    assert untabled_of(path, *models, settings, {"samples"}) is None
    assert untabled_of(path, *models, replace(settings, table="none"), {"table"}) is None
    with pytest.raises(OptionError, match=r"has 50 samples.*call of its own; leave out --samples"):
        untabled_of(path, *models, settings, {"table", "samples"})
    with pytest.raises(OptionError, match=r"samples that were drawn otherwise: seed"):
        untabled_of(path, *models, replace(settings, seed=9), {"table", "seed"})
    drawn(samples=50).write(path)
    assert untabled_of(path, *models, settings, {"table"}) is None, "it has one"


def test_atlas_of_before_there_were_samples_gets_some(drawn, grow):
    atlas = drawn()
    known = dict(atlas.fingerprint.settings)
    known["method"], known["samples"] = known.pop("table"), known.pop("statistics")
    old = replace(atlas, fingerprint=replace(atlas.fingerprint, settings=known))
    settings = grow(old, 30).fingerprint.settings
    assert (settings["table"], settings["statistics"], settings["samples"]) == ("sweep", 20, 30)
    assert "method" not in settings


def test_styles_are_kept_for_all_where_they_were(drawn, grow):
    atlas = drawn(samples=30)
    styles = np.zeros((30, 14), np.float16)
    kept = replace(atlas.samples, weight=None, bias=None, styles=styles)
    grown = grow(replace(atlas, samples=kept), 50)
    assert grown.samples.weight is None and grown.samples.styles.shape == (50, 14)


def test_extension_stopped_in_the_middle_resumes(
    drawn, make_generator, make_encoder, tmp_path, monkeypatch
):
    path, models = tmp_path / "a.h5", (make_generator(), make_encoder())
    undisturbed = drawn(samples=50).samples
    drawn().write(path)
    extension = extension_of(path, *models, PrecomputeSettings(samples=50), {"samples"})

    def start() -> Atlas:
        with open_extension(path, *models, extension) as work:
            grown = extend(*models, extension, lambda done: None, work)
            work.finish()
        return grown

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        stop_after(patch, 3, ZeroDivisionError())
        start()
    count = stop_after(monkeypatch, 6, AssertionError())
    grown = start()
    assert len(count) == 3
    assert_samples_near(grown.samples, undisturbed)


def test_what_is_not_asked_for_is_as_the_atlas_has_it(drawn, generator, encoder, tmp_path):
    path = tmp_path / "a.h5"
    drawn(samples=30).write(path)
    for samples, wanted in ((10, 30), (40, 40)):
        extension = extension_of(path, generator, encoder, PrecomputeSettings(samples=samples), ())
        assert extension.settings.samples == wanted and extension.settings.seed == 4
        assert bool(extension.plan.blocks) == (wanted == 40)
    same = {"table", "images", "seed", "strength", "probes", "statistics", "label", "refit"}
    assert extension_of(path, generator, encoder, replace(SWEPT, samples=30), same)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"table": "screened"}, 'table is "sweep" there and "screened" here'),
        ({"table": "none", "samples": 9}, 'table is "sweep" there and "none" here'),
        ({"images": 4}, "images is 3 there and 4 here"),
        ({"seed": 5}, "seed is 4 there and 5 here"),
        ({"strength": 4.0}, "strength is 5.0 there and 4.0 here"),
        ({"refit": 9}, "refit is null there and 9 here"),
        ({"statistics": 9}, "statistics is 20 there and 9 here"),
    ],
)
def test_other_settings_that_are_asked_for_are_refused_by_name(
    drawn, generator, encoder, tmp_path, changes, said
):
    path = tmp_path / "a.h5"
    drawn().write(path)
    content = path.read_bytes()
    with pytest.raises(OptionError, match=f"{path}: holds an atlas that was drawn other.*{said}; "):
        extension_of(path, generator, encoder, replace(SWEPT, **changes), set(changes))
    assert path.read_bytes() == content


def test_probes_that_were_taken_may_be_asked_for_again(drawn, generator, encoder, tmp_path):
    path = tmp_path / "a.h5"
    drawn(table="jacobian", probes=8).write(path)
    asked = replace(SWEPT, table="jacobian", probes=8)
    assert extension_of(path, generator, encoder, asked, {"probes", "table"})
    with pytest.raises(OptionError, match="probes is 8 there and 9 here"):
        extension_of(path, generator, encoder, replace(asked, probes=9), {"probes"})


def test_fewer_samples_than_there_are_are_refused(drawn, generator, encoder, tmp_path):
    path = tmp_path / "a.h5"
    drawn(samples=30).write(path)
    with pytest.raises(
        OptionError, match=r"samples 9: the atlas at .* has 30 already; give as many"
    ):
        extension_of(path, generator, encoder, PrecomputeSettings(samples=9), {"samples"})


@pytest.mark.parametrize("which", ["generator", "CLIP"])
def test_atlas_of_other_models_is_refused(drawn, make_generator, make_encoder, tmp_path, which):
    path = tmp_path / "a.h5"
    drawn().write(path)
    models = make_generator(int(which == "generator")), make_encoder(seed=int(which == "CLIP"))
    message = f"{path}: holds an atlas of another {which}, .*choose another -o, or delete the file"
    with pytest.raises(FingerprintError, match=message):
        extension_of(path, *models, PrecomputeSettings(), ())


def test_phrases_that_the_bank_lacks_are_refused(drawn, generator, encoder, tmp_path):
    path = tmp_path / "a.h5"
    drawn().write(path)
    with pytest.raises(
        OptionError, match="lacks 1 of these phrases, such as 'mine'; add them with"
    ):
        extension_of(path, generator, encoder, PrecomputeSettings(), (), ("Word1", "mine"))
    assert extension_of(path, generator, encoder, PrecomputeSettings(), (), ("Word1",))


@pytest.mark.parametrize("content", [None, b"", b"old", b"\x89HDF\r\n\x1a\n"])
def test_file_that_is_no_atlas_is_as_if_none_was_there(generator, encoder, tmp_path, content):
    path = tmp_path / "a.h5"
    if content is not None:
        path.write_bytes(content)
    assert extension_of(path, generator, encoder, PrecomputeSettings(), ()) is None


def test_samples_of_another_stream_are_not_gone_on_with(drawn, grow):
    atlas = drawn(samples=30)
    other = drawn(samples=30, seed=5).samples
    with pytest.raises(
        OptionError, match="samples: the atlas has 30 that are not the first of seed"
    ):
        grow(replace(atlas, samples=other), 50)


@pytest.mark.parametrize("changes", [{"seed": "x"}, {"seed": None}, {"label": 0.5}])
def test_settings_that_say_no_seed_are_refused(drawn, generator, encoder, tmp_path, changes):
    path, atlas = tmp_path / "a.h5", drawn()
    known = {**atlas.fingerprint.settings, **changes}
    replace(atlas, fingerprint=replace(atlas.fingerprint, settings=known)).write(path)
    with pytest.raises(
        AtlasFormatError, match=r"attribute settings: seed .* must be whole numbers"
    ):
        extension_of(path, generator, encoder, PrecomputeSettings(), ())


def test_estimate_of_an_extension_is_of_what_is_missing(
    drawn, grow, generator, encoder, tmp_path: Path
):
    path = tmp_path / "b.h5"
    drawn(samples=30).write(path)
    extension = extension_of(path, generator, encoder, PrecomputeSettings(samples=50), {"samples"})
    record = estimate_extension(generator, encoder, extension, 1)
    assert (record["samples"], record["renders"], record["channels"]) == (20, 20, 0)
    assert record["atlas_bytes"] > 4 * 28 * 14
