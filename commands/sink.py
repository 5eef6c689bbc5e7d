"""Where answers and notes go: the one place that prints.

Text for people never holds a control character, whoever wrote it: a file's prompts cannot move a
terminal's cursor. JSON is ASCII.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

import click

from ..store.records import Record, csv_lines, printable, text_fields, text_sides, text_table
from .base import drop_output

Form = Literal["text", "json", "csv"]


def answer(value: Record | Sequence[Any], text: str, as_json: bool) -> None:
    """Print what a command has to say: a value that JSON holds, or the same as text for people."""
    say(json.dumps(value, indent=2) if as_json else text)


def answer_records(records: list[Record], form: Form) -> None:
    """Print the records of a query."""
    if form == "csv":
        say(csv_lines(records).removesuffix("\n"))
        return
    sides = form == "text" and records and "side" in records[0]
    answer(records, text_sides(records) if sides else text_table(records), form == "json")


def answer_record(record: Record, form: Form) -> None:
    """Print the one record of a query, as text a value a line."""
    if form == "text":
        say(text_fields(record))
    else:
        answer_records([record], form)


def say(text: str) -> None:
    """Print text on stdout. If nobody reads it any more, the command goes on all the same."""
    try:
        click.echo(printable(text))
    except BrokenPipeError:
        drop_output()


def sheet_counts(images: int, columns: int) -> str:
    """So many images, in so many columns each: 1 image, 8 images, 8 x 3 images."""
    if columns > 1:
        return f"{images} x {columns} images"
    return f"{images} image{'s' * (images > 1)}"


def note(text: str) -> None:
    """Print what is no answer, on stderr."""
    click.echo(printable(text), err=True)


def noted_once() -> Callable[[str], None]:
    """`note`, but for what it has printed before: many images are edited a part at a time."""
    printed: set[str] = set()

    def told(text: str) -> None:
        if text not in printed:
            printed.add(text)
            note(text)

    return told
