"""mapper: networks that make one edit, trained and applied."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..store.errors import InputError, OptionError
from ..store.output import MAPPER, PICTURE
from ..store.registry import is_name, told_with
from .base import HOW, IMAGES, MODELS, Group
from .inputs import (
    Checkpoint,
    Folder,
    InputPlace,
    MapperFile,
    OutputFile,
    read_pair,
)
from .options import (
    Names,
    Numbers,
    before_option,
    class_option,
    clip_option,
    device_option,
    generator_option,
    identity_option,
    json_option,
    latent_option,
    latent_space_option,
    neutral_option,
    option,
    output_option,
    precision_option,
    seed_option,
    seeds_given,
    seeds_option,
    styles_option,
    target_option,
    threads_option,
    truncation_option,
)
from .progress import progress_shown
from .sink import answer, sheet_counts
from .sources import load_named_generator, starting_images

if TYPE_CHECKING:
    from ..engine.models.precision import Precision
    from ..engine.models.spaces import Space
    from ..store.fingerprint import ModelIdentity


@click.group(cls=Group)
def mapper() -> None:
    """Train and apply latent mappers: networks that make one edit, of any image."""


@mapper.command(
    "train",
    epilog="""
    styleatlas mapper train avatars --clip avatars --neutral "a face" --target "a winking face"
    styleatlas mapper train g.pkl --clip ViT-B-32.pt --neutral "a cat" --target "a lion" --batch 2
    """,
)
@click.argument("generator", type=Checkpoint())
@clip_option("A file, a folder or a name.", required=True)
@neutral_option(required=True)
@target_option(required=True)
@output_option(
    "FILE",
    "The .safetensors file to write; a new one in the library folder if not given.",
    OutputFile(MAPPER),
    required=False,
)
@option("--steps", default=150, show_default=True, group=HOW, help="At most so many.")
@option("--batch", default=8, show_default=True, group=HOW, help="Images a step.")
@option("--learning-rate", default=2.0, show_default=True, group=HOW, help="At its highest.")
@option(
    "--groups",
    type=Names(),
    group=HOW,
    default="coarse,medium,fine",
    show_default=True,
    help="The rows of w that move.",
)
@option("--l2", default=1.4, show_default=True, group=HOW, help="Weight of the mean of (w' - w)^2.")
@option(
    "--directional",
    default=0.5,
    show_default=True,
    group=HOW,
    help="Weight of the way CLIP sees it go.",
)
@identity_option
@option(
    "--latents",
    type=InputPlace(),
    group=IMAGES,
    metavar="F",
    help="Train on a file of w or z, or a folder of them, instead of drawn ones.",
)
@latent_space_option
@truncation_option("latents")
@seed_option("weights and latents")
@class_option
@device_option
@threads_option
@precision_option("generator and CLIP")
@json_option
def mapper_train(
    generator: str,
    clip: str,
    neutral: str,
    target: str,
    output: Path | None,
    identity: str,
    latents: Path | None,
    latent_space: Space | None,
    device: str | None,
    precision: Precision | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a mapper: a network that adds to the latents of any image what makes it the target.

    For what an atlas knows no way to, such as looks of many parts, and for one edit of many
    images. A training that was interrupted or killed goes on where it stopped when the same command
    is started again. Its log, a row a step, is a .csv file beside the mapper.

    A higher --l2 keeps more of the image; halve it where the target is not reached. Weights are
    stored 100 times as large as they count, hence the learning rate. The identity loss fights
    edits of what a person is known by, such as hair.

    Without -o the mapper goes to the library folder, where `edit` finds it: the one that the
    environment names in STYLEATLAS_MAPPERS, or else the user's own.
    """
    neutral, target = read_pair(neutral, target)

    from ..engine.fallbacks.mapper import library_path, write_mapper
    from ..engine.jobs.images import Images
    from ..engine.models.identity import load_identity
    from ..engine.models.load import load_encoder, pick_device
    from ..engine.models.precision import pick_precision
    from ..precompute.mapper_reports import training_progress, training_record, training_text
    from ..precompute.mapper_settings import TrainSettings
    from ..precompute.mapper_state import TrainingFile
    from ..precompute.mappers import Trainer
    from ..precompute.training import train

    settings = TrainSettings(**options)
    precision = pick_precision(precision, pick_device(device))
    model = load_named_generator(generator, device, precision)
    encoder = load_encoder(clip, device, precision)
    people = load_identity(identity, encoder, model.device)
    given = None
    if latents is not None:
        given = Images.of_file(model, latents, settings.truncation, settings.label, latent_space).w
        if given is None:
            raise InputError(f"{latents}: holds styles alone; training takes w or z")
    if output is None:
        output = library_path(model.identity, encoder.identity, neutral, target)
    with TrainingFile(output) as place, progress_shown() as shown:
        trainer = Trainer(model, encoder, neutral, target, settings, people, given)

        def report(trainer: Trainer) -> None:
            shown(training_progress(trainer))

        trained = train(trainer, place, report, shown.tell)
        write_mapper(output, trained)
        place.remove()
    record = training_record(trained, str(place.log_path))
    told = {"output": str(output), **record}
    answer(told, training_text(str(output), generator, record), as_json)


