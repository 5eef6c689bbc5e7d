"""`styleatlas evaluate`: the trip on the embedded models, and what is refused before the work."""

from __future__ import annotations

import json

import pytest

from styleatlas.store.registry import EMBEDDED

from ..dlib_files import as_fetched, dlib_weights
from ..lpips_files import backbone_state, layers_state, write_torch

NAMES = ["evaluation.csv", "evaluation.json", "index.html"]


@pytest.fixture
def two_edits(tmp_path):
    """The file that ships, with two of its edits."""
    suite = json.loads(EMBEDDED.suite.read_text())
    path = tmp_path / "two.json"
    path.write_text(json.dumps({**suite, "edits": suite["edits"][5:7]}))
    return path


def test_evaluation_of_avatars_takes_no_number_by_hand(run, two_edits, tmp_path):
    folder = tmp_path / "quality"
    result = run("evaluate", "avatars", "--edits", two_edits, "--seed", "1-4", "-o", folder)
    assert result.exit_code == 0, result.output
    told = [json.loads(line) for line in result.stderr.splitlines()]
    assert told and all(list(line) == ["edits", "of", "seconds_left"] for line in told)
    assert told == sorted(told, key=lambda line: line["edits"])
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["way", "best", "alpha"]
    assert lines[1].startswith("default ") and "automatic" in lines[1]
    assert lines[-1] == str(folder)
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    record = json.loads((folder / "evaluation.json").read_text())
    assert record["judge"] == "avatars" and record["seeds"] == [1, 2, 3, 4]
    assert [way["way"] for way in record["ways"]] == [
        "default",
        "default, fixed alpha",
        "table",
        "paper",
        "shuffled rows",
        "random rows",
    ]


def test_json_is_what_the_file_holds_and_files_are_replaced(run, two_edits, tmp_path):
    (tmp_path / "evaluation.json").write_text("old")
    options = ("--edits", two_edits, "--seed", "2", "--json", "-o", tmp_path)
    result = run("evaluate", "avatars", "--reference", "avatars", *options)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record == json.loads((tmp_path / "evaluation.json").read_text())
    assert record["reference"]["sha256"] == record["atlas"]["sha256"]
    assert [row["way"] for row in record["default_against"]][3] == "reference"


def test_own_clip_of_the_atlas_is_refused_as_the_judge(refused, tmp_path):
    arguments = ("avatars", "--judge", EMBEDDED.clip, "-o", tmp_path / "quality")
    message = refused("evaluate", *arguments)
    assert message.startswith('judge "clip" (')
    assert message.endswith("edits are made to please it; judge them by another one")
    assert not (tmp_path / "quality").exists()


def test_atlas_of_other_models_needs_edits_and_a_judge(refused, countable_path, tmp_path):
    arguments = (countable_path, "-o", tmp_path / "quality")
    message = refused("evaluate", *arguments)
    assert message == "edits: none is known for this atlas; name one by --edits"
    message = refused("evaluate", *arguments, "--edits", EMBEDDED.suite)
    assert message == "judge: none is known for this atlas; name one by --judge"


def test_faulty_edits_are_refused_before_the_work(refused, tmp_path):
    path = tmp_path / "edits.json"
    path.write_text("{}")
    message = refused("evaluate", "avatars", "--edits", path, "-o", tmp_path / "quality")
    assert message == "edits.json: the file: lacks attributes, edits, neutral"


def test_reference_of_another_generator_is_refused(refused, countable_path, tmp_path):
    folder = tmp_path / "quality"
    folder.mkdir()
    message = refused("evaluate", "avatars", "--reference", countable_path, "-o", folder)
    assert "do not belong together" in message


def test_output_that_is_a_file_is_refused(refused, tmp_path):
    path = tmp_path / "quality"
    path.write_text("")
    message = refused("evaluate", "avatars", "-o", path)
    assert message.startswith(f"{path}: cannot be made")


def test_clip_judges_a_foreign_pair(run, draw, checkpoint, clip_folder, tmp_path):
    """A tiny StyleGAN2 whose atlas a tiny CLIP drew; another tiny CLIP judges."""
    from safetensors.torch import load_file, save_file

    from styleatlas.engine.models.load import load_encoder, load_generator

    other = tmp_path / "other"
    other.mkdir()
    for file in clip_folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    weights = load_file(clip_folder / "open_clip_model.safetensors")
    weights["visual.proj"] = weights["visual.proj"].flip(1).contiguous()
    save_file(weights, other / "open_clip_model.safetensors")
    atlas = draw(
        load_generator(checkpoint, "cpu"),
        load_encoder(clip_folder, "cpu"),
        phrases=("a", "face"),
        templates=("{}",),
        images=4,
    )
    path = tmp_path / "tiny.h5"
    atlas.write(path)
    suite = {
        "neutral": "a",
        "attributes": {"x": {"b": ["b"], "c": ["c"]}, "y": {"d": ["d"], "e": ["e", "ee"]}},
        "edits": [{"target": "face", "attribute": "x", "values": ["b"]}],
    }
    edits = tmp_path / "edits.json"
    edits.write_text(json.dumps(suite))
    models = ("--generator", checkpoint, "--clip", clip_folder, "--edits", edits)
    options = ("--seed", "1-6", "-o", tmp_path / "quality", "--json", "--device", "cpu")
    result = run("evaluate", path, *models, "--judge", other, *options)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["judge"] == "other"
    assert any(row["judge_similarity"] is not None for row in record["edits"])


def test_lpips_of_two_files_and_identity_by_dlib(run, two_edits, tmp_path, monkeypatch):
    as_fetched(tmp_path / "data", monkeypatch, dlib_weights())
    files = [
        write_torch(tmp_path / "alexnet.pth", backbone_state("alex")),
        write_torch(tmp_path / "alex.pth", layers_state("alex")),
    ]
    options = ("--edits", two_edits, "--seed", "2", "--json", "-o", tmp_path / "quality")
    measured = [part for file in files for part in ("--lpips", file)] + ["--identity", "dlib"]
    result = run("evaluate", "avatars", *measured, *options)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert (record["lpips"], record["identity"]) == ("alex", "dlib")
    changed = [row for row in record["edits"] if row["images_without"] and row["channels"]]
    assert changed
    for row in changed:
        assert row["lpips"] > 0
        assert -1 <= row["identity"] <= 1
        assert row["same_person"] in (0, 100)


@pytest.mark.parametrize(
    ("option", "name", "weights"),
    [("--lpips", "alex", "lpips"), ("--lpips", "vgg", "lpips"), ("--identity", "dlib", "face-api")],
)
def test_weights_that_were_not_fetched_are_named_before_the_work(
    refused, tmp_path, monkeypatch, option, name, weights
):
    as_fetched(tmp_path / "data", monkeypatch, {"fc": dlib_weights()["fc"]}).unlink()
    message = refused("evaluate", "avatars", option, name, "-o", tmp_path / "quality")
    fetch = f"`styleatlas models fetch {weights}` fetches it"
    assert message == f"{weights}: not fetched yet; {fetch}"
    assert not (tmp_path / "quality").exists()


def test_lpips_of_a_file_that_is_not_there(refused, tmp_path):
    message = refused("evaluate", "avatars", "--lpips", "alexnet", "-o", tmp_path / "quality")
    assert message == "alexnet: no such file; check the path, or name alex or vgg"
