"""Success against preservation of all ways, as an SVG that stands alone. Without torch."""

from __future__ import annotations

import math

from markupsafe import Markup

from ...store.records import Record
from ..pages.svg import FONT, element, frame, legend, letters, line

# Of the default, its fixed alphas, the table, the paper, and what comes after them.
HUES = ("#c2286b", "#8a63d2", "#2f7ed8", "#e07a1f", "#1f9d80", "#8c8c8c", "#b0a060")
WIDTH, HEIGHT = 620, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 16, 12, 64


def trade_off(ways: list[Record]) -> Markup:
    """A curve a way over its alphas, from the images as they are; a cross of 95 % intervals where
    success and preservation add up to most, which for the default is the only point."""
    known = [p for way in ways for p in way["points"] if p["success"]["value"] is not None]
    lowest = min((p["preservation"]["value"] for p in known), default=0.0)
    floor = min(10 * math.floor(lowest / 10), 90)
    parts = _axes(floor)
    for number in reversed(range(len(ways))):  # the default on top
        parts += _way(ways[number], HUES[number % len(HUES)], floor)
    names = [(way["way"], HUES[number % len(HUES)]) for number, way in enumerate(ways)]
    title = "Success and preservation of each way of editing"
    return frame(title, WIDTH, HEIGHT, *parts, *legend(names, _LEFT, HEIGHT - 13, FONT))


def _way(way: Record, hue: str, floor: int) -> list[Markup]:
    points = [(0.0, 100.0)]
    parts = []
    for number, point in enumerate(way["points"]):
        success, preservation = point["success"], point["preservation"]
        if success["value"] is None:
            continue
        at = (success["value"], preservation["value"])
        points.append(at)
        if number == way["best"]:
            parts += _cross(success, preservation, hue, floor)
        alpha = "automatic alpha" if point["alpha"] is None else f"alpha {point['alpha']:g}"
        tip = f"{way['way']}, {alpha}: success {at[0]:.1f} %, preservation {at[1]:.1f} %"
        size = 6.0 if point["alpha"] is None else 3.2
        place = {"cx": _x(at[0]), "cy": _y(at[1], floor), "r": size, "fill": hue}
        parts.append(element("circle", element("title", tip), **place))
    if len(points) > 2:
        path = " ".join(f"{_x(x):.1f},{_y(y, floor):.1f}" for x, y in points)
        style = {"fill": "none", "stroke": hue, "stroke_width": 1.4, "stroke_opacity": 0.75}
        parts.insert(0, element("polyline", points=path, **style))
    return parts


def _cross(success: Record, preservation: Record, hue: str, floor: int) -> list[Markup]:
    x, y = _x(success["value"]), _y(preservation["value"], floor)
    ends = []
    if success["low"] is not None:
        ends.append((_x(success["low"]), y, _x(success["high"]), y))
    if preservation["low"] is not None:
        ends.append((x, _y(preservation["low"], floor), x, _y(preservation["high"], floor)))
    return [line(*end, colour=hue, width=1.4) for end in ends]


def _axes(floor: int) -> list[Markup]:
    parts = []
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    for value in range(0, 101, 20):
        parts.append(line(_x(value), _TOP, _x(value), bottom, opacity=0.12))
        parts.append(letters(_x(value), bottom + 11, f"{value}", anchor="middle"))
    step = 10 if floor >= 50 else 20
    for value in range(100, floor - 1, -step):
        y = _y(value, floor)
        parts.append(line(_LEFT, y, right, y, opacity=0.12))
        parts.append(letters(_LEFT - 6, y, f"{value}", anchor="end"))
    middle, y = (_LEFT + right) / 2, (_TOP + bottom) / 2
    parts.append(letters(middle, bottom + 27, "success, %", anchor="middle"))
    turned = f"rotate(-90 8 {y:g})"
    parts.append(letters(8, y, "preservation, %", anchor="middle", transform=turned))
    return parts


def _x(success: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * success / 100


def _y(preservation: float, floor: int) -> float:
    share = (preservation - floor) / (100 - floor)
    return HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - _TOP) * share
