"""Charts as SVG: what they show, and that no text becomes markup."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from markupsafe import Markup

from styleatlas.engine.pages.charts import HUES, WIDTH, heat_map, layer_bars, layer_spreads
from styleatlas.store.layout import StyleLayout

SVG = "{http://www.w3.org/2000/svg}"
LARGE = StyleLayout.of(
    [("input", "input", 4, 4)]
    + [
        (f"b{2**power}.{name}", "rgb" if name == "torgb" else "conv", 2**power, 8)
        for power in range(3, 11)
        for name in ("conv0", "conv1", "torgb")
    ]
    + [("b1024.<i>&\"'", "rgb", 1024, 2)]
)
LAYERS = list(LARGE)
COUNT = len(LAYERS)  # 26


def spreads(quantiles: np.ndarray, **options: object) -> Markup:
    return layer_spreads("spread", LAYERS, quantiles, **{"logarithmic": False, **options})


def quantiles() -> np.ndarray:
    return np.sort(np.random.default_rng(0).uniform(0.01, 0.9, (COUNT, 5)), axis=1)


CHARTS = {
    "bars": lambda: layer_bars("bars", LAYERS, np.arange(COUNT) / 7, np.arange(COUNT) / 9),
    "linear": lambda: spreads(quantiles(), mark=(0.1, "chance")),
    "logarithmic": lambda: spreads(quantiles() ** 3, logarithmic=True),
    "map": lambda: heat_map("map", LAYERS, ["</svg><script>", "two"], np.ones((2, COUNT)) / COUNT),
}


def shapes(chart: str, name: str) -> list[ET.Element]:
    return list(ET.fromstring(chart).iter(SVG + name))


def number(node: ET.Element, key: str) -> float:
    return float(node.attrib[key])


@pytest.mark.parametrize("name", CHARTS)
def test_chart_stands_alone_and_names_every_layer(name):
    chart = ET.fromstring(CHARTS[name]())
    assert chart.tag == SVG + "svg" and chart.attrib["role"] == "img"
    assert chart.find(SVG + "title") is not None
    texts = ["".join(node.itertext()) for node in chart.iter(SVG + "text")]
    assert all(any(text in layer.name for text in texts) for layer in LAYERS)
    assert LAYERS[-1].name in texts
    assert {node.tag for node in chart.iter()} <= {
        SVG + tag for tag in ("svg", "title", "text", "rect", "line")
    }


@pytest.mark.parametrize("name", CHARTS)
def test_nothing_is_drawn_beyond_the_edges(name):
    chart = CHARTS[name]()
    height = number(ET.fromstring(chart), "height")
    for node in shapes(chart, "rect"):
        assert number(node, "x") >= 0 and number(node, "y") >= 0
        assert number(node, "x") + number(node, "width") <= WIDTH
        assert number(node, "y") + number(node, "height") <= height
    for node in shapes(chart, "text"):
        assert 0 <= number(node, "x") <= WIDTH and 0 <= number(node, "y") <= height


def test_bars_are_as_long_as_their_numbers_and_as_their_parts():
    totals = np.linspace(0, 2.5, COUNT)
    parts = totals * np.linspace(1, 0.2, COUNT)
    bars = shapes(layer_bars("bars", LAYERS, totals, parts), "rect")[-2 * COUNT :]
    widths = np.array([number(bar, "width") for bar in bars]).reshape(COUNT, 2)
    scale = widths[-1, 0] / totals[-1]
    assert scale > 50
    assert np.allclose(widths, np.stack([totals, parts], 1) * scale, atol=1e-3)
    assert [bar.attrib["fill"] for bar in bars[::2]] == [HUES[layer.kind] for layer in LAYERS]


def test_bars_stand_one_below_the_other_with_room_for_a_line_of_text():
    texts = shapes(CHARTS["bars"](), "text")
    (left,) = {number(node, "x") for node in texts if node.text == "b64.conv1"}
    lines = [node for node in texts if number(node, "x") == left]
    gaps = np.diff([number(node, "y") for node in lines])
    assert [node.text for node in lines] == [layer.name for layer in LAYERS]
    assert gaps.min() >= 1.4 * float(lines[0].attrib["font-size"])


def test_every_resolution_is_named_once_beside_its_run_of_layers():
    texts = [node.text for node in shapes(CHARTS["bars"](), "text")]
    sizes = [text for text in texts if text and text.endswith(" px")]
    assert sizes == [f"{size} px" for size in (4, 8, 16, 32, 64, 128, 256, 512, 1024)]


@pytest.mark.parametrize("logarithmic", [False, True])
def test_boxes_lie_at_their_quantiles_on_the_axis_of_the_ticks(logarithmic):
    values = np.tile([0.01, 0.1, 0.2, 0.5, 1.0], (COUNT, 1))
    chart = spreads(values, logarithmic=logarithmic)
    ticks = {
        float(node.text): number(node, "x")
        for node in shapes(chart, "text")
        if node.text and node.text.replace(".", "").isdigit()
    }
    low, high = min(ticks), max(ticks)
    assert (low, high) == ((0.01, 1.0) if logarithmic else (0.0, 1.0))

    def x_of(value: float) -> float:
        share = np.log(value / low) / np.log(high / low) if logarithmic else value
        return ticks[low] + share * (ticks[high] - ticks[low])

    box = shapes(chart, "rect")[-1]
    assert number(box, "x") == pytest.approx(x_of(0.1), abs=0.1)
    assert number(box, "x") + number(box, "width") == pytest.approx(x_of(0.5), abs=0.1)
    line, stroke = shapes(chart, "line")[-2:]
    assert number(line, "x1") == pytest.approx(x_of(0.01), abs=0.1)
    assert number(line, "x2") == pytest.approx(x_of(1.0), abs=0.1)
    assert number(stroke, "x1") == number(stroke, "x2") == pytest.approx(x_of(0.2), abs=0.1)


def test_marked_value_is_a_dashed_line_with_its_name():
    chart = spreads(quantiles(), mark=(0.25, "by chance"))
    (dashed,) = (node for node in shapes(chart, "line") if "stroke-dasharray" in node.attrib)
    ticks = {n.text: number(n, "x") for n in shapes(chart, "text") if n.text in ("0", "0.2")}
    wanted = ticks["0"] + 1.25 * (ticks["0.2"] - ticks["0"])
    assert number(dashed, "x1") == pytest.approx(wanted, abs=0.1)
    assert "by chance" in [node.text for node in shapes(chart, "text")]


def test_cells_are_as_deep_as_their_share_and_tell_it():
    shares = np.zeros((2, COUNT))
    shares[0, 3], shares[0, 5], shares[1, 25] = 0.4, 0.2, 0.1
    cells = shapes(heat_map("map", LAYERS, ["one", "two"], shares), "rect")[-2 * COUNT :]
    depth = np.array([number(cell, "fill-opacity") for cell in cells]).reshape(2, COUNT)
    assert depth[0, 3] == 1 and depth[1, 0] == depth.min() < 0.1
    assert depth[0, 5] == pytest.approx(depth.min() + (1 - depth.min()) / 2, abs=1e-3)
    tips = ["".join(cell.itertext()) for cell in cells]
    assert tips[3] == f"one, {LAYERS[3].name}: 40.0%" and tips[-1].endswith(": 10.0%")


def test_charts_of_nothing_but_zeros_are_drawn():
    zeros = np.zeros((COUNT, 5))
    for chart in (
        layer_bars("bars", LAYERS, zeros[:, 0], zeros[:, 0]),
        spreads(zeros),
        spreads(zeros, logarithmic=True),
        heat_map("map", LAYERS, ["one"], zeros[None, :, 0]),
    ):
        assert "nan" not in chart and "inf" not in chart
        ET.fromstring(chart)
