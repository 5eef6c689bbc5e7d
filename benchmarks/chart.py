"""A scatter plot with a label at every point, drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 780, 520
LEFT, RIGHT, TOP, BOTTOM = 80, 30, 50, 70
INK, PALE, DOT = "#202020", "#dddddd", "#1f5fa8"

Box = tuple[float, float, float, float]


def scatter(
    panels: Mapping[str, Sequence[tuple[str, float, float]]], x_label: str, path: Path
) -> None:
    """Panels side by side, each a title with its points: label, x (on a log axis), y in percent."""
    canvas = Image.new("RGB", (WIDTH * len(panels), HEIGHT), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (title, points) in enumerate(panels.items()):
        _panel(draw, number * WIDTH, title, points, x_label)
    canvas.save(path)


def _panel(
    draw: ImageDraw.ImageDraw,
    at: int,
    title: str,
    points: Sequence[tuple[str, float, float]],
    x_label: str,
) -> None:
    small, large = ImageFont.load_default(15), ImageFont.load_default(18)
    left, right, top, bottom = at + LEFT, at + WIDTH - RIGHT, TOP, HEIGHT - BOTTOM
    low_x, high_x = (f(math.log10(x) for _, x, _ in points) for f in (min, max))
    low_x, high_x = low_x - 0.15, high_x + 0.15
    step = next(s for s in (1, 2, 5, 10, 20) if _span(points, s) <= 8 * s)
    low_y = math.floor(min(y for *_, y in points) / step) * step
    high_y = low_y + _span(points, step)

    def x_of(value: float) -> float:
        return left + (math.log10(value) - low_x) / (high_x - low_x) * (right - left)

    def y_of(value: float) -> float:
        return bottom - (value - low_y) / (high_y - low_y) * (bottom - top)

    draw.text(((left + right) / 2, TOP / 2), title, INK, large, anchor="mm")
    draw.text(((left + right) / 2, HEIGHT - 18), x_label, INK, small, anchor="mm")
    for value in range(low_y, high_y + 1, step):
        draw.line((left, y_of(value), right, y_of(value)), PALE)
        draw.text((left - 8, y_of(value)), f"{value}%", INK, small, anchor="rm")
    for power in range(math.floor(low_x), math.ceil(high_x)):
        for value in (10**power, 2 * 10**power, 5 * 10**power):
            if low_x <= math.log10(value) <= high_x:
                draw.line((x_of(value), top, x_of(value), bottom), PALE)
                draw.text((x_of(value), bottom + 8), f"{value:g}", INK, small, anchor="ma")
    draw.rectangle((left, top, right, bottom), outline=INK)
    taken: list[Box] = [(x_of(x) - 6, y_of(y) - 6, x_of(x) + 6, y_of(y) + 6) for _, x, y in points]
    for label, x, y in points:
        px, py = x_of(x), y_of(y)
        draw.ellipse((px - 5, py - 5, px + 5, py + 5), DOT)
        # The nearest line beside the point where the label covers nothing.
        boxes = (
            draw.textbbox((px + side, py + sign * line * 18), label, small, anchor=anchor)
            for line in range(HEIGHT // 18)
            for side, anchor in ((12, "lm"), (-12, "rm"))
            for sign in (-1, 1)
        )
        inside = (b for b in boxes if b[0] > left and b[2] < right and b[1] > top and b[3] < bottom)
        box = next(b for b in inside if not any(_meet(b, other) for other in taken))
        if not box[1] < py < box[3]:
            edge = box[0] - 3 if box[0] > px else box[2] + 3
            draw.line((px, py, edge, (box[1] + box[3]) / 2), DOT)
        taken.append(box)
        draw.text(box[:2], label, INK, small, anchor="lt")


def _span(points: Sequence[tuple[str, float, float]], step: int) -> int:
    """What an axis in such steps covers."""
    low, high = (f(y for *_, y in points) for f in (min, max))
    return (math.floor(high / step) + 1 - math.floor(low / step)) * step


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
