from __future__ import annotations

import numpy as np
import pytest

from styleatlas.precompute.blocks import WorkBlock
from styleatlas.precompute.probes import Probes
from styleatlas.precompute.relevance import (
    RelevanceTable,
    audit,
    screened,
    screened_count,
    sloped_table,
    swept_table,
)
from styleatlas.precompute.slopes import SlopesBlock
from styleatlas.precompute.sweep import SweepBlock

WIDTH = 16


def table_of(channels, strength, rows=None, consistency=None) -> RelevanceTable:
    channels = np.array(channels)
    count = len(channels)
    if rows is None:
        rows = np.random.default_rng(0).normal(size=(count, WIDTH))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    consistency = np.ones(count) if consistency is None else np.array(consistency)
    return RelevanceTable(channels, np.array(rows, float), consistency, np.array(strength, float))


def random_table(count: int, seed: int = 0) -> RelevanceTable:
    random = np.random.default_rng(seed)
    channels = np.sort(random.choice(5 * count, count, replace=False))
    return table_of(channels, random.permutation(count) + 1.0)


# Which channels are swept


@pytest.mark.parametrize(
    ("count", "strongest"), [(1000, 100), (1001, 101), (1009, 101), (331, 34), (50, 5)]
)
def test_strongest_tenth_is_swept_rounded_up_and_32_others(count, strongest):
    table = random_table(count)
    best, audited = screened(table, seed=0)
    assert len(best) == strongest
    chosen = table.channels[np.argsort(table.strength)[-strongest:]]
    assert best.tolist() == sorted(chosen)
    assert len(audited) == min(32, count - strongest)
    assert (np.diff(audited) > 0).all(), "ascending, none twice"
    assert not np.isin(audited, best).any() and np.isin(audited, table.channels).all()
    assert screened_count(count) == strongest + len(audited)


