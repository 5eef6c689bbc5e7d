"""precompute, with a tiny StyleGAN2 and a tiny CLIP, both of random weights."""

from __future__ import annotations

import errno
import json
import os
import re
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest

from styleatlas import Atlas
from styleatlas.precompute.sweep import SweepBlock
from styleatlas.store.work import Lock

QUICK = ("--images", 2, "--samples", 0, "--statistics", 50)


@pytest.fixture
def refused_precompute(refused, checkpoint, clip_folder, tmp_path):
    """Precompute in vain and return the message; a later option replaces an earlier one."""

    def refused_precompute(*options: object, generator=checkpoint) -> str:
        arguments = ("--clip", clip_folder, *QUICK, "-o", tmp_path / "a.h5", *options)
        return refused("precompute", generator, *arguments)

    return refused_precompute


def blocks_told(stderr: str) -> list[dict]:
    """The JSON objects among the lines on stderr."""
    return [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]


def said(stderr: str) -> list[str]:
    """The other lines on stderr."""
    return [line for line in stderr.splitlines() if not line.startswith("{")]


def test_precompute_writes_an_atlas_of_every_channel(run, checkpoint, clip_folder, tmp_path):
    path = tmp_path / "a.h5"
    options = ("--strength", 3, "--truncation", 0.5, "--seed", 4, "--table", "sweep")
    result = run("precompute", checkpoint, "--clip", clip_folder, "-o", path, *QUICK, *options)
    assert result.exit_code == 0, result.output
    first, *_, last = result.stdout.splitlines()
    assert first == f"{path}: 23 channels over 2 images, 2 prompts"
    assert re.fullmatch(rf"next: styleatlas query prompts {re.escape(str(path))} b\d.\w+:\d+", last)
    assert run(*last.removeprefix("next: styleatlas ").split()).exit_code == 0
    assert list(tmp_path.iterdir()) == [path]
    atlas = Atlas.open(path)
    settings = dict(atlas.fingerprint.settings)
    assert settings.pop("templates")[0] == "{}"
    assert settings == {
        "table": "sweep",
        "images": 2,
        "probes": None,
        "strength": 3,
        "truncation": 0.5,
        "statistics": 50,
        "seed": 4,
        "label": None,
        "refit": None,
        "precision": "float32",
        "clip_precision": "float32",
    }
    assert atlas.fingerprint.generator.name == "tiny"
    assert atlas.strength.min() > 0


def test_an_atlas_of_samples_gets_its_table_by_the_same_command(
    run, checkpoint, clip_folder, tmp_path
):
    path = tmp_path / "a.h5"
    command = ("precompute", checkpoint, "--clip", clip_folder, "-o", path, "--statistics", 50)
    assert run(*command, "--table", "none", "--samples", 6).exit_code == 0
    alone = Atlas.open(path)
    result = run(*command, "--table", "sweep", "--images", 2)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{path}: 23 channels over 2 images, 2 prompts\n  6 samples")
    atlas = Atlas.open(path)
    assert np.array_equal(atlas.samples.embedding, alone.samples.embedding)
    assert atlas.fingerprint.settings["samples"] == 6 and len(atlas.channels) == 23
    assert list(tmp_path.iterdir()) == [path]


def test_precompute_off_a_terminal_tells_every_block_in_json(
    run, checkpoint, clip_folder, tmp_path
):
    options = (*QUICK, "--table", "sweep", "--images", 65)
    result = run("precompute", checkpoint, "--clip", clip_folder, "-o", tmp_path / "a.h5", *options)
    told = blocks_told(result.stderr)
    assert told.pop(0) == {"kind": "prompts", "embedded": 2, "of": 2, "seconds_left": 0.0}
    assert said(result.stderr) == [] and len(told) == 5
    assert [block["blocks"] for block in told] == [2, 3, 4, 5, 6], "after the prompt bank"
    assert {block["of_blocks"] for block in told} == {6}
    assert told[0]["kind"] == "sweep" and told[0]["images"] == [0, 15]
    assert told[0]["channels"] == ["b4.conv1:0", "b8.torgb:3"]
    assert told[-1]["seconds_left"] == 0 and told[0]["renders_per_s"] > 0


