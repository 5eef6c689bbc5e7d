"""Slopes that are screened; the methods that do one thing are measured in tests of that thing."""

from __future__ import annotations

from typing import get_args

import numpy as np

from styleatlas.precompute import methods
from styleatlas.precompute.build import precompute
from styleatlas.precompute.relevance import audit, screened
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.prompts.sets import PromptSet

from ..near import assert_near

PHRASES = tuple(f"word{i}" for i in range(9))


def test_every_method_that_settings_may_name_is_there_under_its_name():
    assert tuple(methods.MEASURE_METHODS) == get_args(methods.TableName)
    assert all(method.name == name for name, method in methods.MEASURE_METHODS.items())


def test_screened_rows_are_the_sweeps_where_swept_and_slopes_elsewhere(
    stylegan2, make_encoder, draw, monkeypatch
):
    monkeypatch.setattr("styleatlas.precompute.relevance.AUDITED", 4)
    encoder = make_encoder(16)  # of 32 dimensions, as many as probes
    sweep, slopes, both = (
        draw(stylegan2, encoder, PHRASES, table=m) for m in ("sweep", "jacobian", "screened")
    )
    strongest, audited = screened(slopes, 0)
    assert (len(slopes.channels), len(strongest), len(audited)) == (23, 3, 4)
    swept = np.isin(both.channels, np.union1d(strongest, audited))
    assert both.fingerprint.settings["swept"] == swept.sum() == 7
    for name in ("rows", "consistency", "strength"):
        found, by_sweep, by_slopes = (getattr(atlas, name) for atlas in (both, sweep, slopes))
        assert np.allclose(found[swept], by_sweep[swept], atol=1e-6), name
        assert_near(found[~swept], by_slopes[~swept])
        assert np.abs(by_sweep - by_slopes)[~swept].max() > 1e-3, "they can be told apart"


def test_screened_atlas_tells_what_the_audit_found(stylegan2, make_encoder, draw, monkeypatch):
    monkeypatch.setattr("styleatlas.precompute.relevance.AUDITED", 4)
    seen = []
    monkeypatch.setattr(methods, "audit", lambda *given: seen.append(given) or audit(*given))
    atlas = draw(stylegan2, make_encoder(14), PHRASES, table="screened")
    ((slopes, swept, strongest, *_),) = seen
    settings = atlas.fingerprint.settings
    assert settings["table"] == "screened" and settings["probes"] == 28, "no more than dimensions"
    assert settings["audit"] == audit(*seen[0])
    assert settings["audit"]["channels"] == len(swept.channels) - len(strongest) == 4
    assert len(slopes.channels) == len(atlas.channels)


def test_everything_is_swept_where_channels_are_few(generator, encoder, countable_atlas, draw):
    atlas = draw(generator, encoder, table="screened")
    assert atlas.fingerprint.settings["swept"] == 12
    for name in ("rows", "consistency", "strength"):
        assert np.allclose(getattr(atlas, name), getattr(countable_atlas, name), atol=1e-6), name


def test_screened_run_renders_what_it_said_it_would(make_encoder, generator):
    calls, encoder = [], make_encoder(14)
    settings = PrecomputeSettings(images=20, table="screened", statistics=2, samples=0)
    precompute(generator, encoder, PromptSet((), ("{}",)), settings, calls.append)
    swept = 2 * 12 * 20
    assert generator.images_rendered == swept + 20, "an image of slopes is rendered once"
    assert calls[-1].of_renders == swept + 20 * encoder.width
