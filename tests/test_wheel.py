"""The built wheel works in an environment that holds nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.alone


def run(*command: object, cwd: Path) -> str:
    elsewhere = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [*map(str, command)], cwd=cwd, env=elsewhere, capture_output=True, text=True, timeout=3600
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty environment with the wheel and its declared dependencies, nothing more."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-cache-dir", wheel, cwd=folder)
    yield folder / "venv" / "bin"
    shutil.rmtree(folder)  # gigabytes


def test_the_wheel_runs_the_first_steps_of_the_demo(environment: Path, tmp_path: Path) -> None:
    styleatlas = environment / "styleatlas"
    assert "avatars" in run(styleatlas, "--help", cwd=tmp_path)
    assert run(environment / "python", "-m", "styleatlas", "--version", cwd=tmp_path) == run(
        styleatlas, "--version", cwd=tmp_path
    )
    assert "FAIL" not in run(styleatlas, "verify", "avatars", cwd=tmp_path)
    prompts = ["--neutral", "a face", "--target", "a face with glasses"]
    assert "conv" in run(styleatlas, "query", "channels", "avatars", *prompts, cwd=tmp_path)
    run(styleatlas, "edit", "avatars", *prompts, "--seed", "1-2", "-o", "edit.png", cwd=tmp_path)
    assert (tmp_path / "edit.png").read_bytes().startswith(b"\x89PNG")
    run(styleatlas, "report", "avatars", "-o", "report.html", cwd=tmp_path)
    assert "Content-Security-Policy" in (tmp_path / "report.html").read_text("utf-8")
    own = ["-o", "own.h5", "--images", "1", "--samples", "0", "--statistics", "100"]
    run(styleatlas, "precompute", "avatars", "--clip", "avatars", *own, cwd=tmp_path)
    assert "FAIL" not in run(styleatlas, "verify", "own.h5", cwd=tmp_path)


def test_the_wheel_carries_every_file_of_the_bundle(environment: Path, tmp_path: Path) -> None:
    missing = (
        "from pathlib import Path; from styleatlas.store.registry import EMBEDDED; "
        "print([str(x) for x in vars(EMBEDDED).values() if isinstance(x, Path) and not x.exists()])"
    )
    assert run(environment / "python", "-c", missing, cwd=tmp_path).strip() == "[]"
    assert "drawings.safetensors" in run(
        environment / "python",
        "-c",
        "from styleatlas.store.registry import EMBEDDED; print(EMBEDDED.drawings)",
        cwd=tmp_path,
    )


def test_the_wheel_is_typed_and_carries_no_training_scripts(environment: Path) -> None:
    (package,) = environment.parent.glob("lib/python*/site-packages/styleatlas")
    assert (package / "py.typed").is_file()
    assert not (package / "zoo" / "making").exists()
    assert not (package / "tests").exists()
