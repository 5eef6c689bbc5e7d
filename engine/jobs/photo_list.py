"""The list of what became of a folder of photos: a CSV beside the pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ...store.errors import OutputError
from ...store.output import replacing
from ...store.records import Record, csv_lines, printable

NAME = "edits.csv"
COLUMNS = (
    *("photo", "picture", "face", "status", "alpha", "way", "farther", "cosine", "distance"),
    *("steps", "pixels", "kept", "cut", "identity", "identity_edited", "error", "recipe"),
)
"""Of which `docs/photos.md` tells what they are."""
FAILED = "failed"
_MOST_BYTES = 2**26


class PhotoList:
    """Who of a folder's pictures is done, and how they came out.

    Args:
        folder: of the pictures, which need not be there.

    Raises:
        OutputError: there is a file of that name in it that is no such list, or cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._rows: list[Record] = self._read() if self._path.exists() else []

    def is_done(self, picture: str, recipe: str) -> bool:
        """Whether a picture is there and was made by a recipe."""
        rows = self.of(picture)
        made = all(row["recipe"] == recipe and row["status"] != FAILED for row in rows)
        return bool(rows) and made and (self._path.parent / picture).is_file()

    def of(self, picture: str) -> list[Record]:
        """The rows of a picture, one a face."""
        name = printable(picture, lines=False)
        return [row for row in self._rows if row["picture"] == name]

    def put(self, picture: str, rows: Sequence[Record]) -> None:
        """Writes the list with these rows of a picture in place of those there were.

        Raises:
            OutputError: it cannot be written.
        """
        name = printable(picture, lines=False)
        kept = [row for row in self._rows if row["picture"] != name]
        new = [{column: _text(row.get(column)) for column in COLUMNS} for row in rows]
        self._rows = sorted([*kept, *new], key=lambda row: row["picture"])
        with replacing(self._path) as file:
            file.write(csv_lines(self._rows).encode())

    def _read(self) -> list[Record]:
        try:
            if self._path.stat().st_size > _MOST_BYTES:
                raise ValueError("it is too large")
            reader = csv.DictReader(io.StringIO(self._path.read_bytes().decode(), newline=""))
            rows = list(reader)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError("it has other columns")
            if any(None in row or None in row.values() for row in rows):
                raise ValueError("a line of it is broken")
        except (OSError, ValueError, csv.Error) as error:
            raise OutputError(
                f"{self._path}: is no list of edited photos ({error}), and is not written over; "
                "name another folder, or take it away"
            ) from error
        return rows


def _text(value: object) -> str:
    """A cell: numbers short, nothing for what is not known."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return printable(str(value), lines=False)
