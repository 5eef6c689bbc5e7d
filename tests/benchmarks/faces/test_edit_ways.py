"""The ways of editing that are compared, on the embedded pair, whose atlas has samples and a
table."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks" / "faces"))

from edit_ways import WAYS, Models

from styleatlas import load_encoder, load_generator
from styleatlas.engine.models.subject import Subject
from styleatlas.store.errors import OptionError
from styleatlas.store.registry import EMBEDDED

PROMPTS = ("a face", "a face with a beard")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    found = Models(EMBEDDED.atlas, EMBEDDED.name, tmp_path_factory.mktemp("none"), 4.0, 0.15)
    # In place of the cached ones, which need fetched weights.
    found.generator = load_generator(EMBEDDED.name, "cpu")
    found.encoder = load_encoder(EMBEDDED.name, "cpu")
    return found


def made(models, name):
    subject: Subject = models.editor.subject(seeds=[5001])
    return WAYS[name](models)(subject, *PROMPTS)


def test_each_row_takes_its_direction_from_where_it_says(models):
    sources = {name: made(models, name).directions[0].source for name in ("samples", "table")}
    assert sources == {"samples": "samples", "table": "table"}


def test_the_bare_rows_have_no_phrases_to_hold(models):
    assert len(models.editor.atlas.prompts) > 1
    assert models.bare.atlas.prompts.texts == ("a face",)
    assert models.bare.atlas.samples is models.atlas.samples
    for name in ("samples-bare", "default-bare"):
        assert made(models, name).directions[0].held == ()


def test_styleclip_goes_one_alpha_by_one_beta(models):
    found = made(models, "styleclip")
    assert found.alphas[:, 0] == pytest.approx(np.full(1, 4.0))
    assert found.directions[0].beta == 0.15


def test_optimisation_and_mapper_are_the_editors_own(models):
    assert made(models, "optimise").ways == ("optimize",)
    with pytest.raises(OptionError, match="mapper: none in"):
        made(models, "mapper")
