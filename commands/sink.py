"""Where answers go."""

from __future__ import annotations

import json
from typing import Any, Literal

import click

Form = Literal["text", "json", "csv"]


def answer(records: list[dict[str, Any]], form: Form) -> None:
    """Print the records of a query."""
    from ..store.records import csv_lines, text_sides, text_table

    if form == "json":
        click.echo(json.dumps(records, indent=2))
    elif form == "csv":
        click.echo(csv_lines(records), nl=False)
    else:
        click.echo(text_sides(records) if records and "side" in records[0] else text_table(records))
