"""invert: photos to latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..store.errors import InputError
from ..store.output import FILM, PICTURE, STYLES, TUNED
from .base import IMAGES, RESULTS
from .inputs import AtlasFile, InputPlace, OutputFile
from .options import (
    OF_ATLAS,
    clip_option,
    device_option,
    generator_option,
    json_option,
    option,
    output_option,
    threads_option,
    tuned_option,
)
from .photos import (
    PhotoCommand,
    Photos,
    align_option,
    encoder_option,
    face_option,
    no_cache_option,
    space_option,
    steps_option,
)
from .progress import ProgressLater
from .sink import answer, noted_once
from .sources import encoder_loader, open_atlas, open_generator


def _usage(ctx: click.Context) -> None:
    if ctx.params["tune"] is not None and ctx.params["space"] == "s":
        raise click.UsageError("--tune is by latents of w or w+; leave out --space s")


@click.command(
    cls=PhotoCommand,
    usage=_usage,
    epilog="""
    styleatlas invert avatars me.png friends -o people.npz --sheet people.png
    styleatlas invert faces.h5 --clip ViT-B-32.pt party.jpg --face all -o party.npz
    styleatlas invert avatars me.png --align box 20,30,400 --steps 0 -o me.npz
    styleatlas invert avatars me.png -o me.npz --film way.gif
    styleatlas invert avatars me.png you.png -o two.npz --film between.mp4
    styleatlas invert avatars me.png -o me.npz --tune me.safetensors
    styleatlas invert ffhq.h5 me.jpg --encoder e4e_ffhq_encode.pt --steps 0 -o me.npz
    """,
)
@click.argument("atlas", type=AtlasFile())
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...", type=InputPlace())
@align_option
@face_option()
@option(
    "--class",
    "label",
    type=int,
    metavar="N",
    group=IMAGES,
    help="Class of a conditional generator; told by the samples if not given.",
)
@encoder_option
@space_option
@steps_option
@no_cache_option
@output_option("NPZ", "The latents, for `edit --latent`.", kind=OutputFile(STYLES))
@option(
    "--sheet",
    type=OutputFile(PICTURE),
    metavar="PNG",
    group=RESULTS,
    help="Also show each crop, and how the generator draws it.",
)
@option(
    "--film",
    type=OutputFile(FILM),
    metavar="FILM",
    group=RESULTS,
    help="Also show the way of one photo's refinement, beside the crop, or of several from one to "
    "the next: .gif, .webp or .mp4.",
)
@option(
    "--tune",
    type=OutputFile(TUNED),
    metavar="FILE",
    group=RESULTS,
    help="Also tune the generator to the photos, so that it draws them, and keep it here, a "
    ".safetensors for `edit --generator`.",
)
@json_option
@generator_option()
@tuned_option
@clip_option(OF_ATLAS)
@device_option
@threads_option
def invert(
    atlas: str,
    photos: tuple[Path, ...],
    label: int | None,
    output: Path,
    sheet: Path | None,
    film: Path | None,
    tune: Path | None,
    as_json: bool,
    generator: str | None,
    tuned: bool,
    clip: str | None,
    device: str | None,
    **of_photos: Any,
) -> None:
    """Find the latents by which a generator draws photos.

    PHOTO is a picture, or a folder of them. Of each the face, or what --align says, is cut out;
    the atlas's samples, or --encoder, tell where its latent lies, and a refinement brings it
    nearer. The file holds the latents with the names of their photos, where each crop lies in its
    photo, and how near it came; `edit --latent` edits them. `edit --photo` does both at once, and
    puts the edit back into the photo. How near is near enough, look at --sheet for: docs/photos.md.

    --tune goes further: the generator's own weights are tuned until it draws the photos by these
    latents. Its file is a small difference; `edit ATLAS --generator FILE --photo PHOTO` edits with
    it, by the same atlas.
    """
    from ..engine.editor import Editor
    from ..engine.fallbacks.ways import Fallbacks
    from ..engine.jobs.invert import invert_photos
    from ..engine.jobs.photo_words import crop_line, tuned_line
    from ..engine.jobs.tune import PhotoTuning

    given = Photos(photos, faces=of_photos.pop("face"), sheet=sheet, **of_photos)
    job = given.inversion(label)
    opened = open_atlas(atlas)
    model = open_generator(opened, generator, device, tuned)
    later, tell = ProgressLater("invert"), noted_once()
    fallbacks = Fallbacks(announce=tell, report=later)
    loader = encoder_loader(opened, clip, device)
    editor = Editor(opened, model, loader, fallbacks=fallbacks, photo_encoder=given.encoder)
    tuning = None if tune is None else PhotoTuning(editor, tune)
    with later:
        record = invert_photos(editor, job, output, sheet, film, tuning, tell, later)
    count = len(record["photos"])
    lines = [f"{output}: {count} latent{'s' * (count > 1)}", *map(crop_line, record["photos"])]
    if tuning is not None:
        lines.append(tuned_line(record["tuned"]))
    answer({"output": str(output), **record}, "\n".join(lines), as_json)
    if failed := record["failed"]:
        told = f"{len(failed)} of {len(job.photos)} photos could not be inverted, and are left out"
        raise InputError(f"{told}; see above")
