"""What the site says of commands and Python is all there is, and loads nothing from elsewhere."""

from __future__ import annotations

import re

import pytest
from command_line import contexts, section, top
from offline import loaded_from_elsewhere
from pages import begin, with_files

import styleatlas
from styleatlas.cli import COMMANDS

from ..documents import DOCUMENTS, ROOT, blocks

CONTEXTS = [*contexts(top())][1:]
PYTHON = (ROOT / "docs" / "python.md").read_text("utf-8")
IMPORT = re.compile(r"(?m)^ *from (styleatlas[\w.]*) import (\w+(?:, \w+)*)$")


@pytest.mark.parametrize("name", styleatlas.__all__)
def test_python_has_what_the_package_exports(name):
    assert re.search(rf"(?m)^\.\. auto\w+:: styleatlas\.{name}$", PYTHON)


def test_python_has_what_documents_import():
    asked = {
        f"{module}.{name.strip()}"
        for document in DOCUMENTS
        for block in blocks(document)
        for module, names in IMPORT.findall(block.text)
        for name in names.split(",")
    }
    told = set(re.findall(r"(?m)^\.\. auto\w+:: ([\w.]+)$", PYTHON))
    assert asked and sorted(asked - told) == []


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda context: context.command_path)
def test_every_command_is_told_with_all_that_its_help_tells(context):
    told = " ".join(section(context).astext().split())
    for param in context.command.get_params(context):
        if record := param.get_help_record(context):
            for text in record:
                assert " ".join(text.replace("`", "").split()) in told, param.name


def test_every_command_stands_in_the_table():
    table = (ROOT / "docs" / "commands.md").read_text("utf-8").partition("## ")[0]
    assert not [name for name in COMMANDS if not re.search(rf"`(styleatlas )?{name}\b", table)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<script src="https://cdn.example.org/a.js"></script>'),
        ("a.html", '<link rel="stylesheet" href="//fonts.example.org/a.css">'),
        ("a.html", '<p><img alt="a" src="http://example.org/a.png">'),
        ("a.css", "@font-face {src: url('https://example.org/a.woff2')}"),
        ("a.css", '@import "https://example.org/b.css";'),
    ],
)
def test_what_a_page_would_load_from_elsewhere_is_found(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    (told,) = loaded_from_elsewhere(tmp_path)
    assert told.startswith(f"{name}: ") and "example.org" in told


def test_links_and_files_of_the_site_are_not(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="https://example.org">b</a><img src="b.png"><script src="c.js"></script>'
        '<link rel="canonical" href="https://example.org/a.html">'
    )
    (tmp_path / "a.css").write_text("p {background: url(b.png)} /* https://example.org */")
    assert not [*loaded_from_elsewhere(tmp_path)]


def test_the_readme_is_the_first_page_with_its_links():
    made = begin("[a](docs/a.md#b) ![p](docs/p.png) [c](LICENSE) [d](https://e.org) [f](#g)")
    assert made == "[a](a.md#b) ![p](p.png) [c](../LICENSE) [d](https://e.org) [f](#g)"
    linked = "[a](a.md#b) ![p](p.png) {download}`c <../LICENSE>` [d](https://e.org) [f](#g)"
    assert with_files(made) == linked
