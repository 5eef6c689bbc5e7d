"""Charts of layers as SVG. Without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ...store.layout import Layer, LayerKind
from .svg import SMALL, element, frame, legend, letters, line

HUES: dict[LayerKind, str] = {"conv": "#3f7fd6", "rgb": "#e07a1f", "input": "#1f9d80"}
KIND_NAMES: dict[LayerKind, str] = {"conv": "convolution", "rgb": "toRGB", "input": "input"}

WIDTH = 480
_LINE = 18
_SIZE_X, _NAME_X, _PLOT_X = 40, 48, 134
_PLOT_WIDTH = WIDTH - _PLOT_X - 46


def layer_bars(
    title: str, layers: Sequence[Layer], totals: NDArray[np.floating], parts: NDArray[np.floating]
) -> Markup:
    """A bar a layer, in execution order: `totals` (L,), at least 0, with `parts` (L,) of them in
    full colour."""
    most = float(totals.max(initial=0)) or 1.0
    plot = []
    for i, layer in enumerate(layers):
        hue, top = HUES[layer.kind], _row_top(i)
        whole, part = (_PLOT_WIDTH * float(v[i]) / most for v in (totals, parts))
        at = {"x": _PLOT_X, "y": top + 3, "height": _LINE - 6, "fill": hue}
        plot += [
            element("rect", width=whole, fill_opacity=0.35, **at),
            element("rect", width=part, **at),
            letters(_PLOT_X + whole + 5, top + _LINE / 2, f"{totals[i]:.3f}", size=SMALL),
        ]
    height = _row_top(len(layers)) + 6
    return frame(title, WIDTH, height, *_legend(layers), *_layer_axis(layers), *plot)


def layer_spreads(
    title: str,
    layers: Sequence[Layer],
    quantiles: NDArray[np.floating],
    *,
    logarithmic: bool,
    mark: tuple[float, str] | None = None,
) -> Markup:
    """How a number is spread over each layer's channels: a line from the first to the last of its
    `quantiles` (L, 5), a box from the second to the fourth, a stroke at the middle one; `mark`
    names one value with a dashed line."""
    low, high, ticks = (_log_ticks if logarithmic else _ticks)(quantiles)

    def x_of(value: float) -> float:
        if logarithmic:
            share = math.log(max(value, low) / low) / math.log(high / low)
        else:
            share = (value - low) / (high - low)
        return _PLOT_X + _PLOT_WIDTH * min(max(share, 0.0), 1.0)

    bottom = _row_top(len(layers))
    plot = []
    for tick in ticks:
        plot.append(line(x_of(tick), _row_top(0), x_of(tick), bottom, opacity=0.15))
        plot.append(letters(x_of(tick), bottom + 10, f"{tick:g}", size=SMALL, anchor="middle"))
    for i, layer in enumerate(layers):
        hue, middle = HUES[layer.kind], _row_top(i) + _LINE / 2
        first, second, median, fourth, last = (x_of(float(q)) for q in quantiles[i])
        box = max(fourth - second, 1.0)
        plot += [
            line(first, middle, last, middle, colour=hue),
            element("rect", x=second, y=middle - 5, width=box, height=10, fill=hue, rx=1),
            line(median, middle - 6, median, middle + 6, width=2),
        ]
    if mark:
        x = x_of(mark[0])
        plot.append(line(x, _row_top(0) - 2, x, bottom, opacity=0.8, dashes="3 3"))
        plot.append(letters(x, bottom + 22, mark[1], size=SMALL, anchor="middle"))
    height = bottom + (30 if mark else 18)
    return frame(title, WIDTH, height, *_legend(layers), *_layer_axis(layers), *plot)


def heat_map(
    title: str, layers: Sequence[Layer], names: Sequence[str], shares: NDArray[np.floating]
) -> Markup:
    """A row a name, a column a layer: `shares` (n, L), 0 to 1 each, as the depth of the colour."""
    left, top = 172, 40
    cell = (WIDTH - left - 2) / len(layers)
    most = float(shares.max(initial=0)) or 1.0
    bottom = top + _LINE * len(names)
    plot = []
    for row, name in enumerate(names):
        y = top + _LINE * row
        plot.append(letters(left - 6, y + _LINE / 2, _cut(name, 26), anchor="end"))
        for column, layer in enumerate(layers):
            share = float(shares[row, column])
            tip = element("title", f"{_cut(name, 60)}, {_cut(layer.name, 40)}: {share:.1%}")
            at = {"x": left + cell * column, "y": y, "width": cell - 1, "height": _LINE - 1}
            depth = round(0.05 + 0.95 * share / most, 3)
            plot.append(element("rect", tip, fill=HUES[layer.kind], fill_opacity=depth, rx=1, **at))
    small = min(SMALL, cell - 0.5)
    for column, layer in enumerate(layers):
        x, y = left + cell * (column + 0.5), bottom + 5
        turned = f"rotate(-90 {x:.2f} {y})"
        label = letters(x, y, _cut(layer.name, 14), size=small, anchor="end", transform=turned)
        plot.append(label)
    for first, last, size in _runs(layers):
        x, end = left + cell * first, left + cell * last - 1
        plot.append(line(x, top - 4, end, top - 4, opacity=0.5))
        plot.append(letters((x + end) / 2, top - 11, str(size), size=SMALL, anchor="middle"))
    plot.append(letters(left - 6, top - 11, "resolution in px", size=SMALL, anchor="end"))
    longest = max(len(_cut(layer.name, 14)) for layer in layers)
    height = bottom + 14 + longest * small * 0.62
    return frame(title, WIDTH, height, *_legend(layers, f"full colour: {most:.0%}"), *plot)


def _layer_axis(layers: Sequence[Layer]) -> list[Markup]:
    """The layers' names from top to bottom, with the resolution of each run of them."""
    axis = []
    for i, layer in enumerate(layers):
        axis.append(letters(_NAME_X, _row_top(i) + _LINE / 2, _cut(layer.name, 13)))
    for first, last, size in _runs(layers):
        top, bottom = _row_top(first), _row_top(last)
        axis.append(line(_SIZE_X + 3, top + 2, _SIZE_X + 3, bottom - 2, opacity=0.5))
        middle = (top + bottom) / 2
        axis.append(letters(_SIZE_X - 1, middle, f"{size} px", size=SMALL, anchor="end"))
    axis.append(line(_PLOT_X, _row_top(0), _PLOT_X, _row_top(len(layers)), opacity=0.5))
    return axis


