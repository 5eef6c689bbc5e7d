"""sheet and report: channels and atlases in pictures."""

from __future__ import annotations

from pathlib import Path

import click

from ..store.output import PICTURE, REPORT
from ..store.progress import Progress
from ..store.registry import file_of, find_bundle, is_name, names_with, told_with
from .base import Command
from .inputs import AtlasFile, Checkpoint, Given, OutputFile, read_pair
from .options import (
    BEYOND_THE_BANK,
    Numbers,
    class_option,
    clip_option,
    device_option,
    generator_option,
    is_given,
    json_option,
    neutral_option,
    output_option,
    seeds_option,
    target_option,
    threads_option,
    truncation_option,
    tuned_option,
)
from .progress import ProgressLater, counting
from .sink import answer, say, sheet_counts
from .sources import encoder_loader, load_named_generator, open_atlas, open_generator


def sheet_usage(ctx: click.Context) -> None:
    """Channels, or what finds them, of an atlas; or a generator alone."""
    given = [name for name in _OF_CHANNELS if is_given(ctx, name)]
    prompts = [name for name in ("top", "neutral", "target") if name in given]
    if ctx.params["channels"]:
        wrong = bool(prompts)
    elif not prompts and _is_generator(ctx.params["source"]):
        if given:
            raise click.UsageError(
                f"--{given[0]} is of style channels: name CHANNELs, or give --top, --neutral and "
                "--target; without them, the sheet is one of samples"
            )
        return
    else:
        wrong = len(prompts) < 3
    if wrong:
        raise click.UsageError(
            "name CHANNELs, or give --top, --neutral and --target; for a sheet of samples, name a "
            "generator alone"
        )


_OF_CHANNELS = ("top", "neutral", "target", "clip", "generator", "tuned", "steps")


def _is_generator(source: str) -> bool:
    """Whether this may name a generator: a registered name, or a file that is no atlas."""
    if find_bundle(source) is not None:
        return True
    from ..store.file import is_other_file

    path = file_of(source)
    return is_other_file(path) or not path.is_file()


class _Source(Given):
    """An atlas, or a generator: `sheet` asks for what it is, once it knows which of them."""

    names = names_with("generator")


def report_usage(ctx: click.Context) -> None:
    """Prompts in pairs."""
    if len(ctx.params["neutrals"]) != len(ctx.params["targets"]):
        raise click.UsageError("give --neutral and --target equally often; they make up pairs")


@click.command(
    cls=Command,
    usage=sheet_usage,
    epilog="""
    styleatlas sheet avatars b16.conv1:20 b32.torgb:45 --seed 1-4 -o sheet.png
    styleatlas sheet avatars --top 5 --neutral "a face" --target "a face with a beard" -o beard.png
    styleatlas sheet avatars --seed 1-64 -o samples.png
    """,
)
@click.argument("source", metavar="ATLAS|GENERATOR", type=_Source())
@click.argument("channels", nargs=-1, metavar="[CHANNEL]...")
@click.option("--top", type=int, metavar="K", help="The K channels that the prompts move most.")
@neutral_option()
@target_option()
@clip_option(BEYOND_THE_BANK)
@generator_option()
@tuned_option
@seeds_option("1-4")
@click.option(
    "--steps",
    type=Numbers(),
    default="-10,-5,0,5,10",
    show_default=True,
    help="The columns, in sigma of the channel.",
)
@truncation_option()
@class_option
@output_option("PATH", "The PNG file to write.", OutputFile(PICTURE))
@device_option
@threads_option
@json_option
def sheet(
    source: str,
    channels: tuple[str, ...],
    top: int | None,
    neutral: str | None,
    target: str | None,
    clip: str | None,
    generator: str | None,
    tuned: bool,
    seeds: tuple[int, ...],
    steps: tuple[float, ...],
    truncation: float,
    label: int | None,
    output: Path,
    device: str | None,
    as_json: bool,
) -> None:
    """Show what style channels do, or unedited samples, as one PNG.

    Of an ATLAS: a row a seed, a column a step from the image's own style, as an edit steps, with a
    channel's phrases beside its rows. CHANNEL is written layer:number; instead of channels, --top K
    with a pair of prompts shows those the pair moves most.

    Of a GENERATOR, with no channel: the image of every seed, in the order of the seeds.

    Large images are scaled down as the sheet grows.
    """
    if not channels and top is None:
        Checkpoint().require(source)
        _sheet_of_seeds(source, seeds, truncation, label, output, device, as_json)
        return
    AtlasFile().require(source)
    if target is not None:
        neutral, target = read_pair(neutral or "", target)

    from ..engine.models.sampling import styles_from_seeds
    from ..engine.pages.channel_sheet import draw_sheet, require_sheet, sheet_records
    from ..engine.pictures.sheet import require_png, save_png
    from ..engine.steering.texts import TextEmbedder

    require_png(output)
    opened = open_atlas(source)
    scores = None
    if top is None or neutral is None or target is None:
        flats = [opened.layout.parse(channel) for channel in channels]
    else:
        text = TextEmbedder(opened, encoder_loader(opened, clip, device)).direction(neutral, target)
        found = opened.query_channels(text, top=top)
        flats = [opened.layout.parse(record["channel"]) for record in found]
        scores = [record["score"] for record in found]
    model = open_generator(opened, generator, device, tuned)
    opened.require_generator(model.identity, model.layout)
    require_sheet(model.image_size, len(flats) * len(seeds), steps)
    styles = styles_from_seeds(model, seeds, truncation, label)
    records = sheet_records(opened, flats, scores)
    save_png(draw_sheet(model, opened, styles, seeds, records, steps), output)
    told = {"output": str(output), "seeds": seeds, "steps": steps, "channels": records}
    counts = f"{len(flats)} x {len(seeds)} x {len(steps)}"
    answer(told, f"{output}: {counts} images (channels, seeds, steps)", as_json)


