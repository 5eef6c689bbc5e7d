"""How the program prints and ends: interrupts, signals, pipes, full disks, quiet, help."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from styleatlas.cli import main
from styleatlas.commands.base import Command
from styleatlas.commands.sink import answer, note, sheet_counts
from styleatlas.store.records import printable

from .test_usage import leaves

PROGRAM = [sys.executable, "-m", "styleatlas"]
full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")


def shell(command: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `styleatlas` is this program; any part of a pipe may fail it."""
    program = f'styleatlas() {{ "{sys.executable}" -m styleatlas "$@"; }}'
    line = f"set -o pipefail; {program}; {command}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True)


@full
@pytest.mark.parametrize(
    "command",
    ["info avatars", "info avatars --json", "verify avatars", "--help", "edit --help", "--version",
     "query prompts avatars b4.conv1 --csv"],
)  # fmt: skip
def test_full_disk_behind_stdout_is_one_line(command):
    done = shell(f"styleatlas {command} > /dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("styleatlas: an answer cannot be written (No space left on dev")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["verify avatars", "info avatars --json", "edit --help"])
def test_closed_pipe_is_no_failure(command):
    done = shell(f"styleatlas {command} | true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_pipe_that_closes_hides_no_failure(countable_path):
    content = bytearray(countable_path.read_bytes())
    content[-100] ^= 1
    countable_path.write_bytes(content)
    done = shell(f"styleatlas verify '{countable_path}' | true")
    assert done.returncode == 1 and "checks failed" in done.stderr


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long)],
    ids=lambda part: str(part),
)
def test_signal_ends_work_which_is_resumed(number, code, tmp_path, interruptible):
    output = tmp_path / "a.h5"
    arguments = (
        "precompute",
        "avatars",
        "--clip",
        "avatars",
        "-o",
        output,
        "--samples",
        "0",
        "--statistics",
        "60",
    )
    few = ("--images", "1", "--table", "sweep")
    command = [*PROGRAM, *map(str, arguments), *few]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    work = tmp_path / "a.h5.work"
    until = time.monotonic() + 120
    while (
        len(list(work.glob("block-*"))) < 2 and running.poll() is None and time.monotonic() < until
    ):
        time.sleep(0.02)
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (code, ""), err
    assert "interrupted: " in err and "Traceback" not in err and not output.exists()
    assert not list(tmp_path.rglob("*.tmp"))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "resuming: " in done.stderr and output.exists()
    assert not work.exists()


def test_ctrl_c_before_work_began_says_nothing_and_exits_with_130(run, monkeypatch):
    def interrupted(self: object, ctx: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Command, "_require", interrupted)
    result = run("info", "avatars")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "\n")


def test_ctrl_c_while_words_are_parsed_exits_with_130(run, monkeypatch):
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(main), "parse_args", interrupted)
    result = run("info", "avatars")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "\n")


def test_handler_of_sigterm_is_given_back(run):
    before = signal.getsignal(signal.SIGTERM)
    assert run("info", "avatars").exit_code == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_quiet_keeps_notes_and_progress_but_not_errors(run, countable_path, tmp_path):
    row = "b4.conv1:0"
    arguments = (
        "precompute",
        "avatars",
        "--clip",
        "avatars",
        "--images",
        1,
        "--samples",
        0,
        "--statistics",
        20,
    )
    fast = ("--table", "jacobian", "--probes", 8)
    loud = run(*arguments, *fast, "-o", tmp_path / "a.h5")
    still = run(*arguments, *fast, "-o", tmp_path / "b.h5", "--quiet")
    assert loud.exit_code == still.exit_code == 0
    assert loud.stderr and not still.stderr
    assert still.stdout == loud.stdout.replace("a.h5", "b.h5")
    assert run("verify", "none.h5", "--quiet").stderr.startswith("styleatlas verify: none.h5: no")
    assert run("query", "prompts", countable_path, row, "--quiet", "--csv", "--json").exit_code == 2


def test_one_image_is_not_compared_with_chance(run, tmp_path):
    arguments = (
        "precompute",
        "avatars",
        "--clip",
        "avatars",
        "--images",
        1,
        "--samples",
        0,
        "--statistics",
        20,
    )
    fast = ("--table", "jacobian", "--probes", 8, "-o", tmp_path / "a.h5")
    text = run(*arguments, *fast).stdout
    assert "over 1 image," in text and "chance" not in text
    record = json.loads(run(*arguments, *fast, "--json").stdout)
    assert record["more_consistent_than_chance"] is None