def _legend(layers: Sequence[Layer], note: str = "") -> list[Markup]:
    kinds = [kind for kind in HUES if any(layer.kind == kind for layer in layers)]
    parts = legend([(KIND_NAMES[kind], HUES[kind]) for kind in kinds], 2.0, 8)
    return [*parts, letters(WIDTH - 2, 8, note, size=SMALL, anchor="end")] if note else parts


def _runs(layers: Sequence[Layer]) -> list[tuple[int, int, int]]:
    """The stretches of layers of one resolution: first, behind the last, and the resolution."""
    starts = [i for i, x in enumerate(layers) if not i or x.resolution != layers[i - 1].resolution]
    ends = [*starts[1:], len(layers)]
    return [(i, j, layers[i].resolution) for i, j in zip(starts, ends, strict=True)]


def _row_top(row: int) -> int:
    return 22 + _LINE * row


def _ticks(values: NDArray[np.floating]) -> tuple[float, float, list[float]]:
    """An axis from 0 that covers the values, in 2 to 6 round steps."""
    high = float(values.max(initial=0)) or 1.0
    power = 10.0 ** math.floor(math.log10(high))
    step = next(s * power for s in (0.2, 0.5, 1.0, 2.0) if high <= 6 * s * power)
    count = math.ceil(high / step - 1e-9)
    return 0.0, step * count, [step * i for i in range(count + 1)]


def _log_ticks(values: NDArray[np.floating]) -> tuple[float, float, list[float]]:
    """A logarithmic axis that covers the values, but at most four powers of ten."""
    high = float(values.max(initial=0)) or 1.0
    top = math.ceil(math.log10(high) - 1e-9)
    least = float(values[values > 0].min(initial=high))
    bottom = max(top - 4, min(math.floor(math.log10(least) + 1e-9), top - 1))
    return 10.0**bottom, 10.0**top, [10.0**power for power in range(bottom, top + 1)]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
