"""What became of an image, in a word."""

from __future__ import annotations

from itertools import permutations

import pytest

from styleatlas.engine.steering.status import STATUSES, WORDS, together


def test_every_status_is_put_in_words():
    assert set(WORDS) == set(STATUSES) and len(set(WORDS.values())) == len(STATUSES)


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        (["reached"], "reached"),
        (["already_there", "already_there"], "already_there"),
        (["already_there", "reached"], "reached"),
        (["reached", "not_reached", "already_there"], "not_reached"),
        (["out_of_range", "not_reached"], "out_of_range"),
        (["reached", "unsupported", "out_of_range"], "unsupported"),
    ],
)
def test_several_edits_have_the_status_of_the_one_that_fared_worst(statuses, status):
    assert {together(list(order)) for order in permutations(statuses)} == {status}
