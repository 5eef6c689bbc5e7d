from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from styleatlas.cli import main
from styleatlas.prompts import sets
from styleatlas.prompts.sets import PromptSet
from styleatlas.store.atlas import Atlas

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
def _short_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny CLIP of the tests spells its texts and reads 20 letters."""
    known, short = sets.prompt_set, PromptSet(("a", "face"), ("{}", "a {}"))

    def chosen(domain: str) -> PromptSet:
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
