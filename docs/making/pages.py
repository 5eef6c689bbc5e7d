"""Pages as they stand on the disk become pages of the site: the README is its first page, and links
to what lies beside docs/ bring the file."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

README = Path(__file__).parents[2] / "README.md"
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:|#)([^)\s]+)\)")


def begin(text: str) -> str:
    """The README as if it lay in docs/."""
    return re.sub(
        r"\]\((?!\w+:|#)([^)\s]+)\)",
        lambda found: f"]({found[1][5:] if found[1].startswith('docs/') else '../' + found[1]})",
        text,
    )


def with_files(text: str) -> str:
    """A text whose links to files that are no pages bring these files."""

    def linked(found: re.Match[str]) -> str:
        words, target = found.groups()
        return f"{{download}}`{words} <{target}>`" if target.startswith("../") else found[0]

    return _LINK.sub(linked, text)


def change(app: Sphinx, page: str, source: list[str]) -> None:
    if page == "index":
        source[0] = begin(README.read_text("utf-8")) + "\n" + source[0]
    source[0] = with_files(source[0])


def literal(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """What a docstring shows indented, behind a colon and an empty line, is code."""
    for at in range(len(lines) - 2):
        if (
            re.search(r"[^:]:$", lines[at])
            and not lines[at + 1]
            and lines[at + 2].startswith("    ")
        ):
            lines[at] += ":"


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", change)
    app.connect("autodoc-process-docstring", literal, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
