from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from styleatlas.engine.editor import Editor, load
from styleatlas.engine.jobs.edit import run
from styleatlas.engine.jobs.edit_records import (
    Column,
    edit_record,
    edit_summary,
    evidence_record,
)
from styleatlas.engine.jobs.images import Images
from styleatlas.engine.steering.direction import Choice
from styleatlas.engine.steering.edits import Edit
from styleatlas.engine.steering.evidence import KINDS, Evidence, Levels
from styleatlas.engine.steering.request import EditRequest
from styleatlas.engine.steering.status import WORDS

SEVEN, TWELVE = (Edit("a picture", f"a picture channel{k}") for k in (7, 12))
TABLE = {
    **{"keep": [], "source": "table", "kind": None, "share": None, "separation": None},
    **{"held": None, "inseparable": None},
}
BY_SAMPLES = {
    **{"keep": ["glasses"], "source": "samples", "kind": "two-state", "share": 0.1381},
    **{"separation": 6.6, "held": ["glasses", "a shaved head"], "inseparable": ["no hair"]},
}


@pytest.fixture
def record_of(countable_atlas, generator, encoder):
    """The record of a job on seeds, and its columns."""
    editor = Editor(countable_atlas, generator, encoder)

    def record_of(
        seeds: list[int], job: EditRequest, before: dict | None = None
    ) -> tuple[dict, list[Column]]:
        images = Images.of_seeds(generator, seeds, 0.7, None)
        columns = run(editor, images, job)
        record = edit_record(countable_atlas, columns, images.names, before)
        return json.loads(json.dumps(record)), columns

    return record_of


def test_record_of_an_edit_has_a_line_for_every_column_and_image(record_of):
    job = EditRequest(
        (SEVEN,), Choice(channels=2, keep=("something else",)), "direction", (0.0, 3.0)
    )
    record, columns = record_of([5, 9], job)
    assert record["why"] == [columns[0].result.why] and record["conflicts"] == []
    (edit,) = record["edits"]
    assert (edit["neutral"], edit["target"]) == (SEVEN.neutral, SEVEN.target)
    assert edit["keep"] == ["something else"]
    assert edit["channels"][0]["channel"] == "b8.conv0:0" and len(edit["channels"]) == 2
    assert [(line["image"], line["column"], line["alpha"]) for line in record["images"]] == [
        *(("seed 5", "alpha 0", 0), ("seed 9", "alpha 0", 0)),
        *(("seed 5", "alpha 3", 3), ("seed 9", "alpha 3", 3)),
    ]
    first, last = record["images"][0], record["images"][3]
    (shift,) = columns[1].shifts
    assert last["clip_shift"] == round(float(shift.along[1]), 4) > 0
    assert last["kept"] == {"something else": round(float(shift.kept["something else"][1]), 4)}
    assert last["probability"] > last["before"] == record["images"][1]["probability"]
    assert first["directional_similarity"] == first["clip_shift"] == 0


def test_record_without_a_measurement_says_nothing_of_clip(record_of, countable_atlas):
    _, columns = record_of([5], EditRequest((SEVEN,), Choice(), "direction", (1.0,)))
    unseen = [Column(column.label, column.asked, column.result, None) for column in columns]
    record = edit_record(countable_atlas, unseen, ["seed 5"])
    assert list(record["images"][0]) == [
        *("image", "column", "target", "alpha", "way", "status", "tried"),
    ]
    assert edit_summary(record)[:1] == [
        f'"{SEVEN.target}": {len(record["edits"][0]["channels"])} channels of the table, alpha 1'
    ]


def test_record_goes_on_from_images_before(record_of):
    job = EditRequest((SEVEN, TWELVE), Choice(channels=1), "direction", (1.0,))
    first, _ = record_of([5], job)
    both, _ = record_of([9], job, first)
    assert [line["image"] for line in both["images"]] == ["seed 5"] * 2 + ["seed 9"] * 2
    assert both["images"][:2] == first["images"] and len(both["edits"]) == 2


