"""What a run tells while it goes on, and what it will take."""

from __future__ import annotations

import io
import json
import time

import numpy as np
import pytest

from styleatlas.precompute.composites import CompositesBlock
from styleatlas.precompute.reports import ProgressReport, summary, summary_text
from styleatlas.precompute.scheduler import Progress
from styleatlas.precompute.slopes import SlopesBlock
from styleatlas.precompute.sweep import SweepBlock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def told(monkeypatch, generator):
    """What is told of 2 blocks of 20 renders after 2 and 8 s, `before` renders resumed."""

    def told(stream: io.StringIO, before: int = 0) -> str:
        clock = iter([0.0, 2.0, 8.0])
        monkeypatch.setattr(time, "monotonic", lambda: next(clock))
        report = ProgressReport(stream, generator.layout)
        for blocks, renders, last in (
            (1, before, None),
            (2, 10, SlopesBlock(np.arange(2, 14), 0, 3, 4)),
            (3, 40, SweepBlock(np.array([3, 4, 9]), 0, 5)),
        ):
            resumed = 1 if before else 0
            report(Progress(blocks, 3, resumed, renders, 40, before, last))
        return stream.getvalue()

    return told


def test_terminal_shows_stage_blocks_rate_and_remaining_time(told):
    start, first, last = told(Terminal()).lstrip("\r").split("\r")
    assert start == f"begins    [{'-' * 24}]   0%  1/3 blocks  0 renders/s  ? left "
    assert first == f"slopes    [######{'-' * 18}]  25%  2/3 blocks  5 renders/s  6 s left "
    assert last == f"sweep     [{'#' * 24}] 100%  3/3 blocks  5 renders/s  0 s left \n"


def test_resumed_blocks_do_not_count_as_fast_ones(told):
    _, first, _ = told(Terminal(), before=4).lstrip("\r").split("\r")
    assert "3 renders/s  10 s left" in first


def test_elsewhere_every_block_is_a_line_of_json(told):
    first, last = map(json.loads, told(io.StringIO(), before=4).splitlines())
    assert first == {
        "kind": "slopes",
        "channels": ["b4.conv1:0", "b8.torgb:2"],
        "images": [0, 2],
        "blocks": 2,
        "of_blocks": 3,
        "resumed": 1,
        "renders_per_s": 3.0,
        "seconds_left": 10.0,
    }
    assert last["channels"] == ["b4.conv1:1", "b8.conv0:2"] and last["seconds_left"] == 0


def test_block_of_composites_is_told_by_their_numbers(generator):
    block = CompositesBlock(np.arange(2, 14), 128, 172, np.zeros((44, 12), np.float32))
    stream = io.StringIO()
    ProgressReport(stream, generator.layout)(Progress(4, 4, 0, 352, 352, 0, block))
    record = json.loads(stream.getvalue())
    assert record["kind"] == "composites" and record["composites"] == [128, 171]
    assert "images" not in record


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
    text = summary_text("a.h5", record)
    assert text.splitlines()[0] == "a.h5: 12 channels over 24 images, 4 prompts"
    assert text.endswith(f"next: styleatlas query prompts a.h5 {record['strongest_channel']}")


def test_summary_of_a_screened_atlas_tells_the_audit(draw, generator, encoder):
    record = summary(draw(generator, encoder, method="screened", images=4))
    assert record["swept"] == 12 and record["audit"]["channels"] == 10
    assert "12 channels were swept, the rest have slopes" in summary_text("a.h5", record)
