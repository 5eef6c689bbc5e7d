"""Look-ups over HTTP, held against what the atlas itself answers."""

from __future__ import annotations

import pytest

from styleatlas.engine.jobs import questions
from styleatlas.engine.steering.texts import TextEmbedder
from styleatlas.server.api.lookups import mapper_names
from styleatlas.store.atlas import Atlas

PAIR = {"neutral": "a face", "target": "a face with glasses"}
BEYOND = {"neutral": "a face", "target": "a face with really odd glasses"}


@pytest.fixture(scope="module")
def atlas():
    return Atlas.open("avatars")


@pytest.fixture(scope="module")
def texts(atlas):
    return TextEmbedder(atlas, lambda: pytest.fail("the bank holds these"))


def get(http, path: str, **query):
    answer = http.get(f"/api/v1/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_atlas_tells_what_it_is_and_by_which_name(http, atlas):
    (told,) = get(http, "atlases")["records"]
    assert told["name"] == "avatars" and told["prompts"] == len(atlas.prompts)


def test_phrases_are_found_by_how_they_or_their_words_begin(http, atlas):
    told = get(http, "phrases", prefix="A Face  with gl")
    assert told == {"phrases": ["a face with glasses"], "total": 1}
    told = get(http, "phrases", prefix="glasses", top=2)
    assert told["phrases"][0] == "glasses" and len(told["phrases"]) == 2 < told["total"]
    assert get(http, "phrases", prefix="zzz") == {"phrases": [], "total": 0}
    assert get(http, "phrases", top=1000)["total"] == len(atlas.prompts)


def test_direction_is_the_one_that_an_edit_takes(http, atlas, texts):
    told = get(http, "directions", **PAIR, top=3)
    assert told == questions.direction_record(atlas, texts, *PAIR.values(), 3)
    assert (told["source"], told["kind"], len(told["channels"])) == ("samples", "two-state", 3)
    assert told["channels_moved"] == 264
    without = {"neutral": "a face with glasses", "target": "a face without glasses"}
    assert get(http, "directions", **without)["target"] == "a face"  # read as an edit reads it


def test_questions_are_answered_as_the_command_answers(http, atlas, texts):
    pair = tuple(PAIR.values())
    told = get(http, "channels", **PAIR, top=4)["records"]
    assert told == questions.channel_records(atlas, texts, *pair, 4)
    told = get(http, "entangled", **PAIR, top=4)["records"]
    assert told == questions.entangled_records(atlas, texts, *pair, 4)
    told = get(http, "similar", **PAIR, top=4)["records"]
    assert told == atlas.query_similar(*pair, top=4)
    told = get(http, "samples", **PAIR)
    asked = questions.ask_samples(atlas, texts, *pair)
    assert told["record"] == asked.record
    assert told["rows"] == {name: numbers.tolist() for name, numbers in asked.rows}


@pytest.mark.parametrize("label", ["b16.conv1:20", "b16.conv1"])
def test_channel_and_layer_say_what_they_mean(http, atlas, label):
    assert get(http, f"channels/{label}", top=3)["records"] == atlas.query_prompts(label, 3)


def test_prompt_beyond_the_bank_is_embedded_by_a_worker_once(http, atlas):
    told = get(http, "similar", **BEYOND, top=1)["records"]
    counts = get(http, "status")["counts"]
    assert get(http, "similar", **BEYOND, top=1)["records"] == told
    assert get(http, "status")["counts"] == counts  # no other job was made
    assert get(http, "directions", **BEYOND)["target"] == BEYOND["target"]


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("similar", {"neutral": "a face", "target": "a face"}, 422),
        ("similar", {"neutral": "a face"}, 422),
        ("similar", PAIR | {"top": 0}, 422),
        ("directions", {"neutral": "", "target": "x"}, 422),
        ("channels/b16.conv1:99999", {}, 404),
        ("channels/no%2Fsuch", {}, 404),
        ("phrases", {"prefix": "x" * 301}, 422),
    ],
)
def test_question_without_an_answer_is_a_problem(http, path, query, status):
    answer = http.get(f"/api/v1/{path}", params=query)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_mappers_are_files_of_their_folder(tmp_path):
    for name in ("b.pt", "a.safetensors", ".hidden.pt", "notes.txt"):
        (tmp_path / name).touch()
    assert mapper_names(tmp_path) == ["a.safetensors", "b.pt"]
    assert mapper_names(tmp_path / "none") == []
