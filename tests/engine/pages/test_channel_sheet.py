"""What single channels do, in pictures: the right pixels at the right place."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.models.load import load_generator
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.engine.pages import channel_sheet
from styleatlas.engine.pages.channel_sheet import (
    MAX_STEP,
    STEPS,
    channel_images,
    draw_sheet,
    report_figures,
    require_sheet,
    sheet_records,
)
from styleatlas.engine.pages.highlights import leading_channels
from styleatlas.store.atlas import Atlas
from styleatlas.store.bank import PromptBank
from styleatlas.store.errors import FingerprintError, OptionError
from styleatlas.store.fingerprint import ModelIdentity
from styleatlas.store.registry import EMBEDDED

from ...checkpoint_files import small_stylegan3
from ...near import assert_pixels_near

SEEDS = [1, 2, 3]


def blank_atlas(generator: StyleGANGenerator, countable_atlas: Atlas) -> Atlas:
    """An atlas of a generator with deviations of its styles, and no rows."""
    size = generator.layout.size
    names = ("channels", "rows", "consistency", "strength", "images")
    return replace(
        countable_atlas,
        layout=generator.layout,
        style_mean=np.zeros(size, np.float32),
        style_std=np.random.default_rng(0).uniform(0.05, 0.3, size).astype(np.float32),
        **{name: getattr(countable_atlas, name)[:0] for name in names},
    )


@pytest.fixture(params=["StyleGAN2", "StyleGAN3"])
def real(request, stylegan2, make_network, countable_atlas) -> tuple[StyleGANGenerator, Atlas]:
    generator = stylegan2
    if request.param == "StyleGAN3":
        config = small_stylegan3()
        identity = ModelIdentity("tiny 3", "3" * 64, {})
        generator = StyleGANGenerator(make_network(config=config), identity)
    return generator, blank_atlas(generator, countable_atlas)


def test_every_column_is_the_whole_render_with_the_step_added(real):
    generator, atlas = real
    styles = styles_from_seeds(generator, SEEDS, 0.7)
    firsts = [layer.start for layer in generator.layout]
    assert generator.layout.layers[0].kind in ("input", "conv")
    found = channel_images(generator, atlas, styles, [*firsts[::-1], firsts[0] + 1], STEPS, 64)
    assert sorted(found) == sorted({*firsts, firsts[0] + 1})
    for flat, images in found.items():
        assert images.shape[:2] == (len(SEEDS), len(STEPS))
        for column, step in enumerate(STEPS):
            changed = styles.clone()
            changed[:, flat] += step * float(atlas.style_std[flat])
            with torch.inference_mode():
                whole = generator.render(changed)
            assert torch.allclose(images[:, column], whole, atol=1e-4), (flat, step)
        with torch.inference_mode():
            plain = generator.render(styles)
        assert torch.allclose(images[:, STEPS.index(0)], plain, atol=1e-4)
        assert not torch.allclose(images[:, 0], plain, atol=1e-3)


def test_embedded_models_are_shown_as_an_edit_would_change_them():
    generator, atlas = load_generator(EMBEDDED.name, "cpu"), Atlas.open(EMBEDDED.atlas)
    styles = styles_from_seeds(generator, [1, 2], 0.7)
    channels = [atlas.layout.parse(label) for label in ("b16.conv0:115", "b32.torgb:45")]
    for flat, images in channel_images(generator, atlas, styles, channels, [-10, 0], 64).items():
        changed = styles.clone()
        changed[:, flat] -= 10 * float(atlas.style_std[flat])
        with torch.inference_mode():
            assert torch.allclose(images[:, 0], generator.render(changed), atol=1e-4)
            assert torch.allclose(images[:, 1], generator.render(styles), atol=1e-4)


def test_large_images_are_scaled_down_by_area(generator, countable_atlas):
    styles = styles_from_seeds(generator, [1], 0.7)
    whole = channel_images(generator, countable_atlas, styles, [3], [0.0], 8)[3]
    small = channel_images(generator, countable_atlas, styles, [3], [0.0], 4)[3]
    assert whole.shape == (1, 1, 3, 8, 8) and small.shape == (1, 1, 3, 4, 4)
    assert float(small.mean()) == pytest.approx(float(whole.mean()), abs=0.02)


def test_sheet_has_a_row_an_image_and_a_column_a_step(generator, countable_atlas):
    styles = styles_from_seeds(generator, SEEDS, 0.7)
    channels = [12, 7]
    records = sheet_records(countable_atlas, channels)
    picture = np.asarray(draw_sheet(generator, countable_atlas, styles, SEEDS, records))
    images = channel_images(generator, countable_atlas, styles, channels, STEPS, 8)
    scale = 192 // 8
    left = picture.shape[1] - len(STEPS) * 192
    height = len(SEEDS) * 192
    tops = [picture.shape[0] - 2 * height - 14, picture.shape[0] - height]
    for flat, top in zip(channels, tops, strict=True):
        for row in range(len(SEEDS)):
            wanted = to_bytes(images[flat][row]).numpy().repeat(scale, 1).repeat(scale, 2)
            for column in range(len(STEPS)):
                y, x = top + 192 * row, left + 192 * column
                assert_pixels_near(picture[y : y + 192, x : x + 192], wanted[column])
        beside = picture[top : top + height, :left]
        assert (beside[:192] < 128).any(), "the channel's name and phrases"
    assert left > 100 and (picture[: tops[0], left:] < 128).any(), "the steps above"


def test_sheet_of_small_cells_has_room_for_the_phrases(generator, countable_atlas):
    styles = styles_from_seeds(generator, [1], 0.7)
    long = tuple(f"{i} two\nlines {'wide ' * 40}" for i in range(4))
    bank = PromptBank(long, countable_atlas.prompts.embeddings)
    atlas = replace(countable_atlas, prompts=bank)
    records = sheet_records(atlas, [7, 8], [0.5, -0.25])
    picture = draw_sheet(generator, atlas, styles, [1], records, [0.0])
    assert picture.width < 192 + 350, "long phrases are cut"
    assert picture.height < 500
    edge = np.asarray(picture)[:, :10]
    assert (edge == 255).all(), "nothing touches the edge"


def test_record_of_a_channel_holds_its_phrases_and_relevance(countable_atlas):
    known, outside = sheet_records(countable_atlas, [7, 0], [0.51239, -0.2])
    assert known["channel"] == "b8.conv0:0" and known["kind"] == "conv"
    assert known["resolution"] == 8 and known["score"] == 0.5124
    assert known["std"] == round(float(countable_atlas.style_std[7]), 4)
    meaning = countable_atlas.query_prompts("b8.conv0:0", 3)
    for side in ("towards", "away"):
        assert known[side] == [r["prompt"] for r in meaning if r["side"] == side]
    assert outside["channel"] == "input:0" and outside["towards"] == outside["away"] == []
    assert "score" not in sheet_records(countable_atlas, [7])[0]


def test_images_of_a_crowded_sheet_become_smaller_and_then_too_many(real):
    for side in (1024, *real[0].image_size):
        require_sheet((side, side), 781, STEPS)
        with pytest.raises(OptionError, match="sheet of 782 x 5 images: is too large for one"):
            require_sheet((side, side), 782, STEPS)
    require_sheet((1024, 512), 1562, STEPS)
    with pytest.raises(OptionError, match="sheet of 1563 x 5 images: is too large for one"):
        require_sheet((1024, 512), 1563, STEPS)


def test_crowded_sheet_keeps_to_its_pixels(generator, countable_atlas, monkeypatch):
    seeds = list(range(40))
    styles = styles_from_seeds(generator, seeds, 0.7)
    records = sheet_records(countable_atlas, [7])
    monkeypatch.setattr("styleatlas.engine.pictures.sheet._MOST_PIXELS", 40 * 5 * 64**2)
    picture = draw_sheet(generator, countable_atlas, styles, seeds, records)
    assert picture.height - 40 * 64 in range(100), "cells of 64 pixels, and a line above them"


@pytest.mark.parametrize("step", [MAX_STEP + 1, -MAX_STEP - 1, float("nan"), float("inf")])
def test_step_that_is_no_step_is_refused(step):
    with pytest.raises(OptionError, match="must lie between -100 and 100"):
        require_sheet((8, 8), 1, [0.0, step])


@pytest.mark.parametrize("tried", [24, 4])
def test_figures_of_a_report_show_channels_on_images_they_change_most(
    generator, countable_atlas, monkeypatch, tried
):
    if tried == 4:  # as of images so large that no more than the fewest are tried
        monkeypatch.setattr(channel_sheet, "_TRIED_PIXELS", 1)
    figures = report_figures(generator, countable_atlas)
    assert [figure.channel for figure in figures] == leading_channels(countable_atlas, 8)
    styles = styles_from_seeds(generator, range(1, tried + 1), 0.7)
    channels = [figure.channel for figure in figures]
    images = channel_images(generator, countable_atlas, styles, channels, STEPS, 128)
    rows = []
    for figure in figures:
        assert figure.steps == STEPS
        pixels = to_bytes(images[figure.channel].flatten(0, 1)).numpy()
        pixels = pixels.reshape(tried, len(STEPS), 8, 8, 3)
        change = np.abs(pixels[:, 0].astype(float) - pixels[:, -1]).sum((1, 2, 3))
        with Image.open(io.BytesIO(figure.png)) as picture:
            drawn = np.asarray(picture).astype(np.int16)
        assert drawn.shape == (2 * 8, len(STEPS) * 8, 3)
        # A channel that is moved by many sigma makes rounding larger by as much: two grey levels,
        # and of two images that change about as much either may come first.
        apart = [
            [np.abs(row - np.hstack(image)).max() for image in pixels]
            for row in np.vsplit(drawn, 2)
        ]
        shown = np.argmin(apart, 1)
        assert np.min(apart, 1).max() <= 2 and len(set(shown)) == 2
        assert change[shown].min() >= 0.98 * np.sort(change)[-2]
        assert change[shown[0]] >= 0.98 * change.max()
        rows += shown.tolist()
    assert set(rows) != {0, 1}, "not just the first seeds"


def test_figures_of_a_report_are_the_same_again(generator, countable_atlas):
    first, second = (report_figures(generator, countable_atlas) for _ in range(2))
    assert [figure.png for figure in first] == [figure.png for figure in second]


def test_figures_of_another_generator_are_refused(make_generator, countable_atlas):
    with pytest.raises(FingerprintError, match="do not belong together"):
        report_figures(make_generator(seed=1), countable_atlas)
