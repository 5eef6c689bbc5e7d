"""Asking before what a user may not have meant."""

from __future__ import annotations

import sys

import click


def agreed(question: str, yes: bool) -> bool:
    """Whether the user agrees, on the terminal, unless --yes was given.

    Raises:
        click.UsageError: there is no terminal to ask on.
    """
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("there is no terminal to ask on; give --yes to agree to this")
    try:
        return click.confirm(question, err=True)
    except click.Abort:  # Ctrl-C, which click takes for an answer
        raise KeyboardInterrupt from None
