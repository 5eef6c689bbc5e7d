"""precompute --draft, with a small StyleGAN2 of random weights and a tiny CLIP that sees 16 px."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from styleatlas import Atlas
from styleatlas.engine.checkpoints.checkpoint import GeneratorCheckpoint
from styleatlas.engine.checkpoints.native import write_generator
from styleatlas.engine.networks.stylegan2 import StyleGAN2Config

from ..near import assert_atlases_near

CHANNELS = {4: 8, 8: 7, 16: 6, 32: 5}
QUICK = ("--images", 2, "--samples", 20, "--statistics", 50, "--table", "sweep", "--draft")


@pytest.fixture(scope="module")
def write(make_network, tmp_path_factory):
    """A checkpoint whose last toRGB adds so much, in shares of what random ones do."""

    def write(name: str, share: float = 0.01, **changes: object) -> Path:
        fields = {"z_dim": 5, "w_dim": 6, "mapping_layers": 2, "channels": CHANNELS, **changes}
        network = make_network(config=StyleGAN2Config(**fields))
        network.synthesis.b32.torgb.weight.data *= share
        network.synthesis.b32.torgb.bias.data *= share
        path = tmp_path_factory.mktemp("drafts") / f"{name}.safetensors"
        state = network.state_dict()
        write_generator(path, GeneratorCheckpoint.of(path, network.config, state, "styleatlas"))
        return path

    return write


@pytest.fixture(scope="module")
def generator(write) -> Path:
    return write("small")


def test_atlas_of_a_draft_says_so_where_it_is_drawn_and_in_info(
    run, generator, clip_folder, tmp_path
):
    path = tmp_path / "a.h5"
    result = run("precompute", generator, "--clip", clip_folder, "-o", path, *QUICK)
    assert result.exit_code == 0, result.output
    assert "draft: images of 16 px in place of 32 px" in result.stderr
    blocks = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
    kinds = [block["kind"] for block in blocks]
    assert kinds.index("agreement") == kinds.index("samples") - 1, "before it is used"
    assert "CLIP saw drafts of 16 px: over 64 samples the median cosine is 0.9" in result.stdout
    assert "16 channels of later layers do not reach the draft" in result.stdout
    told = json.loads(run("info", path, "--json").stdout)
    assert told["settings"]["draft"] == 16 and told["settings"]["agreement"]["samples"] == 64
    assert told["swept_channels"] == told["style_channels"] - 16
    assert "agreement" in run("info", path).stdout
    again = run("precompute", generator, "--clip", clip_folder, "-o", path, *QUICK, "--json")
    assert json.loads(again.stdout)["draft"] == 16
    assert run("verify", path).exit_code == 0


def test_edits_and_queries_go_by_an_atlas_of_a_draft(run, generator, clip_folder, tmp_path):
    path = tmp_path / "a.h5"
    assert run("precompute", generator, "--clip", clip_folder, "-o", path, *QUICK).exit_code == 0
    pair = ("--neutral", "a", "--target", "face")
    models = ("--generator", generator, "--clip", clip_folder)
    for options in (("--source", "table", "--alpha", 2), ("--source", "samples", "--alpha", 2)):
        sheet = tmp_path / "sheet.png"
        edited = run("edit", path, *pair, *models, "--seed", 1, *options, "-o", sheet)
        assert edited.exit_code == 0, edited.output
    assert run("query", "channels", path, *pair, "--clip", clip_folder).exit_code == 0
    missing = run("query", "prompts", path, "b32.conv1:0")
    assert missing.exit_code == 1
    assert "b32.conv1:0: is not in this atlas, which holds" in missing.stderr


@pytest.mark.long
def test_workers_draw_the_draft_that_one_process_draws(run, generator, clip_folder, tmp_path):
    for name, options in (("a.h5", ()), ("b.h5", ("--workers", 2, "--device", "cpu"))):
        arguments = (*QUICK, "--clip", clip_folder, "-o", tmp_path / name, *options)
        assert run("precompute", generator, *arguments).exit_code == 0
    one, two = Atlas.open(tmp_path / "a.h5"), Atlas.open(tmp_path / "b.h5")
    assert_atlases_near(one, two)
    np.testing.assert_allclose(one.samples.embedding, two.samples.embedding, atol=2e-3)


def test_draft_that_shows_other_things_is_refused_and_nothing_is_left(
    run, write, clip_folder, tmp_path
):
    arguments = ("--clip", clip_folder, "-o", tmp_path / "a.h5", *QUICK)
    result = run("precompute", write("other", 30), *arguments)
    assert result.exit_code == 1 and result.stdout == ""
    *_, told = result.stderr.splitlines()
    assert told.startswith("styleatlas precompute: draft of 16 px: CLIP sees other things in it")
    assert told.endswith("both medians must be 0.97 or more; leave out --draft")
    assert list(tmp_path.iterdir()) == []


def test_generator_without_partial_images_is_refused(refused, write, clip_folder, tmp_path):
    arguments = ("--clip", clip_folder, "-o", tmp_path / "a.h5", *QUICK)
    told = refused("precompute", write("other", architecture="resnet"), *arguments)
    assert "the generator other gives no image between its own 32 px and the 16 px" in told
    assert "leave out --draft" in told


def test_generator_as_small_as_what_clip_sees_is_refused(
    refused, checkpoint, clip_folder, tmp_path
):
    told = refused("precompute", checkpoint, "--clip", clip_folder, "-o", tmp_path / "a.h5", *QUICK)
    assert "the generator tiny gives no image between its own 8 px and the 16 px that CLIP" in told


def test_dry_run_tells_of_the_draft(run, generator, clip_folder, tmp_path):
    arguments = ("--clip", clip_folder, "-o", tmp_path / "a.h5", *QUICK, "--dry-run")
    text = run("precompute", generator, *arguments).stdout
    assert "images of 16 px; 64 samples are first seen whole, too" in text
    record = json.loads(run("precompute", generator, *arguments, "--json").stdout)
    assert record["draft"] == 16 and record["channels"] == 57
    assert list(tmp_path.iterdir()) == []


def test_draft_of_a_table_that_compares_with_other_builders_is_wrong_usage(
    run, generator, clip_folder, tmp_path
):
    arguments = ("--clip", clip_folder, "-o", tmp_path / "a.h5", "--draft")
    result = run("precompute", generator, *arguments, "--reference-compat", "torch")
    assert result.exit_code == 2 and "sees whole images; leave out --draft" in result.stderr
