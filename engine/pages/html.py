"""The parts that pages of HTML are put together from, and their style. A page loads nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from .charts import Markup, element


def page(
    title: str, name: str, lead: Markup, sections: Sequence[tuple[str, str, Markup]], footer: str
) -> str:
    """A page about `name`: a lead, then sections of a key, a title and a body each; those without
    a body are left out."""
    shown = [(key, heading, body) for key, heading, body in sections if body]
    links = [element("a", heading, href=f"#{key}") for key, heading, _ in shown]
    bodies = [element("section", element("h2", text), body, id=key) for key, text, body in shown]
    html = element(
        "html",
        _head(f"{title} {name}"),
        element(
            "body",
            element("header", element("h1", f"{title} ", said(name)), lead),
            element("nav", *links, aria_label="Sections"),
            *bodies,
            element("footer", footer),
        ),
        lang="en",
    )
    return f"<!doctype html>\n{html}\n"


def html_table(heads: Sequence[str], rows: Sequence[Sequence[object]], *, words: int) -> Markup:
    """A table; its numbers and what follows the first `words` columns stand to the right."""

    def kind(column: int) -> str | None:
        number = not isinstance(rows[0][column], Markup)
        return "number" if number and column >= words else None

    top = element("tr", *(element("th", h, class_=kind(i)) for i, h in enumerate(heads)))
    body = [
        element("tr", *(element("td", _cell(v), class_=kind(i)) for i, v in enumerate(row)))
        for row in rows
    ]
    whole = element("table", element("thead", top), element("tbody", *body))
    return element("div", whole, class_="scroll", tabindex=0)


def _cell(value: object) -> str:
    if value is None:
        return "\u2013"
    if isinstance(value, str):
        return value
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"


def figure(chart: Markup, caption: str | None) -> Markup:
    return element("figure", *([element("figcaption", caption)] if caption else []), chart)


def note(text: str) -> Markup:
    return element("p", text, class_="note")


def said(text: str) -> Markup:
    """A text of the atlas, which may run either way, kept apart from what surrounds it."""
    return element("bdi", text)


def _head(title: str) -> Markup:
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(_STYLE)),
    )


_STYLE = """
:root { --ink: #1c1e21; --soft: #5c6370; --line: #dcdfe4; --paper: #fdfdfc; --tint: #f2f3f1 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e3; --soft: #9aa0aa; --line: #34383f; --paper: #16181b; --tint: #1f2226 }
}
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100% }
body { margin: 0 auto; max-width: 62rem; padding: 2.5rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia,
  serif; overflow-wrap: break-word }
h1 { font-size: 2.1rem; line-height: 1.15; margin: 0 0 .6rem; font-weight: 600 }
h2 { font-size: 1.35rem; line-height: 1.25; margin: 3.2rem 0 .5rem; font-weight: 600 }
p { margin: 0 0 .8rem; max-width: 42rem }
.lead { font-size: 1.12rem }
.lead bdi { font-style: italic }
.note, figcaption, footer { color: var(--soft) }
.figures, nav, table, .facts, figcaption, .sides, .steps, summary, ul, footer {
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
code { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; color: var(--ink) }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.5rem, 1fr));
  gap: 1px; margin: 1.6rem 0 1.2rem; background: var(--line); border: 1px solid var(--line) }
.figures div { display: flex; flex-direction: column-reverse; justify-content: flex-end;
  padding: .7rem .9rem; background: var(--paper) }
.figures dd { margin: 0; font-size: 1.5rem; line-height: 1.2; font-variant-numeric: tabular-nums }
.figures dt { font-size: .82rem; color: var(--soft) }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; font-size: .9rem }
a { color: inherit; text-decoration-color: var(--soft); text-underline-offset: .2em }
.facts { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; margin: 0;
  gap: .35rem 1.4rem; font-size: .9rem }
.facts dt { color: var(--soft); max-width: 24rem }
.facts dd { margin: 0; overflow-wrap: anywhere }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .88rem; line-height: 1.4 }
th, td { text-align: left; vertical-align: top; padding: .35rem .9rem .35rem 0;
  border-bottom: 1px solid var(--line) }
th { font-weight: 500; color: var(--soft); vertical-align: bottom }
td code { white-space: nowrap }
td span { display: block; min-width: 11rem }
.number { text-align: right; font-variant-numeric: tabular-nums }
figure { margin: 1.2rem 0 0 }
figcaption { font-size: .9rem; margin-bottom: .5rem }
figcaption bdi { color: var(--ink); font-weight: 500 }
figure svg { display: block; width: 100%; max-width: 38rem; height: auto }
.charts, .strips { display: grid; gap: 1.2rem 2.5rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)) }
.sides { display: flex; justify-content: space-between; gap: 1.5rem; font-size: .85rem;
  line-height: 1.35; margin-bottom: .4rem }
.sides div:last-child { text-align: right }
.steps { display: flex; font-size: .75rem; color: var(--soft) }
.steps span { flex: 1; text-align: center }
img { display: block; width: 100%; height: auto; background: var(--tint) }
summary { cursor: pointer; font-size: .9rem }
ul { columns: 13rem; column-gap: 2rem; padding: 0; margin: 1rem 0; list-style: none;
  font-size: .85rem; line-height: 1.6 }
footer { margin-top: 4rem; font-size: .82rem }
@media (max-width: 34rem) {
  body { padding-top: 1.5rem }
  .facts { grid-template-columns: 1fr; gap: 0 }
  .facts dd { margin-bottom: .6rem }
}
@media print {
  :root { --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --tint: #fff }
  body { max-width: none; padding: 0; font-size: 10pt }
  nav, details { display: none }
  h2 { margin-top: 1.8rem }
  h2, .note { break-after: avoid; break-inside: avoid }
  figure, tr { break-inside: avoid }
  .charts, .strips { grid-template-columns: 1fr 1fr; gap: .8rem 1.5rem }
  .scroll { overflow: visible }
  td span { min-width: 0 }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact }
}
"""
