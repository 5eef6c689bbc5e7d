"""Runs that are stopped, by an exception, a full disk or SIGKILL, and started again."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from styleatlas.precompute.build import open_work, precompute
from styleatlas.precompute.scheduler import RunProgress
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.precompute.worker import LocalWorker
from styleatlas.prompts.sets import PromptSet
from styleatlas.store.atlas import Atlas
from styleatlas.store.errors import OutputError, ResumeError

ARRAYS = ("style_mean", "style_std", "channels", "rows", "consistency", "strength", "images")
PROMPTS = PromptSet(tuple(f"word{i}" for i in range(8)), ("{}",))
# Blocks of 16 images, so that sums are merged. The prompt bank is one more, the first.
SETTINGS = PrecomputeSettings(images=300, table="sweep", statistics=50, samples=0)
BLOCKS = 19


def same(one: Atlas, other: Atlas) -> bool:
    return all(np.array_equal(getattr(one, n), getattr(other, n)) for n in ARRAYS) and (
        np.array_equal(one.prompts.embeddings, other.prompts.embeddings)
    )


@pytest.fixture
def start(make_generator, make_encoder, tmp_path) -> Callable[..., tuple[Atlas, list]]:
    """Run to the end beside `tmp_path`; returns the atlas and what the progress was."""

    def start(settings: PrecomputeSettings = SETTINGS) -> tuple[Atlas, list[RunProgress]]:
        arguments = (make_generator(), make_encoder(), PROMPTS, settings)
        calls: list[RunProgress] = []
        with open_work(tmp_path / "a.h5", *arguments) as work:
            atlas = precompute(*arguments, calls.append, work)
            atlas.write(tmp_path / "a.h5")
            work.finish()
        return atlas, calls

    return start


@pytest.fixture(scope="module")
def in_memory(make_generator, make_encoder) -> Callable[[PrecomputeSettings], Atlas]:
    """The atlas drawn without a work folder."""

    def draw(settings: PrecomputeSettings) -> Atlas:
        arguments = (make_generator(), make_encoder(), PROMPTS, settings)
        return precompute(*arguments, lambda progress: None)

    return draw


@pytest.fixture(scope="module")
def undisturbed(in_memory) -> Atlas:
    return in_memory(SETTINGS)


def stop_after(monkeypatch, blocks: int, error: BaseException) -> list[int]:
    """Let the worker raise `error` after some blocks; the list counts those that were drawn."""
    work_on, drawn = LocalWorker.__call__, []

    def stopping(*arguments):
        if len(drawn) == blocks:
            raise error
        drawn.append(1)
        return work_on(*arguments)

    monkeypatch.setattr(LocalWorker, "__call__", stopping)
    return drawn


def test_run_with_a_work_folder_draws_the_same_and_leaves_only_the_atlas(
    start, undisturbed, tmp_path
):
    atlas, calls = start()
    assert same(atlas, undisturbed)
    assert (calls[0].renders, calls[-1].renders, len(calls)) == (0, 7200, BLOCKS + 1)
    assert (calls[0].blocks, calls[-1].blocks) == (1, BLOCKS + 1)
    assert {call.resumed for call in calls} == {0}, "the bank was embedded in this run"
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize(
    ("method", "probes", "images"),
    [
        ("sweep", None, 300),
        ("reference-tensorflow", None, 100),
        ("reference-torch", None, 100),
        ("jacobian", None, 70),
        ("jacobian", 8, 70),
        ("screened", 8, 60),
    ],
)
def test_run_stopped_after_any_block_resumes_to_the_same_bits(
    start, in_memory, generator, encoder, tmp_path, monkeypatch, method, probes, images
):
    settings = PrecomputeSettings(
        table=method, probes=probes, images=images, statistics=50, samples=0
    )
    undisturbed = in_memory(settings)
    blocks = len(settings.plan(generator, encoder.width).blocks)
    assert blocks > 5
    for finished in range(blocks):
        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
            stop_after(patch, finished, ZeroDivisionError())
            start(settings)
        with monkeypatch.context() as patch:
            drawn = stop_after(patch, blocks, AssertionError())
            atlas, calls = start(settings)
        assert same(atlas, undisturbed), finished
        assert atlas.fingerprint == undisturbed.fingerprint, "what the audit found, too"
        assert len(drawn) == blocks - finished == len(calls) - 1
        assert calls[0].blocks == calls[0].resumed == 1 + finished
        assert calls[0].renders == calls[0].resumed_renders
        assert calls[-1].blocks == calls[-1].of_blocks == 1 + blocks
        assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_prompts_are_not_embedded_again(
    make_generator, make_encoder, start, undisturbed, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 0, KeyboardInterrupt())
        start()
    shards = [path.name for path in (tmp_path / "a.h5.work").glob("block-*")]
    assert len(shards) == 1 and shards[0].startswith("block-000000-")
    encoder = make_encoder()
    arguments = (make_generator(), encoder, PROMPTS, SETTINGS)
    with open_work(tmp_path / "a.h5", *arguments) as work:
        assert same(precompute(*arguments, lambda progress: None, work), undisturbed)
    assert encoder.texts_read == []


def test_bank_that_was_lost_is_embedded_again(start, undisturbed, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        stop_after(patch, 3, ZeroDivisionError())
        start()
    (bank,) = (tmp_path / "a.h5.work").glob("block-000000-*")
    bank.unlink()
    atlas, calls = start()
    assert same(atlas, undisturbed)
    assert (calls[0].blocks, calls[0].resumed) == (4, 3)


def test_run_stopped_again_and_again_resumes_to_the_same_bits(
    start, undisturbed, tmp_path, monkeypatch
):
    for _ in range(3):
        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
            stop_after(patch, 5, ZeroDivisionError())
            start()
    assert len(list((tmp_path / "a.h5.work").glob("block-*"))) == 1 + 15
    assert same(start()[0], undisturbed)


def test_damaged_and_missing_blocks_are_drawn_again(start, undisturbed, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        stop_after(patch, 9, ZeroDivisionError())
        start()
    shards = sorted((tmp_path / "a.h5.work").glob("block-*"))
    shards[2].unlink()
    shards[5].write_bytes(shards[4].read_bytes())
    drawn = stop_after(monkeypatch, BLOCKS, AssertionError())
    assert same(start()[0], undisturbed)
    assert len(drawn) == BLOCKS - 9 + 2


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"images": 50}, r"settings\.images is 300 there and 50 here"),
        (
            {"table": "reference-torch"},
            r'settings\.table is "sweep" there and "reference-torch" here',
        ),
        ({"table": "jacobian", "probes": 8}, r"settings\.probes is null there and 8 here"),
    ],
)
def test_other_settings_are_refused_by_name(start, monkeypatch, other, said):
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        stop_after(patch, 3, ZeroDivisionError())
        start()
    with pytest.raises(ResumeError, match=said):
        start(replace(SETTINGS, **other))


def test_other_precision_is_refused_by_name(
    start, make_generator, make_encoder, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        stop_after(patch, 3, ZeroDivisionError())
        start()
    for which, said in ((0, "precision"), (1, "clip_precision")):
        models = [make_generator(), make_encoder()]
        models[which].precision = "bfloat16"
        said = rf'settings\.{said} is "float32" there and "bfloat16" here'
        with pytest.raises(ResumeError, match=said):
            open_work(tmp_path / "a.h5", *models, PROMPTS, SETTINGS)


@pytest.mark.parametrize("writes", [1, 2, 7, BLOCKS + 2])
def test_full_disk_keeps_the_blocks_before_it(start, undisturbed, tmp_path, monkeypatch, writes):
    fsync, done = os.fsync, []

    def filling(descriptor: int) -> None:
        done.append(1)
        # The plan takes three calls, a block two: its file and the folder.
        if len(done) > 3 + 2 * (writes - 1):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("styleatlas.store.output.os.fsync", filling)
        with pytest.raises(OutputError, match="No space left on device") as e:
            start()
    kept = writes - 1
    said = f"{kept} of {1 + BLOCKS} blocks are kept in {tmp_path / 'a.h5.work'}: the same command"
    assert (said in str(e.value)) == bool(kept)
    assert (tmp_path / "a.h5.work").exists() == bool(kept)
    assert not (tmp_path / "a.h5").exists()
    drawn = stop_after(monkeypatch, BLOCKS, AssertionError())
    assert same(start()[0], undisturbed)
    assert len(drawn) == BLOCKS - max(0, kept - 1), "the first of them is the bank"


# A process that imports everything once; each run is a child that it forks, which tells of every
# call that reaches the disk. It is killed at one of them, chosen beforehand, so that no kill
# depends on how fast the machine is: every other time while it waits just before the call, else as
# it goes on. They are spread over all calls, and some are among those that write the atlas.
KILLER = """
import importlib.util, json, os, random, signal, sys, time
from pathlib import Path
import numpy as np, torch
import torch.fx.experimental.symbolic_shapes  # a second of imports that the first gradient takes
torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location("countable", sys.argv[1])
countable = importlib.util.module_from_spec(spec)
spec.loader.exec_module(countable)
from styleatlas.engine.models.load import load_encoder, load_generator
from styleatlas.precompute import build
from styleatlas.precompute.build import open_work, precompute
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.prompts.sets import PromptSet