@pytest.mark.parametrize(
    ("options", "table", "swept"),
    [
        ((), "screened", 23),
        (("--table", "jacobian"), "jacobian", None),
        (("--reference-compat", "tensorflow"), "reference-tensorflow", None),
        (("--reference-compat", "torch"), "reference-torch", None),
    ],
)
def test_every_way_to_draw_a_table_writes_an_atlas_that_says_so(
    run, checkpoint, clip_folder, tmp_path, options, table, swept
):
    path = tmp_path / "a.h5"
    arguments = ("--clip", clip_folder, "-o", path, *QUICK, *options, "--json")
    result = run("precompute", checkpoint, *arguments)
    assert result.exit_code == 0, result.output
    record, settings = json.loads(result.stdout), Atlas.open(path).fingerprint.settings
    assert settings["table"] == table
    assert record["output"] == str(path)
    assert record.get("swept") == settings.get("swept") == swept
    assert record.get("audit") == settings.get("audit")
    info = json.loads(run("info", path, "--json").stdout)
    assert info["settings"] == settings


def test_dry_run_plans_and_measures_and_draws_nothing(run, checkpoint, clip_folder, tmp_path):
    arguments = ("--clip", clip_folder, "-o", tmp_path / "a.h5", "--dry-run", "--samples", 0)
    result = run("precompute", checkpoint, *arguments)
    assert result.exit_code == 0, result.output
    lines = dict(re.split(r" {2,}", line, maxsplit=1) for line in result.stdout.splitlines())
    assert lines["table"] == "screened"
    assert lines["channels"] == "23 over 100 images"
    assert lines["renders"] == "4,600" and lines["products"].startswith("1,200 vector-Jacobian")
    assert re.fullmatch(
        r"about \d+ s on 1 x cpu \(prompts .*, slopes .*, sweep .*\)", lines["time"]
    )
    assert list(tmp_path.iterdir()) == []
    record = json.loads(run("precompute", checkpoint, *arguments, "--json").stdout)
    assert record["seconds_in_all"] == pytest.approx(sum(record["seconds"].values()), abs=0.2)
    assert record["work_folder_bytes"] > record["atlas_bytes"] > 0


