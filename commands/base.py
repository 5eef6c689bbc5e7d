"""What every command and every group of commands is, and how the program ends."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from types import FrameType
from typing import Any, NoReturn

import click
from click.core import augment_usage_errors

from ..store.errors import OutputError, StyleAtlasError
from ..store.records import printable

GROUPED_FROM = 15
"""So many options are shown in groups; fewer are found faster in one list."""
PROMPTS, IMAGES, HOW, RESULTS = "Prompts", "Images", "How", "Results"
DOOR, KEEPING, LIMITS = "The door", "Keeping", "Limits"
MODELS, OTHER = "Models and computing", "Other options"
GROUPS = (PROMPTS, IMAGES, HOW, RESULTS, DOOR, KEEPING, LIMITS, MODELS, OTHER)
"""In the order of the help."""

_QUIET = "styleatlas.quiet"
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends work as Ctrl-C does: what is done is kept, and resumed."""


class Option(click.Option):
    """An option that says which of `GROUPS` of its command's help it belongs to."""

    def __init__(self, *arguments: Any, group: str = OTHER, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        if group not in GROUPS:
            raise ValueError(f"{arguments}: group {group!r} would not be shown")
        self.group = group


def quiet_flag(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.meta[_QUIET] = value


QUIET = Option(
    ["--quiet"],
    is_flag=True,
    expose_value=False,
    callback=quiet_flag,
    help="No progress and no notes; errors still.",
)


class Command(click.Command):
    """A command that explains a failure in one line on stderr and then exits with 1.

    Before it runs, and before it imports anything heavy, `usage` is asked whether its options go
    together, and then the type of every parameter that has a `require`, whether its value can
    serve. What it reads it does not write over.

    Args:
        usage: raises a click.UsageError if not.
    """

    def __init__(
        self,
        *arguments: Any,
        usage: Callable[[click.Context], object] = lambda ctx: None,
        **attributes: Any,
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.usage = usage

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        *params, last = super().get_params(ctx)
        return [*params, QUIET, last]  # --help stays the last

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _silenced(ctx.meta.get(_QUIET, False)):
                with augment_usage_errors(ctx):
                    self.usage(ctx)
                self._require(ctx)
                return super().invoke(ctx)
        except StyleAtlasError as error:
            command = ctx.command_path.removeprefix(ctx.find_root().command_path)
            fail(f"styleatlas{command}: {error}")

    def _require(self, ctx: click.Context) -> None:
        read: list[Any] = []
        written: list[Any] = []
        for param in self.params:
            require = getattr(param.type, "require", None)
            value = ctx.params.get(param.name or "")
            if require is None or value is None:
                continue
            for one in value if param.multiple or param.nargs != 1 else [value]:
                require(one)
                if (kind := getattr(param.type, "written", None)) is not None:
                    (written if kind else read).append(one)
        for output in written:
            for source in read:
                there = os.path.isfile(source) and os.path.exists(output)
                if there and os.path.samefile(output, source):
                    raise OutputError(
                        f"{output}: is read by the same command, and would be lost; choose another "
                        "name to write"
                    )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """In groups where there are many."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in options:
            title = getattr(option, "group", OTHER) if len(options) >= GROUPED_FROM else "Options"
            if record := option.get_help_record(ctx):
                groups.setdefault(title, []).append(record)
        for title in ("Options", *GROUPS):
            if title in groups:
                with formatter.section(title):
                    formatter.write_dl(groups[title])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples keep their line breaks."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.strip().splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line.strip()}\n")


class Group(click.Group):
    command_class = Command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """With the first sentence of each, however long it is."""
        rows = [
            (name, self.commands[name].get_short_help_str(1000)) for name in sorted(self.commands)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Program(Group):
    """The whole command line, which ends as a shell expects: 130 after Ctrl-C, 143 after SIGTERM,
    0 where whoever read its answers had enough of them, 1 where a disk is full."""

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        with _interruptible(), _written():  # --help and --version print here
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        # Threads of OpenMP spin as they wait for each other. Beside other work that takes the
        # cores from the very thread they wait for, and renders get several times as slow
        # (benchmarks/threads.py). It is read as PyTorch is loaded; what the user says holds.
        if not any(name in os.environ for name in _WAITING):
            os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        with _interruptible(), _written(), _terminable():
            return super().invoke(ctx)


def fail(message: str) -> NoReturn:
    """Exit with 1, explained in one line."""
    click.echo(printable(message, lines=False), err=True)
    sys.exit(1)


def drop_output() -> None:
    """Send what else goes to stdout nowhere, so that no later flush of it fails again."""
    with suppress(OSError, ValueError):  # stdout may be no file, in tests
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        drop_output()
        sys.exit(0)
    except OSError as error:
        if error.errno not in _FULL or error.filename is not None:
            raise
        drop_output()
        fail(f"styleatlas: an answer cannot be written ({error.strerror}); make room, or send it "
             "elsewhere")  # fmt: skip


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as interrupt:
        click.echo(err=True)  # behind ^C
        sys.exit(143 if isinstance(interrupt, Terminated) else 130)


@contextmanager
def _silenced(quiet: bool) -> Iterator[None]:
    if not quiet:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
        yield


@contextmanager
def _terminable() -> Iterator[None]:
    """While this lasts, SIGTERM raises `Terminated`."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only there can a signal be handled
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
