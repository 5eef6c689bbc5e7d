"""What is told of edits of faces, by made-up readings."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks" / "faces"))

import edit_pictures
import edit_tables
import face_edits
from judges import JUDGED

from styleatlas.store.errors import DirectionError, OptionError

SMILE = edit_tables.Edit("smile", "a face", "a smiling face", "smile", ("smiling",), ("mouth",))


def line(seed: int, **changed):
    values = {"smile": "not", "mouth": "closed", "gender": "man", "turn": "front", "hat": "no"}
    figures = {"years": 30.0, "male": 1.0, "damage": 0.8, "identity": 0.3, "lpips": 0.1}
    figures |= {"moved": 0.02, "status": "reached", "seconds": 1.0}
    read = values | {k: v for k, v in changed.items() if k in values}
    told = figures | {k: v for k, v in changed.items() if k not in values}
    return {"seed": seed, "values": read, **told}


def before(seed: int, mirrored=None, **values):
    found = line(seed, **values)
    return found | {"mirrored": {"values": found["values"] | (mirrored or {})}}


def test_success_counts_the_images_that_lacked_it():
    unedited = {i: before(i) for i in range(4)} | {4: before(4, smile="smiling")}
    after = [line(i, smile="smiling", mouth="open") for i in (0, 1, 2, 4)] + [line(3)]
    found = edit_tables.record("samples", SMILE, unedited, after, limit=1.0)
    assert (found["lacked"], found["of"], found["success"]) == (4, 5, 75.0)
    assert found["said so"] == 100.0
    assert found["said, not seen"] == 25.0
    assert "mouth" not in found["flips"]  # follows a smile
    assert found["flips"]["hat"] == (0.0, 0.0)


def test_shifts_are_from_the_image_as_it_was():
    unedited = {0: before(0, years=40.0), 1: before(1, damage=0.4)}
    after = [line(0, gender="woman", male=0.4, identity=0.7), line(1, years=20.0, damage=1.2)]
    found = edit_tables.record("samples", SMILE, unedited, after, limit=1.0)
    assert found["years"] == pytest.approx(-10)
    assert found["male"] == pytest.approx(-0.3)
    assert (found["to woman"], found["to man"]) == ("1/2", "0/0")
    assert (found["same"], found["L2"]) == (50.0, pytest.approx(0.5))
    assert found["damage"] == pytest.approx(1.0 / 0.6)
    assert found["damaged"] == 50.0


def test_a_mirror_image_is_turned_the_other_way():
    assert not edit_tables.mirrors("turn", before(0, turn="left", mirrored={"turn": "right"}))
    assert edit_tables.mirrors("turn", before(0, turn="left"))
    assert edit_tables.mirrors("hat", before(0, mirrored={"hat": "yes"}))


def test_what_changes_beyond_mirror_images_and_five_points_is_told():
    unedited = {i: before(i, mirrored={"hat": "yes"} if i < 2 else {}) for i in range(20)}
    after = [
        line(i, hat="yes" if i < 3 else "no", turn="left" if i < 2 else "front") for i in unedited
    ]
    found = edit_tables.record("samples", SMILE, unedited, after, limit=1.0)
    assert found["flips"]["hat"] == (15.0, 10.0)
    assert edit_tables.beyond(found["flips"]) == ["turn"]
    told = {row["attribute"]: row for row in edit_tables.flips([found])}
    assert told["turn"] == {"attribute": "turn", "mirror": "0", "smile": "10*"}
    assert told["hat"]["smile"] == "15"


def test_where_no_judge_reads_the_attribute_the_program_says_who_lacked_it():
    edit = edit_tables.Edit("sad", "a face", "a sad face", "mood", ("sad",))
    unedited = {0: before(0), 1: before(1)}
    after = [line(0), line(1, status="already_there")]
    found = edit_tables.record("samples", edit, unedited, after, limit=1.0)
    assert (found["lacked"], found["success"], found["said so"]) == (1, None, 100.0)


def test_an_edit_without_a_direction_is_no_failure_of_images():
    found = edit_tables.record("table", SMILE, {0: before(0)}, [{"error": "none"}], limit=1.0)
    assert (found["lacked"], found["of"], found["success"]) == (0, 0, None)
    (told,) = edit_tables.summary([found])
    assert told["edits"] == 0


def test_every_edit_of_the_list_is_judged_by_what_judges_may_read():
    edits = edit_tables.read_edits()
    assert len(edits) >= 16
    assert len({edit.name for edit in edits}) == len(edits)
    for edit in edits:
        assert set(edit.values) <= set(JUDGED[edit.attribute].values), edit.name
        assert set(edit.follows) <= set(JUDGED) - {edit.attribute}, edit.name


def test_lines_are_read_as_a_table(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"damage_limit": 1.0}))
    face_edits.write_lines(tmp_path / "unedited.jsonl", [before(1), before(2)])
    smiles = [line(1, smile="smiling"), line(2, smile="smiling")]
    face_edits.write_lines(tmp_path / "samples--smile.jsonl", smiles)
    run = CliRunner().invoke(face_edits.main, ["table", "--out", str(tmp_path), "--json"])
    (found,) = [json.loads(text) for text in run.output.splitlines()]
    assert (found["way"], found["edit"], found["success"]) == ("samples", "smile", 100.0)
    run = CliRunner().invoke(face_edits.main, ["table", "--out", str(tmp_path)])
    assert run.exit_code == 0, run.output


def test_a_folder_goes_on_with_its_own_settings_alone(tmp_path):
    path = tmp_path / "run.json"
    for _ in range(2):
        face_edits.require_same_run(path, {"psi": 0.7})
    with pytest.raises(OptionError, match=r"run\.json: was begun with other settings"):
        face_edits.require_same_run(path, {"psi": 1.0})


def test_a_way_without_a_direction_leaves_one_line(tmp_path):
    class Nobody:
        def parts(self, first):
            yield slice(0, 1), None, None

    def way(subject, neutral, target):
        raise DirectionError("no channel passes")

    Nobody.seeds = (1,)
    found = face_edits.edited(way, SMILE, Nobody(), None, tmp_path, "table--smile", 1)
    assert found == [{"error": "no channel passes"}]


@pytest.fixture
def measured(tmp_path):
    """Twelve grey faces, of which ten lacked a smile and became white."""
    seeds = list(range(1, 13))
    edit_pictures.keep(tmp_path, "unedited", seeds, torch.zeros(12, 3, 64, 64))
    edit_pictures.keep(tmp_path, "samples--smile", seeds, torch.ones(12, 3, 64, 64))
    lines = [before(s, smile="smiling" if s > 10 else "not") for s in seeds]
    face_edits.write_lines(tmp_path / "unedited.jsonl", lines)
    smiles = [line(s, smile="smiling") for s in seeds]
    face_edits.write_lines(tmp_path / "samples--smile.jsonl", smiles)
    return tmp_path


def test_pairs_are_blind_and_their_key_lies_apart(measured):
    edit_pictures.write_pairs(measured, "samples--smile", 30, seed=0)
    key = measured / "pairs" / "samples--smile.key.csv"
    rows = list(csv.DictReader(key.read_text().splitlines()))
    assert sorted(int(row["seed"]) for row in rows) == list(range(1, 11))
    assert {row["edited"] for row in rows} == {"A", "B"}
    (sheet,) = (measured / "pairs" / "samples--smile").iterdir()
    pixels = np.array(Image.open(sheet).convert("L")).astype(int)
    side, above = edit_pictures.PAIR_SIDE, edit_pictures.MARGIN
    seen = [
        "A" if pixels[y, x] > pixels[y, x + side] else "B"
        for i in range(len(rows))
        for y in [i // 2 * (side + above) + above + side // 2]
        for x in [i % 2 * (2 * side + 24) + side // 2]
    ]
    assert seen == [row["edited"] for row in rows]


def test_answers_are_counted_against_the_key(tmp_path):
    key, answers = tmp_path / "key.csv", tmp_path / "answers.csv"
    key.write_text("pair,edited,seed\n1,A,5\n2,B,6\n3,B,7\n4,A,8\n")
    answers.write_text("pair,answer\n1,A\n2,A\n3,neither\n")
    found = edit_pictures.counted(answers, key)
    assert found == {
        "pairs": 4,
        "edited one named": 1,
        "other one named": 1,
        "neither": 1,
        "not answered": 1,
        "right %": 25.0,
    }
    answers.write_text("pair,answer\n9,A\n")
    with pytest.raises(OptionError, match="answers pair 9"):
        edit_pictures.counted(answers, key)
    answers.write_text("pair,answer\n1,left\n")
    with pytest.raises(OptionError, match="answers 'left'; say A, B or neither"):
        edit_pictures.counted(answers, key)


def test_a_sheet_shows_before_above_after(measured):
    sizes = edit_pictures.write_sheets(measured, "samples", measured / "docs", [1, 2, 3], 64)
    assert set(sizes) == {"smile.webp"}
    pixels = np.array(Image.open(measured / "docs" / "smile.webp").convert("L")).astype(int)
    assert pixels.shape == (128, 192)
    assert (pixels[:60] < 140).all()
    assert (pixels[68:] > 240).all()
    with pytest.raises(OptionError, match=r"99\.webp: is missing"):
        edit_pictures.write_sheets(measured, "samples", measured / "docs", [99], 64)
