"""`benchmarks/gpu.py` on a CPU: a tiny slice of it, and what it does with parts that go wrong."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import gpu
import gpu_checks
from gpu_processes import ending

ROOT = gpu.ROOT
# What an installed package is found by goes, so that the checkout has to be.
ALONE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(path: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--device", "cpu", "--quick"]
    subprocess.run(
        [*command, "-o", str(path), *options], check=True, env=ALONE, capture_output=True, cwd="/"
    )
    return json.loads(path.read_text())


def test_slice_on_a_cpu_agrees_with_the_goldens(tmp_path):
    only = ("card", "goldens", "captured")
    told = run(tmp_path / "gpu.json", *(x for name in only for x in ("--only", name)))
    assert [part["part"] for part in told["parts"]] == list(only)
    assert not any("problem" in part for part in told["parts"])
    card, goldens, captured = (part["rows"] for part in told["parts"])
    assert Path(card[0]["package"]) == ROOT
    assert len(goldens) == 6 and all(row["within"] for row in goldens)
    assert captured == [{"left out": "needs a GPU"}]
    assert os.listdir(tmp_path) == ["gpu.json"]


def test_parts_that_there_is_no_time_for_are_named(tmp_path):
    told = run(tmp_path / "gpu.json", "--seconds", "0", "--only", "card")
    assert told["left_out"] == ["card"] and told["parts"] == []


def test_seconds_of_all_parts_fit_with_those_of_a_start():
    assert sum(gpu.PARTS.values()) + 15 <= gpu.SECONDS == 480


def followed(path: Path, lines: list[dict[str, Any] | None], until: float = 300) -> tuple:
    told: queue.Queue[str | None] = queue.Queue()
    for line in lines:
        told.put(None if line is None else json.dumps(line))
    answer = gpu.Answer(path, {})
    done = gpu._follow(told, "card", answer, time.monotonic() + until)
    return done, json.loads(path.read_text())["parts"]


def test_process_that_ends_in_a_part_leaves_its_rows_and_is_noted(tmp_path):
    lines = [{"begin": "card"}, {"end": "card"}, {"begin": "peaks"}, {"row": {"x": 1}}, None]
    done, parts = followed(tmp_path / "gpu.json", lines)
    assert done == 2
    assert [part.get("problem") for part in parts] == [None, "the process ended"]
    assert parts[1]["rows"] == [{"x": 1}]


def test_process_that_does_not_begin_costs_a_part_and_no_endless_loop(tmp_path):
    done, parts = followed(tmp_path / "gpu.json", [None])
    assert done == 1
    assert [(part["part"], part["problem"]) for part in parts] == [("card", "the process ended")]


def test_part_that_hangs_is_cut_off(tmp_path):
    lines = [{"begin": "card"}, {"row": {"x": 1}}]
    done, parts = followed(tmp_path / "gpu.json", lines, until=0.2)
    assert done == 1 and parts[0]["rows"] == [{"x": 1}]
    assert parts[0]["problem"] == "cut off: it took too long"


def test_part_that_fails_is_told_and_the_next_one_runs(tmp_path):
    lines = [{"begin": "card"}, {"end": "card", "problem": "OSError: no"}, {"begin": "peaks"}]
    done, parts = followed(tmp_path / "gpu.json", [*lines, {"end": "peaks"}, None])
    assert done == 2
    assert [part.get("problem") for part in parts] == ["OSError: no", None]


@pytest.mark.parametrize("device", ["cuda:99", "nothing"])
def test_device_that_cannot_be_used_is_one_line_and_no_part_begins(tmp_path, device):
    path = tmp_path / "gpu.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--device", device]
    done = subprocess.run(
        [*command, "-o", str(path)], env=ALONE, capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 1 and done.stdout == "" and not path.exists()
    assert done.stderr.startswith(f"--device {device}: PyTorch cannot use it (")
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("or name another device\n")


# Each of the processes holds the standard output, whose end shows that none is left.
LONG = "import time; print('begun', flush=True); time.sleep(100); print('left', flush=True)"
OUTER = f"""
import subprocess, sys
sys.path.insert(0, {str(ROOT / "benchmarks")!r})
from gpu_processes import end_when_told, ending
end_when_told()
again = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
with ending([sys.executable, "-c", again, {LONG!r}]) as child:
    child.wait()
"""


@pytest.mark.skipif(os.name != "posix", reason="there are no sessions")
@pytest.mark.parametrize("code", [LONG, OUTER])
def test_process_that_is_cut_off_leaves_none_of_those_it_started(code):
    with ending([sys.executable, "-c", code], 60, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == "begun\n"
    assert child.stdout.read() == ""
    child.stdout.close()


@pytest.mark.skipif(os.name != "posix", reason="there are no sessions")
def test_tests_that_are_cut_off_leave_none_of_their_processes(tmp_path, monkeypatch):
    """The pipe is held by a process that such a test starts."""
    pipe, folder = tmp_path / "pipe", tmp_path / "tests"
    folder.mkdir()
    os.mkfifo(pipe)
    (folder / "test_long.py").write_text(
        "import pytest, subprocess, sys\n@pytest.mark.gpu\ndef test_long():\n"
        f"    with open({str(pipe)!r}, 'w') as out:\n"
        f"        subprocess.run([sys.executable, '-c', {LONG!r}], stdout=out)\n"
    )
    monkeypatch.setattr(gpu_checks, "ROOT", tmp_path)
    held = []

    class Place:
        @property
        def left(self) -> float:
            held.append(pipe.open())  # once there is somebody who writes
            assert held[0].readline() == "begun\n"
            return 0.0

    (row,) = gpu_checks.tests(Place())
    assert row["ended"] == "cut off"
    with held[0] as left:
        assert left.read() == ""


@pytest.mark.gpu
def test_every_golden_is_met_on_a_gpu(tmp_path):
    path = tmp_path / "gpu.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--quick", "-o", str(path)]
    subprocess.run([*command, "--only", "goldens"], check=True, env=ALONE, capture_output=True)
    (part,) = json.loads(path.read_text())["parts"]
    assert len(part["rows"]) == 12 and all(row["within"] for row in part["rows"])