@mapper.command(
    "apply",
    usage=seeds_given,
    epilog="""
    styleatlas mapper apply wink.safetensors --seed 1-8 --before -o winks.png
    styleatlas mapper apply elf.pt --generator ffhq.pkl --seed 3 --strength 0.5,1,1.5 -o elf.png
    """,
)
@click.argument("mapper", metavar="MAPPER", type=MapperFile())
@generator_option(f"The mapper's generator; known for {told_with('generator')}.")
@option(
    "--tuned",
    is_flag=True,
    group=MODELS,
    help="Take a generator that was tuned from the mapper's own, as to a photo.",
)
@seeds_option()
@latent_option("w or z")
@truncation_option()
@class_option
@option(
    "--strength",
    "strengths",
    type=Numbers(),
    default="1",
    show_default=True,
    metavar="S",
    help="Times what it was trained to do, or some, a column each: 0,0.5,1.",
)
@before_option
@output_option("PATH", "The PNG file to write.", OutputFile(PICTURE))
@styles_option
@device_option
@threads_option
@json_option
def mapper_apply(
    mapper: str,
    generator: str | None,
    tuned: bool,
    seeds: tuple[int, ...],
    latent: Path | None,
    latent_space: Space | None,
    truncation: float,
    label: int | None,
    strengths: tuple[float, ...],
    before: bool,
    output: Path,
    styles: Path | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Edit images with a mapper. Neither CLIP nor an atlas is needed.

    MAPPER is a file, or a name in the library folder: StyleAtlas's own, StyleCLIP's .pt, or the
    module that styleclip-gan3 pickles; nothing in it is run. A sheet has a row an image and a
    column a strength: 1 is as trained, 0 the image as it was.
    """
    import torch

    from ..engine.fallbacks.mapper import (
        mapper_record,
        read_mapper,
        summarise_mapper,
    )
    from ..engine.jobs.mapper import applied_records, applied_sheet, apply_mapper
    from ..engine.models.latents import require_styles_file, write_styles
    from ..engine.pictures.sheet import require_png, require_sheet_size, save_png
    from ..store.library import locate_mapper

    require_png(output)
    if styles is not None:
        require_styles_file(styles)
    path = locate_mapper(mapper)
    about = summarise_mapper(path)
    named = generator or _trained_with(about.record.generator)
    model = load_named_generator(named, device)
    trained = read_mapper(path, model, tuned)
    images = starting_images(model, seeds, latent, truncation, label, latent_space)
    require_sheet_size(len(images.names), len(strengths) + before, *model.image_size)
    columns = [apply_mapper(trained, model, images.styles, images.w, s) for s in strengths]
    save_png(applied_sheet(model, images.styles, images.names, columns, before), output)
    if styles is not None:
        known = images.file is None and len(columns) == 1
        edited = torch.cat([column.styles for column in columns])
        write_styles(styles, edited, model, images.origins if known else None)
    told = {"file": str(path), **mapper_record(about)}
    made = applied_records(images.names, columns)
    texts = [f'"{text}"' for text in (about.record.neutral, about.record.target) if text]
    counts = sheet_counts(len(images.names), len(columns))
    answer(
        {"output": str(output), "mapper": told, "images": made},
        f"{output}: {counts}, {' -> '.join(texts) or path.name}",
        as_json,
    )


def _trained_with(generator: ModelIdentity | None) -> str:
    """The name of a mapper's generator, where that is enough to load it."""
    if generator is None:
        raise OptionError("generator: the mapper does not tell its own; name it by --generator")
    if not is_name(generator.name):
        raise OptionError(
            f'generator: the mapper was trained with "{generator.name}"; name its file by '
            "--generator"
        )
    return generator.name


@mapper.command(
    "list",
    epilog="""
    styleatlas mapper list --json
    styleatlas mapper list downloads
    """,
)
@click.argument("folder", required=False, type=Folder())
@json_option
def mapper_list(folder: Path | None, as_json: bool) -> None:
    """Which mappers lie in FOLDER, or in the library folder.

    What each says of itself; files of other programs say little. The library is the folder that
    the environment names in STYLEATLAS_MAPPERS, or else the user's own.
    """
    from ..engine.fallbacks.mapper import list_mappers
    from ..engine.jobs.mapper import mappers_text
    from ..store.library import library_folder

    place = library_folder() if folder is None else folder
    # Before the first training there is none of the user's own.
    records = list_mappers(place) if folder is not None or place.is_dir() else []
    answer(records, mappers_text(str(place), records), as_json)
