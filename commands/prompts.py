"""prompts: care for the prompt bank of an atlas."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from ..store.errors import OutputError
from ..store.hub_names import is_hub
from ..store.output import ATLAS
from ..store.registry import BUNDLES, names_with
from .base import Group
from .inputs import AtlasFile, OutputFile, Phrases
from .options import OF_ATLAS, clip_option, device_option, json_option, output_option
from .progress import counting, progress_shown
from .sink import answer
from .sources import encoder_loader, open_atlas


@click.group(cls=Group)
def prompts() -> None:
    """Care for an atlas's prompt bank."""


@prompts.command(
    "add",
    epilog="""
    styleatlas prompts add ffhq.h5 pirates.txt --clip ViT-B-32.pt
    styleatlas prompts add avatars more.txt -o my.h5
    """,
)
@click.argument("atlas", type=AtlasFile())
@click.argument("file", type=Phrases())
@clip_option(OF_ATLAS)
@output_option(
    "OUT", "The atlas file to write; ATLAS itself if not given.", OutputFile(ATLAS), required=False
)
@device_option
@json_option
def prompts_add(
    atlas: str, file: str, clip: str | None, output: Path | None, device: str | None, as_json: bool
) -> None:
    """Add the phrases of FILE to an atlas's prompt bank.

    FILE is text in UTF-8 with a phrase a line; empty lines and lines that begin with # are passed
    over, and - is standard input. Phrases of the bank are skipped. The others are embedded by
    CLIP in the atlas's own templates; all else in the atlas stays as it is.
    """
    from ..engine.steering.texts import TextEmbedder, encode_with
    from ..precompute.reports import bank_progress
    from ..prompts.embed import extended
    from ..prompts.sets import read_phrases, unknown

    target = _target(atlas, output)
    phrases = read_phrases(file)
    opened = open_atlas(atlas)
    added = unknown(phrases, opened.prompts)
    bank = opened.prompts
    if added:
        texts = TextEmbedder(opened, encoder_loader(opened, clip, device))
        encode = encode_with(texts.encoder)
        with progress_shown() as shown:
            embedded = counting(shown, lambda done: bank_progress(done, len(added)))
            bank = extended(bank, added, texts.templates, encode, embedded)
    if added or output is not None:
        replace(opened, prompts=bank).write(target)
    skipped = len(phrases) - len(added)
    told = {"added": len(added), "skipped": skipped, "prompts": len(bank)}
    text = f"{target}: {len(added)} prompts added, {skipped} skipped as known; {len(bank)} in all"
    answer({"output": str(target), **told}, text, as_json)


@prompts.command(
    "renew",
    epilog="""
    styleatlas prompts renew mine.h5
    """,
)
@click.argument("atlas", type=AtlasFile())
@clip_option(OF_ATLAS)
@output_option(
    "OUT", "The atlas file to write; ATLAS itself if not given.", OutputFile(ATLAS), required=False
)
@device_option
@json_option
def prompts_renew(
    atlas: str, clip: str | None, output: Path | None, device: str | None, as_json: bool
) -> None:
    """Embed the prompts of an atlas's bank anew, by a CLIP that sees images as the atlas's own did.

    For atlases of the embedded pair that were drawn before its text tower was trained on more
    words. Rows and samples stay as they are.
    """
    from ..precompute.existing import renewed
    from ..precompute.reports import bank_progress

    target = _target(atlas, output)
    opened = open_atlas(atlas)
    count = len(opened.prompts)
    with progress_shown() as shown:
        embedded = counting(shown, lambda done: bank_progress(done, count))
        done = renewed(opened, encoder_loader(opened, clip, device)(), embedded)
    done.write(target)
    origin = done.fingerprint.clip
    told = {"prompts": count, "clip": {"name": origin.name, "sha256": origin.sha256}}
    text = f"{target}: {count} prompts embedded anew by CLIP {origin}"
    answer({"output": str(target), **told}, text, as_json)


def _target(atlas: str, output: Path | None) -> Path:
    """Where the atlas goes, which can be written.

    Raises:
        OutputError: it cannot, or it is a registered one, or one on the Hub.
    """
    from ..store.atlas import atlas_path
    from ..store.output import require_writable

    if output is None and is_hub(atlas):
        raise OutputError(f"{atlas}: lies on the Hub and stays as it is; add -o OUT.h5")
    target = Path(atlas_path(atlas)) if output is None else output
    if target.resolve() in {BUNDLES[name].part("atlas").resolve() for name in names_with("atlas")}:
        raise OutputError(f"{target}: ships with StyleAtlas and stays as it is; add -o OUT.h5")
    require_writable(target)
    return target
