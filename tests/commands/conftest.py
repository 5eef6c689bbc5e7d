from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from styleatlas.cli import main
from styleatlas.commands import progress
from styleatlas.prompts import sets
from styleatlas.prompts.sets import PromptSet
from styleatlas.store.atlas import Atlas

from .edit_calls import ALPHA, EASY, PAIR, pixels

# Run as a user's shell would, then say which heavy libraries were imported.
WATCHED = """
import sys
from styleatlas.cli import main
try:
    main(sys.argv[1:], prog_name="styleatlas")
finally:
    heavy = {"torch", "torchvision", "open_clip", "faiss", "PIL"} & sys.modules.keys()
    print("imported:", *sorted(heavy), file=sys.stderr)
"""

Run = Callable[..., Result]
Process = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _slow_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is short is told nothing of, however long it takes here."""
    monkeypatch.setattr(progress, "LATER", math.inf)


@pytest.fixture(autouse=True)
def _short_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny CLIP of the tests spells its texts and reads 20 letters."""
    known, short = sets.prompt_set, PromptSet(("a", "face"), ("{}", "a {}"))

    def chosen(domain: str, clip: str = "") -> PromptSet:
        return known(domain) if domain == "avatars" else short

    monkeypatch.setattr(sets, "prompt_set", chosen)


@pytest.fixture
def run() -> Run:
    """Call the command line in this process."""

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(main, [str(a) for a in arguments], prog_name="styleatlas")
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def process() -> Process:
    """Call the command line in a process of its own; the last line on stderr lists imports."""

    def process(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", WATCHED, *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return process


@pytest.fixture
def answer(run: Run) -> Callable[..., str]:
    """Call the command line, which must succeed without a word on stderr; returns stdout."""

    def answer(*arguments: object) -> str:
        result = run(*arguments)
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        return result.stdout

    return answer


@pytest.fixture
def refused(run: Run, tmp_path: Path) -> Callable[..., str]:
    """Run a command that must fail: exit code 1, one line on stderr that begins with the command,
    nothing on stdout, no file made or changed. Returns the message behind the command."""

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def refused(command: str, *arguments: object) -> str:
        before = files()
        result = run(*command.split(), *arguments)
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        assert result.stderr.startswith(f"styleatlas {command}: ")
        assert result.stderr.count("\n") == 1 and result.stderr.endswith("\n")
        assert files() == before
        return result.stderr.removeprefix(f"styleatlas {command}: ").rstrip()

    return refused


@pytest.fixture(scope="session")
def tiny_atlas(draw, make_encoder, checkpoint) -> Atlas:
    """The atlas of the tiny StyleGAN2, drawn with a countable CLIP that reads 23 of its pixels."""
    from styleatlas.engine.models.load import load_generator

    return draw(load_generator(checkpoint, "cpu"), make_encoder(23), images=4)


@pytest.fixture(scope="session")
def tiny_path(tiny_atlas: Atlas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("atlas") / "tiny.h5"
    tiny_atlas.write(path)
    return path


@pytest.fixture
def draw_to(answer, tiny_path, checkpoint):
    """Edit into a path, with no prompts of its own; returns stdout."""

    def draw_to(path: Path, *options: object) -> str:
        return answer("edit", tiny_path, "--generator", checkpoint, *options, "-o", path)

    return draw_to


@pytest.fixture
def edit(draw_to, tmp_path):
    """Edit and return the picture's pixels."""

    def edit(*options: object) -> np.ndarray:
        path = tmp_path / "out.png"
        draw_to(path, *PAIR, *EASY, *ALPHA, *options)
        return pixels(path)

    return edit


@pytest.fixture
def refused_edit(refused, tiny_path, checkpoint, tmp_path):
    """Edit in vain and return the message; a later option replaces an earlier one."""

    def refused_edit(*options: object, atlas=tiny_path) -> str:
        fixed = (*PAIR, "--generator", checkpoint, *EASY, *ALPHA, "-o", tmp_path / "out.png")
        return refused("edit", atlas, *fixed, *options)

    return refused_edit


@pytest.fixture
def usage_error(run, tiny_path, checkpoint, tmp_path):
    """Call edit in a wrong way and return what it says."""

    def usage_error(*options: object) -> str:
        path = tmp_path / "out.png"
        result = run("edit", tiny_path, "--generator", checkpoint, *options, "-o", path)
        assert result.exit_code == 2, result.output
        assert not path.exists() and result.stdout == ""
        return result.stderr.partition("Error: ")[2]

    return usage_error


@pytest.fixture
def avatars(run, tmp_path):
    """Edit the embedded avatars and return the record and the notes."""

    def avatars(*options: object) -> tuple[dict, str]:
        path = tmp_path / "avatars.png"
        told = run("edit", "avatars", *options, "--json", "-o", path)
        assert told.exit_code == 0, told.output
        return json.loads(told.stdout), told.stderr

    return avatars
