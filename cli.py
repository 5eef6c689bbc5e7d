"""The command line: the table of its commands, each imported when it is called."""

from __future__ import annotations

from importlib import import_module

import click

from . import __version__
from .commands.base import Program
from .store.registry import EMBEDDED, FACES

COMMANDS = {
    "cache": ("cache", "See and forget what is remembered between runs."),
    "convert": (
        "files",
        "Write the generator of any CHECKPOINT as safetensors, with the numbers that rebuild it.",
    ),
    "demo": ("demo", "The whole trip on the embedded models: precompute, edit, query."),
    "edit": ("edit", "Edit images by prompts."),
    "encoder": (
        "encoder",
        "Train photo encoders: networks that find the latents of photos in a few passes.",
    ),
    "evaluate": (
        "evaluate",
        "Measure how well edits by an atlas work, and what they leave as it was.",
    ),
    "import-table": (
        "files",
        "Make an atlas of a table of StyleCLIP's or stylegan3-editing's.",
    ),
    "info": ("files", "What a file is, and what it holds."),
    "invert": ("invert", "Find the latents by which a generator draws photos."),
    "mapper": (
        "mapper",
        "Train and apply latent mappers: networks that make one edit, of any image.",
    ),
    "models": ("models", "Fetch networks that others trained and published."),
    "optimize": (
        "optimize",
        "Optimise images towards prompts, for what a table knows no way to.",
    ),
    "precompute": (
        "precompute",
        "Draw an atlas: what a generator shows, and what its channels do, as CLIP sees it.",
    ),
    "prompts": ("prompts", "Care for an atlas's prompt bank."),
    "push": ("push", "Publish an atlas on the Hub of Hugging Face, with a card that tells of it."),
    "query": ("query", "Ask an atlas questions."),
    "report": ("show", "Write an atlas as one HTML page that opens anywhere and loads nothing."),
    "serve": ("serve", "Edit over HTTP: a page, an API, live sessions."),
    "sheet": ("show", "Show what style channels do, or unedited samples, as one PNG."),
    "verify": ("files", "Prove every checksum of an atlas; exit 1 if one fails."),
}
"""By name: the module in `commands/` that has it, and the first sentence of its help, so that the
help of all imports none."""


class LazyGroup(Program):
    """Knows its commands by name and first sentence, and imports the one that is asked for."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f".commands.{COMMANDS[cmd_name][0]}", __package__)
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    commands={name: click.Command(name, help=text) for name, (_, text) in COMMANDS.items()},
    help=f"""Edit StyleGAN images with words, by look-up.

    Precompute once per generator, then edit by any prompt. GENERATOR, CLIP and ATLAS are a path, or
    a name: `{EMBEDDED.name}` for the models and the atlas that ship with StyleAtlas, and for a
    generator also `{FACES.name}`, of photographic faces, once `styleatlas models` has fetched it;
    or a file on the Hub of Hugging Face, hf://OWNER/REPO/FILE, with @REVISION behind it or not.
    """,
)
@click.version_option(__version__, prog_name="styleatlas")
def main() -> None:
    """Every command."""


if __name__ == "__main__":
    main()
