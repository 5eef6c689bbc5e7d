from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from styleatlas.precompute.blocks import Models
from styleatlas.precompute.composites import COMPOSITE_IMAGES
from styleatlas.precompute.plan import composite_blocks
from styleatlas.precompute.statistics import composite_styles

from .setups import setup_of


def test_movement_is_half_the_way_between_the_sides_of_each_image(generator, encoder):
    layout = generator.layout
    channels = np.arange(2, 14)
    pool = composite_styles(generator, 0.7, 0)
    (block,) = composite_blocks(layout, channels, 40)
    steps = np.random.default_rng(0).normal(size=(40, 12)).astype(np.float32) / 5
    setup = setup_of(pool, pool=pool)
    found = replace(block, steps=steps).run(Models(generator, encoder), setup)["moves"]
    assert generator.images_rendered == 320 == block.renders
    for number in (0, 7, 35):  # the last of them begins the pool again
        delta = np.zeros(layout.size, np.float32)
        delta[channels] = steps[number]
        which = [(COMPOSITE_IMAGES * number + i) % 128 for i in range(COMPOSITE_IMAGES)]
        sides = [
            encoder.images(generator.render(pool[which] + s * torch.from_numpy(delta)))
            for s in (1, -1)
        ]
        expected = (sides[0] - sides[1]).mean(0).numpy() / 2
        assert found[number] == pytest.approx(expected, abs=1e-6)
