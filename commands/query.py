"""query: what an atlas knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from ..store.output import PICTURE
from ..store.registry import told_with
from .base import Group
from .inputs import AtlasFile, OutputFile, read_pair
from .options import (
    BEYOND_THE_BANK,
    Decorator,
    clip_option,
    device_option,
    form_options,
    generator_option,
    neutral_option,
    output_option,
    target_option,
    threads_option,
    tuned_option,
)
from .sink import Form, answer_record, answer_records, note, say
from .sources import open_atlas, open_generator, open_texts


@click.group(cls=Group)
def query() -> None:
    """Ask an atlas questions."""


def prompt_options(command: Callable[..., None]) -> Callable[..., None]:
    """--neutral, --target, and --clip for those that the bank lacks."""
    for option in (
        clip_option(BEYOND_THE_BANK),
        target_option(required=True),
        neutral_option(required=True),
    ):
        command = option(command)
    return command


def top_option(text: str = "How many.") -> Decorator:
    return click.option("--top", default=20, show_default=True, help=text)


@query.command(
    "channels",
    epilog="""
    styleatlas query channels avatars --neutral "a face" --target "a face with a beard" --top 5
    """,
)
@click.argument("atlas", type=AtlasFile())
@prompt_options
@top_option()
@form_options
def query_channels(
    atlas: str, neutral: str, target: str, clip: str | None, top: int, form: Form
) -> None:
    """Which channels a pair of prompts moves.

    The score is the cosine of a channel's row with the text direction; consistency says how alike
    the images are in it, strength how far the channel moves CLIP's embedding; expected is how far
    it is expected to move along the text direction for each sigma of the channel. All this is the
    table's. Step, of an atlas with samples, is how many sigma of the channel lie between samples
    that lack the target and those that have it, where they show it.
    """
    from ..engine.jobs.questions import channel_records

    neutral, target = read_pair(neutral, target)
    opened, texts = open_texts(atlas, clip)
    answer_records(channel_records(opened, texts, neutral, target, top), form)


@query.command(
    "prompts",
    epilog="""
    styleatlas query prompts avatars b16.conv1:20 --top 5
    styleatlas query prompts avatars b16.conv1 --top 5
    """,
)
@click.argument("atlas", type=AtlasFile())
@click.argument("channel", metavar="CHANNEL|LAYER")
@top_option("How many, to either side.")
@form_options
def query_prompts(atlas: str, channel: str, top: int, form: Form) -> None:
    """What a channel or a layer means, in phrases.

    Of a CHANNEL, written layer:number: the phrases it moves images towards and away from. The
    confidence, 0 to 1, is the share of its row that other images would repeat, times the
    probability that a row by chance scores lower with its best phrase.

    Of a LAYER: the phrases that depend most on it. Share is its part in all that the atlas's
    channels do along the phrase, movement how far CLIP's embedding moves along it as the layer's
    channels vary by a sigma; then the channels that move most towards and away, and the confidence
    of the stronger one.
    """
    opened = open_atlas(atlas)
    records = opened.query_prompts(channel, top)
    if records and records[0].get("consistency") == 0:
        note(f"{channel}: is dead: it never moved CLIP's embedding")
    answer_records(records, form)


@query.command(
    "similar",
    epilog="""
    styleatlas query similar avatars --neutral "a face" --target "a face with glasses" --top 5
    """,
)
@click.argument("atlas", type=AtlasFile())
@prompt_options
@top_option()
@form_options
def query_similar(
    atlas: str, neutral: str, target: str, clip: str | None, top: int, form: Form
) -> None:
    """Which phrases of the bank edit alike.

    Both cosines compare a phrase with the target, as seen from the neutral prompt: in CLIP's space,
    and of the edits' steps in style space, each channel counted by its strength. A phrase low in
    the first and high in the second means something else and yet edits alike.
    """
    neutral, target = read_pair(neutral, target)
    opened, texts = open_texts(atlas, clip)
    text = texts.direction(neutral, target)
    answer_records(opened.query_similar(texts.embed(neutral), text, top), form)


@query.command(
    "entangled",
    epilog="""
    styleatlas query entangled avatars --neutral "a face" --target "a bald face" --top 5
    """,
)
@click.argument("atlas", type=AtlasFile())
@prompt_options
@top_option("How many to either side.")
@form_options
def query_entangled(
    atlas: str, neutral: str, target: str, clip: str | None, top: int, form: Form
) -> None:
    """What else an edit is expected to move.

    Foretells where CLIP's embedding goes along the direction that `edit` would take, and lists the
    phrases that the image moves towards or away from more than the prompts alone explain. Moves and
    explained are cosines. Phrases about the target itself are left out.

    The source says who foretells: the samples, by how their embeddings hang together with their
    latents, of a direction by samples; else the table, which adds up its channels.
    """
    from ..engine.jobs.questions import entangled_records

    neutral, target = read_pair(neutral, target)
    opened, texts = open_texts(atlas, clip)
    answer_records(entangled_records(opened, texts, neutral, target, top), form)


@query.command(
    "samples",
    epilog="""
    styleatlas query samples avatars --neutral "a face" --target "a face with glasses"
    styleatlas query samples avatars --neutral "a face" --target "a face with a hat" -o hats.png
    """,
)
@click.argument("atlas", type=AtlasFile())
@prompt_options
@output_option(
    "PNG", "Also show samples that have it and that lack it.", OutputFile(PICTURE), False
)
@generator_option(f"The atlas's generator, for -o; known for {told_with('generator')}.")
@tuned_option
@device_option
@threads_option
@form_options
def query_samples(
    atlas: str,
    neutral: str,
    target: str,
    clip: str | None,
    output: Path | None,
    generator: str | None,
    tuned: bool,
    device: str | None,
    form: Form,
) -> None:
    """What unedited images say of a pair of prompts.

    Kind: two-state, where samples fall into those that have the target and those that lack it;
    rare or always there, where one of these groups is small; graded, where they have more or less
    of it; unknown, where they differ by it no more than by prompts without a meaning: the generator
    may not draw it, or CLIP not see it. Share is the part that has it, separation how far apart the
    groups are, in standard deviations; both only where there are groups.

    Source and channels: where `edit` takes its direction from, and how many channels it moves. Held
    are phrases that come with the target and are held still, inseparable those that cannot be. Of
    so many samples at psi 1, there is how many look to CLIP as those do that have it, of a graded
    thing as its highest fifth; near the same at a smaller psi. How far an edit has to go is for
    `edit` to find, image by image.

    With -o, pictures of samples, as they were drawn: those that have the target most, those in the
    middle of all that have it, and those that lack it most.
    """
    from ..engine.jobs.questions import ask_samples

    neutral, target = read_pair(neutral, target)
    opened, texts = open_texts(atlas, clip)
    asked = ask_samples(opened, texts, neutral, target)
    if output is not None:
        from ..engine.jobs.sample_sheet import draw_samples

        draw_samples(
            open_generator(opened, generator, device, tuned), opened, target, asked, output
        )
    answer_record(asked.record, form)
    if asked.record["kind"] == "unknown":
        note(f'"{target}": no sample stands out from the others by it as against "{neutral}"')


@query.command(
    "compare",
    epilog="""
    styleatlas query compare avatars my.h5
    """,
)
@click.argument("a", metavar="A", type=AtlasFile())
@click.argument("b", metavar="B", type=AtlasFile())
@form_options
def query_compare(a: str, b: str, form: Form) -> None:
    """How alike two atlases of one generator are.

    As a whole and layer by layer, of the channels in both: the median cosine of their rows, plain
    and weighted by strength (with one CLIP only), the median correlation of their scores with the
    phrases in both banks, the rank correlation of their strengths, the median consistencies, and
    which share of the 30 channels that answer most to a phrase both name.
    """
    from ..store.describe import origin

    one, other = open_atlas(a), open_atlas(b)
    records = one.compare(other)
    if form == "text":
        say(f"A  {origin(one)}\nB  {origin(other)}\n")
    answer_records(records, form)
