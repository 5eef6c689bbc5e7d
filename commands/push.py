"""push: an atlas published on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..store.errors import OptionError, OutputError
from ..store.hub_names import HubName, is_hub, read_name
from ..store.registry import is_name
from .agree import agreed
from .base import Command
from .inputs import AtlasFile, InputFile, InputPlace
from .options import json_option, option
from .sink import answer, note
from .sources import load_named_generator, open_atlas


class _Place(click.ParamType):  # type: ignore[type-arg] # generic only in newer clicks
    """A repository on the Hub, or a file in it."""

    name = "name"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> HubName:
        if isinstance(value, HubName):
            return value
        try:
            place = read_name(str(value))
        except OptionError as error:
            self.fail(str(error), param, ctx)
        if place.is_pinned:
            self.fail("a commit stays as it is; name a branch, or none", param, ctx)
        return place


@click.command(
    cls=Command,
    epilog="""
    styleatlas push ffhq.h5 hf://me/ffhq-atlas --licence cc-by-nc-4.0 --dry-run
    styleatlas push ffhq.h5 hf://me/ffhq-atlas --licence cc-by-nc-4.0 --evaluation quality
    """,
)
@click.argument("atlas", type=AtlasFile())
@click.argument("place", metavar="hf://OWNER/REPO", type=_Place())
@option(
    "--licence",
    metavar="ID",
    help="As the Hub calls it: apache-2.0, cc-by-nc-4.0, other; the card says if none is stated.",
)
@option(
    "--evaluation",
    type=InputPlace(),
    metavar="DIR",
    help="What `evaluate` wrote of this atlas: its figures stand in the card.",
)
@option(
    "--picture",
    type=InputFile(),
    metavar="PNG",
    help="What the card shows; nine samples if not given, where the atlas's generator is known by "
    "its name.",
)
@option("--private", is_flag=True, help="Of a repository that is made now: nobody else sees it.")
@option("--dry-run", is_flag=True, help="Print the card, tell what would be sent, send nothing.")
@option("--yes", is_flag=True, help="Send it without a question.")
@json_option
def push(
    atlas: str,
    place: HubName,
    licence: str | None,
    evaluation: Path | None,
    picture: Path | None,
    private: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Publish an atlas on the Hub of Hugging Face, with a card that tells of it.

    The atlas lies there by its own name, or by that of a FILE behind the repository's, and others
    name it hf://OWNER/REPO/FILE. Neither the generator nor CLIP is sent. The card, README.md, tells
    what the atlas was drawn with, how to use it, its licence and, where they are given, figures and
    a picture. A card that somebody else wrote is left as it is. All files go in one commit, or
    none.

    What is sent is told, and asked for unless --yes is given. The account is the one of `hf auth
    login`, or of the token in HF_TOKEN.
    """
    from ..engine.jobs.card import PICTURE, card, read_evaluation, require_licence
    from ..store.atlas import atlas_path
    from ..store.hub_push import CARD

    require_licence(licence)
    if is_hub(atlas):
        raise OptionError(f"{atlas}: is on the Hub already; push a file")
    opened = open_atlas(atlas)
    path = Path(atlas_path(atlas))
    if not place.file:
        named = f"{atlas}.h5" if is_name(atlas) else path.name
        place = HubName(place.repository, named, place.revision)
    if place.file in (CARD, PICTURE):
        raise OptionError(
            f"{place}: the name of a file that tells of the atlas; name it otherwise, "
            f"hf://{place.repository}/NAME.h5"
        )
    figures = None if evaluation is None else read_evaluation(evaluation, opened)
    shown, content = _picture(opened.fingerprint.generator.name, picture)
    text = card(opened, place, licence, figures, shown)
    files: dict[str, bytes | Path] = {place.file: path, CARD: text.encode()}
    if content is not None:
        files[PICTURE] = content
    if dry_run:
        _tell(place, files, licence, private)
        answer({"name": str(place), "files": sorted(files), "card": text}, text.rstrip(), as_json)
        return
    sent = _send(place, files, licence, private, yes)
    told = {"name": str(sent), "files": sorted(files), "licence": licence}
    answer(told, f"{sent}", as_json)


def _send(
    place: HubName, files: dict[str, bytes | Path], licence: str | None, private: bool, yes: bool
) -> HubName:
    from ..engine.jobs.card import MARK
    from ..store.hub_push import CARD, card_there, push, require_login

    require_login(place)
    there = card_there(place)
    if there is not None and MARK not in there:
        del files[CARD]
        note(f"note: {place.repository} has a card that `push` did not write, which stays")
    _tell(place, files, licence, private)
    if not agreed("Send it?", yes):
        raise OutputError("not agreed to; nothing was sent")
    return push(place, files, f"Atlas {place.file}", private)


def _tell(
    place: HubName, files: dict[str, bytes | Path], licence: str | None, private: bool
) -> None:
    for name, content in files.items():
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        note(f"{place.repository}: {name}, {size / 1e6:.1f} MB")
    kind = "; the repository is private if it is made now" if private else ""
    note(f"licence: {licence or 'not stated; give --licence to state one'}{kind}")


def _picture(generator: str, given: Path | None) -> tuple[str | None, bytes | None]:
    """What the card's picture shows, and the picture; none where none can be drawn."""
    from ..engine.jobs.card_picture import plain_picture, samples_picture

    if given is not None:
        return "What edits look like", plain_picture(given)
    if not is_name(generator):
        note(
            f'note: the generator "{generator}" is not known by its name alone, so the card has no '
            "picture; `styleatlas sheet` or `edit` makes one for --picture"
        )
        return None, None
    return "Unedited samples", samples_picture(load_named_generator(generator, None))