def test_two_workers_draw_the_same_atlas(run, checkpoint, clip_folder, tmp_path):
    for name, options in (("a.h5", ()), ("b.h5", ("--workers", 2, "--device", "cpu"))):
        arguments = ("--clip", clip_folder, "-o", tmp_path / name, *QUICK, *options)
        result = run("precompute", checkpoint, *arguments)
        assert result.exit_code == 0, result.output
    one, two = (Atlas.open(tmp_path / name) for name in ("a.h5", "b.h5"))
    assert np.allclose(one.rows, two.rows, atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--images", 0), "images 0: must lie between 1 and 100000"),
        (("--strength", 0), "strength 0: must lie above 0 and up to 50 sigma"),
        (("--truncation", -3), "truncation -3: must lie between -2 and 2"),
        (("--samples", 0, "--statistics", 1), "statistics 1: must be at least 2"),
        (("--seed", -1), "seed -1: must lie between 0 and 4294967295"),
        (("--device", "warp"), "device 'warp': cannot be used"),
        (("--probes", 7), "probes 7: must be at least 8"),
        (("--table", "sweep", "--probes", 9), "probes 9: the table sweep takes no slopes"),
        (("--precision", "float16"), "float16': is for GPUs"),
        (("--workers", 0), "workers 0: must lie between 1 and 1024"),
        (("--workers", 2, "--ray", "auto"), "a cluster has its own workers; give one of them"),
        (("--clip", "none"), "CLIP 'none': is no file or folder, and open_clip knows no model"),
        (("-o", "none/a.h5"), "none does not exist; create it first"),
        (("-o", "."), ".: an atlas is an HDF5 file; end the name in .h5"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_bad_input_is_explained_in_one_line(
    refused_precompute, monkeypatch, tmp_path, options, message
):
    monkeypatch.chdir(tmp_path)
    assert message in refused_precompute(*options)


def test_generator_that_cannot_be_read_is_named(refused_precompute, checkpoint, tmp_path):
    path = tmp_path / "cut.safetensors"
    assert refused_precompute(generator=path).startswith(f"{path}: no such file; check the path")
    path.write_bytes(checkpoint.read_bytes()[:-10])
    assert refused_precompute(generator=path).startswith(f"{path}: is not a readable safetensors")


def test_precompute_interrupted_before_its_first_block_leaves_the_old_atlas_and_nothing_else(
    run, checkpoint, clip_folder, tmp_path, monkeypatch
):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    path = tmp_path / "a.h5"
    path.write_bytes(b"old")
    monkeypatch.setattr("styleatlas.precompute.build.build_bank", interrupted)
    result = run("precompute", checkpoint, "--clip", clip_folder, "-o", path, *QUICK)
    assert result.exit_code == 130
    assert "Traceback" not in result.output
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def interrupted(run, checkpoint, clip_folder, tmp_path, monkeypatch):
    """The arguments of a precompute over an old atlas that Ctrl-C ended after two blocks, and
    what it wrote to stderr."""
    sweep, swept = SweepBlock.run, []

    def interrupting(*arguments):
        if len(swept) == 2:
            raise KeyboardInterrupt
        swept.append(1)
        return sweep(*arguments)

    path = tmp_path / "a.h5"
    path.write_bytes(b"old")
    options = (*QUICK, "--images", 65, "--table", "sweep")
    arguments = ("precompute", checkpoint, "--clip", clip_folder, "-o", path, *options)
    with monkeypatch.context() as patch:
        patch.setattr(SweepBlock, "run", interrupting)
        result = run(*arguments)
    assert result.exit_code == 130 and result.stdout == ""
    assert path.read_bytes() == b"old"
    return arguments, result.stderr


def test_same_command_resumes_an_interrupted_precompute(interrupted, run, tmp_path):
    arguments, stderr = interrupted
    folder = tmp_path / "a.h5.work"
    kept = f"interrupted: 3 of 6 blocks are kept in {folder}: the same command resumes"
    assert kept in said(stderr)
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert said(result.stderr) == ["resuming: 3 of 6 blocks are done"]
    assert {block["resumed"] for block in blocks_told(result.stderr)} == {3}
    assert list(tmp_path.iterdir()) == [tmp_path / "a.h5"]
    resumed = Atlas.open(tmp_path / "a.h5")
    assert said(run(*arguments).stderr) == [f"{tmp_path / 'a.h5'}: has all of this already"]
    assert np.array_equal(Atlas.open(tmp_path / "a.h5").rows, resumed.rows)


def test_damaged_block_is_named_and_drawn_again(interrupted, run, tmp_path):
    arguments, _ = interrupted
    block = sorted((tmp_path / "a.h5.work").glob("block-*"))[1]
    block.write_bytes(block.read_bytes()[:-1])
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    first, second = said(result.stderr)
    assert first.startswith(f"{block.name}: was damaged (has less than ")
    assert first.endswith("and removed; block 1 is drawn again")
    assert second == "resuming: 2 of 6 blocks are done"


def test_other_settings_are_refused_while_blocks_are_kept(interrupted, refused, tmp_path):
    arguments, _ = interrupted
    message = refused(*arguments, "--images", 3)
    assert "settings.images is 65 there and 3 here" in message
    assert f"start afresh: delete the folder {tmp_path / 'a.h5.work'}, or choose" in message


def test_second_precompute_to_one_output_is_refused_at_once(refused, interrupted, tmp_path):
    arguments, _ = interrupted
    folder = tmp_path / "a.h5.work"
    lock = Lock(folder / "lock", folder)
    message = refused(*arguments)
    assert message == (
        f"{folder}: another run is at work here; wait for it or end it, or choose another -o"
    )
    lock.release()


def test_disk_without_room_is_refused_before_the_work(refused_precompute, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**6, 10**6 - 99, 99))
    message = refused_precompute()
    assert re.fullmatch(
        rf"{tmp_path / 'a.h5'}: the work needs [\d,]+ bytes in {tmp_path}, and 99 are free there; "
        "free some, or choose another -o, on a larger disk",
        message,
    )
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_explained_and_the_same_command_resumes(
    run, checkpoint, clip_folder, tmp_path, monkeypatch
):
    fsync, calls = os.fsync, []

    def filling(descriptor: int) -> None:
        calls.append(1)
        if len(calls) > 9:  # the plan, the prompt bank and two blocks
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    path = tmp_path / "a.h5"
    options = (*QUICK, "--images", 65, "--table", "sweep")
    arguments = ("precompute", checkpoint, "--clip", clip_folder, "-o", path, *options)
    with monkeypatch.context() as patch:
        patch.setattr("styleatlas.store.output.os.fsync", filling)
        result = run(*arguments)
    assert result.exit_code == 1
    (message,) = said(result.stderr)
    assert "cannot be written (No space left on device)" in message
    assert "3 of 6 blocks are kept in" in message and "the same command resumes" in message
    assert run(*arguments).stderr.startswith("resuming: ")
    assert list(tmp_path.iterdir()) == [path]


# Samples


ALONE = ("--table", "none", "--samples", 40, "--statistics", 50)


@pytest.fixture
def there(run, checkpoint, clip_folder, tmp_path):
    """The arguments of a precompute, but for its options, and the swept atlas that it wrote."""
    path = tmp_path / "a.h5"
    arguments = ("precompute", checkpoint, "--clip", clip_folder, "-o", path)
    result = run(*arguments, *QUICK, "--table", "sweep", "--seed", 4)
    assert result.exit_code == 0, result.output
    return arguments, Atlas.open(path)


def test_samples_alone_are_an_atlas(run, checkpoint, clip_folder, tmp_path):
    path = tmp_path / "a.h5"
    result = run("precompute", checkpoint, "--clip", clip_folder, "-o", path, *ALONE)
    assert result.exit_code == 0, result.output
    first, last = result.stdout.splitlines()
    told = "40 samples, 40 of them also at psi 0.7, 2 prompts, no channels"
    assert first == f"{path}: {told}"
    assert run(*last.removeprefix("next: styleatlas ").split()).exit_code == 0
    kinds = [block["kind"] for block in blocks_told(result.stderr)]
    assert kinds == ["prompts", "samples", "pulled"]
    assert run("verify", path).exit_code == 0
    info = run("info", path).stdout
    assert "samples           40\n" in info and "swept_channels    0\n" in info


def test_samples_and_table_are_drawn_by_one_command(run, checkpoint, clip_folder, tmp_path):
    path = tmp_path / "a.h5"
    arguments = ("--clip", clip_folder, "-o", path, *QUICK, "--samples", 40, "--json")
    result = run("precompute", checkpoint, *arguments)
    record = json.loads(result.stdout)
    assert (record["samples"], record["pulled_samples"], record["channels"]) == (40, 40, 23)
    atlas = Atlas.open(path)
    assert (len(atlas.samples), len(atlas.channels)) == (40, 23)


def test_samples_are_added_to_the_atlas_that_is_there(there, run):
    arguments, known = there
    result = run(*arguments, "--samples", 30)
    assert result.exit_code == 0, result.output
    assert "  30 samples, 30 of them also at psi 0.7" in result.stdout.splitlines()
    assert [block["kind"] for block in blocks_told(result.stderr)] == ["samples", "pulled"]
    once = Atlas.open(arguments[-1])
    assert np.array_equal(once.rows, known.rows) and len(once.samples) == 30
    assert once.fingerprint.settings["seed"] == 4
    assert run(*arguments, "--samples", 50, "--workers", 2, "--device", "cpu").exit_code == 0
    twice = Atlas.open(arguments[-1])
    assert np.array_equal(twice.samples.embedding[:30], once.samples.embedding)
    assert len(twice.samples) == 50 and np.array_equal(twice.rows, known.rows)
    again = run(*arguments, "--samples", 50)
    assert said(again.stderr) == [f"{arguments[-1]}: has all of this already"]
    assert again.stdout.splitlines()[1] == "  50 samples, 50 of them also at psi 0.7"


def test_prompts_that_are_added_later_leave_the_samples(there, run, clip_folder, tmp_path):
    arguments, _ = there
    assert run(*arguments, "--samples", 30).exit_code == 0
    (tmp_path / "more.txt").write_text("ace\n")
    result = run("prompts", "add", arguments[-1], tmp_path / "more.txt", "--clip", clip_folder)
    assert result.exit_code == 0, result.output
    atlas = Atlas.open(arguments[-1])
    assert len(atlas.samples) == 30 and "ace" in atlas.prompts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--images", 3), "images is 2 there and 3 here; leave that out, which keeps its table"),
        (("--table", "screened"), 'table is "sweep" there and "screened" here'),
        (
            ("--reference-compat", "torch"),
            'table is "sweep" there and "reference-torch" here',
        ),
        (("--seed", 0), "seed is 4 there and 0 here"),
        (("--table", "none"), "choose another -o, or delete the file"),
        (("--dry-run", "--images", 3), "images is 2 there and 3 here"),
    ],
)
def test_atlas_that_was_drawn_otherwise_is_not_replaced(there, refused, options, message):
    arguments, _ = there
    assert message in refused(*arguments, *options)


