"""What stops a release: scripts/release before it works, scripts/check-dist before it is out."""

from __future__ import annotations

import io
import os
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from styleatlas import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture
def checked(tmp_path):
    """The functions of scripts/check-dist, on a tree of three files."""
    module = runpy.run_path(str(ROOT / "scripts" / "check-dist"))
    tree = {"__init__.py", "store/x.py", "tests/test_x.py"}
    for name in ("of_sdist", "of_wheel"):
        module[name].__globals__["tracked"] = lambda: tree
    return module


def sdist(path: Path, names: set[str]) -> Path:
    with tarfile.open(path / "x-1.tar.gz", "w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(f"x-1/{name}"), io.BytesIO())
    return path / "x-1.tar.gz"


def wheel(path: Path, names: set[str]) -> Path:
    with zipfile.ZipFile(path / "x-1.whl", "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return path / "x-1.whl"


PACKAGE = {"styleatlas/__init__.py", "styleatlas/store/x.py"}
ABOUT = {"styleatlas-1.dist-info/METADATA"}


def test_a_sdist_holds_what_is_tracked_and_nothing_else(checked, tmp_path):
    whole = {"__init__.py", "store/x.py", "tests/test_x.py", "PKG-INFO", "styleatlas.egg-info/x"}
    assert checked["of_sdist"](sdist(tmp_path, whole)) == []
    spoilt = whole - {"tests/test_x.py"} | {"notes.txt"}
    assert checked["of_sdist"](sdist(tmp_path, spoilt)) == [
        "x-1.tar.gz lacks tests/test_x.py",
        "x-1.tar.gz holds notes.txt, which is not tracked",
    ]


def test_a_wheel_holds_the_package_and_nothing_else(checked, tmp_path):
    assert checked["of_wheel"](wheel(tmp_path, PACKAGE | ABOUT)) == []
    strays = {"styleatlas/tests/test_x.py", "styleatlas/notes.txt", "other.py"}
    assert checked["of_wheel"](wheel(tmp_path, PACKAGE | ABOUT | strays)) == [
        "x-1.whl holds notes.txt",
        "x-1.whl holds other.py",
        "x-1.whl holds tests/test_x.py",
    ]
    assert checked["of_wheel"](wheel(tmp_path, ABOUT | {"styleatlas/__init__.py"})) == [
        "x-1.whl lacks store/x.py"
    ]


@pytest.fixture
def released(tmp_path):
    """scripts/release in a repository of its own; what it says as it refuses."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "store").mkdir()
    shutil.copy(ROOT / "scripts" / "release", tmp_path / "scripts")
    shutil.copy(ROOT / "store" / "version.py", tmp_path / "store")
    (tmp_path / ".gitignore").write_text(".venv\n")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text(f"# Changelog\n\n## {__version__} (2026-12-01)\n\n## 0.0.9 (2026-01-01)\n")
    told = {"GIT_AUTHOR_NAME": "x", "GIT_AUTHOR_EMAIL": "x@x", "GIT_CONFIG_GLOBAL": os.devnull}
    told |= {"GIT_COMMITTER_NAME": "x", "GIT_COMMITTER_EMAIL": "x@x", "LC_ALL": "C"}

    def call(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **told}, capture_output=True, text=True
        )

    def commit() -> None:
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
            assert call("git", *command).returncode == 0

    def refused() -> str:
        done = call("scripts/release")
        assert done.returncode and not (tmp_path / "dist").exists()
        return done.stderr

    return changelog, commit, call, refused


def test_a_tree_that_is_not_clean_is_not_released(released):
    changelog, commit, _, refused = released
    commit()
    changelog.write_text("other")
    assert refused() == "The tree is not clean:\n M CHANGELOG.md\n"


@pytest.mark.parametrize("heading", ["{} (unreleased)", "9.9.9 (2026-12-01)", "{}"])
def test_a_version_without_a_dated_entry_is_not_released(released, heading):
    changelog, commit, _, refused = released
    changelog.write_text(
        f"# Changelog\n\n## {heading.format(__version__)}\n\n## {__version__} (2026-12-01)\n"
    )
    commit()
    assert f'CHANGELOG.md: its first heading must be "## {__version__} (YYYY-MM-DD)"' in refused()


def test_a_version_is_released_once_and_not_before_its_checks(released):
    _, commit, call, refused = released
    commit()
    assert "No rule to make target" in refused()  # make check, which comes next
    call("git", "tag", f"v{__version__}")
    assert (
        refused() == f"v{__version__} is tagged already; give store/version.py the next version\n"
    )
