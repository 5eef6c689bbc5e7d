"""optimize: pictures of edits that no table knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..store.output import PICTURE_OR_FILM
from ..store.registry import told_with
from .base import HOW, MODELS, Command
from .inputs import AtlasFile, Checkpoint, OutputFile, Recogniser, read_pairs
from .options import (
    Names,
    class_option,
    clip_option,
    device_option,
    fps_option,
    json_option,
    latent_option,
    neutral_option,
    option,
    output_option,
    precision_option,
    seconds_option,
    seeds_given,
    seeds_option,
    styles_option,
    target_option,
    threads_option,
    truncation_option,
    tuned_option,
)
from .progress import progress_shown
from .sink import answer
from .sources import load_named_generator, open_atlas, starting_images, taken_as_tuned

if TYPE_CHECKING:
    from ..engine.models.precision import Precision
    from ..engine.models.spaces import Space


def usage(ctx: click.Context) -> None:
    """What options say together, before any of them is looked at."""
    seeds_given(ctx)
    if ctx.params["neutral"] is None:
        if ctx.params["directional"]:
            raise click.UsageError("--directional leads from a neutral prompt; give --neutral")
        if ctx.params["atlas"] is not None:
            raise click.UsageError("--atlas leads from a neutral prompt; give --neutral")
    if ctx.params["tuned"] and ctx.params["atlas"] is None:
        raise click.UsageError("--tuned is said of the atlas's generator; give --atlas")


@click.command(
    cls=Command,
    usage=usage,
    epilog="""
    styleatlas optimize avatars --clip avatars --neutral "a face" --target "a hat" -o hat.webp
    styleatlas optimize avatars --clip avatars --atlas avatars --neutral face --target bun -o b.png
    styleatlas optimize ffhq.pkl --clip ViT-B-32.pt --neutral "a face" --target "an elf" -o elf.mp4
    """,
)
@click.argument("generator", type=Checkpoint())
@clip_option("As for precompute.", required=True)
@neutral_option(more="; without it StyleCLIP's own way, towards the target alone")
@target_option("targets", required=True, multiple=True, more="; may be repeated, a column each")
@option(
    "--atlas",
    type=AtlasFile(),
    metavar="ATLAS",
    group=MODELS,
    help="Begin at the result of its direction.",
)
@tuned_option
@seeds_option()
@latent_option("styles, w or z")
@truncation_option()
@class_option
@option(
    "--space",
    group=HOW,
    type=click.Choice(["s", "w", "w+"]),
    default="s",
    show_default=True,
    help="What moves: style channels, w, or w of each layer.",
)
@option("--steps", default=60, show_default=True, group=HOW, help="At most.")
@option(
    "--learning-rate",
    default=0.1,
    show_default=True,
    metavar="L",
    group=HOW,
    help="At its highest.",
)
@option(
    "--l2",
    group=HOW,
    type=float,
    metavar="W",
    help="Weight of the sum of the squares of the step; .001 in s, whose unit is a sigma, and .008 "
    "in w and w+ if not given.",
)
@option(
    "--directional",
    type=float,
    metavar="W",
    group=HOW,
    help="Weight of the way CLIP sees it go; 1 if not given, and 0 without --neutral.",
)
@option(
    "--identity",
    type=Recogniser(),
    group=HOW,
    metavar="I",
    help=f"Who is to stay the same: off, clip, dlib, {told_with('identity')}, or the file of a "
    "face recogniser; that of a generator loaded by such a name, and off for others, if not given.",
)
@option(
    "--identity-weight",
    default=0.005,
    show_default=True,
    group=HOW,
    help="Weight of who is to stay the same.",
)
@option("--crops", default=0, show_default=True, group=HOW, help="Random crops CLIP sees besides.")
@option(
    "--freeze",
    group=HOW,
    type=Names(),
    default=(),
    metavar="L",
    help="Layers that stay: names, patterns, kinds: b4.*,rgb.",
)
@option(
    "--patience",
    default=20,
    show_default=True,
    group=HOW,
    help="Steps without a gain to stop at.",
)
@option("--random-seed", default=0, show_default=True, group=HOW, help="Of the crops.")
@output_option(
    "PATH",
    "A PNG for a sheet; .gif, .webp or .mp4 for a film of the way.",
    OutputFile(PICTURE_OR_FILM),
)
@styles_option
@seconds_option
@fps_option
@device_option
@threads_option
@precision_option("generator and CLIP")
@json_option
def optimize(
    generator: str,
    clip: str,
    neutral: str | None,
    targets: tuple[str, ...],
    atlas: str | None,
    tuned: bool,
    seeds: tuple[int, ...],
    latent: Path | None,
    latent_space: Space | None,
    truncation: float,
    label: int | None,
    identity: str | None,
    directional: float | None,
    identity_weight: float,
    random_seed: int,
    output: Path,
    styles: Path | None,
    seconds: float,
    fps: float,
    device: str | None,
    precision: Precision | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Optimise images towards prompts, for what a table knows no way to. No atlas is needed.

    Adam looks for the step that makes small: 1 - cosine of image and target in CLIP, how far the
    image strays from the direction between the prompts, the squared length of the step, and the
    change of who it is. The best step is kept, and an image stops where it comes to no more. With
    --atlas it begins at the table's result, and gets there sooner.

    Without --neutral the loss is StyleCLIP's own: there is no direction to stray from, and what is
    told is the cosine of image and target instead of a probability.

    A sheet has a row an image and a column a target. A run that was interrupted or killed goes on
    when the same command is started again.
    """
    neutral, targets = read_pairs(neutral, targets)

    from ..engine.editor import Editor
    from ..engine.fallbacks.optimise_settings import OptimiseSettings
    from ..engine.jobs.optimise import OptimiseJob, optimise, optimise_summary
    from ..engine.models.identity import load_identity, usual_identity
    from ..engine.models.latents import require_styles_file, write_styles
    from ..engine.models.load import load_encoder, pick_device
    from ..engine.models.precision import pick_precision

    if directional is None:
        directional = 0.0 if neutral is None else 1.0
    settings = OptimiseSettings(
        **options, directional=directional, identity=identity_weight, seed=random_seed
    )
    job = OptimiseJob(neutral, targets, settings, output, seconds, fps)
    if styles is not None:
        require_styles_file(styles)
    precision = pick_precision(precision, pick_device(device))
    model = load_named_generator(generator, device, precision)
    opened = open_atlas(atlas) if atlas else None
    if opened and tuned:
        model = taken_as_tuned(opened, model)
    images = starting_images(model, seeds, latent, truncation, label, latent_space)
    job.require(model, images)
    encoder = load_encoder(clip, device, precision)
    people = load_identity(identity or usual_identity(model), encoder, model.device)
    editor = Editor(opened, model, encoder) if opened else None

    with progress_shown() as shown:
        record, edited = optimise(
            model, encoder, images, job, people, editor, tell=shown.tell, report=shown
        )
    if styles is not None:
        known = images.origins if images.file is None and len(targets) == 1 else None
        write_styles(styles, edited, model, known)
    lines = [str(output), *optimise_summary(record)]
    answer({"output": str(output), **record}, "\n".join(lines), as_json)
