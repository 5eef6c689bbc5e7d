"""prompts add and renew, and the prompts of precompute."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from styleatlas import load_encoder
from styleatlas.cli import main
from styleatlas.engine.steering.texts import TextEmbedder
from styleatlas.prompts.embed import SENTENCES
from styleatlas.store.atlas import Atlas
from styleatlas.store.registry import EMBEDDED

MORE = "# of the sea\na pirate hat\n\nA  Face\na face with a parrot\n a PIRATE hat\n"
QUICK = ("--images", 4, "--samples", 0, "--statistics", 50, "--seed", 4, "--table", "sweep")


@pytest.fixture
def own(tmp_path) -> Path:
    """A copy of the shipped atlas."""
    return Path(shutil.copy(EMBEDDED.atlas, tmp_path / "own.h5"))


@pytest.fixture
def more(tmp_path) -> Path:
    path = tmp_path / "more.txt"
    path.write_text(MORE, "utf-8")
    return path


def test_new_phrases_are_added_behind_the_bank_and_all_else_stays_as_it_is(run, own, more):
    before = Atlas.open(own)
    result = run("prompts", "add", own, more)
    assert result.exit_code == 0, result.output
    count = len(before.prompts)
    assert result.stdout == f"{own}: 2 prompts added, 2 skipped as known; {count + 2} in all\n"
    (told,) = map(json.loads, result.stderr.splitlines())
    assert told == {"kind": "prompts", "embedded": 2, "of": 2, "seconds_left": 0}
    after = Atlas.open(own)
    assert after.prompts.texts == (*before.prompts.texts, "a pirate hat", "a face with a parrot")
    assert np.array_equal(after.prompts.embeddings[:count], before.prompts.embeddings)
    restored, known = own.with_name("restored.h5"), own.with_name("known.h5")
    replace(after, prompts=before.prompts).write(restored)
    before.write(known)
    assert restored.read_bytes() == known.read_bytes(), "the same atlas gives the same bytes"
    assert list(own.parent.glob(".*")) == []


def test_phrases_are_embedded_as_any_prompt_of_this_atlas_is(run, own, more):
    texts = TextEmbedder(Atlas.open(own), lambda: load_encoder(EMBEDDED.name))
    alone = texts.embed("a face with a parrot")
    run("prompts", "add", own, more)
    added = Atlas.open(own).prompts.find("a face with a parrot")
    assert np.allclose(added, alone, atol=1e-6)


def test_more_phrases_than_a_batch_take_their_places(run, own, tmp_path):
    phrases = [f"a {'very ' * (i % 5)}tall hat {i}" for i in range(SENTENCES // 8 + 9)]
    path = tmp_path / "many.txt"
    path.write_text("\n".join(phrases))
    assert run("prompts", "add", own, path).exit_code == 0
    bank = Atlas.open(own).prompts
    assert bank.texts[-len(phrases) :] == tuple(phrases)
    texts = TextEmbedder(Atlas.open(EMBEDDED.atlas), lambda: load_encoder(EMBEDDED.name))
    for phrase in (phrases[0], phrases[-1]):
        assert np.allclose(bank.find(phrase), texts.embed(phrase), atol=1e-6)


def test_out_leaves_the_atlas_and_tells_the_count_in_json(run, more, tmp_path):
    shipped, out = EMBEDDED.atlas.read_bytes(), tmp_path / "out.h5"
    result = run("prompts", "add", "avatars", more, "-o", out, "--json")
    assert result.exit_code == 0, result.output
    count = len(Atlas.open(EMBEDDED.atlas).prompts) + 2
    told = {"output": str(out), "added": 2, "skipped": 2, "prompts": count}
    assert json.loads(result.stdout) == told
    assert len(Atlas.open(out).prompts) == count
    assert EMBEDDED.atlas.read_bytes() == shipped


def test_known_phrases_need_no_clip_and_leave_the_very_file(run, countable_path, tmp_path):
    path = tmp_path / "known.txt"
    path.write_text("a picture\nSomething else\n")
    before = countable_path.stat()
    result = run("prompts", "add", countable_path, path)
    assert result.stdout == f"{countable_path}: 0 prompts added, 2 skipped as known; 4 in all\n"
    after = countable_path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_phrases_come_from_standard_input(own):
    arguments = ["prompts", "add", str(own), "-"]
    result = CliRunner().invoke(main, arguments, input="a pirate hat\n")
    assert result.exit_code == 0, result.output
    assert "a pirate hat" in Atlas.open(own).prompts
    result = CliRunner().invoke(main, arguments, input="a hat\n\na\x07hat\n")
    assert result.exit_code == 1
    assert "add: standard input, line 3: prompt 'a\\x07hat': holds control" in result.stderr


@pytest.fixture
def drawn_before(own) -> Path:
    """A copy of the shipped atlas as of the CLIP before, whose bank says something else."""
    atlas = Atlas.open(own)
    clip = replace(atlas.fingerprint.clip, sha256=EMBEDDED.same_images[0])
    bank = replace(atlas.prompts, embeddings=-atlas.prompts.embeddings)
    chance = np.zeros(3, np.float32)
    assert atlas.samples is not None
    samples = replace(atlas.samples, null_gain=chance, null_spread=chance)
    origin = replace(atlas.fingerprint, clip=clip)
    replace(atlas, prompts=bank, samples=samples, fingerprint=origin).write(own)
    return own


def test_prompts_are_renewed_by_a_clip_that_sees_images_alike(run, drawn_before):
    result = run("prompts", "renew", drawn_before, "--json")
    assert result.exit_code == 0, result.output
    shipped, renewed = Atlas.open(EMBEDDED.atlas), Atlas.open(drawn_before)
    clip = shipped.fingerprint.clip
    assert json.loads(result.stdout) == {
        "output": str(drawn_before),
        "prompts": len(shipped.prompts),
        "clip": {"name": "avatars", "sha256": clip.sha256},
    }
    told = [json.loads(line) for line in result.stderr.splitlines()]
    assert {(line["kind"], line["of"]) for line in told} == {("prompts", len(shipped.prompts))}
    assert renewed.fingerprint == shipped.fingerprint
    assert renewed.prompts.texts == shipped.prompts.texts
    assert np.abs(renewed.prompts.embeddings - shipped.prompts.embeddings).max() < 1e-6
    for name in ("null_gain", "null_spread"):
        one, other = (getattr(atlas.samples, name) for atlas in (renewed, shipped))
        assert np.allclose(one, other, rtol=0.01, atol=1e-4), name
    kept = (shipped.samples.arrays(), renewed.samples.arrays())
    for path in set(kept[0]) - {"/samples/null_gain", "/samples/null_spread"}:
        assert np.array_equal(kept[0][path], kept[1][path]), path
    assert np.array_equal(renewed.rows, shipped.rows)


def test_atlas_of_another_image_tower_is_not_renewed(refused, own, countable_path, clip_folder):
    before = own.read_bytes(), countable_path.read_bytes()
    message = refused("prompts renew", own, "--clip", clip_folder)
    assert "load the atlas's CLIP or draw an atlas with this one" in message
    message = refused("prompts renew", countable_path, "--clip", "avatars")
    assert "load the atlas's CLIP or draw an atlas with this one" in message
    assert (own.read_bytes(), countable_path.read_bytes()) == before


def test_atlas_of_the_clip_before_says_how_it_gets_more_prompts_and_samples(
    refused, drawn_before, more
):
    message = refused("prompts add", drawn_before, more)
    assert message.endswith("`styleatlas prompts renew ATLAS --clip avatars`")
    message = refused("precompute", "avatars", "--clip", "avatars", "-o", drawn_before)
    assert f"embed its prompts anew with `styleatlas prompts renew {drawn_before}`" in message


@pytest.mark.parametrize("out", [(), ("-o", EMBEDDED.atlas)])
@pytest.mark.parametrize("command", ["add", "renew"])
def test_shipped_atlas_is_never_written(refused, more, command, out):
    shipped = EMBEDDED.atlas.read_bytes()
    given = [more] if command == "add" else []
    message = refused(f"prompts {command}", "avatars", *given, *out)
    assert message == f"{EMBEDDED.atlas}: ships with StyleAtlas and stays as it is; add -o OUT.h5"
    assert EMBEDDED.atlas.read_bytes() == shipped


def test_prompts_that_cannot_be_added_are_explained_and_the_atlas_stays(
    refused, own, more, clip_folder, tmp_path
):
    long = tmp_path / "long.txt"
    long.write_text("a hat\n" + "a " * 40 + "\n")
    assert "takes 4" in refused("prompts add", own, long)
    message = refused("prompts add", own, more, "--clip", clip_folder)
    assert message.startswith("atlas and CLIP do not belong together: the atlas was drawn with")
    assert f"{tmp_path / 'none'}: no such file" in refused("prompts add", own, tmp_path / "none")
    assert "does not exist; create it first" in refused(
        "prompts add", own, more, "-o", tmp_path / "none" / "a.h5"
    )
    assert "no such file" in refused("prompts add", tmp_path / "none.h5", more)


def test_precompute_adds_the_phrases_of_a_file_once(run, checkpoint, clip_folder, tmp_path):
    path, out = tmp_path / "more.txt", tmp_path / "a.h5"
    path.write_text("FACE\nb\n# c\nb\n")
    arguments = ("precompute", checkpoint, "--clip", clip_folder, "-o", out, *QUICK)
    result = run(*arguments, "--prompts", path)
    assert result.exit_code == 0, result.output
    assert Atlas.open(out).prompts.texts == ("a", "face", "b")


def test_precompute_refuses_a_file_of_prompts_it_cannot_read_before_it_loads_a_model(
    refused, tmp_path
):
    path = tmp_path / "none.txt"
    arguments = ("avatars", "--clip", "none", "-o", tmp_path / "a.h5", "--prompts", path)
    assert refused("precompute", *arguments).startswith(f"{path}: no such file; check the path")


def test_precompute_with_other_prompts_is_refused_while_blocks_are_kept(
    run, refused, checkpoint, clip_folder, tmp_path, monkeypatch
):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    path = tmp_path / "more.txt"
    path.write_text("b\n")
    out = tmp_path / "a.h5"
    arguments = ("precompute", checkpoint, "--clip", clip_folder, "-o", out, *QUICK)
    with monkeypatch.context() as patch:
        patch.setattr("styleatlas.precompute.sweep.SweepBlock.run", interrupted)
        assert run(*arguments, "--prompts", path).exit_code == 130
    path.write_text("b\nc\n")
    message = refused(*arguments, "--prompts", path)
    assert "prompts is sha256" in message and "start afresh: delete the folder" in message
