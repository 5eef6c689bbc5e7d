"""What the project says of itself: its version, in one place, and how to cite it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from styleatlas import __version__

ROOT = Path(__file__).parents[1]
VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(?:(?:a|b|rc)[0-9]+)?")


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is of Python 3.11")
def test_build_reads_the_version_where_it_stands():
    import tomllib

    project = tomllib.loads(text("pyproject.toml"))
    assert "version" not in project["project"] and project["project"]["dynamic"] == ["version"]
    attribute = {"attr": "styleatlas.store.version.__version__"}
    assert project["tool"]["setuptools"]["dynamic"] == {"version": attribute}


def test_version_is_a_literal_of_one_file():
    assert VERSION.fullmatch(__version__)
    (written,) = re.findall(r'^__version__ = "(.+)"$', text("store/version.py"), re.MULTILINE)
    assert written == __version__
    for path in ("__init__.py", "cli.py", "pyproject.toml", "CITATION.cff"):
        assert not re.search(rf'version.{{1,4}}"?{re.escape(__version__)}', text(path)), path


def test_changelog_begins_with_the_version():
    first = re.findall(r"^## (\S+)", text("CHANGELOG.md"), re.MULTILINE)[0]
    assert first == __version__