def _sheet_of_seeds(
    generator: str,
    seeds: tuple[int, ...],
    truncation: float,
    label: int | None,
    output: Path,
    device: str | None,
    as_json: bool,
) -> None:
    from ..engine.jobs.sample_sheet import draw_seeds

    model = load_named_generator(generator, device)
    with ProgressLater("sheet") as later:
        drawn = counting(later, lambda done: Progress(done, len(seeds), label="sheet"))
        draw_seeds(model, seeds, truncation, label, output, drawn)
    told = {"output": str(output), "seeds": seeds, "truncation": truncation}
    answer(told, f"{output}: {sheet_counts(len(seeds), 1)}", as_json)


@click.command(
    cls=Command,
    usage=report_usage,
    epilog="""
    styleatlas report avatars -o report.html
    styleatlas report avatars -o report.html --neutral "a face" --target "a bald face"
    """,
)
@click.argument("atlas", type=AtlasFile())
@output_option("PATH", "The HTML file to write.", OutputFile(REPORT))
@neutral_option("neutrals", multiple=True)
@target_option("targets", multiple=True)
@clip_option(BEYOND_THE_BANK)
@generator_option(f"The atlas's generator, for pictures; known for {told_with('generator')}.")
@tuned_option
@class_option
@device_option
@threads_option
def report(
    atlas: str,
    output: Path,
    neutrals: tuple[str, ...],
    targets: tuple[str, ...],
    clip: str | None,
    generator: str | None,
    tuned: bool,
    label: int | None,
    device: str | None,
) -> None:
    """Write an atlas as one HTML page that opens anywhere and loads nothing.

    Its origin, its layers, its strongest channels with their phrases, which layers answer to
    which phrases, and, where the generator is at hand, what channels do in pictures. --neutral and
    --target, given together and as often as wanted, add what each layer answers to that pair.
    """
    both = [read_pair(one, other) for one, other in zip(neutrals, targets, strict=True)]

    from ..engine.pages.atlas_report import PromptPair, report_html, require_html, write_report
    from ..engine.steering.texts import TextEmbedder

    require_html(output)
    opened = open_atlas(atlas)
    texts = TextEmbedder(opened, encoder_loader(opened, clip, device))
    pairs = [PromptPair(n, t, texts.direction(n, t)) for n, t in both]
    figures = []
    if generator or is_name(opened.fingerprint.generator.name):
        from ..engine.pages.channel_sheet import report_figures

        figures = report_figures(open_generator(opened, generator, device, tuned), opened, label)
    page = report_html(opened, pairs, figures)
    write_report(page, output)
    say(f"{output}: {len(page.encode()) / 2**20:.1f} MiB, {len(figures)} channels in pictures")
