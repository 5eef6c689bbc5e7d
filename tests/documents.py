"""The README and the documents: their blocks of code, and what is said of each that is not run.

A block that somebody might type has a comment before it:

    <!-- run -->                          it is run by `tests/commands/test_docs.py`
    <!-- run against a service -->        by `tests/server/test_docs.py`
    <!-- run where faces are fetched -->  so, too, where those weights are
    <!-- not run: WHY -->                 it needs what a test has not: weights, a network, hours
"""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
RUN, RUN_BY_A_SERVICE = "run", "run against a service"
RUN_WITH_FACES = "run where faces are fetched"
NOT_RUN = re.compile(r"not run: \w.{8,}")
_PROGRAMS = re.compile(
    r"(?m)^\$? ?(?:\.venv/bin/)?(?:styleatlas|python3?|pip|pytest|make|curl|openssl|eval|git|"
    r"docker|podman|cat|cp|mkdir) "
)


@dataclass(frozen=True)
class Block:
    """Code in a document.

    Args:
        line: of its first line, counted from 1.
        kind: the language of a fence; `` of an indented block, and of a fence that names none.
        mark: the comment before it, of those above; None where there is none.
    """

    document: str
    line: int
    kind: str
    text: str
    mark: str | None

    @property
    def can_be_typed(self) -> bool:
        """Whether it is commands or a program, and no formula, answer or file."""
        if self.kind in ("python", "sh", "bash", "console"):
            return True
        return not self.kind and bool(_PROGRAMS.search(self.text) or _is_program(self.text))

    @property
    def commands(self) -> list[list[str]]:
        """The calls of `styleatlas` in it as lists of words, without the program's name."""
        whole = self.text.replace("\\\n", " ").split("\n")
        words = [shlex.split(line, comments=True) for line in whole if "styleatlas" in line]
        return [line[1:] for line in words if line and Path(line[0]).name == "styleatlas"]

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks(document: str, root: Path = ROOT) -> list[Block]:
    """All blocks of a document, fenced and indented, in their order."""
    lines = (root / document).read_text("utf-8").split("\n")
    found, at = [], 0
    while at < len(lines):
        fence = re.fullmatch(r"(`{3,}|~{3,})\s*([^\s`]*).*", lines[at])
        starts = not at or not lines[at - 1].strip()
        if fence:
            end = next(i for i in range(at + 1, len(lines)) if lines[i].startswith(fence[1]))
            text = "\n".join(lines[at + 1 : end])
            found.append(Block(document, at + 2, fence[2], text, _mark(lines, at)))
            at = end
        elif starts and lines[at].startswith("    ") and not _in_a_list(lines, at):
            end = at
            while end < len(lines) and (not lines[end].strip() or lines[end].startswith("    ")):
                end += 1
            text = "\n".join(line.removeprefix("    ") for line in lines[at:end]).rstrip()
            found.append(Block(document, at + 1, "", text, _mark(lines, at)))
            at = end - 1
        at += 1
    return found


def _mark(lines: list[str], at: int) -> str | None:
    before = next((line.strip() for line in reversed(lines[:at]) if line.strip()), "")
    comment = re.fullmatch(r"<!-- (.*) -->", before)
    return comment[1] if comment else None


def _in_a_list(lines: list[str], at: int) -> bool:
    """Whether what is indented goes on with an item of a list."""
    before = (line for line in reversed(lines[:at]) if line.strip() and not line.startswith("  "))
    return bool(re.match(r"(?:[-*+]|\d+\.) ", next(before, "")))


def _is_program(text: str) -> bool:
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except SyntaxError:
        return False
    return any(isinstance(node, ast.Import | ast.ImportFrom | ast.Assign) for node in nodes)
