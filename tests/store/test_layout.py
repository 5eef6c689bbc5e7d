from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleatlas.store.errors import LayoutError
from styleatlas.store.layout import Layer, StyleLayout

NAMES = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P"), exclude_characters=":"),
    min_size=1,
    max_size=12,
)
LAYERS = st.lists(
    st.tuples(
        NAMES,
        st.sampled_from(["conv", "rgb", "input"]),
        st.sampled_from([4, 8, 16]),
        st.integers(1, 600),
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda layer: layer[0],
)


@pytest.fixture
def layout() -> StyleLayout:
    return StyleLayout.of(
        [("b4.conv1", "conv", 4, 6), ("b4.torgb", "rgb", 4, 3), ("b8.conv0", "conv", 8, 5)]
    )


@given(LAYERS, st.data())
def test_flat_index_label_and_layer_agree_in_every_layout(layers, data):
    layout = StyleLayout.of(layers)
    flat = data.draw(st.integers(0, layout.size - 1))
    layer, channel = layout.locate(flat)
    assert layer.slice.start + channel == flat < layer.slice.stop
    assert layout[layer.name] is layer
    assert layout.label(flat) == f"{layer.name}:{channel}"
    assert layout.parse(layout.label(flat)) == flat
    assert layout.kinds[flat] == layer.kind


@given(LAYERS)
def test_slices_of_the_layers_partition_the_channels(layers):
    layout = StyleLayout.of(layers)
    covered = np.concatenate([np.arange(layout.size)[layer.slice] for layer in layout])
    assert np.array_equal(covered, np.arange(layout.size))
    by_kind = [layout.indices(kind) for kind in ("conv", "rgb", "input")]
    assert sorted(np.concatenate(by_kind)) == list(range(layout.size))


def test_indices_of_several_kinds_are_ascending_int64(layout):
    indices = layout.indices("conv")
    assert indices.dtype == np.int64
    assert indices.tolist() == [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13]
    assert np.array_equal(layout.indices("rgb", "conv"), np.arange(14))
    assert layout.indices("input").shape == (0,)


def test_numpy_integers_are_flat_indices(layout):
    assert layout.label(np.int64(8)) == "b4.torgb:2"


def test_unknown_layer_names_the_nearest(layout):
    with pytest.raises(LayoutError, match=r"layer 'b8\.conv1'.*did you mean 'b8\.conv0'"):
        layout["b8.conv1"]
    with pytest.raises(LayoutError, match=r"did you mean 'b4\.torgb'"):
        layout.parse("b4.rgb:0")


def test_channel_beyond_the_layer_names_the_valid_range(layout):
    with pytest.raises(LayoutError, match=r"'b4\.torgb:3'.*b4\.torgb go from 0 to 2"):
        layout.parse("b4.torgb:3")


@pytest.mark.parametrize("label", ["", "7", "b4.conv1", "b4.conv1:", "b4.conv1:-1", "b4.conv1:1.0",
                                   ":3", "b4.conv1:x", "b4.conv1:" + "9" * 5000])  # fmt: skip
def test_malformed_labels_show_how_to_write_one(layout, label):
    with pytest.raises(LayoutError, match=r"layer:number, such as b8\.conv0:4"):
        layout.parse(label)


@pytest.mark.parametrize("flat", [-1, 14])
def test_flat_index_out_of_range_is_refused(layout, flat):
    with pytest.raises(LayoutError, match="go from 0 to 13"):
        layout.locate(flat)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "no layers"),
        ([("a", "conv", 4, 1), ("a", "rgb", 4, 1)], "layer a occurs twice"),
        ([("a:b", "conv", 4, 1)], "without ':'"),
        ([("", "conv", 4, 1)], "not empty"),
        ([("a\0", "conv", 4, 1)], "printable"),
        ([("a", "affine", 4, 1)], "unknown kind 'affine'; use one of conv, rgb, input"),
        ([("a", "conv", 4, 0)], "must be positive"),
        ([("a", "conv", 0, 4)], "must be positive"),
    ],
)
def test_impossible_layouts_are_refused(layers, message):
    with pytest.raises(LayoutError, match=message):
        StyleLayout.of(layers)


def test_layers_with_a_gap_are_refused():
    with pytest.raises(LayoutError, match="must adjoin"):
        StyleLayout((Layer("a", "conv", 4, 2, 0), Layer("b", "conv", 4, 2, 3)))


def test_unknown_kind_in_indices_is_refused(layout):
    with pytest.raises(LayoutError, match="layer kind 'affine': unknown"):
        layout.indices("affine")


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ([], []),
        (["b4.torgb"], ["b4.torgb"]),
        (["conv"], ["b4.conv1", "b8.conv0"]),
        (["b4.*"], ["b4.conv1", "b4.torgb"]),
        (["b?.conv[01]"], ["b4.conv1", "b8.conv0"]),
        (["rgb", "b8.*"], ["b4.torgb", "b8.conv0"]),
        (["b4.*", "rgb"], ["b4.conv1", "b4.torgb"]),
        (["*"], ["b4.conv1", "b4.torgb", "b8.conv0"]),
    ],
)
def test_names_patterns_and_kinds_choose_whole_layers(layout, patterns, names):
    chosen = layout.matching(patterns)
    assert chosen.dtype == bool and chosen.shape == (14,)
    assert {layout.locate(flat)[0].name for flat in np.flatnonzero(chosen)} == set(names)
    assert chosen.sum() == sum(layout[name].size for name in names)


@pytest.mark.parametrize(
    ("pattern", "nearest"),
    [
        ("b4.conv", "b4.conv1"),
        ("B8.conv0", "b8.conv0"),
        ("convs", "conv"),
        ("b4.conv1:3", "b4.conv1"),
    ],
)
def test_pattern_that_fits_no_layer_is_refused_with_the_nearest(layout, pattern, nearest):
    with pytest.raises(LayoutError) as caught:
        layout.matching(["conv", pattern])
    assert str(caught.value) == (
        f"layer {pattern!r}: this generator has none; did you mean {nearest!r}? Its layers "
        "are called like b4.conv1, b4.torgb, b8.conv0"
    )


@pytest.mark.parametrize("pattern", ["input", "b16.*", "B4.*", "CONV", ""])
def test_pattern_that_fits_no_layer_is_refused(layout, pattern):
    message = f"layer {pattern!r}: this generator has none; did you mean "
    with pytest.raises(LayoutError, match=re.escape(message)):
        layout.matching(["conv", pattern])
