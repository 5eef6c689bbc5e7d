"""demo: the whole trip on the embedded models, in about a minute on a laptop."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..store.errors import OutputError
from ..store.registry import EMBEDDED
from .base import Command
from .inputs import OutputFolder
from .options import device_option, option, threads_option
from .progress import progress_shown
from .sink import say
from .sources import load_named_generator

if TYPE_CHECKING:
    from ..precompute.scheduler import RunProgress

NEUTRAL = "a face"
# Prompts, each with the seed of an avatar that lacks what the prompt asks for.
EDITS = {
    "a face with glasses": 3,
    "a face with a beard": 12,
    "a smiling face": 7,
    "a face with purple hair": 5,
    "a bald face": 4,
    "a face with a hat": 2,
}
ALPHAS = (0.0, 0.5, 1.0)
IMAGES = 3


@click.command(
    cls=Command,
    epilog="""
    styleatlas demo --out demo
    """,
)
@option(
    "--out",
    default="demo",
    show_default=True,
    type=OutputFolder(),
    help="The folder for the atlas and the pictures.",
)
@device_option
@threads_option
def demo(out: Path, device: str | None) -> None:
    """The whole trip on the embedded models: precompute, edit, query."""
    from ..engine.editor import Editor
    from ..engine.models.load import load_encoder
    from ..engine.pictures.sheet import save_png, sheet
    from ..precompute.build import precompute
    from ..precompute.reports import run_progress
    from ..precompute.settings import PrecomputeSettings
    from ..prompts.sets import prompt_set
    from ..store.atlas import Atlas
    from ..store.records import text_sides, text_table

    start = time.monotonic()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made ({error.strerror}); choose another") from error
    generator = load_named_generator(EMBEDDED.name, device)
    encoder = load_encoder(EMBEDDED.name, device)

    say(f"1. Precompute: every style channel over {IMAGES} images.")
    own = out / "atlas.h5"
    settings = PrecomputeSettings(images=IMAGES, samples=0)
    with progress_shown() as shown:

        def report(progress: RunProgress) -> None:
            if sys.stderr.isatty():  # elsewhere the demonstration tells its steps alone
                shown(run_progress(progress, generator.layout))

        precompute(generator, encoder, prompt_set(EMBEDDED.name), settings, report).write(own)
    say(f"   {own}  (the one that ships took 100 images; it is used from here on)\n")

    atlas = Atlas.open(EMBEDDED.name)
    editor = Editor(atlas, generator, encoder)
    say("2. Edit: a person and a prompt a row; as it was, two given strengths, the one found.")
    rows = []
    for target, seed in EDITS.items():
        subject = editor.subject(seeds=[seed])
        direction = editor.direction(NEUTRAL, target)
        results = [editor.apply(subject, direction, alpha) for alpha in (*ALPHAS, None)]
        rows.append([result.images[0] for result in results])
        found = results[-1]
        say(f"   {target}: alpha {found.alphas[0, 0]:.2f}, {found.status[0]}")
    picture = out / "edits.png"
    labels = [*(f"alpha {alpha:g}" if alpha else "as it was" for alpha in ALPHAS), "found"]
    save_png(sheet(rows, list(EDITS), labels, scale=2), picture)
    say(f"   {picture}\n")

    asked = next(iter(EDITS))
    text = editor.texts.direction(NEUTRAL, asked)
    say(f'3. Query: which channels lead from "{NEUTRAL}" to "{asked}"?')
    records = atlas.query_channels(text, top=5)
    say(text_table(records) + "\n")
    channel = str(records[0]["channel"])
    say(f"4. Query: what does {channel} mean?")
    say(text_sides(atlas.query_prompts(channel, 5)))
    say(f"\nDone in {time.monotonic() - start:.0f} s: {own}, {picture}")
