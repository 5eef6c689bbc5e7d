"""edit: pictures of edits by prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..store.errors import InputError, OptionError
from .base import HOW, IMAGES, MODELS, PROMPTS, RESULTS
from .inputs import AtlasFile, EditText, Folder, InputFile, Prompt, require_different
from .options import (
    OF_ATLAS,
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
    option,
    output_option,
    seconds_option,
    seeds_given,
    seeds_option,
    styles_option,
    target_option,
    threads_option,
    truncation_option,
    tuned_option,
)
from .photos import (
    EditOutput,
    PhotoCommand,
    Photos,
    photo_options,
    require_photo_usage,
)
from .progress import ProgressLater
from .sink import answer, note, noted_once, sheet_counts
from .sources import (
    encoder_loader,
    open_atlas,
    open_generator,
    starting_images,
)

if TYPE_CHECKING:
    from ..engine.models.spaces import Space


def usage(ctx: click.Context) -> None:
    """What options say together, before any of them is looked at."""
    given = ctx.params
    if (given["neutral"] is None) != (given["target"] is None):
        raise click.UsageError("--neutral and --target belong together; give both")
    require_photo_usage(ctx)
    if given["neutral"] is None and not given["edits"] and given["from_picture"] is None:
        raise click.UsageError("give --neutral and --target, --edit, or --from-picture")
    if is_given(ctx, "alphas") and is_given(ctx, "probability"):
        raise click.UsageError(
            "--probability is what alphas are found by, and --alpha gives them; leave one out"
        )
    seeds_given(ctx)


@click.command(
    cls=PhotoCommand,
    usage=usage,
    epilog="""
    styleatlas edit avatars --neutral "a face" --target "a face with glasses" --seed 1-8 -o one.png
    styleatlas edit avatars --neutral "a face" --target "a sad face" --alpha 0,3,6 -o strip.png
    styleatlas edit avatars --edit "a face -> a sad face" --alpha 2,4 --beta 0.1,0.2 -o grid.png
    styleatlas edit avatars --edit "a face -> a bald face" --keep "a face with a beard" -o bald.png
    styleatlas edit avatars --edit "a face -> a sad face : 2" --edit "a face -> a hat" -o two.png
    styleatlas edit avatars --edit "a face -> a smiling face" --seed 1-4 -o smile.gif
    styleatlas edit avatars --from-picture one.png -o again.png
    styleatlas edit avatars --photo me.png --edit "a face -> a face with glasses" -o me-glasses.png
    styleatlas edit avatars --photo me.mp4 --align none --edit "a face -> a hat" -o hat.mp4
    """,
)
@click.argument("atlas", type=AtlasFile())
@neutral_option()
@target_option()
@option(
    "--edit",
    "edits",
    type=EditText(),
    multiple=True,
    metavar="EDIT",
    group=PROMPTS,
    help='As "NEUTRAL -> TARGET" or "NEUTRAL -> TARGET : WEIGHT", with spaces around the colon; '
    "more than one are combined.",
)
@option(
    "--keep",
    type=Prompt(),
    multiple=True,
    metavar="TEXT",
    group=PROMPTS,
    help="What is to stay; may be repeated.",
)
@seeds_option()
@latent_option("styles, w or z")
@photo_options
@truncation_option()
@class_option
@option(
    "--from-picture",
    type=InputFile(),
    metavar="PNG",
    group=IMAGES,
    help="Take all that is not given here from a picture that edit made.",
)
@option(
    "--method",
    type=click.Choice(["auto", "direction", "mapper", "optimize"]),
    default="auto",
    show_default=True,
    metavar="METHOD",
    group=HOW,
    help="auto, direction, mapper or optimize; see above.",
)
@option(
    "--alpha",
    "alphas",
    type=Numbers(),
    metavar="A",
    group=HOW,
    help="Strength, or some, a column each: 0,0.5,1; found for each image if not given.",
)
@option(
    "--probability",
    type=float,
    metavar="P",
    group=HOW,
    help="What CLIP is to see the target with, against the neutral prompt; the samples' goal, or "
    "0.998 where they do not tell, if neither it nor --alpha is given.",
)
@option(
    "--beta",
    "betas",
    type=Numbers(),
    metavar="B",
    group=HOW,
    help="Least score that moves a channel of the table, or some, a row each: 0.1,0.15,0.2; the "
    "knee of the scores if not given.",
)
@option(
    "--channels",
    type=int,
    metavar="K",
    group=HOW,
    help="Move no more than the K channels of the highest scores.",
)
@option(
    "--rule",
    type=click.Choice(["reliable", "paper"]),
    default="reliable",
    show_default=True,
    metavar="RULE",
    group=HOW,
    help="How the table's channels are scored: reliable, or paper, StyleCLIP's formula.",
)
@option(
    "--source",
    type=click.Choice(["auto", "samples", "table"]),
    default="auto",
    show_default=True,
    metavar="SOURCE",
    group=HOW,
    help="samples, table or auto; see above.",
)
@option(
    "--layers",
    type=Names(),
    default=(),
    metavar="L",
    group=HOW,
    help="Move these alone: names, patterns, kinds: b32.*,rgb (colours) or conv (shapes).",
)
@option(
    "--exclude-channels",
    "exclude",
    type=Names(),
    default=(),
    metavar="C",
    group=HOW,
    help="Never move: b16.conv1:20,...",
)
@output_option(
    "PATH",
    "A PNG for a sheet; .gif, .webp or .mp4 for a film; else a folder. Of a photo, the photo.",
    kind=EditOutput(),
)
@option(
    "--grid",
    is_flag=True,
    group=RESULTS,
    help="A column an edit instead of all edits together.",
)
@before_option
@styles_option
@seconds_option
@fps_option
@json_option
@option(
    "--all-channels",
    is_flag=True,
    group=RESULTS,
    help="With --json: every channel of a direction, not the 20 strongest.",
)
@generator_option()
@tuned_option
@clip_option(OF_ATLAS)
@option(
    "--mappers",
    type=Folder(),
    metavar="DIR",
    group=MODELS,
    help="The folder of mappers to choose from; your library if not given.",
)
@device_option
@threads_option
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
    latent_space: Space | None,
    photos: Photos | None,
    output: Path,
    styles: Path | None,
    seconds: float,
    fps: float,
    from_picture: Path | None,
    generator: str | None,
    tuned: bool,
    clip: str | None,
    mappers: Path | None,
    device: str | None,
    as_json: bool,
    all_channels: bool,
    **in_request: Any,
) -> None:
    """Edit images by prompts.

    The neutral prompt says in words what the images show now, as far as the edit goes ("a face"),
    the target what they are to show; what differs between the two is the edit. Alpha is how far an
    image goes, beta how well a channel of the table must fit the edit to be moved, and psi, the
    truncation, how near drawn images stay to the average one: 0 is that image, 1 all variety. More
    on each: docs/editing.md.

    Where the atlas holds samples, unedited images as CLIP sees them, the direction is the step from
    those that lack what the target says to those that have it, and what comes along in them is held
    still; where none shows it, the edit is a guess, and said to be one. Without samples, and with
    --rule or --beta, it is the table's: the channels whose rows fit the text. --source table never
    asks the samples, samples never the table. The answer tells what each direction rests on, and
    what became of every image.

    Without --alpha every image gets its own, by a few renders: as little as it takes to look to
    CLIP as samples that have the target do, or, where they do not tell, for CLIP to see it with a
    --probability of 0.998. Of a direction by samples, alpha 1 is the whole step at psi 1. A prompt
    of many things that the bank's phrases can say is made of their directions.

    --method direction takes the direction alone. auto goes on where CLIP does not see the target
    after that: it tries a mapper trained for these prompts, if there is one (see `mapper train`),
    then, where the direction is the table's, optimises, and keeps what CLIP sees best; it tells
    which way each image went, and before work of more than 10 seconds how long that takes. mapper
    and optimize take that way for every image. With --alpha, --keep, --layers, --exclude-channels
    or several --edit, auto is the direction alone.

    A sheet has a row an image and a column a strength, or with --grid an edit; alpha 0 is the
    image as it was, a negative alpha goes the other way. Of several betas
    an image has a row each. A film goes there and back, or to each of several columns in turn. A
    PNG keeps all that it was made from inside, for --from-picture.

    With --photo the face, or what --align says, is cut out, found as the generator draws it, edited
    and put back: a -o of .jpg, .png, .webp, .tif or .heic is the whole photo, and of several photos
    a folder, which goes on where it was left and lists them in edits.csv. A sheet of several
    columns, and a film, are of the crop. What is doubtful is told: look at --sheet. A video is
    edited frame by frame into a -o of .mp4: docs/videos.md.
    """
    from ..engine.pictures.recipe import read_recipe
    from ..engine.steering.edits import Conflict, Edit
    from ..engine.steering.request import EditRequest

    seeded = seeds_given(ctx)
    pair = [] if neutral is None or target is None else [Edit(neutral, target)]
    for edit in pair:
        require_different(edit.neutral, [edit.target])
    asked = [*pair, *map(Edit.parse, edits)]
    recipe = read_recipe(from_picture) if from_picture else None
    if not asked and (recipe is None or not recipe.edits):
        raise click.UsageError("give --neutral and --target, --edit, or --from-picture")
    given = {name: value for name, value in in_request.items() if is_given(ctx, name)}
    if "betas" in given:
        several = given["betas"] if len(given["betas"]) > 1 else None
        given |= {"beta": None if several else given["betas"][0], "betas": several}
    # Whatever a picture's recipe says of the one, it has no meaning beside the other.
    if "alphas" in given:
        given["probability"] = None
    elif "probability" in given:
        given["alphas"] = None
    if recipe is None:
        request = EditRequest(tuple(asked)).changed(**given)
    else:
        try:
            request = recipe.request(asked).changed(**given)
            seeds = seeds if seeded else recipe.seeds or seeds
        except InputError as error:
            raise InputError(f"{from_picture}: {error}") from error

    from ..engine.editor import Editor
    from ..engine.fallbacks.ways import Fallbacks
    from ..engine.jobs.edit import Output, produce
    from ..engine.jobs.edit_records import edit_summary, strongest
    from ..engine.models.latents import require_styles_file, write_styles

    if styles is not None:
        require_styles_file(styles)
    needed = {
        "latents": "a file of latents; name it by --latent",
        "photos": "a photo; name it by --photo",
    }
    unnamed = photos is None and latent is None and not seeded
    for made_of, said in needed.items():
        if recipe and made_of in recipe.inputs and unnamed:
            raise OptionError(f"{from_picture}: was made of {said}")
    job = None if photos is None else photos.job(request, output, styles, recipe)
    opened = open_atlas(atlas)
    if recipe:
        recipe.require_atlas(opened)
    replayed = recipe is not None and recipe.is_tuned and not tuned
    model = open_generator(opened, generator, device, tuned or replayed)
    if recipe and replayed:
        recipe.require_tuned(model.identity)
    later, tell = ProgressLater("edit"), noted_once()
    fallbacks = Fallbacks(mappers, announce=tell, report=later)
    loader = encoder_loader(opened, clip, device)
    photo_encoder = None if photos is None else photos.encoder
    editor = Editor(opened, model, loader, fallbacks=fallbacks, photo_encoder=photo_encoder)
    place = Output(output, seconds, fps)
    known, counts = None, ""
    if photos is not None and job is not None:
        from ..engine.jobs.photo_words import photo_lines
        from ..engine.jobs.photos import edit_photos

        with later:
            record, edited = edit_photos(editor, job, request, place, photos.sheet, tell, later)
        counts = "\n".join(photo_lines(record))
    else:
        of_latents = recipe is not None and "latents" in recipe.inputs
        if of_latents and latent_space is None and recipe is not None:
            latent_space = recipe.space
        images = starting_images(
            model, seeds, latent, request.truncation, request.label, latent_space
        )
        if recipe and of_latents and latent is not None:
            images = images.only(recipe.inputs, latent)
        place.require(editor, images, request)
        if as_json:  # it tells what CLIP saw
            _ = editor.texts.encoder
        with later:
            record, edited = produce(editor, images, request, place, later)
        if images.file is None and request.columns * request.rows == 1:
            known = images.origins
        counts = sheet_counts(len(images.names) * request.rows, request.columns)
    if styles is not None and edited is not None:
        write_styles(styles, edited, model, known)
    told = record if all_channels else strongest(record)
    lines = [f"{output}: {counts}", *edit_summary(record)]
    if editor.moved:
        told["tuned"] = editor.moved.record()
    answer({"output": str(output), **told}, "\n".join(lines), as_json)
    for conflict in record["conflicts"]:
        if not as_json:
            note(f"note: {Conflict(**conflict)}")
    if failed := record.get("failed"):
        raise InputError(
            f"{len(failed)} of the photos could not be edited; {record['list']} says why"
        )
