"""cache: what is remembered of photos between runs."""

from __future__ import annotations

import click

from ..store.records import counted
from .base import Group
from .options import json_option
from .sink import answer, say


@click.group(cls=Group)
def cache() -> None:
    """See and forget what is remembered of photos."""


@cache.command(
    "list",
    epilog="""
    styleatlas cache list
    """,
)
@json_option
def cache_list(as_json: bool) -> None:
    """Which inversions of photos are remembered, the newest first, and their sizes.

    An inversion is found by the pixels of a photo's crop, the generator, the atlas's samples and
    how it was made; it holds a latent and how near it came, and not the photo. The oldest are given
    up where all take more than 256 MiB.
    """
    from ..store.cache import inversions, inversions_folder

    found = inversions()
    total = sum(one.bytes for one in found)
    lines = [f"{inversions_folder()}: {counted(len(found), 'inversion')}, {total / 1e6:.1f} MB"]
    held = []
    for one in found:
        when = one.when.isoformat(timespec="seconds")
        held.append({"key": one.key, "bytes": one.bytes, "when": when})
        lines.append(f"  {when}  {one.bytes / 1e3:8.1f} kB  {one.key[:16]}")
    value = {"folder": str(inversions_folder()), "bytes": total, "inversions": held}
    answer(value, "\n".join(lines), as_json)


@cache.command(
    "clear",
    epilog="""
    styleatlas cache clear
    """,
)
def cache_clear() -> None:
    """Forget all inversions of photos."""
    from ..store.cache import clear_inversions, inversions_folder

    say(f"{inversions_folder()}: {counted(clear_inversions(), 'inversion')} forgotten")
