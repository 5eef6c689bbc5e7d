"""What a run tells while it goes on, and what it will take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from styleatlas.precompute.composites import CompositesBlock
from styleatlas.precompute.reports import atlas_text, run_progress, summary
from styleatlas.precompute.scheduler import RunProgress
from styleatlas.precompute.slopes import SlopesBlock
from styleatlas.precompute.sweep import SweepBlock


def test_block_is_told_by_its_kind_its_channels_and_the_rate_of_renders(generator):
    """8 s after a run began that had resumed 4 renders."""
    block = SweepBlock(np.array([3, 4, 9]), 0, 5)
    run = RunProgress(2, 3, 1, 10, 40, 4, block, cost=5.0, of_cost=50.0, seconds=8.0)
    shown = run_progress(run, generator.layout)
    assert (shown.done, shown.total, shown.label) == (5.0, 50.0, "sweep")
    assert shown.figures == ("2/3 blocks", "0.75 renders/s")
    assert shown.record == {
        "kind": "sweep",
        "channels": ["b4.conv1:1", "b8.conv0:2"],
        "images": [0, 4],
        "blocks": 2,
        "of_blocks": 3,
        "resumed": 1,
        "renders_per_s": 0.75,
    }
    assert run_progress(replace(run, last=None), generator.layout).record is None


def test_block_of_composites_is_told_by_their_numbers(generator):
    block = CompositesBlock(np.arange(2, 14), 128, 172, np.zeros((44, 12), np.float32))
    record = run_progress(RunProgress(4, 4, 0, 352, 352, 0, block), generator.layout).record
    assert record["kind"] == "composites" and record["composites"] == [128, 171]
    assert "images" not in record


def test_later_layers_and_colours_cost_less_and_products_more(generator):
    layout = generator.layout

    def cost(name: str) -> float:
        layer = layout[name]
        block = SweepBlock(np.arange(layer.start, layer.slice.stop), 0, 5)
        return block.cost(layout) / block.renders

    assert cost("b4.conv1") == pytest.approx(1)
    assert 1 > cost("b8.conv0") > cost("b8.torgb") > 0
    assert cost("b4.torgb") == cost("b8.torgb")
    block = SlopesBlock(np.arange(2, 14), 0, 3, 4)
    assert block.cost(layout) == 2 * block.renders


def test_summary_counts_live_and_consistent_channels(countable_atlas):
    record = summary(countable_atlas)
    assert (record["channels"], record["live"], record["images"]) == (12, 11, 24)
    consistent = countable_atlas.consistency > 1.5 / np.sqrt(24)
    assert record["more_consistent_than_chance"] == int(consistent.sum()) >= 10
    strongest = countable_atlas.layout.parse(record["strongest_channel"])
    row = countable_atlas.row_of(strongest)
    product = countable_atlas.strength * countable_atlas.consistency
    assert product[row] == product.max()
    assert "audit" not in record
    text = atlas_text("a.h5", record)
    assert text.splitlines()[0] == "a.h5: 12 channels over 24 images, 4 prompts"
    assert text.endswith(f"next: styleatlas query prompts a.h5 {record['strongest_channel']}")


def test_summary_of_a_screened_atlas_tells_the_audit(draw, generator, encoder):
    record = summary(draw(generator, encoder, table="screened", images=4))
    assert record["swept"] == 12 and record["audit"]["channels"] == 10
    assert "12 channels were swept, the rest have slopes" in atlas_text("a.h5", record)
