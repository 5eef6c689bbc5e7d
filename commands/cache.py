"""cache: what is remembered between runs: of photos, of texts, and files of the Hub."""

from __future__ import annotations

import click

from ..store.records import counted
from .base import Group
from .options import json_option
from .sink import answer, say

PHOTOS, TEXTS, HUB = "photos", "texts", "hub"


@click.group(cls=Group)
def cache() -> None:
    """See and forget what is remembered between runs."""


@cache.command(
    "list",
    epilog="""
    styleatlas cache list
    """,
)
@json_option
def cache_list(as_json: bool) -> None:
    """What is remembered, where, and how large it is: inversions of photos, the newest first,
    embeddings of texts, and files of the Hub.

    An inversion is found by the pixels of a photo's crop, the generator, the atlas's samples and
    how it was made; it holds a latent and how near it came, and not the photo. The oldest are given
    up where all take more than 256 MiB. Of a text its embedding is kept, by a hash of the text.
    Files of the Hub lie in the cache that Hugging Face's other programs share; those that
    StyleAtlas fetched are listed.
    """
    from ..store import cache as store
    from ..store.hub import kept

    found, texts, files = store.inversions(), store.texts(), kept()
    folder = store.inversions_folder()
    here = [one for one in files if one.path is not None]
    sizes = [sum(one.bytes for one in part) for part in (found, texts, here)]
    lines = [f"{folder}: {counted(len(found), 'inversion')}, {sizes[0] / 1e6:.1f} MB"]
    held = []
    for one in found:
        when = one.when.isoformat(timespec="seconds")
        held.append({"key": one.key, "bytes": one.bytes, "when": when})
        lines.append(f"  {when}  {one.bytes / 1e3:8.1f} kB  {one.key[:16]}")
    lines.append(f"{store.texts_folder()}: {counted(len(texts), 'text')}, {sizes[1] / 1e6:.1f} MB")
    lines.append(f"files of the Hub: {len(here)}, {sizes[2] / 1e6:.1f} MB")
    lines += [f"  {file.bytes / 1e6:8.1f} MB  {file.name}" for file in here]
    value = {
        "folder": str(folder),
        "bytes": sizes[0],
        "inversions": held,
        "texts": {"folder": str(store.texts_folder()), "bytes": sizes[1], "count": len(texts)},
        "hub": [{"name": str(x.name), "bytes": x.bytes, "path": str(x.path)} for x in here],
    }
    answer(value, "\n".join(lines), as_json)


@cache.command(
    "clear",
    epilog="""
    styleatlas cache clear
    styleatlas cache clear hub
    """,
)
@click.argument("kinds", nargs=-1, metavar="[KIND]...", type=click.Choice([PHOTOS, TEXTS, HUB]))
def cache_clear(kinds: tuple[str, ...]) -> None:
    """Forget what is remembered.

    KIND is photos, texts or hub. Without one, inversions of photos and embeddings of texts are
    forgotten, which are computed again where they are needed; files of the Hub, which would have to
    be fetched again, stay.
    """
    from ..store import cache as store

    chosen = kinds or (PHOTOS, TEXTS)
    if PHOTOS in chosen:
        count = store.clear_inversions()
        say(f"{store.inversions_folder()}: {counted(count, 'inversion')} forgotten")
    if TEXTS in chosen:
        say(f"{store.texts_folder()}: {counted(store.clear_texts(), 'text')} forgotten")
    if HUB in chosen:
        from ..store.hub import kept, remove

        gone = {one.name: one.bytes for file in kept() for one in remove(file.name)}
        say(f"files of the Hub: {len(gone)} removed, {sum(gone.values()) / 1e6:.1f} MB")