@pytest.mark.parametrize("name", leaves(main))
def test_every_command_has_short_help_and_quiet(run, name):
    known = run(*name.split(), "--help").stdout
    assert run(*name.split(), "-h").stdout == known
    assert "-h, --help" in known and "--quiet" in known


@pytest.mark.parametrize("name", ["edit", "precompute", "optimize", "mapper train"])
def test_many_options_are_shown_in_groups(run, name):
    text = run(*name.split(), "--help").stdout
    titles = ["Prompts", "Images", "How", "Results", "Models and computing", "Other options"]
    assert all(f"\n{title}:\n" in text for title in titles) and "\nOptions:\n" not in text
    other = text[text.index("Other options:") :].split("\n\n")[0]
    assert other.count("  --") + other.count("  -h") == 2


def test_few_options_are_one_list(run):
    assert "\nOptions:\n" in run("query", "channels", "--help").stdout


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("name", ["", *leaves(main)])
def test_help_fits_the_terminal_and_cuts_nothing_off(name, width):
    called = [*name.split(), "--help"]
    result = CliRunner().invoke(main, called, prog_name="styleatlas", terminal_width=width)
    text = result.stdout.split("Examples:")[0]
    assert max(map(len, text.splitlines())) <= width
    for more in (
        "COMMAND [ARGS]...",
        "[CHANNEL]...",
        "[KIND]...",
        " NAME...",
        " PHOTO...",
        "b16.conv1:20,...",
    ):
        text = text.replace(more, "")
    assert "..." not in text


def test_words_of_the_field_are_explained_where_edits_are(run):
    text = " ".join(run("edit", "--help").stdout.split())
    for word in ("The neutral prompt says", "Alpha is", "beta how well", "psi, the truncation"):
        assert text.count(word) == 1
    root = Path(__file__).parents[2]
    assert "docs/editing.md" in text and (root / "docs" / "editing.md").is_file()


def test_text_for_people_holds_no_control_characters(capsys):
    hostile = "a\x1b[2Jb\r\x9b\u202ec\u2028d\ud800e\tf\ng"
    answer({"text": hostile}, hostile, as_json=False)
    note(hostile)
    answer({"text": hostile}, hostile, as_json=True)
    out, err = capsys.readouterr()
    shown = "a\\x1b[2Jb\\r\\x9b\\u202ec\\u2028d\\ud800e\tf\ng\n"
    assert err == shown and out.startswith(shown)
    machine = out.removeprefix(shown)
    assert machine.isascii() and json.loads(machine) == {"text": hostile}
    assert "\x1b" not in machine
    assert printable("a\nb\x1b", lines=False) == "a\\nb\\x1b"


def test_error_with_a_hostile_name_is_one_line(run):
    result = run("info", "no\nsuch\x1b[2J")
    assert result.stderr.startswith("styleatlas info: no\\nsuch\\x1b[2J: no such file")
    assert result.stderr.count("\n") == 1


def test_images_are_counted_as_people_do():
    assert [sheet_counts(*case) for case in ((1, 1), (8, 1), (1, 3), (8, 3))] == [
        "1 image",
        "8 images",
        "1 x 3 images",
        "8 x 3 images",
    ]


def test_answers_are_printed_in_one_place_and_progress_in_another():
    commands = Path(__file__).parents[2] / "commands"
    writers = {commands / name for name in ("sink.py", "base.py", "progress.py")}
    for path in set(commands.glob("*.py")) - writers:
        text = path.read_text("utf-8")
        assert not any(word in text for word in ("click.echo", "json.dumps", "print(")), path.name


def test_environment_that_says_how_threads_wait_is_left_alone():
    code = """
import os, sys
from styleatlas.cli import main
main(["info", "avatars", "--json"], standalone_mode=False)
print(os.environ.get("OMP_WAIT_POLICY"), file=sys.stderr)
"""
    clean = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    for given, found in (
        ({}, "PASSIVE"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"),
        ({"GOMP_SPINCOUNT": "9"}, "None"),
    ):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, env={**clean, **given})
        assert done.stderr == f"{found}\n"
