"""The tables without a meaning."""

from __future__ import annotations

import numpy as np

from styleatlas.engine.evaluation.variants import random_rows, shuffled_rows


def test_shuffled_and_random_rows_leave_all_but_the_rows(countable_atlas):
    live = countable_atlas.consistency > 0
    assert not live.all()
    for table in (shuffled_rows(countable_atlas), random_rows(countable_atlas)):
        np.testing.assert_array_equal(table.consistency, countable_atlas.consistency)
        np.testing.assert_array_equal(table.strength, countable_atlas.strength)
        assert (table.rows[~live] == 0).all()
        assert (table.rows[live] != countable_atlas.rows[live]).any(1).mean() > 0.5
    shuffled = shuffled_rows(countable_atlas).rows[live]
    assert {row.tobytes() for row in shuffled} == {
        row.tobytes() for row in countable_atlas.rows[live]
    }
