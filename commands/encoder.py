"""encoder: networks that invert photos, trained for one's own generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..store.output import ENCODER, PICTURE
from .base import HOW, RESULTS, Group
from .inputs import AtlasFile, Lpips, OutputFile
from .options import (
    OF_ATLAS,
    clip_option,
    device_option,
    generator_option,
    identity_option,
    json_option,
    option,
    output_option,
    seed_option,
    threads_option,
)
from .progress import progress_shown
from .sink import answer
from .sources import encoder_loader, open_atlas, open_generator


@click.group(cls=Group)
def encoder() -> None:
    """Train photo encoders: networks that find the latents of photos in a few passes."""


@encoder.command(
    "train",
    epilog="""
    styleatlas encoder train avatars -o avatars-encoder.safetensors --sheet reconstructions.png
    styleatlas encoder train mine.h5 --generator mine.pkl -o mine.safetensors --lpips alex
    styleatlas encoder train big.h5 --generator big.pkl -o big.safetensors --pixels 0 --passes 2
    """,
)
@click.argument("atlas", type=AtlasFile())
@output_option("FILE", "The .safetensors file to write.", OutputFile(ENCODER))
@option("--steps", default=2000, show_default=True, group=HOW, help="At most so many.")
@option("--batch", default=16, show_default=True, group=HOW, help="Images a step.")
@option(
    "--images",
    type=int,
    metavar="N",
    group=HOW,
    help="Draw so many once and learn from them again and again, where drawing is slow; new ones "
    "in every step if not given.",
)
@option("--learning-rate", default=1e-3, show_default=True, group=HOW, help="At its highest.")
@option(
    "--passes",
    default=3,
    show_default=True,
    group=HOW,
    help="How often it looks at how the generator draws what it found.",
)
@option(
    "--pixels",
    default=4.0,
    show_default=True,
    group=HOW,
    help="Weight of the difference of pixels; 0 with no --lpips and --identity learns from latents "
    "alone, in a fraction of the time.",
)
@option(
    "--lpips",
    type=Lpips(),
    group=HOW,
    multiple=True,
    metavar="L",
    help="Learn by LPIPS, too: alex, vgg, or weights from a file or two.",
)
@identity_option
@seed_option("weights and images")
@option(
    "--sheet",
    type=OutputFile(PICTURE),
    metavar="PNG",
    group=RESULTS,
    help="Also show held-out images, where each begins and where each pass leads.",
)
@json_option
@generator_option()
@clip_option(f"{OF_ATLAS} For --identity clip.")
@device_option
@threads_option
def encoder_train(
    atlas: str,
    output: Path,
    lpips: tuple[str, ...],
    identity: str,
    sheet: Path | None,
    as_json: bool,
    generator: str | None,
    clip: str | None,
    device: str | None,
    **options: Any,
) -> None:
    """Train a photo encoder for the generator of an atlas.

    It is shown what the generator draws, spoilt as photographs are, and learns the step from where
    the look-up in the atlas's samples begins to the image's latent; without samples, from the
    average one. `invert` and `edit --photo` begin by it with --encoder. A training that was
    interrupted or killed goes on where it stopped when the same command is started again. Its log,
    a row a step, is a .csv file beside the encoder. When it pays: docs/encoders.md.
    """
    from ..engine.models.identity import OFF, load_identity
    from ..engine.models.own_encoder import write_own_encoder
    from ..engine.models.perceptual import load_perceptual
    from ..engine.pictures.sheet import save_png
    from ..precompute.encoder_reports import (
        reconstructions,
        training_progress,
        training_record,
        training_text,
    )
    from ..precompute.encoder_settings import EncoderSettings
    from ..precompute.encoder_state import EncoderTrainingFile
    from ..precompute.encoders import EncoderTrainer
    from ..precompute.training import train

    settings = EncoderSettings(**options)
    opened = open_atlas(atlas)
    model = open_generator(opened, generator, device)
    perceptual = load_perceptual(lpips, model.device) if lpips else None
    people = None
    if identity != OFF:
        people = load_identity(identity, encoder_loader(opened, clip, device)(), model.device)
    with EncoderTrainingFile(output) as place, progress_shown() as shown:
        trainer = EncoderTrainer(model, opened.samples, settings, perceptual, people)

        def report(trainer: EncoderTrainer) -> None:
            shown(training_progress(trainer))

        trained = train(trainer, place, report, shown.tell)
        write_own_encoder(output, trained)
        if sheet is not None:
            save_png(reconstructions(trainer, trained), sheet)
        place.remove()
    record = training_record(trained, str(place.log_path))
    answer({"output": str(output), **record}, training_text(str(output), atlas, record), as_json)
