"""What came of the edits that `face_edits.py measure` made, from its lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from judges import MIRRORED

from styleatlas.engine.models.identity import SAME_PERSON
from styleatlas.store.records import Record

FILE = Path(__file__).parent / "face_edits.json"
SLACK = 5.0
"""Points by which readings may change beyond those of mirror images."""
Line = Mapping[str, Any]


@dataclass(frozen=True)
class Edit:
    """An edit and who judges it.

    Args:
        attribute, values: of `judges.JUDGED`; an image shows the edit where one of the values is
            read. Where no judge reads the attribute, pairs tell (`face_edits.py pairs`).
        follows: other attributes that are part of the edit, and may change.
        about_identity: whether it makes another person by its meaning.
    """

    name: str
    neutral: str
    target: str
    attribute: str
    values: tuple[str, ...]
    follows: tuple[str, ...] = ()
    about_identity: bool = False


def read_edits(path: Path = FILE) -> list[Edit]:
    value = json.loads(path.read_text("utf-8"))
    return [
        Edit(
            **{"neutral": value["neutral"]}
            | edit
            | {key: tuple(edit.get(key, ())) for key in ("values", "follows")}
        )
        for edit in value["edits"]
    ]


def lines_of(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def told(folder: Path, ways: Sequence[str], edits: Sequence[Edit]) -> list[Record]:
    """A record for each way and edit that was made, in their order."""
    unedited = {line["seed"]: line for line in lines_of(folder / "unedited.jsonl")}
    limit = json.loads((folder / "run.json").read_text("utf-8"))["damage_limit"]
    return [
        record(way, edit, unedited, lines_of(path), limit)
        for way in ways
        for edit in edits
        for path in [folder / f"{way}--{edit.name}.jsonl"]
        if path.is_file()
    ]


def record(
    way: str, edit: Edit, unedited: Mapping[int, Line], lines: Sequence[Line], limit: float
) -> Record:
    """What came of one edit. All but `of` is told of the images that lacked what it brings: percent
    but for `L2`, `LPIPS`, `moved` (in distances of the eyes), `years`, `male` and `damage` (by that
    of the images as they were)."""
    after = {line["seed"]: line for line in lines if "error" not in line}
    lacking = [seed for seed in after if lacks(edit, unedited[seed], after[seed])]
    pairs = [(unedited[seed], after[seed]) for seed in lacking]
    judged = bool(pairs) and edit.attribute in pairs[0][0]["values"]
    shown = [new["values"].get(edit.attribute) in edit.values for _, new in pairs]
    reached = [new["status"] == "reached" for _, new in pairs]

    def mean(name: str) -> float | None:
        return _mean([new[name] for _, new in pairs])

    def shift(name: str) -> float | None:
        return _mean([new[name] - old[name] for old, new in pairs])

    def turned(old_gender: str) -> str:
        of = [new for old, new in pairs if old["values"]["gender"] == old_gender]
        return f"{sum(new['values']['gender'] != old_gender for new in of)}/{len(of)}"

    damage, usual = mean("damage"), _mean([old["damage"] for old, _ in pairs])
    return {
        "way": way,
        "edit": edit.name,
        "lacked": len(pairs),
        "of": len(after),
        "success": _percent(shown) if judged else None,
        "said so": _percent(reached),
        "unknown": _percent([new["status"] == "unsupported" for _, new in pairs]),
        "said, not seen": _percent([r and not s for r, s in zip(reached, shown, strict=True)])
        if judged
        else None,
        "same": _percent([new["identity"] < SAME_PERSON for _, new in pairs]),
        "L2": mean("identity"),
        "LPIPS": mean("lpips"),
        "moved": mean("moved"),
        "damage": damage / usual if damage and usual else None,
        "damaged": _percent([new["damage"] > limit for _, new in pairs]),
        "years": shift("years"),
        "male": shift("male"),
        "to woman": turned("man"),
        "to man": turned("woman"),
        "s": mean("seconds"),
        "flips": changed(edit, list(unedited.values()), pairs),
    }


def lacks(edit: Edit, before: Line, after: Line) -> bool:
    """Whether an image lacks what an edit brings; where no judge reads it, as the program has
    it."""
    if edit.attribute in before["values"]:
        return before["values"][edit.attribute] not in edit.values
    return after["status"] != "already_there"


def changed(
    edit: Edit, unedited: Sequence[Line], pairs: Sequence[tuple[Line, Line]]
) -> dict[str, tuple[float, float]]:
    """For each attribute that the edit is not about how often it is read otherwise afterwards, and
    how often of the mirror images of all, in percent."""
    if not pairs:
        return {}
    kept = [n for n in unedited[0]["values"] if n != edit.attribute and n not in edit.follows]
    return {
        name: (
            100 * float(np.mean([a["values"][name] != b["values"][name] for a, b in pairs])),
            100 * float(np.mean([mirrors(name, line) for line in unedited])),
        )
        for name in kept
    }


def mirrors(name: str, line: Line) -> bool:
    """Whether an attribute is read otherwise of the mirror image."""
    seen = line["mirrored"]["values"][name]
    return bool((MIRRORED.get(seen, seen) if name == "turn" else seen) != line["values"][name])


def beyond(flips: Mapping[str, tuple[float, float]]) -> list[str]:
    """The attributes that change too often."""
    return [name for name, (share, mirror) in flips.items() if share > mirror + SLACK]


def flips(records: Sequence[Record]) -> list[Record]:
    """Of the edits of a way a line an attribute: percent that change, those that change too often
    with a star, and those of mirror images."""
    names = dict.fromkeys(name for record in records for name in record["flips"])
    lines = []
    for name in names:
        mirror = next(r["flips"][name][1] for r in records if name in r["flips"])
        line: Record = {"attribute": name, "mirror": f"{mirror:.0f}"}
        for r in records:
            share = r["flips"].get(name)
            star = "*" if name in beyond(r["flips"]) else ""
            line[r["edit"]] = f"{share[0]:.0f}{star}" if share else ""
        lines.append(line)
    return lines


def summary(records: Sequence[Record]) -> list[Record]:
    """A line a way: means over its edits, identity over those that are not about it."""
    about = {edit.name for edit in read_edits() if edit.about_identity}
    lines = []
    for way in dict.fromkeys(record["way"] for record in records):
        of_way = [record for record in records if record["way"] == way and record["lacked"]]
        people = [record for record in of_way if record["edit"] not in about]
        lines.append(
            {
                "way": way,
                "edits": len(of_way),
                **{key: _mean(_known(of_way, key)) for key in ("success", "said so", "unknown")},
                **{key: _mean(_known(people, key)) for key in ("same", "L2")},
                **{key: _mean(_known(of_way, key)) for key in ("LPIPS", "damage", "damaged", "s")},
                "flips too often": sum(len(beyond(record["flips"])) for record in of_way),
                "of": sum(len(record["flips"]) for record in of_way),
            }
        )
    return lines


def _known(records: Sequence[Record], key: str) -> list[float]:
    return [record[key] for record in records if record[key] is not None]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _percent(values: Sequence[bool]) -> float | None:
    return 100 * float(np.mean(values)) if len(values) else None
