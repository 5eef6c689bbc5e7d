"""optimize: pictures of edits that no table knows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..store.registry import NAMES
from .base import Command
from .options import (
    Names,
    class_option,
    clip_option,
    device_option,
    fps_option,
    json_option,
    latent_option,
    neutral_option,
    output_option,
    precision_option,
    seconds_option,
    seeds_given,
    seeds_option,
    styles_option,
    target_option,
    truncation_option,
)
from .sources import open_atlas, starting_images

if TYPE_CHECKING:
    from ..engine.models.precision import Precision


@click.command(
    cls=Command,
    epilog="""
    styleatlas optimize avatars --clip avatars --neutral "a face" --target "a hat" -o hat.webp
    styleatlas optimize avatars --clip avatars --atlas avatars --neutral face --target bun -o b.png
    styleatlas optimize ffhq.pkl --clip ViT-B-32.pt --neutral "a face" --target "an elf" -o elf.mp4
    """,
)
@click.argument("generator")
@clip_option("As for precompute.", required=True)
@neutral_option(required=True)
@target_option("targets", required=True, multiple=True, more="; may be repeated, a column each")
@click.option("--atlas", metavar="ATLAS", help="Begin at the result of its direction.")
@seeds_option()
@latent_option("styles, w or z")
@truncation_option()
@class_option
@click.option(
    "--space",
    type=click.Choice(["s", "w", "w+"]),
    default="s",
    show_default=True,
    help="What moves: style channels, w, or w of each layer.",
)
@click.option("--steps", default=60, show_default=True, help="At most.")
@click.option(
    "--learning-rate", default=0.1, show_default=True, metavar="L", help="At its highest."
)
@click.option(
    "--l2",
    type=float,
    metavar="W",
    help="Weight of the sum of the squares of the step; .001 in s, whose unit is a sigma, and .008 "
    "in w and w+ if not given.",
)
@click.option(
    "--directional", default=1.0, show_default=True, help="Weight of the way CLIP sees it go."
)
@click.option(
    "--identity",
    metavar="I",
    help=f"Who is to stay the same: off, clip, {NAMES}, or the file of a face recogniser; that of "
    "a generator loaded by such a name, and off for others, if not given.",
)
@click.option(
    "--identity-weight", default=0.005, show_default=True, help="Weight of who is to stay the same."
)
@click.option("--crops", default=0, show_default=True, help="Random crops CLIP sees besides.")
@click.option(
    "--freeze",
    type=Names(),
    default=(),
    metavar="L",
    help="Layers that stay: names, patterns, kinds: b4.*,rgb.",
)
@click.option("--patience", default=20, show_default=True, help="Steps without a gain to stop at.")
@click.option("--random-seed", default=0, show_default=True, help="Of the crops.")
@output_option("PATH", "A PNG for a sheet; .gif, .webp or .mp4 for a film of the way.")
@styles_option
@seconds_option
@fps_option
@device_option
@precision_option("generator and CLIP")
@json_option
@click.pass_context
def optimize(
    ctx: click.Context,
    /,
    generator: str,
    clip: str,
    neutral: str,
    targets: tuple[str, ...],
    atlas: str | None,
    seeds: tuple[int, ...],
    latent: Path | None,
    truncation: float,
    label: int | None,
    identity: str | None,
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
    image strays from the direction between the prompts (--directional 0 leaves StyleCLIP's own
    loss), the squared length of the step, and the change of who it is. The best step is kept, and
    an image stops where it comes to no more. With --atlas it begins at the table's result, and
    gets there sooner.

    A sheet has a row an image and a column a target. A run that was interrupted or killed goes on
    when the same command is started again.
    """
    from ..engine.editor import Editor
    from ..engine.fallbacks.optimise_settings import OptimiseSettings
    from ..engine.jobs.optimise import OptimiseJob, optimise, optimise_summary
    from ..engine.models.identity import load_identity, usual_identity
    from ..engine.models.latents import require_styles_file, write_styles
    from ..engine.models.load import load_encoder, load_generator, pick_device
    from ..engine.models.precision import pick_precision

    seeds_given(ctx)
    settings = OptimiseSettings(**options, identity=identity_weight, seed=random_seed)
    job = OptimiseJob(neutral, targets, settings, output, seconds, fps)
    if styles is not None:
        require_styles_file(styles)
    precision = pick_precision(precision, pick_device(device))
    model = load_generator(generator, device, precision)
    images = starting_images(model, seeds, latent, truncation, label)
    job.require(model, images)
    encoder = load_encoder(clip, device, precision)
    people = load_identity(identity or usual_identity(model), encoder, model.device)
    editor = Editor(open_atlas(atlas), model, encoder) if atlas else None

    def tell(line: str) -> None:
        click.echo(line, err=True)

    record, edited = optimise(
        model, encoder, images, job, people, editor, tell=tell, stream=sys.stderr
    )
    if styles is not None:
        known = images.origins if images.file is None and len(targets) == 1 else None
        write_styles(styles, edited, model, known)
    if as_json:
        click.echo(json.dumps({"output": str(output), **record}, indent=2))
    else:
        click.echo("\n".join([str(output), *optimise_summary(record)]))