def test_atlas_of_another_generator_is_not_replaced(there, refused):
    arguments, _ = there
    assert "holds an atlas of another generator" in refused("precompute", "avatars", *arguments[2:])


def test_atlas_with_more_samples_keeps_them(there, run, refused):
    arguments, _ = there
    assert run(*arguments, "--samples", 30).exit_code == 0
    message = refused(*arguments, "--samples", 29)
    assert message.startswith(f"samples 29: the atlas at {arguments[-1]} has 30 already; give as")


def test_dry_run_tells_what_samples_an_atlas_lacks(there, run):
    arguments, _ = there
    content = arguments[-1].read_bytes()
    result = run(*arguments, "--samples", 30, "--dry-run")
    lines = dict(re.split(r" {2,}", line, maxsplit=1) for line in result.stdout.splitlines())
    assert (lines["samples"], lines["renders"]) == ("30 to draw", "60")
    assert "channels" not in lines and "products" not in lines
    assert arguments[-1].read_bytes() == content


def test_option_of_old_is_read_with_a_note(run, checkpoint, clip_folder, tmp_path):
    path = tmp_path / "a.h5"
    arguments = ("--clip", clip_folder, "-o", path, *QUICK, "--method", "jacobian")
    result = run("precompute", checkpoint, *arguments)
    assert said(result.stderr) == ["--method is called --table now, and means the same"]
    assert Atlas.open(path).fingerprint.settings["table"] == "jacobian"


