from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from styleatlas.store.errors import OutputError, ResumeError
from styleatlas.store.fingerprint import Fingerprint, ModelIdentity
from styleatlas.store.shards import Run, WorkFolder

SHAPES = [{"unit": (k, 4), "length": (k,)} for k in (3, 3, 2)]
MODELS = {
    "generator": ModelIdentity("ffhq", "a" * 64, {"z": 32}),
    "clip": ModelIdentity("ViT-B-32", "b" * 64, {"width": 4}),
}
SETTINGS = {"method": "sweep", "images": 100, "strength": 5.0, "label": None}


def run_of(settings: dict = SETTINGS, **changes: object) -> Run:
    fields = {**MODELS, "prompts": "c" * 64, "blocks": 3, "library": "styleatlas 0.1.0", **changes}
    generator, clip = fields.pop("generator"), fields.pop("clip")
    return Run(Fingerprint(generator, clip, settings), **fields)


def arrays_of(number: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(number)
    return {name: random.normal(size=shape) for name, shape in SHAPES[number].items()}


def same(one: dict[str, np.ndarray] | None, other: dict[str, np.ndarray]) -> bool:
    return one is not None and all(np.array_equal(one[name], other[name]) for name in other)


@pytest.fixture
def atlas(tmp_path: Path) -> Path:
    return tmp_path / "a.h5"


@pytest.fixture
def folder(atlas: Path) -> Path:
    return atlas.with_name("a.h5.work")


@pytest.fixture
def begin(atlas: Path) -> Callable[..., WorkFolder]:
    """Open the work folder of a run that differs from the usual one in `changes`."""

    def begin(**changes: object) -> WorkFolder:
        return WorkFolder(atlas, run_of(**changes), SHAPES)

    return begin


@pytest.fixture
def left(begin, folder) -> Path:
    """A work folder in which a run was interrupted after blocks 0 and 2."""
    with begin() as work:
        work.save(2, arrays_of(2))
        work.save(0, arrays_of(0))
    return folder


def shard(folder: Path, number: int) -> Path:
    (path,) = folder.glob(f"block-{number:06d}-*.bin")
    return path


def test_blocks_come_back_bit_for_bit_in_the_next_run(begin, left):
    with begin() as work:
        assert (work.done, work.total, work.complaints) == ({0, 2}, 3, [])
        assert same(work.load(0), arrays_of(0)) and same(work.load(2), arrays_of(2))
        assert work.load(1) is None
        assert work.load(0)["unit"].dtype == np.float64


def test_name_of_a_file_holds_its_block_and_the_hash_of_its_bytes(left):
    path = shard(left, 2)
    assert path.name == f"block-000002-{hashlib.sha256(path.read_bytes()).hexdigest()}.bin"


def test_finished_run_leaves_nothing(begin, left, tmp_path):
    with begin() as work:
        work.finish()
    assert list(tmp_path.iterdir()) == []


def test_run_without_a_finished_block_leaves_nothing(begin, tmp_path):
    with pytest.raises(ZeroDivisionError), begin():
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_interrupted_run_keeps_its_blocks(begin, folder):
    with pytest.raises(KeyboardInterrupt), begin() as work:
        work.save(1, arrays_of(1))
        assert work.kept == f"1 of 3 blocks are kept in {folder}: the same command resumes"
        raise KeyboardInterrupt
    with begin() as work:
        assert work.done == {1}


def flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_file_damaged_or_cut_anywhere_is_removed_named_and_not_used(begin, left):
    whole = shard(left, 2)
    content, size = whole.read_bytes(), whole.stat().st_size
    cases = [(content[:n], f"has less than {size} bytes") for n in range(0, size, 23)]
    cases += [
        (flip(content, n), "its SHA-256 is not the one in its name") for n in range(0, size, 23)
    ]
    cases.append((content + b"\0", f"has more than {size} bytes"))
    for damaged, reason in cases:
        whole.write_bytes(damaged)
        with begin() as work:
            assert work.done == {0}
            assert work.complaints == [
                f"{whole.name}: was damaged ({reason}) and removed; block 2 is drawn again"
            ]
        assert not whole.exists()


def test_sound_file_of_another_block_or_run_or_with_nan_is_not_used(begin, left, tmp_path):
    with WorkFolder(tmp_path / "b.h5", run_of(library="other"), SHAPES) as other:
        other.save(1, arrays_of(1))
        other.save(2, {"unit": np.full((2, 4), np.nan), "length": np.zeros(2)})
        foreign = shard(other.path, 1)
        os.replace(foreign, left / foreign.name)
    other_block = shard(left, 0)
    os.replace(other_block, left / other_block.name.replace("000000", "000001"))
    beyond = left / f"block-000003-{'0' * 64}.bin"
    beyond.write_bytes(b"")
    with begin() as work:
        assert work.done == {2}
        assert sum("it belongs to another block or run" in c for c in work.complaints) == 2
        assert "the run has 3 blocks" in work.complaints[-1]
        work.save(1, {"unit": np.full((3, 4), np.inf), "length": np.zeros(3)})
    with begin() as work:
        assert "unit holds values that are not finite" in work.complaints[0]


def test_file_damaged_after_the_folder_was_opened_is_not_used(begin, left):
    with begin() as work:
        shard(left, 0).write_bytes(b"")
        assert work.load(0) is None
        work.save(0, arrays_of(0))
        assert same(work.load(0), arrays_of(0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"generator": ModelIdentity("cars", "d" * 64, {})},
            'generator is "ffhq" (aaaaaaaaaaaa) there and "cars" (dddddddddddd) here',
        ),
        (
            {"clip": ModelIdentity("ViT-L-14", "e" * 64, {})},
            'CLIP is "ViT-B-32" (bbbbbbbbbbbb) there and "ViT-L-14" (eeeeeeeeeeee) here',
        ),
        (
            {"settings": {**SETTINGS, "images": 50, "label": 3}},
            "settings.images is 100 there and 50 here, settings.label is null there and 3 here",
        ),
        (
            {"settings": {"method": "sweep", "images": 100, "strength": 5.0, "probes": 8}},
            "settings.label is null there and unset here, settings.probes is unset there and 8",
        ),
        ({"prompts": "f" * 64}, "prompts is sha256 cccccccccccc there and sha256 ffffffffffff"),
        ({"blocks": 4}, "blocks is 3 there and 4 here"),
    ],
    ids=["generator", "clip", "settings", "unset", "prompts", "blocks"],
)
def test_other_run_is_refused_saying_what_differs_and_how_to_start_afresh(
    begin, left, changes, message
):
    before = {path: path.read_bytes() for path in left.iterdir()}
    with pytest.raises(ResumeError) as caught:
        begin(**changes)
    text = str(caught.value)
    assert text.startswith(f"{left}: holds 2 finished blocks of another run: {message}")
    assert f"delete the folder {left}, or choose another -o" in text
    assert "\n" not in text
    assert {path: path.read_bytes() for path in left.iterdir()} == before


