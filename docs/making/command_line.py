"""The directive `command-line`: every command with its options, as click knows them when the site
is built, so that it tells what `--help` tells."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from styleatlas.cli import main
from styleatlas.commands.base import GROUPED_FROM, GROUPS, OTHER


class CommandLine(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        return [section(context) for context in contexts(top()) if context.parent is not None]


def top() -> click.Context:
    """Of the program, as it is called."""
    return click.Context(main, info_name="styleatlas", **main.context_settings)


def contexts(context: click.Context) -> Iterator[click.Context]:
    """A command's, and those of all that are in it."""
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            assert command is not None  # it was listed
            yield from contexts(click.Context(command, info_name=name, parent=context))


def section(context: click.Context) -> nodes.section:
    """One command: what it does, how it is called, its options, examples."""
    command, name = context.command, context.command_path
    made = nodes.section(ids=[nodes.make_id(name)], names=[name])
    made += nodes.title(text=name.removeprefix("styleatlas "))
    made += told(command.help or "")
    made += code(" ".join([name, *command.collect_usage_pieces(context)]))
    for title, rows in options(context).items():
        if title:
            made += nodes.rubric(text=title)
        made += rows
    if command.epilog:
        made += nodes.rubric(text="Examples")
        made += code("\n".join(line.strip() for line in command.epilog.strip().splitlines()))
    return made


def options(context: click.Context) -> dict[str, nodes.definition_list]:
    """The options by the groups of the help, in its order; one group without a name of few."""
    params = [p for p in context.command.get_params(context) if isinstance(p, click.Option)]
    groups: dict[str, nodes.definition_list] = {}
    for param in params:
        title = getattr(param, "group", OTHER) if len(params) >= GROUPED_FROM else ""
        if record := param.get_help_record(context):
            names, help = record
            term = nodes.term("", "", nodes.literal(text=names))
            item = nodes.definition_list_item("", term, nodes.definition("", *told(help)))
            groups.setdefault(title, nodes.definition_list()).append(item)
    return {title: groups[title] for title in ("", *GROUPS) if title in groups}


def told(help: str) -> list[nodes.Element]:
    """A help text as paragraphs; what it keeps line by line (\\b) as it stands."""
    found: list[nodes.Element] = []
    for part in re.split(r"\n\s*\n", inspect.cleandoc(help)):
        if part.lstrip().startswith("\b"):
            found.append(code(part.replace("\b", "").strip("\n")))
        elif part:
            found.append(nodes.paragraph("", "", *inline(" ".join(part.split()))))
    return found


def inline(text: str) -> Iterator[nodes.Node]:
    for at, piece in enumerate(text.split("`")):
        if piece:
            yield nodes.literal(text=piece) if at % 2 else nodes.Text(piece)


def code(text: str) -> nodes.literal_block:
    return nodes.literal_block(text, text, language="text")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