def test_reference_without_a_builder_is_the_one_it_was_nearest_to_with_a_note(
    run, checkpoint, clip_folder, tmp_path
):
    path = tmp_path / "a.h5"
    arguments = ("--clip", clip_folder, "-o", path, "--reference-compat", *QUICK)
    result = run("precompute", checkpoint, *arguments)
    assert said(result.stderr) == [
        "--reference-compat names a builder now, tensorflow or torch; tensorflow is taken"
    ]
    assert Atlas.open(path).fingerprint.settings["table"] == "reference-tensorflow"


def test_atlas_of_the_reference_before_it_had_builders_is_read_and_gets_samples(
    there, run, refused
):
    arguments, known = there
    settings = {**known.fingerprint.settings, "table": "reference"}
    old = replace(known, fingerprint=replace(known.fingerprint, settings=settings))
    old.write(arguments[-1])
    told = refused(*arguments, "--reference-compat", "torch")
    assert 'table is "reference" there and "reference-torch" here' in told
    assert run(*arguments, "--samples", 30).exit_code == 0
    atlas = Atlas.open(arguments[-1])
    assert len(atlas.samples) == 30 and atlas.fingerprint.settings["table"] == "reference"
    assert np.array_equal(atlas.rows, known.rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--table", "sweep", "--method", "sweep"), "--method is what --table was called"),
        (
            ("--reference-compat", "torch", "--table", "sweep"),
            "is a table of its own; leave out --table",
        ),
        (("--reference-compat", "--method", "sweep"), "is a table of its own; leave out --table"),
        (("--reference-compat", "jax"), "'jax' is not one of 'tensorflow', 'torch'"),
        (("--table", "none", "--images", 4, "--refit", 9), "leave out --images, --refit"),
    ],
)
def test_options_that_exclude_each_other_are_wrong_usage(
    run, checkpoint, clip_folder, tmp_path, options, message
):
    arguments = ("--clip", clip_folder, "-o", tmp_path / "a.h5", "--samples", 40)
    result = run("precompute", checkpoint, *arguments, *options)
    assert result.exit_code == 2 and message in " ".join(result.stderr.split())
