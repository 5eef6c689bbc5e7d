from __future__ import annotations

import numpy as np

from styleatlas.precompute.streams import Stream


def test_streams_are_those_that_every_atlas_so_far_was_drawn_from():
    known = ["STATISTICS", "IMAGES", "PROBES", "AUDIT", "COMPOSITE_IMAGES", "COMPOSITES"]
    later = {
        "SAMPLES": 8,
        "AGREEMENT": 9,
        "ENCODER": 10,
        "ENCODER_VALIDATION": 11,
        "ENCODER_POOL": 12,
    }
    numbers = {**{name: number for number, name in enumerate(known)}, **later}
    assert {stream.name: stream.value for stream in Stream} == numbers
    for stream in Stream:
        number = stream.value
        for more in ((), (70_000,)):
            expected = np.random.default_rng([2**32 - 1, number, *more]).random(3)
            assert np.array_equal(stream.random(2**32 - 1, *more).random(3), expected)
