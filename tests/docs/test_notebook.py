"""The tour is the notebook of its text, and runs from its first cell to its last."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from notebook import NOTEBOOK, TEXT, notebook, run

import styleatlas

LARGEST = 300_000  # bytes; its outputs are looked at, not studied


@pytest.fixture
def kept() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_its_cells_are_those_of_the_text(kept):
    made = notebook(TEXT.read_text("utf-8"))
    cells = [(cell.id, cell.cell_type, cell.source) for cell in made.cells]
    told = "docs/tour.ipynb is not of docs/making/tour.md; run `python docs/making/notebook.py`"
    assert cells == [(cell.id, cell.cell_type, cell.source) for cell in kept.cells], told


def test_its_outputs_are_kept_and_small(kept):
    code = [cell for cell in kept.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in code)
    assert not [out for cell in code for out in cell.outputs if out.output_type == "error"]
    assert NOTEBOOK.stat().st_size < LARGEST


def test_it_runs(tmp_path, monkeypatch):
    home = Path(styleatlas.__file__).parent
    paths = [str(home / ".typing"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    made = notebook(TEXT.read_text("utf-8"))
    run(made, tmp_path)
    shown = [out.data for cell in made.cells for out in cell.get("outputs", ()) if "data" in out]
    assert sum("text/html" in data for data in shown) >= 5  # tables
    assert sum("image/png" in data for data in shown) >= 2  # pictures
    assert sum("image/gif" in data for data in shown) == 1  # the film


def test_a_text_becomes_cells():
    made = notebook("# A\n\ntext\n\n```python\nx = 1\nx\n```\n\nmore\n")
    told = [(cell.id, cell.cell_type, cell.source) for cell in made.cells]
    assert told == [
        ("cell-0", "markdown", "# A\n\ntext"),
        ("cell-1", "code", "x = 1\nx"),
        ("cell-2", "markdown", "more"),
    ]
