"""An evaluation as one page of HTML that opens anywhere and loads nothing."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from ...store.records import Record
from ..pages.charts import Markup, element, join
from ..pages.html import figure, html_table, note, page, said
from .plot import trade_off
from .samples import Strip
from .summary import plain, spread
from .variants import DEFAULT, PAPER

LEAST_SUCCESS, LEAST_PRESERVATION = 80.0, 85.0
"""Percent: an edit below is marked as a miss."""
_SIGN = {True: "", False: "\u2717 "}
_COLUMNS = [  # of what keeps something: the figure, the side, and its decimals
    (key, side, 3 if key.startswith("clip") else 1)
    for key in ("clip_drift", "clip_shift", "judge_drift", "success", "preservation")
    for side in ("without", "with")
]


def evaluation_html(record: Record, strips: Sequence[Strip]) -> str:
    """The page of a record and of the strips of its edits."""
    name = record["atlas"]["generator"]["name"]
    sections = [
        ("ways", "Success and preservation", _ways(record)),
        ("against", "Against the default", _against(record)),
        ("edits", "Edits", _edits(record)),
        ("keep", "With something to keep", _keep(record["keep"])),
        ("images", "Images", _images(record, strips)),
        ("method", "How it was measured", _method(record)),
    ]
    library = record["library"].replace("styleatlas", "StyleAtlas")
    return page("Edits of", name, _lead(record), sections, f"Written by {library}.")


def _lead(record: Record) -> Markup:
    default = record["ways"][0]["points"][0]
    sentence = element(
        "p",
        "How often edits by this atlas bring what the prompt asks for, and how much else they "
        "leave as it was, with no number set by hand; read by the judge ",
        said(record["judge"]),
        ".",
        class_="lead",
    )
    figures = {
        "success, %": plain(default["success"]["value"]),
        "preservation, %": plain(default["preservation"]["value"]),
        "edits": str(len(_rows(record, DEFAULT))),
        "images": f"{len(record['seeds']):,}",
    }
    cells = [element("div", element("dt", k), element("dd", v)) for k, v in figures.items()]
    return join(sentence, element("dl", *cells, class_="figures"))


def _ways(record: Record) -> Markup:
    rows = []
    for way in record["ways"]:
        point = way["points"][way["best"]]
        rows.append(
            [
                element("strong", way["way"])
                if way is record["ways"][0]
                else element("span", way["way"]),
                _alpha(point["alpha"]),
                spread(point["success"]),
                spread(point["preservation"]),
                plain(point["channels"], 0),
                plain(point["directional_similarity"], 3),
                plain(point["pixel_difference"], 3),
                plain(point["judge_distance"], 3),
            ]
        )
    heads = (
        "way",
        "alpha",
        "success, %",
        "preservation, %",
        "channels",
        "similarity",
        "pixels",
        "distance",
    )
    remark = (
        "Means over the edits, with 95 % intervals. A curve joins the alphas of a way, from the "
        "images as they are; the table and the cross show the alpha at which success and "
        "preservation add up to most. Similarity is that of the movement in the space of the "
        "atlas's own CLIP with the text direction."
    )
    return join(
        note(remark), figure(trade_off(record["ways"]), None), html_table(heads, rows, words=1)
    )


def _against(record: Record) -> Markup:
    rows = [
        [
            element("span", row["way"]),
            _alpha(row["best_alpha"]),
            spread(row["succeeds_more"]),
            spread(row["preserves_more"]),
            spread(row["preservation_at_same_success"]),
            spread(row["preserves_more_at_same_success"]),
        ]
        for row in record["default_against"]
    ]
    heads = (
        "way",
        "its best alpha",
        "default succeeds more by",
        "default preserves more by",
        "its preservation at the default's success",
        "default preserves more there by",
    )
    remark = (
        "Points of percent, with 95 % intervals of the difference on the same images. A dash: the "
        "way never reaches the default's success, or in too few resamples for an interval."
    )
    return join(note(remark), html_table(heads, rows, words=1))


def _edits(record: Record) -> Markup:
    paper = next(way for way in record["ways"] if way["way"] == PAPER)
    alpha = paper["points"][paper["best"]]["alpha"]
    others = [row for row in _rows(record, PAPER) if row["alpha"] == alpha]
    point, best = record["ways"][0]["points"][0], paper["points"][paper["best"]]
    rows: list[list[object]] = [
        [
            element("strong", "mean of all"),
            "",
            plain(point["success"]["value"]),
            plain(point["preservation"]["value"]),
            *_measured(point),
            plain(best["success"]["value"]),
            plain(best["preservation"]["value"]),
        ]
    ]
    for row, other in zip(_rows(record, DEFAULT), others, strict=True):
        rows.append(
            [
                _pair(row),
                str(row["images_without"]),
                _marked(row["success"], LEAST_SUCCESS),
                _marked(row["preservation"], LEAST_PRESERVATION),
                *_measured(row),
                plain(other["success"]),
                plain(other["preservation"]),
            ]
        )
    heads = (
        "edit",
        "images without",
        "success, %",
        "preservation, %",
        "alpha",
        "channels",
        "similarity",
        "distance",
        "paper: success",
        "paper: preservation",
    )
    remark = (
        f"By the default. Marked: success below {LEAST_SUCCESS:g} % or preservation below "
        f"{LEAST_PRESERVATION:g} %. To the right the paper's rule at alpha {alpha:g}, which suits "
        "it best over all edits."
    )
    return join(note(remark), html_table(heads, rows, words=1))


def _measured(row: Record) -> list[str]:
    return [
        plain(row["mean_alpha"]),
        plain(row["channels"], 0),
        plain(row["directional_similarity"], 3),
        plain(row["judge_distance"], 3),
    ]


def _keep(keep: Record) -> Markup:
    if not keep["count"]:
        return note("No edit had anything to keep.")
    means = [plain(keep[key][side]["value"], digits) for key, side, digits in _COLUMNS]
    rows: list[list[object]] = [[element("strong", "mean of all"), "", *means]]
    for row in keep["edits"]:
        figures = [plain(row[f"{key}_{side}"], digits) for key, side, digits in _COLUMNS]
        rows.append([said(row["target"]), ", ".join(row["keep"]), *figures])
    heads = (
        "edit",
        "keep",
        *("movement", "with keep", "together", "with keep", "changed, %", "with keep"),
        *("success, %", "with keep", "preservation, %", "with keep"),
    )
    remark = (
        "For each edit, the attribute that changed most beside its own; kept by the phrase of the "
        "value it changed to. Movement: how far the embedding of an image moves along the "
        "direction to that phrase, to either side; together: how far all of them do on average, to "
        "one side. Changed: in how many images the judge saw that attribute change. Left of the "
        f"movement: {spread(keep['clip_drift_left'])} %, together "
        f"{spread(keep['clip_shift_left'])} %, of the changes {spread(keep['judge_drift_left'])} %."
    )
    return join(note(remark), html_table(heads, rows, words=2))


def _images(record: Record, strips: Sequence[Strip]) -> Markup:
    figures = []
    for row, strip in zip(_rows(record, DEFAULT), strips, strict=True):
        if not strip.seeds:
            continue
        labels = [
            element("span", f"{_SIGN[won]}{seed}", element("br"), f"\u03b1 {alpha:.1f}")
            for seed, alpha, won in zip(strip.seeds, strip.alphas, strip.won, strict=True)
        ]
        data = base64.b64encode(strip.png).decode()
        success = f"success {plain(row['success'])} %, preservation {plain(row['preservation'])} %"
        alt = f"Before and after: {row['target']}"
        figures.append(
            element(
                "figure",
                element("figcaption", _pair(row), element("br"), success),
                element("div", *labels, class_="steps"),
                element("img", src=f"data:image/png;base64,{data}", alt=alt),
                class_="strip",
            )
        )
    remark = (
        "Of the images that lacked the attribute, eight at equal distances from the worst to the "
        "best: before above, after the default edit below, with the seed and the alpha it was "
        "given; \u2717 where the judge saw no success."
    )
    return join(note(remark), element("div", *figures, class_="strips"))


def _method(record: Record) -> Markup:
    atlas, reference = record["atlas"], record["reference"]
    lines = {
        "success": "of the images that lacked the attribute, and showed that they did, the share "
        "that has it after the edit",
        "preservation": "of all other attributes of those images that can be seen before and "
        "after, the share that is read as it was",
        "default": "channels and alpha found by the editor, alpha for every image",
        "paper": "StyleCLIP's rule with beta 0.1, at fixed alphas",
        "shuffled rows": "the default rule on the table with its rows dealt out anew among its "
        "channels, at fewer alphas",
        "random rows": "the default rule on random rows in the place of the table's, at fewer "
        "alphas",
        **({"reference": "the paper's rule on the table given as reference"} if reference else {}),
        "intervals": f"percentiles of {record['resamples']:,} resamples of the images, the same "
        "for all ways; the edits are not resampled",
        "no channel": "where no channel passes beta, an edit counts as one that changes nothing",
        "pixels": "mean absolute difference on a scale from 0 to 1",
        "distance": "squared difference of the judge's own unit features, averaged over positions "
        "and layers: the form of LPIPS without its learned weights",
        "judge": record["judge"],
        "atlas": f"{atlas['method']}, {atlas['images']} images, created {atlas['created']}, CLIP "
        f"{atlas['clip']['name']}, sha256 {atlas['sha256']}",
        "truncation": f"{record['truncation']:g}",
    }
    pairs = (x for key, text in lines.items() for x in (element("dt", key), element("dd", text)))
    return element("dl", *pairs, class_="facts")


def _rows(record: Record, way: str) -> list[Record]:
    return [row for row in record["edits"] if row["way"] == way]


def _pair(row: Record) -> Markup:
    return element("span", said(row["neutral"]), " → ", said(row["target"]))


def _marked(value: float | None, least: float) -> str:
    text = plain(value)
    return element("mark", text) if value is not None and value < least else text


def _alpha(alpha: float | None) -> str:
    return "automatic" if alpha is None else f"{alpha:g}"
