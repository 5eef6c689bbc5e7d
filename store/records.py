"""Records, flat dictionaries of plain Python values, and how people and machines get to read them.

All records of one answer have the same keys, so that `pandas.DataFrame` takes them.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from typing import Any

Record = dict[str, Any]

# C0 and C1 but for tab and line feed, line separators, marks that turn text around, surrogates.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str, *, lines: bool = True) -> str:
    """Text that a terminal shows as it is: control characters are written as Python writes them.
    Without `lines` it is one line, too."""
    shown = _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)
    return shown if lines else shown.strip("\n").replace("\n", "\\n")


def rounded(value: Any) -> float:
    """To four significant digits: what a reader needs, and JSON stays short."""
    return float(f"{float(value):.4g}")


def decimal(value: Any) -> float:
    """To four decimals: shares, cosines and alphas."""
    return round(float(value), 4)


def counted(number: int, what: str) -> str:
    """A number of things as people say it: 1 image, 1,200 images."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 45 s, 12 min, 3.4 h, 5.2 days."""
    for limit, unit, name in ((90, 1, "s"), (90 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.{1 if name == 'h' else 0}f} {name}"
    return f"{seconds / 86400:.1f} days"


def text_table(records: Sequence[Record]) -> str:
    """Records of the same keys as a text table: a header, then a line each.

    Numbers have three decimals, or more in a column of small ones, so that its largest keeps three
    digits.
    """
    if not records:
        return "(nothing)"
    columns = [[record[key] for record in records] for key in records[0]]
    written = [_cells(column) for column in columns]
    cells = [list(records[0]), *map(list, zip(*written, strict=True))]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    numeric = [any(isinstance(v, int | float) for v in column) for column in columns]
    lines = []
    for row in cells:
        parts = zip(row, widths, numeric, strict=True)
        lines.append("  ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in parts).rstrip())
    return "\n".join(lines)


def text_fields(record: Record) -> str:
    """One record with a line for each of its values, as `text_table` writes them."""
    width = max(map(len, record))
    return "\n".join(f"{key.ljust(width)}  {_cell(value, 3)}" for key, value in record.items())


def text_sides(records: Sequence[Record]) -> str:
    """Records with a `side` as a table of what stands before it, if anything, which is the same in
    all of them, and a table of the rest for either side."""
    if not records:
        return "(nothing)"
    keys = list(records[0])
    at = keys.index("side")
    head = [text_table([{key: records[0][key] for key in keys[:at]}])] if at else []
    parts = []
    for side in ("towards", "away"):
        rest = [{k: r[k] for k in keys[at + 1 :]} for r in records if r["side"] == side]
        parts.append(f"{side}\n{text_table(rest)}")
    return "\n\n".join(head + parts)


def csv_lines(records: Sequence[Record]) -> str:
    """Records of the same keys as CSV: a header, then a line each; nothing of no records."""
    if not records:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _joined(value) for key, value in record.items()} for record in records)
    return text.getvalue()


def _cells(column: Sequence[Any]) -> list[str]:
    largest = max((abs(v) for v in column if isinstance(v, float)), default=0.0)
    decimals = 3 if largest == 0 else min(max(3, 2 - math.floor(math.log10(largest))), 8)
    return [_cell(value, decimals) for value in column]


def _joined(value: Any) -> Any:
    """A value as it stands in one cell: texts of a list behind one another."""
    return "; ".join(map(str, value)) if isinstance(value, list) else value


def _cell(value: Any, decimals: int) -> str:
    if value is None or value == []:
        return "-"
    value = _joined(value)
    return (
        f"{value:.{decimals}f}" if isinstance(value, float) else printable(str(value), lines=False)
    )
