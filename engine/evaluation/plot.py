"""Success against preservation of all ways, as an SVG that stands alone. Without torch."""

from __future__ import annotations

import math

from ...store.records import Record
from ..pages.charts import Markup, element

# A way keeps its hue: the default, its fixed alphas, the paper, and what comes after them.
HUES = ("#c2286b", "#8a63d2", "#e07a1f", "#1f9d80", "#8c8c8c", "#b0a060")
WIDTH, HEIGHT = 620, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 16, 12, 64
_FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def trade_off(ways: list[Record]) -> Markup:
    """A curve a way over its alphas, from the images as they are; a cross of 95 % intervals where
    success and preservation add up to most, which for the default is the only point."""
    known = [p for way in ways for p in way["points"] if p["success"]["value"] is not None]
    lowest = min((p["preservation"]["value"] for p in known), default=0.0)
    floor = min(10 * math.floor(lowest / 10), 90)
    parts = _axes(floor)
    for number in reversed(range(len(ways))):  # the default on top
        parts += _way(ways[number], HUES[number % len(HUES)], floor)
    return element(
        "svg",
        element("title", "Success and preservation of each way of editing"),
        *parts,
        *_legend([way["way"] for way in ways]),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width=WIDTH,
        height=HEIGHT,
        role="img",
        font_family=_FAMILY,
        fill="currentColor",
    )


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
        line = {"fill": "none", "stroke": hue, "stroke_width": 1.4, "stroke_opacity": 0.75}
        parts.insert(0, element("polyline", points=path, **line))
    return parts


def _cross(success: Record, preservation: Record, hue: str, floor: int) -> list[Markup]:
    x, y = _x(success["value"]), _y(preservation["value"], floor)
    ends = []
    if success["low"] is not None:
        ends.append((_x(success["low"]), y, _x(success["high"]), y))
    if preservation["low"] is not None:
        ends.append((x, _y(preservation["low"], floor), x, _y(preservation["high"], floor)))
    return [_line(*end, stroke=hue, stroke_width=1.4) for end in ends]


def _axes(floor: int) -> list[Markup]:
    parts = []
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    for value in range(0, 101, 20):
        parts.append(_line(_x(value), _TOP, _x(value), bottom, stroke_opacity=0.12))
        parts.append(_text(_x(value), bottom + 15, f"{value}", text_anchor="middle"))
    step = 10 if floor >= 50 else 20
    for value in range(100, floor - 1, -step):
        y = _y(value, floor)
        parts.append(_line(_LEFT, y, right, y, stroke_opacity=0.12))
        parts.append(_text(_LEFT - 6, y + 4, f"{value}", text_anchor="end"))
    middle, y = (_LEFT + right) / 2, (_TOP + bottom) / 2
    parts.append(_text(middle, bottom + 31, "success, %", text_anchor="middle"))
    turned = f"rotate(-90 12 {y:g})"
    parts.append(_text(12, y, "preservation, %", text_anchor="middle", transform=turned))
    return parts


def _legend(names: list[str]) -> list[Markup]:
    x, y, parts = float(_LEFT), HEIGHT - 10, []
    for i, name in enumerate(names):
        parts.append(element("circle", cx=x + 4, cy=y - 4, r=4, fill=HUES[i % len(HUES)]))
        parts.append(_text(x + 12, y, name))
        x += 28 + 5.9 * len(name)  # as wide as a letter is on average
    return parts


def _x(success: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * success / 100


def _y(preservation: float, floor: int) -> float:
    share = (preservation - floor) / (100 - floor)
    return HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - _TOP) * share


def _text(x: float, y: float, text: str, **attributes: object) -> Markup:
    return element("text", text, x=round(x, 1), y=round(y, 1), font_size=11, **attributes)


def _line(x1: float, y1: float, x2: float, y2: float, **attributes: object) -> Markup:
    ends = {"x1": float(x1), "y1": float(y1), "x2": float(x2), "y2": float(y2)}
    return element("line", **{"stroke": "currentColor", **ends, **attributes})
