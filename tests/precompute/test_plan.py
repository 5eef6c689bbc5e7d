from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleatlas.precompute.plan import BLOCK_PAIRS, plan_blocks
from styleatlas.store.errors import OptionError
from styleatlas.store.layout import StyleLayout

LAYERS = st.lists(
    st.tuples(st.sampled_from(["conv", "rgb", "input"]), st.integers(1, 90)), min_size=1, max_size=6
)


def layout_of(layers: list[tuple[str, int]]) -> StyleLayout:
    return StyleLayout.of((f"l{i}", kind, 4, size) for i, (kind, size) in enumerate(layers))


@given(LAYERS, st.integers(1, 3 * BLOCK_PAIRS))
def test_plan_covers_every_channel_and_image_once_in_blocks_of_one_layer(layers, images):
    layout = layout_of([*layers, ("rgb", 3)])
    covered = np.zeros((layout.size, images), int)
    for block in plan_blocks(layout, images):
        covered[block.channels, block.first : block.last] += 1
        assert len({layout.locate(int(channel))[0] for channel in block.channels}) == 1
        assert 1 <= block.pairs <= BLOCK_PAIRS
        assert block.pairs == len(block.channels) * (block.last - block.first)
    swept = np.isin(layout.kinds, ["conv", "rgb"])
    assert (covered[swept] == 1).all() and not covered[~swept].any()


def test_plan_keeps_to_the_kinds_asked_for():
    layout = layout_of([("conv", 3), ("rgb", 2), ("input", 4)])
    assert [b.channels.tolist() for b in plan_blocks(layout, 5, ["rgb"])] == [[3, 4]]
    assert [b.channels.tolist() for b in plan_blocks(layout, 5, ["input"])] == [[5, 6, 7, 8]]


def test_few_images_do_not_make_many_small_blocks():
    blocks = plan_blocks(layout_of([("conv", 300)]), 2)
    assert [block.pairs for block in blocks] == [512, 88]


def test_plan_without_images_or_channels_is_refused():
    layout = layout_of([("input", 3)])
    with pytest.raises(OptionError, match="images 0: must be at least 1"):
        plan_blocks(layout, 0)
    with pytest.raises(OptionError, match="no style channels of kind conv or rgb"):
        plan_blocks(layout, 1)
