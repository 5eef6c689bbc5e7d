"""The questions of query, and what info and query refuse."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from PIL import Image

from styleatlas.engine.steering.direction import find_direction

PAIR = ("--neutral", "a picture", "--target", "a picture channel7")


def test_query_channels_lists_the_channel_of_the_prompt_first(answer, countable_path):
    lines = answer("query", "channels", countable_path, *PAIR, "--top", 3).splitlines()
    assert lines[0].split() == [
        *("channel", "kind", "layer", "resolution"),
        *("score", "consistency", "strength", "expected"),
    ]
    assert len(lines) == 4 and lines[1].startswith("b8.conv0:0 ")
    records = json.loads(answer("query", "channels", countable_path, *PAIR, "--json"))
    assert len(records) == 12 and records[0]["channel"] == "b8.conv0:0"


def test_query_prompts_lists_both_sides(answer, countable_path):
    text = answer("query", "prompts", countable_path, "b8.conv0:0", "--top", 2)
    towards, away = text.split("\ntowards\n")[1].split("\n\naway\n")
    assert towards.splitlines()[1].startswith("a picture channel7 ")
    assert "a picture channel7" not in away
    records = json.loads(answer("query", "prompts", countable_path, "b8.conv0:0", "--json"))
    assert [(r["side"], r["prompt"]) for r in records][::4] == [
        ("towards", "a picture channel7"),
        ("away", records[3]["prompt"]),
    ]


def test_query_prompts_of_a_layer_names_channels_of_both_signs(answer, countable_path):
    lines = answer("query", "prompts", countable_path, "b8.conv0", "--top", 2).splitlines()
    assert lines[0].split() == ["prompt", "share", "movement", "towards", "away", "confidence"]
    assert len(lines) == 3
    assert lines[1].startswith("a picture channel7 ") and " b8.conv0:0 " in lines[1]


def test_dead_channel_is_said_to_be_dead(run, countable_path):
    result = run("query", "prompts", countable_path, "b4.torgb:1", "--json")  # flat index 6
    assert result.exit_code == 0
    assert result.stderr == "b4.torgb:1: is dead: it never moved CLIP's embedding\n"
    assert {record["confidence"] for record in json.loads(result.stdout)} == {0}


def test_query_similar_compares_what_prompts_say_with_what_they_edit(answer, countable_path):
    lines = answer("query", "similar", countable_path, *PAIR).splitlines()
    assert lines[0].split() == ["prompt", "text_cosine", "style_cosine"]
    # of four phrases, neither the neutral one nor the target
    assert {line.rsplit(maxsplit=2)[0] for line in lines[1:]} == {
        "a picture channel12",
        "something else",
    }


def test_query_entangled_asks_for_the_step_that_edit_would_take(
    answer, countable_path, countable_atlas
):
    direction = countable_atlas.direction(PAIR[1], PAIR[3])
    found = find_direction(countable_atlas, direction, neutral=PAIR[1], target=PAIR[3])
    known = countable_atlas.query_entangled(found.delta(1.0), direction, 3)
    text = answer("query", "entangled", countable_path, *PAIR, "--top", 3, "--json")
    assert json.loads(text) == [{"source": "table", **record} for record in known]
    text = answer("query", "entangled", countable_path, *PAIR)
    assert text.startswith("source\ntable\n\ntowards\n") and "\n\naway\n" in text


def test_query_compare_shows_whence_both_come_and_how_alike_they_are(answer, countable_path):
    first, second, blank, header, everything, *layers = answer(
        "query", "compare", countable_path, countable_path
    ).splitlines()
    assert first.startswith("A  table sweep, images 24, ") and second == "B" + first[1:]
    assert blank == "" and header.startswith("layer ")
    assert everything.split()[:7] == ["all", "12", "0", "0", "1.000", "1.000", "1.000"]
    assert len(layers) == 5
    text = answer("query", "compare", countable_path, countable_path, "--json")
    assert json.loads(text)[0]["layer"] == "all"


def test_atlases_are_compared_without_torch(process, countable_path):
    done = process("query", "compare", countable_path, countable_path)
    assert done.returncode == 0 and done.stderr == "imported:\n"


def test_query_compare_refuses_another_generator(
    refused, countable_path, countable_atlas, tmp_path
):
    origin = countable_atlas.fingerprint
    other = replace(origin, generator=replace(origin.generator, name="cats", sha256="0" * 64))
    path = tmp_path / "cats.h5"
    replace(countable_atlas, fingerprint=other).write(path)
    message = refused("query compare", countable_path, path)
    assert message.startswith('atlases of different generators: the first was drawn with "count')
    assert '"cats" (000000000000)' in message


@pytest.mark.parametrize("command", ["channels", "prompts", "similar", "entangled", "compare"])
def test_csv_holds_the_records_of_json(answer, countable_path, command):
    arguments = {"prompts": ("b8.conv0",), "compare": (countable_path,)}.get(command, PAIR)
    records = json.loads(answer("query", command, countable_path, *arguments, "--json"))
    text = answer("query", command, countable_path, *arguments, "--csv")
    rows = list(csv.DictReader(text.splitlines()))
    assert [list(row) for row in rows] == [list(record) for record in records]
    assert [list(row.values()) for row in rows] == [
        ["" if value is None else str(value) for value in record.values()] for record in records
    ]


BALD = ("--neutral", "a face", "--target", "a bald face")
GIRAFFE = ("--neutral", "a face", "--target", "a giraffe")


def test_query_samples_tells_who_has_it_a_value_a_line(answer):
    told = dict(
        line.split(maxsplit=1) for line in answer("query", "samples", "avatars", *BALD).splitlines()
    )
    assert list(told) == [
        *("neutral", "target", "kind", "share", "separation", "source", "channels"),
        *("held", "inseparable", "samples", "there", "near_psi", "near_samples", "near_there"),
    ]
    assert (told["kind"], told["source"]) == ("two-state", "samples")
    assert told["inseparable"] == "-" and told["samples"] == "4000"
    (record,) = json.loads(answer("query", "samples", "avatars", *BALD, "--json"))
    assert list(record) == list(told) and told["held"] == "; ".join(record["held"])
    assert all("hair" in phrase for phrase in record["held"]), "whose colour a bald head has not"
    rows = list(csv.DictReader(answer("query", "samples", "avatars", *BALD, "--csv").splitlines()))
    assert len(rows) == 1 and list(rows[0]) == list(told)
    assert (rows[0]["held"], rows[0]["inseparable"]) == (told["held"], "")
    assert float(rows[0]["share"]) == record["share"]


def test_query_samples_says_of_an_unknown_prompt_that_it_is(run):
    result = run("query", "samples", "avatars", *GIRAFFE, "--json")
    assert result.exit_code == 0
    (record,) = json.loads(result.stdout)
    assert (record["kind"], record["share"], record["there"]) == ("unknown", None, None)
    assert result.stderr == (
        '"a giraffe": no sample stands out from the others by it as against "a face"\n'
    )


def test_query_samples_draws_them(answer, tmp_path):
    path = tmp_path / "bald.png"
    plain = answer("query", "samples", "avatars", *BALD)
    assert answer("query", "samples", "avatars", *BALD, "-o", path) == plain
    with Image.open(path) as picture:
        assert picture.height == 3 * 128  # 64 px twice as large, below labels


def test_query_samples_needs_samples_and_says_how_to_get_them(refused, countable_path, tmp_path):
    message = refused("query samples", countable_path, *PAIR, "-o", tmp_path / "o.png")
    assert message.startswith("samples: this atlas holds none; draw some with `styleatlas precomp")
    assert message.endswith("--samples 4000`")


def test_query_samples_refuses_another_generator_and_another_kind_of_file(
    refused, checkpoint, tmp_path
):
    picture = ("-o", tmp_path / "o.png")
    message = refused("query samples", "avatars", *BALD, *picture, "--generator", checkpoint)
    assert "generator" in message and "avatars" in message
    message = refused("query samples", "avatars", *BALD, "-o", tmp_path / "o.gif")
    assert message.startswith(f"{tmp_path / 'o.gif'}: ")


@pytest.mark.parametrize("command", ["samples", "channels", "entangled"])
def test_what_samples_say_is_told_without_torch(process, command):
    done = process("query", command, "avatars", *BALD)
    assert done.returncode == 0 and done.stderr == "imported:\n"


def test_query_channels_has_a_column_of_the_samples_steps(answer, run):
    records = json.loads(answer("query", "channels", "avatars", *BALD, "--json"))
    assert all(list(record)[-1] == "step" for record in records)
    assert any(abs(record["step"]) > 1 for record in records)
    unknown = json.loads(run("query", "channels", "avatars", *GIRAFFE, "--json").stdout)
    assert {record["step"] for record in unknown} == {None}


def test_query_entangled_says_who_foretells(answer):
    assert answer("query", "entangled", "avatars", *BALD).startswith("source\nsamples\n\ntowards\n")


BAD_ATLASES = {
    "missing": (None, "no such file; check the path"),
    "foreign": (lambda data: b"P5 1 1 255 x", "is not an HDF5 file, so it is not an atlas"),
    "empty": (lambda data: b"", "is not an HDF5 file"),
    "truncated": (lambda data: data[: len(data) // 2], "cannot be read"),
    "cut header": (lambda data: data[:100], "cannot be read"),
}


NO_ATLAS = {"foreign": "is no checkpoint of a known kind", "empty": "is empty"}


QUESTIONS = {
    "info": (),
    "query channels": PAIR,
    "query prompts": ("b8.conv0:0",),
    "query samples": PAIR,
    "query similar": PAIR,
    "query entangled": PAIR,
    "query compare": ("avatars",),
}


@pytest.mark.parametrize("kind", BAD_ATLASES)
@pytest.mark.parametrize("command", QUESTIONS)
def test_unsound_atlas_is_refused_by_every_question(
    refused, countable_path, tmp_path, command, kind
):
    change, message = BAD_ATLASES[kind]
    if command == "info" and kind in NO_ATLAS:  # for `info` it may be a checkpoint
        message = NO_ATLAS[kind]
    path = tmp_path / "bad.h5"
    if change:
        path.write_bytes(change(countable_path.read_bytes()))
    found = refused(command, path, *QUESTIONS[command])
    assert found.startswith(f"{path}: ") and message in found


@pytest.mark.parametrize("command", QUESTIONS)
def test_atlas_of_a_newer_format_is_refused(refused, countable_path, command):
    with h5py.File(countable_path, "r+") as file:
        file.attrs.modify("format_version", np.int32(2))
    found = refused(command, countable_path, *QUESTIONS[command])
    assert "format_version: is 2, this StyleAtlas reads up to 1; upgrade styleatlas" in found


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("query channels", ("--neutral", "", "--target", "a"), "prompt: is empty"),
        (
            "query channels",
            ("--neutral", "a picture", "--target", "A  Picture"),
            'target: "A Picture" is the neutral prompt itself; say what differs',
        ),
        ("query channels", (*PAIR, "--top", "0"), "top 0: must be at least 1"),
        (
            "query channels",
            ("--neutral", "a picture", "--target", "words of another bank"),
            'CLIP: this atlas was drawn with "countable clip 0"; name its file by --clip',
        ),
        ("query prompts", ("b8.conv0:0", "--top", "0"), "top 0: must be at least 1"),
        ("query prompts", ("b8.conv0:4",), "b8.conv0 go from 0 to 3"),
        ("query prompts", ("b8.conv0:",), "write it as layer:number, such as b8.torgb:2"),
        ("query prompts", ("conv",), "layer 'conv': this generator has none; did you mean"),
        ("query prompts", ("input",), "layer input: none of its channels is in this atlas"),
        ("query similar", (*PAIR, "--top", "0"), "top 0: must be at least 1"),
        ("query entangled", (*PAIR, "--top", "0"), "top 0: must be at least 1"),
        ("query prompts", ("b8.conv:0",), "did you mean 'b8.conv0'?"),
        ("query prompts", ("input:0",), "channel input:0: is not in this atlas"),
    ],
)
def test_question_without_an_answer_is_explained(
    refused, countable_path, command, arguments, message
):
    assert message in refused(command, countable_path, *arguments)


def test_clip_that_open_clip_knows_by_name_is_looked_up_by_it(refused, countable_atlas, tmp_path):
    origin = countable_atlas.fingerprint
    clip = replace(origin.clip, name="ViT-B-32/no such tag")
    path = tmp_path / "named.h5"
    replace(countable_atlas, fingerprint=replace(origin, clip=clip)).write(path)
    message = refused("query channels", path, "--neutral", "unheard", "--target", "of")
    assert message.startswith("CLIP 'ViT-B-32/no such tag': open_clip knows no weights")


def test_prompt_outside_the_bank_is_refused_by_another_clip_with_both_fingerprints(
    refused, countable_path, countable_atlas, clip_folder
):
    prompts = ("--neutral", "a picture", "--target", "words of another bank")
    found = refused("query channels", countable_path, *prompts, "--clip", clip_folder)
    assert countable_atlas.fingerprint.clip.sha256[:12] in found
    assert f'this CLIP is "{clip_folder.name}" (' in found