def test_renamed_model_is_still_the_same(begin, left):
    with begin(generator=ModelIdentity("faces", "a" * 64, {"z": 32})) as work:
        assert work.done == {0, 2}


def test_equal_settings_are_the_same_however_they_are_written(begin, left):
    with begin(settings={**SETTINGS, "images": 100.0, "strength": 5}) as work:
        assert (work.done, work.complaints) == ({0, 2}, [])


def test_later_library_goes_on_with_the_blocks_and_the_plan_of_the_first(begin, left):
    plan = (left / "plan.json").read_bytes()
    with begin(library="styleatlas 0.2.0") as work:
        assert (work.done, work.complaints) == ({0, 2}, [])
        assert same(work.load(2), arrays_of(2))
        work.save(1, arrays_of(1))
    assert (left / "plan.json").read_bytes() == plan
    for library in ("styleatlas 0.1.0", "styleatlas 0.3.0"):
        with begin(library=library) as work:
            assert (work.done, work.complaints) == ({0, 1, 2}, [])


def test_key_of_a_run_is_for_ever_what_its_blocks_were_named_by():
    assert run_of().key == "15e47d8b07a0af0656c978155c90a6be40a9eec7ec346506742d83e3b82da48a"


def test_other_run_may_start_where_no_block_was_finished(begin, folder):
    begin()._release()  # as if killed, which leaves the file of the lock
    (folder / "lock").touch()
    assert {path.name for path in folder.iterdir()} == {"lock", "plan.json"}
    with begin(settings={**SETTINGS, "images": 50}):
        assert json.loads((folder / "plan.json").read_text())["settings"]["images"] == 50


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"notes.txt": "mine"}, "holds files but no plan.json, so it is no run's folder"),
        ({f"block-000000-{'0' * 64}.bin": ""}, "holds files but no plan.json"),
        ({"plan.json": "{}"}, "plan.json: is not the plan of a run ('format')"),
        ({"plan.json": "nonsense"}, "plan.json: is not valid JSON"),
        ({"plan.json": "\udcff"}, "'utf-8' codec can't decode"),
        ({"plan.json": '{"format": 2}'}, "its format is 2, not 1"),
        ({"plan.json": '{"format": 1, "generator": 3}'}, "is not the plan of a run"),
        ({"plan.json": "[" * 100_000}, "is not the plan of a run"),
    ],
    ids=["notes", "shard", "empty", "nonsense", "bytes", "format", "fields", "deep"],
)
def test_folder_that_is_no_run_s_is_refused_and_left_alone(begin, folder, content, message):
    folder.mkdir()
    for name, text in content.items():
        (folder / name).write_text(text, errors="surrogateescape")
    with pytest.raises(ResumeError) as caught:
        begin()
    text = str(caught.value)
    assert text.startswith(f"{folder}: ") and message in text
    assert text.endswith(f"move the folder {folder}, or choose another -o")
    assert {path.name for path in folder.iterdir()} == content.keys()


