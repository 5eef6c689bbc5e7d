"""An atlas as one page of HTML that opens anywhere and loads nothing. Without torch."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...store.atlas import Atlas
from ...store.describe import atlas_record
from ...store.errors import OptionError, OutputError
from ...store.output import replacing, require_writable
from ...store.records import Record
from .charts import KIND_NAMES, Markup, element, heat_map, join, layer_bars, layer_spreads
from .highlights import (
    Phrasebook,
    layer_answers,
    measured_layers,
    rows_of_layers,
    spread_phrases,
    strongest_channels,
)
from .html import figure, html_table, note, page, said

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MAX_LAYERS = 200
_LEADING = 5
_CHANNELS, _PHRASES, _PROMPTS = 20, 16, 5000
_AUDIT = {
    "channels": "channels drawn at random from those with slopes alone, and swept as well",
    "median_cosine": "median cosine of slope and sweep",
    "lowest_cosine": "lowest cosine of slope and sweep",
    "share_below_0.9": "share of them with a cosine below 0.9",
    "stronger_than_swept": "stronger than the weakest of the channels swept for their strength",
}


@dataclass(frozen=True, eq=False)
class PromptPair:
    """A pair of prompts and the unit direction (D,) from one to the other."""

    neutral: str
    target: str
    text: NDArray[np.float32]


@dataclass(frozen=True)
class ChannelFigure:
    """What one channel does, in pictures.

    Args:
        channel: its flat index.
        steps: the step of each column, in standard deviations of the channel.
        png: a PNG file, the columns of equal width and no margin, a row an image.
    """

    channel: int
    steps: tuple[float, ...]
    png: bytes


def relevance_chart(atlas: Atlas, pair: PromptPair) -> Markup:
    """How much each layer answers to a pair of prompts, as an SVG that stands alone: a bar a
    layer, its five strongest channels in full colour (see `layer_answers`)."""
    text = pair.text[None]
    title = f"What each layer answers to “{pair.neutral}” → “{pair.target}”"
    totals, leading = layer_answers(atlas, text)[0], layer_answers(atlas, text, _LEADING)[0]
    return layer_bars(title, measured_layers(atlas), totals, leading)


def report_html(
    atlas: Atlas, pairs: Sequence[PromptPair] = (), figures: Sequence[ChannelFigure] = ()
) -> str:
    """The page: what the atlas is and where it comes from, its layers, its strongest channels,
    what answers to phrases of its bank and to `pairs`, and `figures` of channels.

    Raises:
        OptionError: more layers than a page can show.
    """
    if len(atlas.layout) > MAX_LAYERS:
        raise OptionError(
            f"atlas: has {len(atlas.layout)} layers; a report shows up to {MAX_LAYERS}. "
            "Ask it by `styleatlas query`"
        )
    record = atlas_record(atlas)
    book = Phrasebook(atlas)
    sections = [
        ("origin", "Where it comes from", _origin(record)),
        ("layers", "Layers", _layers(record)),
        ("spread", "Consistency and strength", _spreads(atlas)),
        ("channels", "Strongest channels", _strongest(atlas, book)),
        ("pictures", "What channels do", _pictures(atlas, figures, book)),
        ("pairs", "Prompts over layers", _pairs(atlas, pairs)),
        ("phrases", "Phrases over layers", _phrases(atlas)),
        ("audit", "Audit", _audit(atlas)),
        ("bank", "Prompt bank", _bank(atlas)),
    ]
    name = atlas.fingerprint.generator.name
    drawn = f"Written by StyleAtlas from an atlas drawn by {atlas.library}."
    return page("Atlas of", name, _lead(atlas, record), sections, drawn)


def write_report(text: str, path: str | os.PathLike[str]) -> None:
    """Writes an HTML file whole or not at all.

    Raises:
        OutputError: another file name extension, or the file cannot be written.
    """
    require_html(path)
    with replacing(path) as file:
        file.write(text.encode())


def require_html(path: str | os.PathLike[str]) -> None:
    """Raise OutputError unless `path` names an HTML file that can be written; called before the
    work, so that none is lost."""
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{path}: reports are written as HTML; end the name in .html")
    require_writable(path)


def _lead(atlas: Atlas, record: Record) -> Markup:
    origin = atlas.fingerprint
    sentence = element(
        "p",
        "What the style channels of the generator ",
        said(origin.generator.name),
        " do in the space of the CLIP ",
        said(origin.clip.name),
        ": where each moves the embedding of an image, how far, and how alike in all images.",
        class_="lead",
    )
    figures = {
        "style channels": record["style_channels"],
        "in the table": record["swept_channels"],
        "that move nothing": record["still_channels"],
        "layers": len(atlas.layout),
        "images": int(atlas.images.max(initial=0)),
        "phrases": record["prompts"],
    }
    cells = [
        element("div", element("dt", name), element("dd", f"{value:,}"))
        for name, value in figures.items()
    ]
    return join(sentence, element("dl", *cells, class_="figures"))


def _origin(record: Record) -> Markup:
    lines: list[tuple[str, Markup]] = []
    for key, title in (("generator", "Generator"), ("clip", "CLIP")):
        model = dict(record[key])
        name, digest = said(model.pop("name")), element("code", model.pop("sha256"))
        sizes = ", ".join(f"{size} {value}" for size, value in model.items())
        lines.append((title, join(name, element("br"), digest, element("br"), sizes)))
    settings = {k: v for k, v in record["settings"].items() if k != "audit"}
    lines += [(key, said(_value(value))) for key, value in settings.items()]
    lines += [("created", said(record["created"])), ("drawn by", said(record["library"]))]
    pairs = (child for key, text in lines for child in (element("dt", key), element("dd", text)))
    remark = (
        "The long numbers are the SHA-256 of the weights; an edit with other models is refused."
    )
    return join(note(remark), element("dl", *pairs, class_="facts"))


def _layers(record: Record) -> Markup:
    rows: list[list[object]] = []
    for layer in record["layers"]:
        rows.append(
            [
                element("code", layer["layer"]),
                KIND_NAMES[layer["kind"]],
                f"{layer['resolution']} px",
                layer["channels"],
                layer["swept"],
                layer["consistency"],
                layer["strength"],
            ]
        )
    heads = ("layer", "kind", "resolution", "channels", "in the table", "consistency", "strength")
    remark = "In the order in which they run. Consistency and strength are medians over channels."
    return join(note(remark), html_table(heads, rows, words=2))


def _spreads(atlas: Atlas) -> Markup:
    layers, rows = measured_layers(atlas), rows_of_layers(atlas)
    if not rows:
        return Markup()
    charts = []
    images = int(atlas.images.min())
    chance = (1 / float(np.sqrt(images)), f"chance, {images} images")
    for values, title in (
        (atlas.consistency, "Consistency of each layer's channels"),
        (atlas.strength, "Strength of each layer's channels"),
    ):
        quantiles = np.stack([np.quantile(values[inside], QUANTILES) for inside in rows])
        alike = values is atlas.consistency
        chart = layer_spreads(
            title, layers, quantiles, logarithmic=not alike, mark=chance if alike else None
        )
        charts.append(figure(chart, title))
    remark = (
        "Consistency: how alike the images are in what a channel does to their embedding, from 0 "
        "to 1. Strength: how far a step of the channel moves the embedding, on a logarithmic "
        "axis. The box holds the middle half of a layer's channels, the line nine tenths of them, "
        "the stroke is the median."
    )
    return join(note(remark), element("div", *charts, class_="charts"))


def _strongest(atlas: Atlas, book: Phrasebook) -> Markup:
    rows: list[list[object]] = []
    for channel in strongest_channels(atlas, _CHANNELS):
        row = atlas.row_of(channel)
        label = element("code", atlas.layout.label(channel))
        movement = float(np.linalg.norm(atlas.responses[row]))
        both = [float(values[row]) for values in (atlas.consistency, atlas.strength)]
        rows.append([label, movement, *map(_listed, book.sides(channel, 3)), *both])
    if not rows:
        return note("No channel moves the embedding.")
    remark = (
        "The channels with the largest expected movement: how far the embedding moves, on "
        "average over the images, as the channel moves by one standard deviation. The phrases are "
        "those of the bank that a step up moves an image towards, and away from, most."
    )
    heads = ("channel", "movement", "towards", "away from", "consistency", "strength")
    return join(note(remark), html_table(heads, rows, words=1))


def _pictures(atlas: Atlas, figures: Sequence[ChannelFigure], book: Phrasebook) -> Markup:
    if not figures:
        return Markup()
    shown = []
    for drawn in figures:
        label = atlas.layout.label(drawn.channel)
        steps = [element("span", step_label(step)) for step in drawn.steps]
        data = base64.b64encode(drawn.png).decode()
        towards, away = (_listed(side) for side in book.sides(drawn.channel, 2))
        sides = [element("div", "← ", away), element("div", towards, " →")] if towards else []
        shown.append(
            element(
                "figure",
                element("figcaption", element("code", label)),
                element("div", *sides, class_="sides"),
                element("div", *steps, class_="steps"),
                element(
                    "img", src=f"data:image/png;base64,{data}", alt=f"Images as {label} changes"
                ),
                class_="strip",
            )
        )
    remark = (
        "The strongest channel of some layers, from coarse to fine: a row an image, a column a "
        "step from the image's own style, in standard deviations of the channel. Above: the "
        "phrases that a step down and a step up move an image towards most."
    )
    return join(note(remark), element("div", *shown, class_="strips"))


def _pairs(atlas: Atlas, pairs: Sequence[PromptPair]) -> Markup:
    if not pairs or not measured_layers(atlas):
        return Markup()
    charts = []
    for pair in pairs:
        caption = join("From ", said(pair.neutral), " to ", said(pair.target))
        charts.append(figure(relevance_chart(atlas, pair), caption))
    remark = (
        "How far each layer can move an image along the direction between two prompts: the "
        "expected movement of the embedding, added up over the layer's channels, as each steps by "
        f"one standard deviation to the side that helps. In full colour: the layer's {_LEADING} "
        "strongest channels."
    )
    return join(note(remark), element("div", *charts, class_="charts"))


def _phrases(atlas: Atlas) -> Markup:
    layers, chosen = measured_layers(atlas), spread_phrases(atlas, _PHRASES)
    if not layers or not chosen:
        return Markup()
    answers = layer_answers(atlas, atlas.phrases.embeddings[chosen])  # (n, L)
    whole = answers.sum(1, keepdims=True)
    shares = np.divide(answers, whole, where=whole > 0, out=np.zeros_like(answers))
    order = np.argsort(shares @ np.arange(len(layers)), kind="stable")
    names = [atlas.prompts.texts[chosen[i]] for i in order]
    title = "Which layers answer to phrases of the bank"
    chart = heat_map(title, layers, names, shares[order])
    remark = (
        "Where in the generator a phrase lives: each layer's share of the expected movement along "
        f"the phrase's direction from the mean of the bank. {len(chosen)} phrases of the bank's "
        f"{len(atlas.prompts):,}, chosen to be as unlike each other as can be, from coarse to fine."
    )
    return join(note(remark), figure(chart, None))


def _audit(atlas: Atlas) -> Markup:
    audit = atlas.fingerprint.settings.get("audit")
    if not isinstance(audit, dict):
        return Markup()
    lines = [
        child
        for key, value in audit.items()
        for child in (element("dt", _AUDIT.get(str(key), str(key))), element("dd", _value(value)))
    ]
    remark = (
        "Slopes ranked all channels, and the strongest of them were swept. These figures say how "
        "well the slopes of the others stand for a sweep of them."
    )
    return join(note(remark), element("dl", *lines, class_="facts"))


def _bank(atlas: Atlas) -> Markup:
    texts = atlas.prompts.texts
    if not texts:
        return Markup()
    more = len(texts) - _PROMPTS
    items = [element("li", said(text)) for text in texts[:_PROMPTS]]
    return join(
        note("The phrases whose embeddings the atlas holds: an edit by them loads no CLIP."),
        element(
            "details",
            element("summary", f"All {len(texts):,} phrases" if more <= 0 else "Phrases"),
            element("ul", *items),
            element("p", f"and {more:,} more") if more > 0 else Markup(),
        ),
    )


def step_label(step: float) -> str:
    """A step in standard deviations, with the Greek letter and a minus of its own."""
    return f"{step:+g} \u03c3".replace("-", "\u2212") if step else "as it was"


def _listed(texts: Sequence[str]) -> Markup:
    parts = [join(", " if i else "", said(text)) for i, text in enumerate(texts)]
    return element("span", *parts)


def _value(value: Any) -> str:
    """A JSON value for people; no longer than a line or some."""
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        text = " · ".join(value)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else text[:399] + "…"