def test_record_tells_of_every_image_how_it_was_made_and_what_was_tried(record_of, countable_atlas):
    _, (column,) = record_of([5, 9], EditRequest((SEVEN,), Choice(), "direction"))
    tried = ({"direction": 0.3, "optimize": 0.95}, {"direction": 0.99})
    alphas = np.array([[0], [3]], np.float32)
    parts = {"ways": ("optimize", "direction"), "tried": tried, "alphas": alphas, "why": "2 ways"}
    mixed = Column("after", (), replace(column.result, **parts), None)
    record = edit_record(countable_atlas, [mixed], ["seed 5", "seed 9"])
    assert [(x["way"], x["alpha"], x["tried"]) for x in record["images"]] == [
        ("optimize", 0, tried[0]),
        ("direction", 3, tried[1]),
    ]
    later = edit_record(countable_atlas, [column], ["seed 5", "seed 9"], record)
    assert later["why"] == ["2 ways", column.result.why] and len(later["images"]) == 4


def test_record_of_a_grid_has_every_edit_once(record_of):
    record, _ = record_of(
        [5], EditRequest((SEVEN, TWELVE), Choice(channels=1), "direction", (1.0, 2.0), grid=True)
    )
    assert [edit["target"] for edit in record["edits"]] == [SEVEN.target, TWELVE.target]
    assert [(line["target"], line["alpha"]) for line in record["images"]] == [
        *((SEVEN.target, 1), (SEVEN.target, 2), (TWELVE.target, 1), (TWELVE.target, 2)),
    ]


def test_edits_that_undo_each_other_are_recorded_both_ways(record_of):
    back = Edit("a picture channel7", "a picture", 0.5)
    record, _ = record_of([5], EditRequest((SEVEN, back), Choice(channels=1), "direction", (1.0,)))
    assert [(conflict["edit"], conflict["share"]) for conflict in record["conflicts"]] == [
        (SEVEN.target, pytest.approx(-1)),
        (back.target, pytest.approx(-1)),
    ]


def test_summary_of_an_edit_tells_channels_alphas_and_what_clip_saw():
    def image(alpha: float, before: float, after: float, kept: float) -> dict:
        seen = {"before": before, "probability": after, "kept": {"a hat": kept}}
        way = {"image": f"seed {alpha}", "column": "after", "way": "direction", "tried": {}}
        return {"target": "a beard", "alpha": alpha, "status": None, **way, **seen}

    record = {
        "why": ["channels of the atlas"],
        "read": [],
        "edits": [{"target": "a beard", "channels": [{}, {}, {}], **TABLE}],
        "images": [
            *(image(2.0, 0.1, 0.9, -0.02), image(3.456, 0.2, 0.95, 0.04)),
            image(4.0, 0.9, 0.99, 0.0),
        ],
    }
    assert edit_summary(record) == [
        '"a beard": 3 channels of the table, alpha 2 to 4, probability to CLIP 0.200 '
        "before, 0.950 after (medians)",
        '"a hat": kept, but for 0.020 of movement to CLIP (mean)',
    ]


def test_summary_counts_the_ways_where_they_are_not_all_the_tables():
    def image(name: str, way: str, alpha: float) -> dict:
        chances = {"before": 0.1, "probability": 0.9, "tried": {"direction": 0.5}}
        return {
            **{"image": name, "column": "after", "target": "a beard", "kept": {}},
            **{"way": way, "alpha": alpha, "status": None, **chances},
        }

    edits = [{"target": "a beard", "channels": [{}, {}], **TABLE}]
    some = [image("1", "direction", 2.0), image("2", "optimize", 0), image("3", "optimize", 0)]
    record = {"why": ["by the table", "2 of 3"], "read": [], "edits": edits, "images": some}
    seen = "probability to CLIP 0.100 before, 0.900 after (medians)"
    assert edit_summary(record) == [
        f'"a beard": 2 channels of the table, alpha 2, {seen}',  # of those it was used for
        "3 images: 1 by direction, 2 by optimize (by the table; 2 of 3)",
    ]
    assert edit_summary({**record, "images": some[1:]}) == [
        f'"a beard": {seen}',
        "2 images: 2 by optimize (by the table; 2 of 3)",
    ]


def image_of(name: str, status: str | None, column: str = "after") -> dict:
    way = {"way": "direction", "tried": {}, "alpha": 1.0}
    return {"image": name, "column": column, "target": "bald", "status": status, **way}


def summary_of(images: list[dict], **edit: object) -> list[str]:
    edits = [{"target": "bald", "channels": [{}], **TABLE, **edit}]
    return edit_summary({"why": [""], "read": [], "edits": edits, "images": images})[1:]