@pytest.mark.parametrize("count", [1, 2, 10, 12, 35])
def test_all_of_a_few_channels_are_swept(count):
    table = random_table(count)
    best, audited = screened(table, seed=0)
    assert len(best) == -(-count // 10)
    assert np.array_equal(np.union1d(best, audited), table.channels)
    assert screened_count(count) == count


def test_audited_channels_are_drawn_by_the_seed():
    table = random_table(1000)
    one, same, other = (screened(table, seed)[1] for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    later, _ = np.histogram(np.concatenate([screened(table, seed)[1] for seed in range(60)]), 4)
    assert later.min() > 300, "from everywhere: 1920 draws in four quarters"


def test_channels_of_equal_strength_are_taken_in_their_order():
    best, _ = screened(table_of(np.arange(40) * 3, np.ones(40)), seed=0)
    assert best.tolist() == [0, 3, 6, 9]


# What the audit says


def probes_seeing(dimensions: int) -> Probes:
    square = np.eye(WIDTH, dtype=np.float32)
    return Probes(square[:dimensions], square[dimensions:], min(2, WIDTH - dimensions), 0)


def at_cosine(cosine: float, beyond: float = 0.0) -> np.ndarray:
    """A unit row at this cosine to the first axis as 8 probes see it, and `beyond` outside."""
    row = np.zeros(WIDTH)
    row[:2] = np.sqrt(1 - beyond**2) * np.array([cosine, np.sqrt(1 - cosine**2)])
    row[9] = beyond
    return row


CHANNELS = np.arange(10, 17)
COSINES = [1.0, 0.95, 0.85, 0.2, 0.99]
STRONGEST = np.array([10, 13])


def hand_made(beyond: float = 0.0) -> tuple[RelevanceTable, RelevanceTable]:
    """Slopes and sweep of seven channels; all but the strongest, 10 and 13, are audited."""
    first = np.eye(WIDTH)[0]
    rows = [first, *[at_cosine(c, beyond) for c in COSINES]]
    rows.insert(3, first)
    strength = [5.0, 1.0, 3.5, 3.0, 0.5, 4.0, 2.0]
    slopes = table_of(np.arange(9, 20), np.ones(11), np.tile(first, (11, 1)))
    return slopes, table_of(CHANNELS, strength, rows)


@pytest.mark.parametrize("beyond", [0.0, 0.6])
def test_audit_compares_what_the_probes_see_of_audited_rows(beyond):
    assert audit(*hand_made(beyond), STRONGEST, probes_seeing(8)) == {
        "channels": 5,
        "median_cosine": 0.95,
        "lowest_cosine": 0.2,
        "share_below_0.9": 0.4,
        "stronger_than_swept": 2,  # than 3.0, the weakest of the strongest
    }


def test_audit_leaves_out_channels_that_move_nothing_and_counts_those_that_one_side_missed():
    slopes, swept = hand_made()
    nothing = np.zeros(WIDTH)
    slopes.rows[2], slopes.consistency[2] = nothing, 0  # channel 11
    swept.rows[1], swept.consistency[1] = nothing, 0
    swept.rows[6], swept.consistency[6] = nothing, 0  # channel 16: only its slopes move
    found = audit(slopes, swept, STRONGEST, probes_seeing(8))
    assert found["channels"] == 5
    assert (found["median_cosine"], found["lowest_cosine"]) == (0.525, 0.0)
    assert found["share_below_0.9"] == 0.75


def test_audit_of_nothing_finds_nothing():
    slopes, swept = hand_made()
    for table in (slopes, swept):
        table.rows[:], table.consistency[:] = 0, 0
    assert audit(slopes, swept, STRONGEST, probes_seeing(8)) == {
        "channels": 5,
        "median_cosine": 1.0,
        "lowest_cosine": 1.0,
        "share_below_0.9": 0.0,
        "stronger_than_swept": 2,
    }
    assert audit(slopes, swept, CHANNELS, probes_seeing(8))["channels"] == 0


# Rows of some channels, and tables from sums


def test_rows_can_be_taken_out_and_put_into_their_places():
    table, other = random_table(20), random_table(20, seed=3)
    some = table.channels[[3, 4, 11]]
    taken = table.at(some)
    assert np.array_equal(taken.channels, some)
    assert np.array_equal(taken.rows, table.rows[[3, 4, 11]])
    assert np.array_equal(taken.strength, table.strength[[3, 4, 11]])
    fresh = RelevanceTable(some, other.rows[:3], other.consistency[:3] / 2, other.strength[:3] + 50)
    mixed = table.replaced(fresh)
    rest = np.setdiff1d(np.arange(20), [3, 4, 11])
    for name in ("rows", "consistency", "strength"):
        assert np.array_equal(getattr(mixed, name)[[3, 4, 11]], getattr(fresh, name)), name
        assert np.array_equal(getattr(mixed, name)[rest], getattr(table, name)[rest]), name
    assert not np.isin(fresh.strength, table.strength).any(), "the table itself is as it was"


def block(channels, first: int, last: int) -> WorkBlock:
    return SweepBlock(np.array(channels), first, last)


def test_swept_table_is_the_mean_of_the_blocks_sums():
    one, two = np.eye(WIDTH)[:2]
    blocks = [
        (block([4, 7], 0, 3), {"unit": np.array([3 * one, 3 * two]), "length": np.array([6, 3])}),
        (block([4, 7], 3, 4), {"unit": np.array([two, two]), "length": np.array([2, 1])}),
        (block([9], 0, 4), {"unit": np.array([0 * one]), "length": np.array([0])}),
    ]
    table = swept_table(np.array([4, 7, 9]), 4, WIDTH, blocks)
    assert np.allclose(table.rows[:, :2], [[3 / 10**0.5, 1 / 10**0.5], [0, 1], [0, 0]])
    assert table.consistency == pytest.approx([10**0.5 / 4, 1, 0])
    assert table.strength == pytest.approx([2, 1, 0])


def test_sloped_table_splits_a_rows_length_by_the_energy_in_and_out_of_the_basis():
    inside, outside = np.eye(WIDTH)[0], np.eye(WIDTH)[12]
    sums = {
        # Of the part outside only the direction is told by `unit`; its scale is the energy's.
        "unit": np.array([2 * inside + 7 * outside, 2 * inside, 0 * inside]),
        "length": np.array([6.0, 6.0, 0.0]),
        "inside": np.array([18.0, 18.0, 0.0]),
        "outside": np.array([32.0, 0.0, 0.0]),
    }
    blocks = [(SlopesBlock(np.array([4, 7, 9]), 0, 2, 10), sums)]
    table = sloped_table(np.array([4, 7, 9]), 2, WIDTH, probes_seeing(8), blocks)
    assert np.allclose(table.rows[0], 0.6 * inside + 0.8 * outside)
    assert np.allclose(table.rows[1], inside) and not table.rows[2].any()
    assert table.strength == pytest.approx([5, 3, 0])
    assert table.consistency == pytest.approx([1, 1, 0])
