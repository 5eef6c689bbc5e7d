"""An atlas as one page of HTML that opens anywhere and loads nothing. Without torch."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ...store.atlas import Atlas
from ...store.describe import atlas_record
from ...store.errors import OptionError
from ...store.output import REPORT, replacing
from ...store.records import Record
from .charts import KIND_NAMES, heat_map, layer_bars, layer_spreads
from .highlights import (
    Phrasebook,
    layer_answers,
    measured_layers,
    rows_of_layers,
    spread_phrases,
    strongest_channels,
)
from .html import page

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
    record, book, texts = atlas_record(atlas), Phrasebook(atlas), atlas.prompts.texts
    measured = bool(measured_layers(atlas))
    figured = measured and not atlas.rows_alone
    phrases, phrases_shown = _phrases(atlas) if measured and texts else (None, 0)
    audit = atlas.fingerprint.settings.get("audit")
    audit = audit if isinstance(audit, dict) else {}
    sections = [
        ("origin", "Where it comes from", True),
        ("layers", "Layers", True),
        ("spread", "Consistency and strength", figured),
        ("channels", "Strongest channels", not atlas.rows_alone),
        ("pictures", "What channels do", figures),
        ("pairs", "Prompts over layers", measured and pairs),
        ("phrases", "Phrases over layers", phrases),
        ("audit", "Audit", audit),
        ("bank", "Prompt bank", texts),
    ]
    return page(
        "report.html",
        "Atlas of",
        atlas.fingerprint.generator.name,
        {key: heading for key, heading, shown in sections if shown},
        {
            "style channels": record["style_channels"],
            "in the table": record["swept_channels"],
            "that move nothing": record["still_channels"],
            "layers": len(atlas.layout),
            "images": "unknown" if atlas.rows_alone else int(atlas.images.max(initial=0)),
            "phrases": record["prompts"],
        },
        record=record,
        models={"Generator": _model(record["generator"]), "CLIP": _model(record["clip"])},
        settings={k: _value(v) for k, v in record["settings"].items() if k != "audit"},
        kinds=KIND_NAMES,
        spreads=_spreads(atlas) if figured else {},
        strongest=_strongest(atlas, book),
        pictures=_pictures(atlas, figures, book),
        pairs=[(pair, relevance_chart(atlas, pair)) for pair in pairs] if measured else [],
        leading=_LEADING,
        phrases=phrases,
        phrases_shown=phrases_shown,
        audit={_AUDIT.get(str(key), str(key)): _value(value) for key, value in audit.items()},
        texts=texts,
        listed_texts=texts[:_PROMPTS],
        footer=f"Written by StyleAtlas from an atlas drawn by {atlas.library}.",
    )


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
    REPORT.require(path)


def _model(record: Record) -> dict[str, str]:
    """Name and SHA-256 of a model, and its sizes in a line."""
    sizes = (f"{k} {v}" for k, v in record.items() if k not in ("name", "sha256"))
    return {"name": record["name"], "sha256": record["sha256"], "sizes": ", ".join(sizes)}


def _spreads(atlas: Atlas) -> dict[str, Markup]:
    """Charts of the layers' consistency and strength, by their titles."""
    layers, rows = measured_layers(atlas), rows_of_layers(atlas)
    images = int(atlas.images.min())
    chance = (1 / float(np.sqrt(images)), f"chance, {images} images")
    charts = {}
    for values, title in (
        (atlas.consistency, "Consistency of each layer's channels"),
        (atlas.strength, "Strength of each layer's channels"),
    ):
        quantiles = np.stack([np.quantile(values[inside], QUANTILES) for inside in rows])
        alike = values is atlas.consistency
        charts[title] = layer_spreads(
            title, layers, quantiles, logarithmic=not alike, mark=chance if alike else None
        )
    return charts


def _strongest(atlas: Atlas, book: Phrasebook) -> list[Record]:
    rows = []
    for channel in strongest_channels(atlas, _CHANNELS):
        row = atlas.row_of(channel)
        towards, away = book.sides(channel, 3)
        rows.append(
            {
                "label": atlas.layout.label(channel),
                "movement": float(np.linalg.norm(atlas.responses[row])),
                "towards": towards,
                "away": away,
                "consistency": float(atlas.consistency[row]),
                "strength": float(atlas.strength[row]),
            }
        )
    return rows


def _pictures(atlas: Atlas, figures: Sequence[ChannelFigure], book: Phrasebook) -> list[Record]:
    shown = []
    for drawn in figures:
        towards, away = book.sides(drawn.channel, 2)
        shown.append(
            {
                "label": atlas.layout.label(drawn.channel),
                "towards": towards,
                "away": away,
                "steps": [step_label(step) for step in drawn.steps],
                "png": drawn.png,
            }
        )
    return shown


def _phrases(atlas: Atlas) -> tuple[Markup, int]:
    """A map of phrases over layers, and of how many."""
    layers, chosen = measured_layers(atlas), spread_phrases(atlas, _PHRASES)
    answers = layer_answers(atlas, atlas.phrases.embeddings[chosen])  # (n, L)
    whole = answers.sum(1, keepdims=True)
    shares = np.divide(answers, whole, where=whole > 0, out=np.zeros_like(answers))
    order = np.argsort(shares @ np.arange(len(layers)), kind="stable")
    names = [atlas.prompts.texts[chosen[i]] for i in order]
    title = "Which layers answer to phrases of the bank"
    return heat_map(title, layers, names, shares[order]), len(chosen)


def step_label(step: float) -> str:
    """A step in standard deviations, with the Greek letter and a minus of its own."""
    return f"{step:+g} \u03c3".replace("-", "\u2212") if step else "as it was"


def _value(value: Any) -> str:
    """A JSON value for people; no longer than a line or some."""
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        text = " · ".join(value)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else text[:399] + "…"
