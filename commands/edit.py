"""edit: pictures of edits by prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..store.errors import InputError, OptionError
from .base import Command
from .options import (
    OF_ATLAS,
    PATH,
    Names,
    Numbers,
    before_option,
    class_option,
    clip_option,
    device_option,
    fps_option,
    generator_option,
    is_given,
    json_option,
    latent_option,
    neutral_option,
    output_option,
    seconds_option,
    seeds_given,
    seeds_option,
    styles_option,
    target_option,
    truncation_option,
)
from .sources import encoder_loader, open_atlas, open_generator, starting_images


@click.command(
    cls=Command,
    epilog="""
    styleatlas edit avatars --neutral "a face" --target "a face with glasses" --seed 1-8 -o one.png
    styleatlas edit avatars --neutral "a face" --target "a sad face" --alpha 0,3,6 -o strip.png
    styleatlas edit avatars --edit "a face -> a bald face" --keep "a face with a beard" -o bald.png
    styleatlas edit avatars --edit "a face -> a sad face : 2" --edit "a face -> a hat" -o two.png
    styleatlas edit avatars --edit "a face -> a smiling face" --seed 1-4 -o smile.gif
    styleatlas edit avatars --from-picture one.png -o again.png
    """,
)
@click.argument("atlas")
@neutral_option()
@target_option()
@click.option(
    "--edit",
    "edits",
    multiple=True,
    metavar="EDIT",
    help='As "NEUTRAL -> TARGET" or "NEUTRAL -> TARGET : WEIGHT"; more than one are combined.',
)
@click.option(
    "--method",
    type=click.Choice(["auto", "direction", "mapper", "optimize"]),
    default="auto",
    show_default=True,
    help="How; see above.",
)
@click.option("--keep", multiple=True, metavar="TEXT", help="What is to stay; may be repeated.")
@seeds_option()
@latent_option("styles, w or z")
@truncation_option()
@class_option
@click.option(
    "--alpha",
    "alphas",
    type=Numbers(),
    metavar="A",
    help="Strength, or some, a column each: 0,2,4; found for each image if not given.",
)
@click.option(
    "--probability",
    type=float,
    metavar="P",
    help="What CLIP is to see the target with, against the neutral prompt, where alpha is found; "
    "0.998 if not given.",
)
@click.option(
    "--beta",
    type=float,
    metavar="B",
    help="Least score that moves a channel; the knee of the scores if not given.",
)
@click.option(
    "--channels", type=int, metavar="K", help="Move the K channels of the highest scores instead."
)
@click.option(
    "--rule",
    type=click.Choice(["reliable", "paper"]),
    default="reliable",
    show_default=True,
    help="How channels are scored; paper is StyleCLIP's formula.",
)
@click.option(
    "--layers",
    type=Names(),
    default=(),
    metavar="L",
    help="Move these alone: names, patterns, kinds: b32.*,rgb (colours) or conv (shapes).",
)
@click.option(
    "--exclude-channels",
    "exclude",
    type=Names(),
    default=(),
    metavar="C",
    help="Never move: b16.conv1:20,...",
)
@click.option("--grid", is_flag=True, help="A column an edit instead of all edits together.")
@before_option
@output_option("PATH", "A PNG for a sheet; .gif, .webp or .mp4 for a film; else a folder.")
@styles_option
@seconds_option
@fps_option
@click.option(
    "--from-picture",
    type=PATH,
    metavar="PNG",
    help="Take all that is not given here from a picture that edit made.",
)
@generator_option()
@clip_option(OF_ATLAS)
@click.option(
    "--mappers",
    type=PATH,
    metavar="DIR",
    help="The folder of mappers to choose from; your library if not given.",
)
@device_option
@json_option
@click.pass_context
def edit(
    ctx: click.Context,
    /,
    atlas: str,
    neutral: str | None,
    target: str | None,
    edits: tuple[str, ...],
    seeds: tuple[int, ...],
    latent: Path | None,
    output: Path,
    styles: Path | None,
    seconds: float,
    fps: float,
    from_picture: Path | None,
    generator: str | None,
    clip: str | None,
    mappers: Path | None,
    device: str | None,
    as_json: bool,
    **in_request: Any,
) -> None:
    """Edit images by prompts.

    Without --alpha every image gets its own: as little as it takes for CLIP to see the target, by
    a few renders. Which channels move is found by the shape of their scores. A prompt of many
    things that the bank's phrases can say is made of their directions.

    --method direction is the table alone. auto goes on where CLIP does not see the target after
    that: it tries a mapper trained for these prompts, if there is one (see `mapper train`), then
    optimises, and keeps what CLIP sees best; it tells which way each image went, and before work of
    more than 10 seconds how long that takes. mapper and optimize take that way for every image.
    With --alpha, --keep, --layers, --exclude-channels or several --edit, auto is the table alone.

    A sheet has a row an image and a column a strength, or with --grid an edit; alpha 0 is the
    image as it was, a negative alpha goes the other way. A film goes there and back. A PNG keeps
    all that it was made from inside, for --from-picture.
    """
    from ..engine.editor import Editor
    from ..engine.fallbacks.ways import Fallbacks
    from ..engine.jobs.edit import Output, produce
    from ..engine.jobs.edit_records import edit_summary
    from ..engine.models.latents import require_styles_file, write_styles
    from ..engine.pictures.recipe import read_recipe
    from ..engine.steering.edits import Conflict, Edit
    from ..engine.steering.request import EditRequest

    if (neutral is None) != (target is None):
        raise click.UsageError("--neutral and --target belong together; give both")
    seeded = seeds_given(ctx)
    pair = [] if neutral is None or target is None else [Edit(neutral, target)]
    asked = [*pair, *map(Edit.parse, edits)]
    recipe = read_recipe(from_picture) if from_picture else None
    if not asked and (recipe is None or not recipe.edits):
        raise click.UsageError("give --neutral and --target, --edit, or --from-picture")
    given = {name: value for name, value in in_request.items() if is_given(ctx, name)}
    if recipe is None:
        request = EditRequest(tuple(asked)).changed(**given)
    else:
        try:
            request = recipe.request(asked).changed(**given)
            seeds = seeds if seeded else recipe.seeds or seeds
        except InputError as error:
            raise InputError(f"{from_picture}: {error}") from error
    if styles is not None:
        require_styles_file(styles)
    opened = open_atlas(atlas)
    if recipe:
        recipe.require_atlas(opened)
    model = open_generator(opened, generator, device)
    fallbacks = Fallbacks(mappers, announce=lambda line: click.echo(line, err=True))
    editor = Editor(opened, model, encoder_loader(opened, clip, device), fallbacks=fallbacks)
    of_latents = recipe is not None and "latents" in recipe.inputs
    if of_latents and latent is None and not seeded:
        raise OptionError(f"{from_picture}: was made of a file of latents; name it by --latent")
    images = starting_images(model, seeds, latent, request.truncation, request.label)
    if recipe and of_latents and latent is not None:
        images = images.only(recipe.inputs, latent)
    place = Output(output, seconds, fps)
    place.require(editor, images, request)
    if as_json:  # it tells what CLIP saw
        _ = editor.texts.encoder
    record, edited = produce(editor, images, request, place)
    if styles is not None:
        known = images.origins if images.file is None and request.columns == 1 else None
        write_styles(styles, edited, model, known)
    if as_json:
        click.echo(json.dumps({"output": str(output), **record}, indent=2))
        return
    click.echo(
        "\n".join(
            [f"{output}: {len(images.names)} x {request.columns} images", *edit_summary(record)]
        )
    )
    for conflict in record["conflicts"]:
        click.echo(f"note: {Conflict(**conflict)}", err=True)
