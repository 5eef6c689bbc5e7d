"""What every command and every group of commands is."""

from __future__ import annotations

import sys
from typing import Any

import click

from ..store.errors import StyleAtlasError


class Command(click.Command):
    """A command that explains a failure in one line on stderr and then exits with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StyleAtlasError as error:
            command = ctx.command_path.removeprefix(ctx.find_root().command_path)
            click.echo(f"styleatlas{command}: {error}", err=True)
            sys.exit(1)
        except BrokenPipeError:
            sys.exit(1)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples keep their line breaks."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.strip().splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line.strip()}\n")


class Group(click.Group):
    command_class = Command
