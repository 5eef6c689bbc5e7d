"""Errors that nobody foresaw, for the log: where they came from, without their words, in which
prompts may be."""

from __future__ import annotations

import traceback


def places(error: BaseException) -> str:
    """The places of an error and of those that it came from, the last one first, each with its
    kind."""
    told: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        told.append("".join([*traceback.format_tb(seen.__traceback__), type(seen).__name__]))
        seen = seen.__cause__ or seen.__context__
    return "\n".join(told)