def test_summary_counts_statuses_and_names_the_images_that_did_not_simply_get_there():
    statuses = ("reached", "already_there", "reached", "not_reached", "already_there")
    images = [image_of(f"seed {k}", status) for k, status in enumerate(statuses)]
    assert summary_of(images) == [
        "5 images: 2 reached, 2 already there (seed 1, seed 4), 1 not reached (seed 3)",
        f"  already there: {WORDS['already_there']}",
        f"  not reached: {WORDS['not_reached']}",
    ]


def test_summary_names_no_image_where_all_fared_alike_and_few_of_many():
    one = [image_of(f"seed {k}", "unsupported") for k in range(3)]
    assert summary_of(one)[0] == "3 images: 3 unsupported"
    many = [image_of(f"seed {k}", "out_of_range" if k else "reached") for k in range(12)]
    named = ", ".join(f"seed {k}" for k in range(1, 9))
    told = f"12 images: 1 reached, 11 out of range ({named} and 3 more)"
    assert summary_of(many)[0] == told


def test_summary_says_nothing_of_images_that_nobody_looked_at():
    unseen = [image_of("seed 1", None), image_of("seed 2", None)]
    assert summary_of(unseen) == []
    some = [image_of("seed 1", None), image_of("seed 2", "out_of_range")]
    assert summary_of(some)[0] == "2 images: 1 out of range (seed 2), 1 not looked at"


def test_summary_counts_every_column_by_itself():
    images = [image_of("seed 1", "reached", "alpha 1"), image_of("seed 1", "not_reached", "b")]
    assert summary_of(images)[:2] == ["alpha 1: 1 image: 1 reached", "b: 1 image: 1 not reached"]


def test_summary_tells_what_a_direction_rests_on_and_what_comes_with_it():
    record = {"why": [""], "read": [], "images": [image_of("seed 1", "reached")]}
    edits = [{"target": "bald", "channels": [{}, {}], **BY_SAMPLES}]
    assert edit_summary({**record, "edits": edits}) == [
        '"bald": 2 channels by samples (two-state, 13.8 % have it), alpha 1',
        '  comes with it, and was held still: "a shaved head"',  # not what was asked to stay
        '  comes with it so often that it cannot be held still: "no hair"',
        "1 image: 1 reached",
    ]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"source": "both", "kind": "rare", "share": 0.0042},
         "by samples and the table (rare, 0.42 % have it)"),
        ({"source": "samples", "kind": "graded"}, "by samples (graded)"),
        ({"source": "table", "kind": "unknown"}, "of the table"),
        ({"source": "samples", "kind": "unknown"}, "by samples"),
        ({"source": "table"}, "of the table"),
    ],
)  # fmt: skip
def test_summary_says_where_a_direction_comes_from(found, told):
    edits = [{"target": "bald", "channels": [{}], **TABLE, **found}]
    record = {"why": [""], "read": [], "edits": edits, "images": [image_of("seed 1", None)]}
    assert edit_summary(record) == [f'"bald": 1 channels {told}, alpha 1']


@pytest.mark.parametrize("kind", KINDS)
def test_of_what_does_not_fall_into_two_groups_no_share_is_told(kind):
    levels = Levels(0.0, 0.1, 0.2)
    told = evidence_record(Evidence(kind, 0.25, 5.0, 0.1, levels, levels, 0.7))
    grouped = kind in ("two-state", "rare", "always there")
    assert told == {
        "kind": kind,
        "share": 0.25 if grouped else None,
        "separation": 5.0 if grouped else None,
    }
    assert set(evidence_record(None).values()) == {None}


def test_record_tells_what_samples_say_and_the_status_of_every_image():
    editor = load("avatars", device="cpu")
    job = EditRequest((Edit("a face", "a bald face"),), Choice(), "direction")
    images = Images.of_seeds(editor.generator, [1, 2], 0.7, None)
    columns = run(editor, images, job)
    record = json.loads(json.dumps(edit_record(editor.atlas, columns, images.names)))
    (edit,) = record["edits"]
    direction = columns[0].result.directions[0]
    assert (edit["source"], edit["kind"]) == ("samples", "two-state")
    assert edit["share"] == round(direction.evidence.share, 4)
    assert edit["held"] == list(direction.held) and edit["inseparable"] == []
    assert [image["status"] for image in record["images"]] == list(columns[0].result.status)
    table = replace(job, choice=Choice(source="table"))
    (edit,) = edit_record(editor.atlas, run(editor, images, table), images.names)["edits"]
    assert edit["source"] == "table"
    assert [edit[name] for name in ("kind", "share", "held", "inseparable")] == [None] * 4
