"""What an evaluation tries."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from styleatlas import Atlas
from styleatlas.commands import demo
from styleatlas.engine.evaluation.judges import (
    AttributeJudge,
)
from styleatlas.engine.evaluation.suite import Trial, read_suite
from styleatlas.store.bank import normalise_prompt
from styleatlas.store.errors import InputError
from styleatlas.store.registry import EMBEDDED


def written(**changes):
    suite = {
        "neutral": "a face",
        "attributes": {
            "mouth": {"smiling": ["a smiling face"], "sad": ["a sad face", "a frown"]},
            "hat": {"none": ["no hat"], "hat": ["a hat"]},
        },
        "edits": [{"target": "a sad face", "attribute": "mouth", "values": ["sad"]}],
    }
    return suite | changes


def edit(**changes):
    return {"target": "sad", "attribute": "mouth", "values": ["sad"]} | changes


def test_suite_that_ships_names_a_phrase_of_the_bank_for_all_that_its_judge_sees():
    suite, bank = read_suite(EMBEDDED.suite), Atlas.open(EMBEDDED.atlas).prompts
    suite.require(AttributeJudge(EMBEDDED).attributes)
    texts = [*suite.all_phrases(), *(trial.target for trial in suite.trials)]
    assert all(bank.find(text) is not None for text in texts)
    assert len(suite.trials) == 20


def test_suite_that_ships_holds_no_edit_of_the_demonstration():
    assert not {trial.target for trial in read_suite(EMBEDDED.suite).trials} & set(demo.EDITS)


def test_edit_takes_the_neutral_of_the_file_or_its_own(tmp_path):
    path = tmp_path / "edits.json"
    keep = edit(neutral="a man", keep=["a hat"])
    path.write_text(json.dumps(written(edits=[edit(), keep])))
    first, second = read_suite(path).trials
    assert first == Trial("a face", "sad", "mouth", ("sad",))
    assert second == Trial("a man", "sad", "mouth", ("sad",), ("a hat",))


def test_suite_takes_from_its_base_what_it_leaves_out(tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "faces.json").write_text(json.dumps(written()))
    path = tmp_path / "lists" / "edits.json"
    path.write_text(json.dumps({"base": "../faces.json"}))
    whole = read_suite(tmp_path / "faces.json")
    assert read_suite(path) == whole
    path.write_text(json.dumps({"base": "../faces.json", "edits": [edit(target="a frown")]}))
    suite = read_suite(path)
    assert suite.phrases == whole.phrases
    assert suite.trials == (Trial("a face", "a frown", "mouth", ("sad",)),)


def test_base_that_is_not_there_or_has_a_base_itself_is_refused(tmp_path):
    path = tmp_path / "edits.json"
    path.write_text(json.dumps({"base": "faces.json"}))
    with pytest.raises(InputError, match=r"^edits\.json: .*faces\.json: cannot be read"):
        read_suite(path)
    (tmp_path / "faces.json").write_text(json.dumps(written(base="edits.json")))
    with pytest.raises(InputError, match=r"base faces\.json: has a base itself"):
        read_suite(path)


LISTS = Path(__file__).parents[3] / "benchmarks" / "prompts"


@pytest.mark.parametrize("name", sorted(path.stem for path in LISTS.glob("*.json")))
def test_list_of_prompts_can_be_judged_and_changes_something(name):
    suite, attributes = read_suite(LISTS / f"{name}.json"), AttributeJudge(EMBEDDED).attributes
    suite.require(attributes)
    for trial in suite.trials:
        assert 0 < len(set(trial.values)) < len(attributes[trial.attribute])


def test_no_prompt_of_the_tuning_list_is_in_another():
    tuned = {trial.target for trial in read_suite(LISTS / "tuning.json").trials}
    others = [read_suite(LISTS / f"{name}.json") for name in ("reporting", "people", "removal")]
    assert len(tuned) == 20
    assert not tuned & {trial.target for suite in others for trial in suite.trials}
    assert others[0] == read_suite(EMBEDDED.suite)


def test_nonsense_names_nothing_that_avatars_have():
    lines = (LISTS / "nonsense.txt").read_text("utf-8").splitlines()
    assert len(lines) == len({normalise_prompt(line) for line in lines}) >= 220
    suite = read_suite(EMBEDDED.suite)
    words = set(re.findall("[a-z]+", " ".join(suite.all_phrases()))) - {"a", "an", "with", "no"}
    for line in lines:
        assert not words & set(re.findall("[a-z]+", line.lower())), line


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ([], "the file: must be an object, not a list"),
        ({"neutral": "a face"}, "the file: lacks attributes, edits"),
        (written(judge="me"), "the file: has an unknown 'judge'; remove it"),
        (written(neutral=None), "neutral: must be a text, not null"),
        (written(neutral=""), "prompt: is empty"),
        (written(edits={}), "edits: must be a list, not an object"),
        (written(edits=[]), "edits: there are none; name at least one"),
        (written(edits=[edit(), edit()]), "edit 'sad': is there twice; remove one"),
        (written(edits=[edit(beta=1)]), "edit 1: has an unknown 'beta'; remove it"),
        (written(edits=[edit(values=[])]), "edit 1, values: must be a list of texts, at least one"),
        (written(edits=[edit(values=[3])]), "edit 1, values: must be a text, not a number"),
        (
            written(edits=[edit(attribute="nose")]),
            "unknown attribute 'nose'; use one of mouth",
        ),
        (written(edits=[edit(values=["red"])]), "has no value 'red'; use one of smiling, sad"),
        (written(edits=[edit(keep=["ears"])]), "keep 'ears' is no phrase of the attributes"),
        (written(attributes={"mouth": {"sad": ["sad"]}}), "'mouth': needs at least two values"),
        (written(attributes={"mouth": {"sad": "sad"}}), "'mouth', 'sad': must be a list of texts"),
    ],
)
def test_faulty_suite_is_refused_with_its_name_and_the_place(tmp_path, suite, message):
    path = tmp_path / "edits.json"
    path.write_text(json.dumps(suite))
    with pytest.raises(InputError) as refusal:
        read_suite(path)
    assert str(refusal.value).startswith("edits.json: ")
    assert message in str(refusal.value)


def test_file_that_is_no_json_or_not_there_is_refused(tmp_path):
    path = tmp_path / "edits.json"
    with pytest.raises(InputError, match=r"edits\.json: cannot be read \(No such file"):
        read_suite(path)
    path.write_text("{")
    with pytest.raises(InputError, match=r"edits\.json: is not valid JSON"):
        read_suite(path)
    path.write_bytes(b'"' + b" " * 2**22 + b'"')
    with pytest.raises(InputError, match="is larger than 4 MiB"):
        read_suite(path)


def test_judge_must_know_every_value_and_have_a_phrase_for_all_it_sees(tmp_path):
    path = tmp_path / "edits.json"
    path.write_text(json.dumps(written()))
    suite = read_suite(path)
    with pytest.raises(InputError, match="the judge knows no 'mouth' 'sad'; it knows smiling"):
        suite.require({"mouth": ["smiling"]})
    with pytest.raises(InputError, match="'hat' has no phrase for 'cap'"):
        suite.require({"mouth": ["smiling", "sad"], "hat": ["hat", "cap"]})
