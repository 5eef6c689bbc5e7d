"""What charts share: escaped elements, the frame, lines, letters and the legend. Without torch.

A chart carries no style sheet: its text takes the colour of what surrounds it, and its hues are
seen on light and on dark alike. So it can stand in a page, or in a file of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup, escape

FONT, SMALL = 11, 9.5
_FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
# What neither HTML nor XML may hold, and what UTF-8 cannot.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def fit(text: str) -> str:
    """The text, with a mark of replacement for every character that no page may hold."""
    return _UNFIT.sub("\ufffd", text)


def element(name: str, /, *children: str, **attributes: object) -> Markup:
    """An element whose children are markup already or texts. An underscore in the name of an
    attribute stands for a hyphen; an attribute that is None is left out."""
    parts = [name]
    for key, value in attributes.items():
        if value is not None:
            text = f"{value:.6g}" if isinstance(value, float) else str(value)
            parts.append(f'{key.replace("_", "-")}="{escape(fit(text))}"')
    inner = (c if isinstance(c, Markup) else escape(fit(c)) for c in children)
    return Markup(f"<{' '.join(parts)}>{''.join(inner)}</{name}>")


def frame(title: str, width: float, height: float, *children: Markup) -> Markup:
    """The chart itself, in units of which one is a pixel at its natural size."""
    return element(
        "svg",
        element("title", title),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        height=f"{height:.0f}",
        role="img",
        font_family=_FAMILY,
        fill="currentColor",
    )


def letters(
    x: float,
    y: float,
    text: str,
    *,
    size: float = FONT,
    anchor: str | None = None,
    transform: str | None = None,
) -> Markup:
    """A text whose middle lies at the height `y`."""
    # Not every reader of SVG knows dominant-baseline: a third of the size below does as well.
    down = 0.35 * size
    shift = {"x": round(x, 2), "y": round(y, 2), "dy": f"{down:.3g}", "font_size": float(size)}
    return element("text", text, text_anchor=anchor, transform=transform, **shift)


def line(
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    *,
    colour: str = "currentColor",
    width: float = 1.0,
    opacity: float | None = None,
    dashes: str | None = None,
) -> Markup:
    return element(
        "line",
        x1=float(x1),
        y1=float(y1),
        x2=float(x2),
        y2=float(y2),
        stroke=colour,
        stroke_width=width,
        stroke_opacity=opacity,
        stroke_dasharray=dashes,
    )


def legend(
    entries: Sequence[tuple[str, str]], x: float, y: float, size: float = SMALL
) -> list[Markup]:
    """Names and their hues beside one another, from `x` on, their middle at the height `y`."""
    parts = []
    for name, hue in entries:
        parts.append(element("rect", x=x, y=y - 5, width=10, height=10, fill=hue, rx=1))
        parts.append(letters(x + 15, y, name, size=size))
        x += 28 + 0.56 * size * len(name)  # as wide as a letter is on average
    return parts
