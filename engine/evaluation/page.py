"""An evaluation as one page of HTML that opens anywhere and loads nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ...store.records import Record
from ..models.identity import SAME_PERSON
from ..pages.html import page
from .likeness import LARGEST_SIDE
from .plot import trade_off
from .samples import Strip
from .summary import likeness_heads, plain, spread
from .truth import MARGIN
from .variants import DEFAULT, PAPER, TABLE

LEAST_SUCCESS, LEAST_PRESERVATION = 80.0, 85.0
"""Percent: an edit below is marked as a miss."""
_KEPT = {  # what a table tells without and with something to keep, and its decimals
    **{"clip_drift": 3, "clip_shift": 3},
    **{"judge_drift": 1, "success": 1, "preservation": 1},
}
_SECTIONS = {
    "ways": "Success and preservation",
    "seen": "What a person sees",
    "against": "Against the default",
    "edits": "Edits",
    "keep": "With something to keep",
    "images": "Images",
    "method": "How it was measured",
}


def evaluation_html(record: Record, strips: Sequence[Strip]) -> str:
    """The page of a record and of the strips of its edits."""
    default = record["ways"][0]["points"][0]
    paper = next(way for way in record["ways"] if way["way"] == PAPER)
    alpha = paper["points"][paper["best"]]["alpha"]
    rows = _rows(record, DEFAULT)
    alike = likeness_heads(record)
    others = [row for row in _rows(record, PAPER) if row["alpha"] == alpha]
    return page(
        "evaluation.html",
        "Edits of",
        record["atlas"]["generator"]["name"],
        _SECTIONS,
        {
            "success, %": plain(default["success"]["value"]),
            "preservation, %": plain(default["preservation"]["value"]),
            "fully right, %": plain(default["fully_right"]["value"]),
            "edits": len(rows),
            "images": len(record["seeds"]),
        },
        record=record,
        trade_off=trade_off(record["ways"]),
        paper_way=paper,
        edits=list(zip(rows, others, strict=True)),
        kept=_KEPT,
        alike=alike,
        alike_heads=tuple(head for head, _ in alike.values()),
        strips=[pair for pair in zip(rows, strips, strict=True) if pair[1].seeds],
        method=_method(record),
        least_success=LEAST_SUCCESS,
        least_preservation=LEAST_PRESERVATION,
        plain=plain,
        spread=spread,
        footer=f"Written by {record['library'].replace('styleatlas', 'StyleAtlas')}.",
    )


def _method(record: Record) -> dict[str, str]:
    atlas, reference = record["atlas"], record["reference"]
    return {
        "success": "of the images that lacked the attribute, and showed that they did, the share "
        "that has it after the edit",
        "preservation": "of all other attributes of those images that can be seen before and "
        "after, the share that is read as it was",
        "fully right": "of the images that lacked the attribute, the share that has it after the "
        "edit, with all others that can be seen as they were",
        **(_drawn(record["drawings"]) if record["drawings"] else {}),
        "default": "direction and alpha found by the editor, alpha for every image",
        **(
            {"table": "the same by directions of the table alone, without samples"}
            if any(way["way"] == TABLE for way in record["ways"])
            else {}
        ),
        "paper": "StyleCLIP's rule with beta 0.1, at fixed alphas",
        "shuffled rows": "the table with its rows dealt out anew among its "
        "channels, at fewer alphas",
        "random rows": "random rows in the place of the table's, at fewer alphas",
        **({"reference": "the paper's rule on the table given as reference"} if reference else {}),
        "intervals": f"percentiles of {record['resamples']:,} resamples of the images, the same "
        "for all ways; the edits are not resampled",
        "no channel": "where no channel passes beta, an edit counts as one that changes nothing",
        "pixels": "mean absolute difference on a scale from 0 to 1",
        "distance": "squared difference of the judge's own unit features, averaged over positions "
        "and layers: the form of LPIPS without its learned weights",
        **_alike(record),
        "judge": record["judge"],
        "atlas": f"{atlas['method']}, {atlas['images']} images, created {atlas['created']}, CLIP "
        f"{atlas['clip']['name']}, sha256 {atlas['sha256']}",
        "truncation": f"{record['truncation']:g}",
    }


def _drawn(drawings: Record) -> dict[str, str]:
    """How what only drawings tell was measured."""
    return {
        "nearest drawing": "the drawing with the least mean absolute difference of the pixels, "
        "found by changing one attribute after the other, from what the judge read",
        "damaged": f"the share that lies further than {drawings['limit']:.4f} from the nearest "
        "drawing, as 5 % of 500 unedited images do; of the images here, "
        f"{spread(drawings['unedited_damaged'])} % before the edit",
        "hit": "the share whose nearest drawing is that of the image before, with that one "
        "attribute changed; what was hidden before or is hidden after may be anything",
        "leak": "mean absolute difference, 0 to 1, of the pixels further than "
        f"{MARGIN} from where these two drawings differ",
    }


def _alike(record: Record) -> dict[str, str]:
    """What LPIPS and identity were measured by."""
    ways = {
        "LPIPS": f"by {record['lpips']}, 0 for the same image; of images whose shorter side is "
        f"above {LARGEST_SIDE} pixels, brought down to that",
        "identity": f"mean cosine of the embeddings by {record['identity']}",
        "same person": f"the share whose embeddings lie less than {SAME_PERSON:g} apart, as dlib "
        "takes two pictures for one person",
    }
    heads = [head.removesuffix(" %") for head, _ in likeness_heads(record).values()]
    return {head: ways[head] for head in heads}


def _rows(record: Record, way: str) -> list[Record]:
    return [row for row in record["edits"] if row["way"] == way]