folder, kills = Path(sys.argv[2]), int(sys.argv[3])
atlas, work_folder = folder / "a.h5", folder / "a.h5.work"
stage = b"w"  # of the work folder; then a, of the atlas

def run(pipe, waits_at):
    global stage
    told = 0

    def telling(call):
        def tell(*arguments):
            nonlocal told
            os.write(pipe, stage)
            told += 1
            time.sleep(3600 if told == waits_at else 0.001)
            return call(*arguments)
        return tell

    os.fsync, os.replace = telling(os.fsync), telling(os.replace)
    arguments = (countable.CountableGenerator(), countable.CountableEncoder(),
        PromptSet(tuple(f"word{i}" for i in range(8)), ("{}",)),
        PrecomputeSettings(images=64, table="screened", probes=8, statistics=50, samples=0))
    with open_work(atlas, *arguments) as work:
        assert not work.complaints, work.complaints
        drawn = precompute(*arguments, lambda progress: None, work)
        stage = b"a"
        drawn.write(atlas)
        work.finish()

def start(waits_at=0):
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            run(writes, waits_at)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    os.close(writes)
    return child, os.fdopen(reads, "rb", 0)

def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def undisturbed():
    child, pipe = start()
    with pipe:
        stages = pipe.readall()
    assert ended(child) == 0
    return stages