def test_file_in_place_of_the_folder_is_refused(begin, folder):
    folder.write_text("mine")
    with pytest.raises(ResumeError, match="is not a folder; move it, or choose another -o"):
        begin()
    assert folder.read_text() == "mine"


def test_empty_folder_is_taken(begin, folder):
    folder.mkdir()
    with begin() as work:
        assert work.done == frozenset()


def test_foreign_file_among_the_blocks_stays(begin, left):
    (left / "notes.txt").write_text("mine")
    with begin() as work:
        assert work.done == {0, 2}
        work.finish()
    assert [path.name for path in left.iterdir()] == ["notes.txt"]


def test_what_killed_writes_left_is_removed_and_nothing_like_it(begin, left, atlas):
    names = [".plan.json.0123abcd.tmp", f".block-000001-{'0' * 64}.bin.0123abcd.tmp"]
    for name in [*names, ".notes.0123abcd.tmp"]:
        (left / name).write_text("half")
    beside = [atlas.with_name(f".{name}.0123abcd.tmp") for name in ("a.h5", "b.h5")]
    for path in beside:
        path.write_text("half")
    with begin():
        found = {path.name for path in left.glob(".*")}
    assert found == {".notes.0123abcd.tmp"}
    assert [path.exists() for path in beside] == [False, True]


def test_run_killed_while_writing_its_plan_can_start_again(begin, folder):
    folder.mkdir()
    (folder / "lock").write_text("")
    for digits in ("0123abcd", "4567abcd"):
        (folder / f".plan.json.{digits}.tmp").write_text("half")
    with begin() as work:
        assert {path.name for path in work.path.iterdir()} == {"lock", "plan.json"}


SECOND = """
import sys
from pathlib import Path
from styleatlas.store.errors import ResumeError
from styleatlas.store.shards import Run, WorkFolder
run = Run.from_json(Path(sys.argv[1] + ".work/plan.json").read_text())
try:
    WorkFolder(sys.argv[1], run, [{"unit": (1,)}] * 3)
except ResumeError as error:
    print(error)
else:
    print("taken")
"""


def test_second_process_is_refused_until_the_first_lets_go(begin, left, atlas):
    def second() -> str:
        command = [sys.executable, "-c", SECOND, str(atlas)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with begin() as work:
        assert second() == (
            f"{left}: another run is at work here; wait for it or end it, or choose another -o\n"
        )
        with pytest.raises(ResumeError, match="another run is at work"):
            begin()
        assert work.done == {0, 2}
    assert second() == "taken\n"


def test_full_disk_says_what_is_kept_and_that_the_command_resumes(begin, folder, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError) as caught, begin() as work:
        work.save(0, arrays_of(0))
        monkeypatch.setattr("styleatlas.store.output.os.fsync", full)
        work.save(1, arrays_of(1))
    text = str(caught.value)
    assert "cannot be written (No space left on device)" in text and "\n" not in text
    assert text.endswith(f"; 1 of 3 blocks are kept in {folder}: the same command resumes")
    monkeypatch.undo()
    with begin() as work:
        assert work.done == {0}


def test_disk_without_room_is_refused_before_the_work_saying_how_much_it_takes(
    begin, left, atlas, tmp_path, monkeypatch
):
    """Of 3, 3 and 2 channels of 5 numbers, block 1 is missing: 120 bytes, and the atlas."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**6, 10**6 - 1119, 1119))
    before = {path.name for path in left.iterdir()}
    with pytest.raises(OutputError) as caught:
        WorkFolder(atlas, run_of(), SHAPES, atlas_bytes=1000)
    assert str(caught.value) == (
        f"{atlas}: the work needs 1,120 bytes in {tmp_path}, and 1,119 are free there; free some, "
        "or choose another -o, on a larger disk"
    )
    assert {path.name for path in left.iterdir()} == before
    other = tmp_path / "other.h5"
    with pytest.raises(OutputError, match="needs 1,320 bytes"):
        WorkFolder(other, run_of(), SHAPES, atlas_bytes=1000)
    assert list(tmp_path.iterdir()) == [left], "nothing is left of what could not begin"
    with WorkFolder(atlas, run_of(), SHAPES, atlas_bytes=999) as work:
        assert work.done == {0, 2}


def test_disk_too_full_for_the_plan_leaves_nothing(begin, tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("styleatlas.store.output.os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        begin()
    assert list(tmp_path.iterdir()) == []


def test_name_too_long_for_the_folder_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="the name is too long; shorten it"):
        WorkFolder(tmp_path / ("x" * 252), run_of(), SHAPES)
    assert list(tmp_path.iterdir()) == []
