"""The files of an evaluation."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ...store.errors import OutputError
from ...store.output import replacing, require_writable
from ...store.records import Record, csv_lines

PAGE = "index.html"
_NAMES = ("evaluation.json", "evaluation.csv", PAGE)


def require_folder(folder: str | os.PathLike[str]) -> None:
    """Makes the folder and raises OutputError unless the files can be written there; called before
    the work, so that none is lost."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}); choose another") from error
    for name in _NAMES:
        require_writable(Path(folder) / name)


def write_evaluation(record: Record, page: str, folder: str | os.PathLike[str]) -> None:
    """Writes the figures as JSON and as CSV, a row an edit of a way at an alpha, and the page; each
    file whole or not at all.

    Raises:
        OutputError: a file cannot be written.
    """
    texts = (json.dumps(record, indent=2, allow_nan=False) + "\n", csv_lines(record["edits"]), page)
    for name, text in zip(_NAMES, texts, strict=True):
        with replacing(Path(folder) / name) as file:
            file.write(text.encode())
