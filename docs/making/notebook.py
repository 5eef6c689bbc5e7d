"""Makes docs/tour.ipynb of docs/making/tour.md and runs it: `python docs/making/notebook.py`.

Fenced Python is a cell of code, all else text. Outputs are kept as they come; the tests run the
notebook anew and hold its cells against the text.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode, v4

TEXT = Path(__file__).with_name("tour.md")
NOTEBOOK = TEXT.parents[1] / "tour.ipynb"
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def notebook(text: str) -> NotebookNode:
    """The notebook that a text stands for, not run. Its cells are named by their places, so that
    the same text gives the same notebook."""
    made = v4.new_notebook(metadata=KERNEL)
    for at, part in enumerate(re.split(r"(?ms)^(```python\n.*?^```)$", text)):
        if code := re.fullmatch(r"(?s)```python\n(.*)\n```", part):
            made.cells.append(v4.new_code_cell(code[1], id=f"cell-{at}"))
        elif part.strip():
            made.cells.append(v4.new_markdown_cell(part.strip(), id=f"cell-{at}"))
    return made


def run(made: NotebookNode, folder: Path, seconds: int = 600) -> None:
    """Run all cells in a folder, with their outputs as they come.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(made, timeout=seconds, startup_timeout=seconds, resources=resources).execute()
    for cell in made.cells:
        cell.metadata.pop("execution", None)  # when it was run, which is no part of it
        if "outputs" in cell:  # without what libraries say of the terminal
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]


def main() -> None:
    made = notebook(TEXT.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        run(made, Path(folder))
    made.metadata = nbformat.from_dict(KERNEL)  # not which Python ran it
    nbformat.write(made, NOTEBOOK)
    print(f"{NOTEBOOK}: {NOTEBOOK.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