def content():
    from styleatlas.store.atlas import Atlas
    read = Atlas.open(atlas)
    names = "style_mean style_std channels rows consistency strength images".split()
    arrays = [getattr(read, name) for name in names] + [read.prompts.embeddings]
    return b"".join(array.tobytes() for array in arrays)

stages = undisturbed()
whole, moments = content(), random.Random(4)
report = []
for number in range(kills):
    atlas.write_bytes(b"old")
    within = moments.randrange(len(stages))
    call = 1 + (number * len(stages) + within) // kills  # one of each kills-th part of them
    if number % 4 == 0:
        call = 1 + stages.index(b"a") + number // 4 % stages.count(b"a")
    child, pipe = start(call if number % 2 == 0 else 0)
    with pipe:
        for _ in range(call):
            assert pipe.read(1)
        time.sleep(0 if number % 2 == 0 else moments.uniform(0, 0.01))
        os.kill(child, signal.SIGKILL)
    over = ended(child) == 0  # it was faster than the signal
    left = {path.name for path in work_folder.iterdir()} if work_folder.exists() else set()
    beside = any(path.name.startswith(".a.h5.") for path in folder.iterdir())
    old = atlas.read_bytes() == b"old"
    assert old or content() == whole, "a part of an atlas took the place of the old one"
    found = dict(blocks=sum(name.startswith("block-") for name in left), old=old,
        writing=any(name.startswith(".") for name in left), merging=beside, over=over)
    undisturbed()
    assert content() == whole, found
    assert [path.name for path in folder.iterdir()] == ["a.h5"], found
    report.append(found)
print(json.dumps(report))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kills", [16, pytest.param(200, marks=pytest.mark.long)])
def test_run_killed_at_any_moment_resumes_to_the_same_bits(tmp_path, kills):
    conftest = Path(__file__).parents[1] / "conftest.py"
    command = [sys.executable, "-c", KILLER, str(conftest), str(tmp_path), str(kills)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    print(*report, sep="\n")
    killed = [found for found in report if not found["over"]]
    assert len(report) == kills and len(killed) >= kills / 2
    assert len({found["blocks"] for found in killed}) > 5, "killed early, in the middle, late"
    assert any(found["writing"] for found in killed), "killed while it wrote a block"
    assert any(found["merging"] for found in killed), "killed while it wrote the atlas"
