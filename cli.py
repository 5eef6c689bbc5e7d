"""The command line: one command a verb, no logic. Heavy imports stay inside the commands."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from . import __version__
from .store.errors import (
    AtlasCorruptError,
    InputError,
    OptionError,
    OutputError,
    StyleAtlasError,
)
from .store.registry import EMBEDDED, bundle_of

if TYPE_CHECKING:
    from .engine.models.precision import Precision
    from .engine.models.protocols import Generator, JointEncoder
    from .engine.steering.texts import TextEmbedder
    from .precompute.build import Method
    from .store.atlas import Atlas
    from .store.fingerprint import ModelIdentity


Form = Literal["text", "json", "csv"]

MAX_NUMBERS, MAX_SEEDS = 1000, 100_000
MAX_LETTERS = 1024
"""Of an option in a recipe from anybody; longer ones are no option's."""

SHAPING = {
    *("method", "keep", "seeds", "truncation", "label", "alphas", "probability", "beta"),
    *("channels", "rule", "layers", "exclude", "grid", "before"),
}
"""The options of `edit` that say what a picture shows; its recipe keeps them."""


class Command(click.Command):
    """A command that explains a failure in one line on stderr and then exits with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StyleAtlasError as error:
            command = ctx.command_path.removeprefix(ctx.find_root().command_path)
            click.echo(f"styleatlas{command}: {error}", err=True)
            sys.exit(1)
        except BrokenPipeError:
            sys.exit(1)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples keep their line breaks."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.strip().splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line.strip()}\n")


class Group(click.Group):
    command_class = Command


Group.group_class = Group


@click.group(cls=Group)
@click.version_option(__version__, prog_name="styleatlas")
def main() -> None:
    """Edit StyleGAN images with words, by look-up.

    Precompute once per generator, then edit by any prompt. GENERATOR, CLIP and ATLAS are a path,
    or the name `avatars` for the models and the atlas that ship with StyleAtlas.
    """


class Numbers(click.ParamType):  # type: ignore[type-arg] # generic only in newer clicks
    """Numbers separated by commas: 0,2,4.5."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a number, or numbers separated by commas", param, ctx)
        if len(numbers) > MAX_NUMBERS:
            self.fail(f"it holds more than {MAX_NUMBERS:,} numbers; ask for fewer", param, ctx)
        return numbers


class Seeds(click.ParamType):  # type: ignore[type-arg]
    """Seeds and ranges of seeds: 3 or 1-8 or 1-4,17."""

    name = "seeds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        seeds: list[int] = []
        for part in str(value).split(","):
            match = re.fullmatch(r"([0-9]{1,19})(?:-([0-9]{1,19}))?", part.strip())
            if match is None:
                self.fail(f"{value!r} is not a seed or a range such as 1-8 or 1-4,17", param, ctx)
            low, high = int(match[1]), int(match[2] or match[1])
            if not low <= high < low + 10_000:
                self.fail(f"{part.strip()!r} is not a range of up to 10,000 seeds", param, ctx)
            seeds += range(low, high + 1)
            if len(seeds) > MAX_SEEDS:
                self.fail(f"it holds more than {MAX_SEEDS:,} seeds; ask for fewer", param, ctx)
        return tuple(seeds)


class Names(click.ParamType):  # type: ignore[type-arg]
    """Names separated by commas."""

    name = "names"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in str(value).split(",") if part.strip())


def device_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--device", metavar="D", help="cpu, cuda, cuda:1, mps; the best there is if not given."
    )(command)


def class_option(command: Callable[..., None]) -> Callable[..., None]:
    text = "Class of a conditional generator; drawn at random if not given."
    return click.option("--class", "label", type=int, metavar="N", help=text)(command)


def output_option(metavar: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    path = click.Path(path_type=Path)
    return click.option("-o", "--output", required=True, metavar=metavar, type=path, help=text)


def mappers_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--mappers",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="The folder of mappers to choose from; your library if not given.",
    )(command)


def json_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(command)


def form_options(command: Callable[..., None]) -> Callable[..., None]:
    """--json and --csv; the command is told one `form`."""

    @click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
    @click.option("--csv", "as_csv", is_flag=True, help="Answer in CSV with a header.")
    @wraps(command)
    def formed(*arguments: Any, as_json: bool, as_csv: bool, **options: Any) -> None:
        if as_json and as_csv:
            raise click.UsageError("--json and --csv exclude each other; give one of them")
        command(*arguments, form="json" if as_json else "csv" if as_csv else "text", **options)

    return formed


def answer(records: list[dict[str, Any]], form: Form) -> None:
    """Print the records of a query."""
    from .store.records import csv_lines, text_sides, text_table

    if form == "json":
        click.echo(json.dumps(records, indent=2))
    elif form == "csv":
        click.echo(csv_lines(records), nl=False)
    else:
        click.echo(text_sides(records) if records and "side" in records[0] else text_table(records))


def prompt_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--clip", metavar="CLIP", help="The atlas's CLIP, for prompts not in its bank."
        ),
        click.option("--target", required=True, metavar="TEXT", help='Where to: "a sad face".'),
        click.option("--neutral", required=True, metavar="TEXT", help='Where from: "a face".'),
    ):
        command = option(command)
    return command


def open_atlas(source: str) -> Atlas:
    from .store.atlas import Atlas

    return Atlas.open(EMBEDDED.atlas if source == EMBEDDED.name else source)


def open_texts(source: str, clip: str | None) -> tuple[Atlas, TextEmbedder]:
    """An atlas, and what embeds prompts as it does."""
    from .engine.steering.texts import TextEmbedder

    atlas = open_atlas(source)
    return atlas, TextEmbedder(atlas, encoder_loader(atlas, clip, None))


def encoder_loader(
    atlas: Atlas, clip: str | None, device: str | None
) -> Callable[[], JointEncoder]:
    """Loads the CLIP named, or else the one whose name the atlas knows, when it is called."""

    def load() -> JointEncoder:
        from .engine.models.load import load_encoder

        return load_encoder(clip or _known("CLIP", "--clip", atlas.fingerprint.clip.name), device)

    return load


def open_generator(atlas: Atlas, generator: str | None, device: str | None) -> Generator:
    """The generator named, or else the one whose name the atlas knows."""
    from .engine.models.load import load_generator

    known = generator or _known("generator", "--generator", atlas.fingerprint.generator.name)
    return load_generator(known, device)


def _known(what: str, option: str, name: str) -> str:
    # A file is remembered by its stem; only names of open_clip's hold a slash.
    if name != EMBEDDED.name and "/" not in name:
        raise OptionError(f'{what}: this atlas was drawn with "{name}"; name its file by {option}')
    return name


@main.command(
    epilog="""
    styleatlas precompute avatars --clip avatars -o my.h5 --images 16
    styleatlas precompute ffhq.pkl --clip ViT-B-32.pt -o ffhq.h5 --dry-run
    """
)
@click.argument("generator")
@click.option(
    "--clip", required=True, metavar="CLIP", help="A file, a folder or a name; see above."
)
@output_option("ATLAS", "The atlas file to write.")
@click.option("--images", default=100, show_default=True, help="Images a channel is measured on.")
@click.option(
    "--method",
    type=click.Choice(["screened", "sweep", "jacobian"]),
    default="screened",
    show_default=True,
    help="How; see above.",
)
@click.option(
    "--probes",
    type=int,
    metavar="K",
    help="Slopes along K directions of CLIP's space; 32 for screened, all for jacobian.",
)
@click.option(
    "--reference-compat",
    is_flag=True,
    help="The table of StyleCLIP's public builders, their faults included, instead.",
)
@click.option(
    "--refit",
    type=int,
    metavar="N",
    help="Refit the rows from N composite directions at 8 renders each; see above.",
)
@click.option("--strength", default=5.0, show_default=True, help="Step to each side, in sigma.")
@click.option("--truncation", default=0.7, show_default=True, help="Psi of the images.")
@click.option("--samples", default=10_000, show_default=True, help="Latents behind the statistics.")
@click.option("--seed", default=0, show_default=True, help="Of the latents.")
@class_option
@click.option(
    "--prompts", "prompts_file", metavar="FILE", help="Add its phrases, one a line, to the bank."
)
@device_option
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Of the models; bfloat16 on CUDA and float32 elsewhere if not given.",
)
@click.option("--workers", default=1, show_default=True, help="Processes, each with a device.")
@click.option("--ray", metavar="ADDRESS", help="Work on a Ray cluster: auto, HOST:6379, local.")
@click.option("--dry-run", is_flag=True, help="Tell what it would take, and draw nothing.")
@json_option
def precompute(
    generator: str,
    clip: str,
    output: Path,
    images: int,
    method: Method,
    probes: int | None,
    reference_compat: bool,
    refit: int | None,
    strength: float,
    truncation: float,
    samples: int,
    seed: int,
    label: int | None,
    prompts_file: str | None,
    device: str | None,
    precision: Precision | None,
    workers: int,
    ray: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Draw the atlas of a generator: what every style channel does in CLIP's space.

    Once per generator and CLIP. A run that was interrupted or killed goes on where it stopped when
    the same command is started again.

    sweep moves every convolution and toRGB channel to both sides of its mean on each of the images,
    renders and encodes: the reference, and the slowest. jacobian takes slopes at the images, all
    channels at once: the fastest, and weak where a channel moves much. screened takes slopes,
    sweeps the tenth of the channels that moves most, and audits the rest.

    --refit, on top of any method, then moves tens of channels together, as edits do, and fits the
    rows to what that shows; 1550 is a good number.

    GENERATOR is `avatars` or a checkpoint: NVIDIA's .pkl, rosinality's .pt, or what `convert`
    wrote. CLIP is `avatars`, OpenAI's .pt, a folder or file of open_clip's, or a name such as
    ViT-B-32/openai.
    """
    from .engine.models.load import load_encoder, load_generator, pick_device
    from .engine.models.precision import pick_precision
    from .precompute.bench import Sources
    from .precompute.build import Settings, open_work
    from .precompute.build import precompute as build
    from .precompute.executors import open_executor
    from .precompute.reports import ProgressReport, estimate_text, summary, summary_text
    from .prompts.sets import prompt_set, read_phrases
    from .store.output import require_writable

    if reference_compat:
        given = click.get_current_context().get_parameter_source("method")
        if given is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError("--reference-compat is a method of its own; leave out --method")
        method = "reference"
    settings = Settings(images, method, probes, strength, truncation, samples, seed, label, refit)
    require_writable(output)
    precision = pick_precision(precision, pick_device(device))
    phrases = read_phrases(prompts_file) if prompts_file else ()
    model = load_generator(generator, device, precision)
    encoder = load_encoder(clip, device, precision)
    prompts = prompt_set(encoder.identity.name).with_phrases(phrases)
    if dry_run:
        from .precompute.estimate import estimate

        record = estimate(model, encoder, prompts, settings, workers)
        click.echo(json.dumps(record, indent=2) if as_json else estimate_text(record))
        return
    with (
        open_work(output, model, encoder, prompts, settings) as work,
        open_executor(workers, ray, device) as executor,
    ):
        for complaint in work.complaints:
            click.echo(complaint, err=True)
        if work.done:
            click.echo(f"resuming: {len(work.done)} of {work.total} blocks are done", err=True)
        report = ProgressReport(sys.stderr, model.layout)
        sources = Sources(generator, clip, precision)
        try:
            drawn = build(model, encoder, prompts, settings, report, work, executor, sources)
            drawn.write(output)
        except KeyboardInterrupt:
            if work.done:
                click.echo(f"\ninterrupted: {work.kept}", err=True)
            raise
        work.finish()
    record = summary(drawn)
    if as_json:
        click.echo(json.dumps({"output": str(output), **record}, indent=2))
    else:
        click.echo(summary_text(str(output), record))


@main.command(
    epilog="""
    styleatlas edit avatars --neutral "a face" --target "a face with glasses" --seed 1-8 -o one.png
    styleatlas edit avatars --neutral "a face" --target "a sad face" --alpha 0,3,6 -o strip.png
    styleatlas edit avatars --edit "a face -> a bald face" --keep "a face with a beard" -o bald.png
    styleatlas edit avatars --edit "a face -> a sad face : 2" --edit "a face -> a hat" -o two.png
    styleatlas edit avatars --edit "a face -> a smiling face" --seed 1-4 -o smile.gif
    styleatlas edit avatars --from-picture one.png -o again.png
    """
)
@click.argument("atlas")
@click.option("--neutral", metavar="TEXT", help='Where from: "a face".')
@click.option("--target", metavar="TEXT", help='Where to: "a sad face".')
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
@click.option("--seed", "seeds", type=Seeds(), default="1", show_default=True, help="1-8 or 3,5.")
@click.option(
    "--latent",
    type=click.Path(path_type=Path),
    metavar="F",
    help="Start from a file of styles, w or z (.npz, .npy, .pt), or a folder of them, instead.",
)
@click.option("--truncation", default=0.7, show_default=True, help="Psi of the seeds.")
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
@click.option("--before", is_flag=True, help="A first column of the images as they were.")
@output_option("PATH", "A PNG for a sheet; .gif, .webp or .mp4 for a film; else a folder.")
@click.option("--styles", type=click.Path(path_type=Path), metavar="F", help="Also save .npz here.")
@click.option("--seconds", default=4.0, show_default=True, help="Of a film, there and back.")
@click.option("--fps", default=20.0, show_default=True, help="Frames a second of a film.")
@click.option(
    "--from-picture",
    type=click.Path(path_type=Path),
    metavar="PNG",
    help="Take all that is not given here from a picture that edit made.",
)
@click.option("--generator", metavar="G", help="The atlas's generator; known for `avatars`.")
@click.option("--clip", metavar="CLIP", help="The atlas's CLIP; known for `avatars`.")
@mappers_option
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
    **options: Any,
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
    from .engine.editor import DEFAULT_PROBABILITY, Editor
    from .engine.fallbacks.mapper import library_folder
    from .engine.jobs.edit import Output, produce
    from .engine.jobs.edit_records import edit_summary
    from .engine.jobs.images import Images
    from .engine.jobs.methods import Fallbacks, default_identity
    from .engine.models.latents import require_styles_file, write_styles
    from .engine.pictures.recipe import read_recipe
    from .engine.steering.direction import Choice
    from .engine.steering.edits import Conflict, Edit
    from .engine.steering.request import EditRequest

    if (neutral is None) != (target is None):
        raise click.UsageError("--neutral and --target belong together; give both")
    seeded = ctx.get_parameter_source("seeds") is click.core.ParameterSource.COMMANDLINE
    if seeded and latent is not None:
        raise click.UsageError("--seed and --latent exclude each other; give one of them")
    pair = [] if neutral is None or target is None else [Edit(neutral, target)]
    asked = [*pair, *map(Edit.parse, edits)]
    recipe = read_recipe(from_picture) if from_picture else None
    if recipe:
        options = recalled(ctx, {**recipe.options, **recipe.inputs}, from_picture)
        asked = asked or [Edit(*edit) for edit in recipe.edits]
    if not asked:
        raise click.UsageError("give --neutral and --target, --edit, or --from-picture")
    names = ("rule", "beta", "channels", "layers", "exclude", "keep")
    choice = Choice(**{name: options[name] for name in names})
    given = options["probability"]
    probability = DEFAULT_PROBABILITY if given is None else given
    method, shown = options["method"], (options["grid"], options["before"])
    job = EditRequest(tuple(asked), choice, method, options["alphas"], probability, *shown)
    if styles is not None:
        require_styles_file(styles)
    table = open_atlas(atlas)
    if recipe:
        recipe.require_atlas(table)
    model = open_generator(table, generator, device)
    editor = Editor(table, model, encoder_loader(table, clip, device))
    truncation, label = options["truncation"], options["label"]
    of_latents = recipe is not None and "latents" in recipe.inputs
    if latent is not None:
        images = Images.of_file(model, latent, truncation, label)
        images = images.only(recipe.inputs, latent) if recipe and of_latents else images
    elif of_latents and not seeded:
        raise OptionError(f"{from_picture}: was made of a file of latents; name it by --latent")
    else:
        images = Images.of_seeds(model, options["seeds"], truncation, label)
    place = Output(output, seconds, fps)
    place.require(editor, images, job)
    if as_json:  # it tells what CLIP saw
        _ = editor.texts.encoder
    stored = {name: value for name, value in options.items() if name != "seeds"}
    fallbacks = Fallbacks(
        library_folder() if mappers is None else mappers,
        lambda: default_identity(editor),
        announce=lambda line: click.echo(line, err=True),
    )
    record, edited = produce(editor, images, job, place, stored, fallbacks)
    if styles is not None:
        seeds = images.origins if images.file is None and job.columns == 1 else None
        write_styles(styles, edited, model, seeds)
    if as_json:
        click.echo(json.dumps({"output": str(output), **record}, indent=2))
        return
    click.echo(
        "\n".join([f"{output}: {len(images.names)} x {job.columns} images", *edit_summary(record)])
    )
    for conflict in record["conflicts"]:
        click.echo(f"note: {Conflict(**conflict)}", err=True)


def recalled(ctx: click.Context, stored: Mapping[str, Any], path: Path | None) -> dict[str, Any]:
    """The options of `edit` that shape pictures; those that were not given are as the recipe in
    the picture `path` has them, or the usual ones.

    Raises:
        InputError: a value that the option does not take.
    """
    options = {}
    for param in ctx.command.params:
        if param.name in SHAPING:
            name, value = param.name, stored.get(param.name)
            given = ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
            options[name] = ctx.params[name]
            if not given and value is not None:
                # From anybody: read as if it had been written on the command line.
                parts = [str(part) for part in (value if isinstance(value, list) else [value])]
                if any(len(part) > MAX_LETTERS for part in parts):
                    raise InputError(f"{path}: recipe: {name}: is too long; name another picture")
                try:
                    options[name] = param.type_cast_value(
                        ctx, parts if param.multiple else ",".join(parts)
                    )
                except click.BadParameter as error:
                    reason = error.message[:200]
                    raise InputError(f"{path}: recipe: {name}: {reason}") from error
    return options


@main.command(
    epilog="""
    styleatlas optimize avatars --clip avatars --neutral "a face" --target "a hat" -o hat.webp
    styleatlas optimize avatars --clip avatars --atlas avatars --neutral face --target bun -o b.png
    styleatlas optimize ffhq.pkl --clip ViT-B-32.pt --neutral "a face" --target "an elf" -o elf.mp4
    """
)
@click.argument("generator")
@click.option("--clip", required=True, metavar="CLIP", help="As for precompute.")
@click.option("--neutral", required=True, metavar="TEXT", help='Where from: "a face".')
@click.option(
    "--target",
    "targets",
    required=True,
    multiple=True,
    metavar="TEXT",
    help='Where to: "a sad face"; may be repeated, a column each.',
)
@click.option("--atlas", metavar="ATLAS", help="Begin at the result of its direction.")
@click.option("--seed", "seeds", type=Seeds(), default="1", show_default=True, help="1-8 or 3,5.")
@click.option(
    "--latent",
    type=click.Path(path_type=Path),
    metavar="F",
    help="Start from a file of styles, w or z (.npz, .npy, .pt), or a folder of them, instead.",
)
@click.option("--truncation", default=0.7, show_default=True, help="Psi of the seeds.")
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
    help="Who is to stay the same: off, clip, `avatars`, or the file of a face recogniser; "
    "`avatars` for the embedded generator and off for others if not given.",
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
@click.option("--styles", type=click.Path(path_type=Path), metavar="F", help="Also save .npz here.")
@click.option("--seconds", default=4.0, show_default=True, help="Of a film, there and back.")
@click.option("--fps", default=20.0, show_default=True, help="Frames a second of a film.")
@device_option
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    help="Of generator and CLIP; bfloat16 on CUDA and float32 elsewhere if not given.",
)
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
    from .engine.editor import Editor
    from .engine.fallbacks.optimise import OptimiseSettings
    from .engine.jobs.images import Images
    from .engine.jobs.optimise import OptimiseJob, optimise, optimise_summary
    from .engine.models.identity import load_identity
    from .engine.models.latents import require_styles_file, write_styles
    from .engine.models.load import load_encoder, load_generator, pick_device
    from .engine.models.precision import pick_precision

    if ctx.get_parameter_source("seeds") is click.core.ParameterSource.COMMANDLINE and latent:
        raise click.UsageError("--seed and --latent exclude each other; give one of them")
    settings = OptimiseSettings(**options, identity=identity_weight, seed=random_seed)
    job = OptimiseJob(neutral, targets, settings, output, seconds, fps)
    if styles is not None:
        require_styles_file(styles)
    precision = pick_precision(precision, pick_device(device))
    model = load_generator(generator, device, precision)
    if latent is None:
        images = Images.of_seeds(model, seeds, truncation, label)
    else:
        images = Images.of_file(model, latent, truncation, label)
    job.require(model, images)
    encoder = load_encoder(clip, device, precision)
    people = load_identity(
        identity or (EMBEDDED.name if generator == EMBEDDED.name else "off"), encoder, model.device
    )
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


@main.group()
def query() -> None:
    """Ask an atlas questions."""


@query.command(
    "channels",
    epilog="""
    styleatlas query channels avatars --neutral "a face" --target "a face with a beard" --top 5
    """,
)
@click.argument("atlas")
@prompt_options
@click.option("--top", default=20, show_default=True, help="How many.")
@form_options
def query_channels(
    atlas: str, neutral: str, target: str, clip: str | None, top: int, form: Form
) -> None:
    """Which channels a pair of prompts moves.

    The score is the cosine of a channel's row with the text direction; consistency says how alike
    the images are in it, strength how far the channel moves CLIP's embedding; expected is how far
    it is expected to move along the text direction for each sigma of the channel.
    """
    opened, texts = open_texts(atlas, clip)
    answer(opened.query_channels(texts.direction(neutral, target), top), form)


@query.command(
    "prompts",
    epilog="""
    styleatlas query prompts avatars b16.conv1:20 --top 5
    styleatlas query prompts avatars b16.conv1 --top 5
    """,
)
@click.argument("atlas")
@click.argument("channel", metavar="CHANNEL|LAYER")
@click.option("--top", default=20, show_default=True, help="How many, to either side.")
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
        click.echo(f"{channel}: is dead: it never moved CLIP's embedding", err=True)
    answer(records, form)


@query.command(
    "similar",
    epilog="""
    styleatlas query similar avatars --neutral "a face" --target "a face with glasses" --top 5
    """,
)
@click.argument("atlas")
@prompt_options
@click.option("--top", default=20, show_default=True, help="How many.")
@form_options
def query_similar(
    atlas: str, neutral: str, target: str, clip: str | None, top: int, form: Form
) -> None:
    """Which phrases of the bank edit alike.

    Both cosines compare a phrase with the target, as seen from the neutral prompt: in CLIP's space,
    and of the edits' steps in style space, each channel counted by its strength. A phrase low in
    the first and high in the second means something else and yet edits alike.
    """
    opened, texts = open_texts(atlas, clip)
    text = texts.direction(neutral, target)
    answer(opened.query_similar(texts.embed(neutral), text, top), form)


@query.command(
    "entangled",
    epilog="""
    styleatlas query entangled avatars --neutral "a face" --target "a bald face" --top 5
    """,
)
@click.argument("atlas")
@prompt_options
@click.option("--top", default=20, show_default=True, help="How many to either side.")
@form_options
def query_entangled(
    atlas: str, neutral: str, target: str, clip: str | None, top: int, form: Form
) -> None:
    """What else an edit is expected to move.

    Adds up what the atlas knows of the channels that `edit` would move, and lists the phrases that
    the image moves towards or away from more than the prompts alone explain. Moves and explained
    are cosines. Phrases about the target itself are left out.
    """
    from .engine.steering.direction import find_direction

    opened, texts = open_texts(atlas, clip)
    text = texts.direction(neutral, target)
    found = find_direction(opened, text, neutral=neutral, target=target)
    answer(opened.query_entangled(found.delta(1.0), text, top), form)


@query.command(
    "compare",
    epilog="""
    styleatlas query compare avatars my.h5
    """,
)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@form_options
def query_compare(a: str, b: str, form: Form) -> None:
    """How alike two atlases of one generator are.

    As a whole and layer by layer, of the channels in both: the median cosine of their rows, plain
    and weighted by strength (with one CLIP only), the median correlation of their scores with the
    phrases in both banks, the rank correlation of their strengths, the median consistencies, and
    which share of the 30 channels that answer most to a phrase both name.
    """
    from .store.describe import origin

    one, other = open_atlas(a), open_atlas(b)
    records = one.compare(other)
    if form == "text":
        click.echo(f"A  {origin(one)}\nB  {origin(other)}\n")
    answer(records, form)


@main.command(
    epilog="""
    styleatlas sheet avatars b16.conv1:20 b32.torgb:45 --seed 1-4 -o sheet.png
    styleatlas sheet avatars --top 5 --neutral "a face" --target "a face with a beard" -o beard.png
    """
)
@click.argument("atlas")
@click.argument("channels", nargs=-1, metavar="[CHANNEL]...")
@click.option("--top", type=int, metavar="K", help="The K channels that the prompts move most.")
@click.option("--neutral", metavar="TEXT", help='Where from: "a face".')
@click.option("--target", metavar="TEXT", help='Where to: "a sad face".')
@click.option("--clip", metavar="CLIP", help="The atlas's CLIP, for prompts not in its bank.")
@click.option("--generator", metavar="G", help="The atlas's generator; known for `avatars`.")
@click.option("--seed", "seeds", type=Seeds(), default="1-4", show_default=True, help="1-8 or 3,5.")
@click.option(
    "--steps",
    type=Numbers(),
    default="-10,-5,0,5,10",
    show_default=True,
    help="The columns, in sigma of the channel.",
)
@click.option("--truncation", default=0.7, show_default=True, help="Psi of the seeds.")
@class_option
@output_option("PATH", "The PNG file to write.")
@device_option
@json_option
def sheet(
    atlas: str,
    channels: tuple[str, ...],
    top: int | None,
    neutral: str | None,
    target: str | None,
    clip: str | None,
    generator: str | None,
    seeds: tuple[int, ...],
    steps: tuple[float, ...],
    truncation: float,
    label: int | None,
    output: Path,
    device: str | None,
    as_json: bool,
) -> None:
    """Show what style channels do, as one PNG with their phrases beside them.

    A row a seed, a column a step from the image's own style, as an edit steps. CHANNEL is written
    layer:number; instead of channels, --top K with a pair of prompts shows those the pair moves
    most. Large images are scaled down as the sheet grows.
    """
    from .engine.models.sampling import styles_from_seeds
    from .engine.pages.channel_sheet import draw_sheet, require_sheet, sheet_records
    from .engine.pictures.sheet import require_png, save_png
    from .engine.steering.texts import TextEmbedder

    asked = (top, neutral, target)
    if bool(channels) == (None not in asked) or (channels and asked != (None, None, None)):
        raise click.UsageError("name CHANNELs, or give --top, --neutral and --target")
    require_png(output)
    table = open_atlas(atlas)
    scores = None
    if top is None or neutral is None or target is None:
        flats = [table.layout.parse(channel) for channel in channels]
    else:
        text = TextEmbedder(table, encoder_loader(table, clip, device)).direction(neutral, target)
        found = table.query_channels(text, top)
        flats = [table.layout.parse(record["channel"]) for record in found]
        scores = [record["score"] for record in found]
    require_sheet(table, len(flats) * len(seeds), steps)
    model = open_generator(table, generator, device)
    table.fingerprint.require_generator(model.identity)
    styles = styles_from_seeds(model, seeds, truncation, label)
    records = sheet_records(table, flats, scores)
    save_png(draw_sheet(model, table, styles, seeds, records, steps), output)
    if as_json:
        answer = {"output": str(output), "seeds": seeds, "steps": steps, "channels": records}
        click.echo(json.dumps(answer, indent=2))
    else:
        counts = f"{len(flats)} x {len(seeds)} x {len(steps)}"
        click.echo(f"{output}: {counts} images (channels, seeds, steps)")


@main.command(
    epilog="""
    styleatlas report avatars -o report.html
    styleatlas report avatars -o report.html --neutral "a face" --target "a bald face"
    """
)
@click.argument("atlas")
@output_option("PATH", "The HTML file to write.")
@click.option("--neutral", "neutrals", multiple=True, metavar="TEXT", help='Where from: "a face".')
@click.option("--target", "targets", multiple=True, metavar="TEXT", help='Where to: "a sad face".')
@click.option("--clip", metavar="CLIP", help="The atlas's CLIP, for prompts not in its bank.")
@click.option(
    "--generator", metavar="G", help="The atlas's generator, for pictures; known for `avatars`."
)
@class_option
@device_option
def report(
    atlas: str,
    output: Path,
    neutrals: tuple[str, ...],
    targets: tuple[str, ...],
    clip: str | None,
    generator: str | None,
    label: int | None,
    device: str | None,
) -> None:
    """Write an atlas as one HTML page that opens anywhere and loads nothing.

    Its origin, its layers, its strongest channels with their phrases, which layers answer to
    which phrases, and, where the generator is at hand, what channels do in pictures. --neutral and
    --target, given together and as often as wanted, add what each layer answers to that pair.
    """
    from .engine.pages.atlas_report import PromptPair, report_html, require_html, write_report
    from .engine.steering.texts import TextEmbedder

    if len(neutrals) != len(targets):
        raise click.UsageError("give --neutral and --target equally often; they make up pairs")
    require_html(output)
    table = open_atlas(atlas)
    texts = TextEmbedder(table, encoder_loader(table, clip, device))
    both = zip(neutrals, targets, strict=True)
    pairs = [PromptPair(n, t, texts.direction(n, t)) for n, t in both]
    figures = []
    if generator or table.fingerprint.generator.name == EMBEDDED.name:
        from .engine.pages.channel_sheet import report_figures

        figures = report_figures(open_generator(table, generator, device), table, label)
    page = report_html(table, pairs, figures)
    write_report(page, output)
    click.echo(
        f"{output}: {len(page.encode()) / 2**20:.1f} MiB, {len(figures)} channels in pictures"
    )


@main.command(
    epilog="""
    styleatlas evaluate avatars -o quality
    styleatlas evaluate avatars --seed 1-20 --judge ViT-B-32.pt -o quality
    """
)
@click.argument("atlas")
@output_option("DIR", "The folder for evaluation.json, evaluation.csv and index.html.")
@click.option("--edits", metavar="FILE", help="What to try, as JSON; known for `avatars`.")
@click.option("--judge", metavar="JUDGE", help="`avatars` or a CLIP; known for `avatars`.")
@click.option(
    "--reference", metavar="ATLAS", help="A table of `precompute --reference-compat`, to compare."
)
@click.option("--generator", metavar="G", help="The atlas's generator; known for `avatars`.")
@click.option("--clip", metavar="CLIP", help="The atlas's CLIP; known for `avatars`.")
@click.option(
    "--seed", "seeds", type=Seeds(), default="1-200", show_default=True, help="1-8 or 3,5."
)
@click.option("--truncation", default=0.7, show_default=True, help="Psi of the seeds.")
@device_option
@json_option
def evaluate(
    atlas: str,
    output: Path,
    edits: str | None,
    judge: str | None,
    reference: str | None,
    generator: str | None,
    clip: str | None,
    seeds: tuple[int, ...],
    truncation: float,
    device: str | None,
    as_json: bool,
) -> None:
    """Measure how well edits by an atlas work, and what they leave as it was.

    A judge that had no part in the edits reads the images before and after. Success: of the images
    that lacked an attribute, how many have it; preservation: how much else is read as it was. The
    default way is compared with itself at fixed alphas, with StyleCLIP's rule, with tables of
    shuffled and of random rows, and with itself under --keep.

    --edits lists prompts, the attribute and values each is to bring, and phrases for the values of
    all attributes; zoo/avatars/edits.json is an example. --judge is the embedded classifier of
    avatars, or a CLIP other than the atlas's own, which tells values apart by those phrases.
    """
    from .engine.editor import Editor
    from .engine.evaluation.files import require_folder, write_evaluation
    from .engine.evaluation.judges import judge_for
    from .engine.evaluation.page import evaluation_html
    from .engine.evaluation.run import evaluate as measure
    from .engine.evaluation.samples import sample_strips
    from .engine.evaluation.suite import read_suite
    from .engine.evaluation.summary import evaluation_record, summary_text

    table = open_atlas(atlas)
    bundle = bundle_of(table.fingerprint.generator)
    suite_file = edits or (bundle.suite if bundle else None)
    judge = judge or (bundle.name if bundle and bundle.judge else None)
    if suite_file is None or judge is None:
        missing = "edits" if suite_file is None else "judge"
        raise OptionError(f"{missing}: none is known for this atlas; name one by --{missing}")
    suite = read_suite(suite_file)
    compared = open_atlas(reference) if reference else None
    model = open_generator(table, generator, device)
    editor = Editor(table, model, encoder_loader(table, clip, device)())
    seeing = judge_for(judge, table, suite, device)
    require_folder(output)
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=1, file=sys.stderr, hidden=hidden) as bar:

        def report(edited: int, of: int) -> None:
            bar.length = of
            bar.update(edited)

        evaluation = measure(editor, seeing, suite, seeds, truncation, compared, report)
    record = evaluation_record(evaluation)
    write_evaluation(record, evaluation_html(record, sample_strips(evaluation)), output)
    click.echo(json.dumps(record, indent=2) if as_json else f"{summary_text(record)}\n\n{output}")


@main.group()
def mapper() -> None:
    """Train and apply latent mappers: networks that make one edit, of any image."""


@mapper.command(
    "train",
    epilog="""
    styleatlas mapper train avatars --clip avatars --neutral "a face" --target "a winking face"
    styleatlas mapper train g.pkl --clip ViT-B-32.pt --neutral "a cat" --target "a lion" --batch 2
    """,
)
@click.argument("generator")
@click.option("--clip", required=True, metavar="CLIP", help="A file, a folder or a name.")
@click.option("--neutral", required=True, metavar="TEXT", help='Where from: "a face".')
@click.option("--target", required=True, metavar="TEXT", help='Where to: "a sad face".')
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The .safetensors file to write; a new one in the library folder if not given.",
)
@click.option("--steps", default=150, show_default=True, help="At most so many.")
@click.option("--batch", default=8, show_default=True, help="Images a step.")
@click.option("--learning-rate", default=2.0, show_default=True, help="At its highest.")
@click.option(
    "--groups",
    type=Names(),
    default="coarse,medium,fine",
    show_default=True,
    help="The rows of w that move.",
)
@click.option("--l2", default=1.4, show_default=True, help="Weight of the mean of (w' - w)^2.")
@click.option(
    "--directional", default=0.5, show_default=True, help="Weight of the way CLIP sees it go."
)
@click.option(
    "--identity",
    default="off",
    show_default=True,
    metavar="I",
    help="What is to see the same person: off, clip, `avatars`, or a face recogniser's file.",
)
@click.option(
    "--latents",
    type=click.Path(path_type=Path),
    metavar="F",
    help="Train on a file of w or z (.npz, .npy, .pt), or a folder of them, instead of drawn ones.",
)
@click.option("--truncation", default=0.7, show_default=True, help="Psi of the latents.")
@click.option("--seed", default=0, show_default=True, help="Of weights and latents.")
@class_option
@device_option
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    help="Of generator and CLIP; bfloat16 on CUDA and float32 elsewhere if not given.",
)
@json_option
def mapper_train(
    generator: str,
    clip: str,
    neutral: str,
    target: str,
    output: Path | None,
    identity: str,
    latents: Path | None,
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
    from .engine.fallbacks.mapper import library_path, write_mapper
    from .engine.jobs.images import Images
    from .engine.models.identity import load_identity
    from .engine.models.load import load_encoder, load_generator, pick_device
    from .engine.models.precision import pick_precision
    from .precompute.mapper_reports import TrainingReport, training_record, training_text
    from .precompute.mapper_state import TrainingFile
    from .precompute.mappers import Trainer, TrainSettings, train
    from .store.output import require_writable

    settings = TrainSettings(**options)
    if output is not None:
        if output.suffix != ".safetensors":
            raise OutputError(f"{output}: a mapper's name must end in .safetensors")
        require_writable(output)
    precision = pick_precision(precision, pick_device(device))
    model = load_generator(generator, device, precision)
    encoder = load_encoder(clip, device, precision)
    people = load_identity(identity, encoder, model.device)
    given = None
    if latents is not None:
        given = Images.of_file(model, latents, settings.truncation, settings.label).w
        if given is None:
            raise InputError(f"{latents}: holds styles alone; training takes w or z")
    trainer = Trainer(model, encoder, neutral, target, settings, people, given)
    if output is None:
        output = library_path(model.identity, encoder.identity, neutral, target)
    place = TrainingFile(output, trainer.config, trainer.record)
    if place.kept is not None:
        click.echo(f"resuming: {place.kept} of {settings.steps} steps are done", err=True)
    try:
        trained = train(trainer, place, TrainingReport(sys.stderr))
    except KeyboardInterrupt:
        if place.kept is not None:
            kept = f"{place.kept} of {settings.steps} steps are kept in {place.path}"
            click.echo(f"\ninterrupted: {kept}: the same command resumes", err=True)
        raise
    write_mapper(output, trained)
    place.remove()
    record = training_record(trained, str(place.log_path))
    if as_json:
        click.echo(json.dumps({"output": str(output), **record}, indent=2))
    else:
        click.echo(training_text(str(output), generator, record))


@mapper.command(
    "apply",
    epilog="""
    styleatlas mapper apply wink.safetensors --seed 1-8 --before -o winks.png
    styleatlas mapper apply elf.pt --generator ffhq.pkl --seed 3 --strength 0.5,1,1.5 -o elf.png
    """,
)
@click.argument("mapper", metavar="MAPPER")
@click.option("--generator", metavar="G", help="The mapper's generator; known for `avatars`.")
@click.option("--seed", "seeds", type=Seeds(), default="1", show_default=True, help="1-8 or 3,5.")
@click.option(
    "--latent",
    type=click.Path(path_type=Path),
    metavar="F",
    help="Start from a file of w or z (.npz, .npy, .pt), or a folder of them, instead.",
)
@click.option("--truncation", default=0.7, show_default=True, help="Psi of the seeds.")
@class_option
@click.option(
    "--strength",
    "strengths",
    type=Numbers(),
    default="1",
    show_default=True,
    metavar="S",
    help="Times what it was trained to do, or some, a column each: 0,0.5,1.",
)
@click.option("--before", is_flag=True, help="A first column of the images as they were.")
@output_option("PATH", "The PNG file to write.")
@click.option("--styles", type=click.Path(path_type=Path), metavar="F", help="Also save .npz here.")
@device_option
@json_option
@click.pass_context
def mapper_apply(
    ctx: click.Context,
    /,
    mapper: str,
    generator: str | None,
    seeds: tuple[int, ...],
    latent: Path | None,
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

    from .engine.fallbacks.mapper import locate_mapper, mapper_record, read_mapper, summarise_mapper
    from .engine.jobs.images import Images
    from .engine.jobs.mapper import applied_records, applied_sheet, apply_mapper
    from .engine.models.latents import require_styles_file, write_styles
    from .engine.models.load import load_generator
    from .engine.pictures.sheet import require_png, require_sheet_size, save_png

    seeded = ctx.get_parameter_source("seeds") is click.core.ParameterSource.COMMANDLINE
    if seeded and latent is not None:
        raise click.UsageError("--seed and --latent exclude each other; give one of them")
    require_png(output)
    if styles is not None:
        require_styles_file(styles)
    path = locate_mapper(mapper)
    about = summarise_mapper(path)
    model = load_generator(generator or _trained_with(about.record.generator), device)
    trained = read_mapper(path, model)
    if latent is None:
        images = Images.of_seeds(model, seeds, truncation, label)
    else:
        images = Images.of_file(model, latent, truncation, label)
    side = model.layout.resolution
    require_sheet_size(len(images.names), len(strengths) + before, side, side)
    columns = [apply_mapper(trained, model, images.styles, images.w, s) for s in strengths]
    save_png(applied_sheet(model, images.styles, images.names, columns, before), output)
    if styles is not None:
        known = images.file is None and len(columns) == 1
        edited = torch.cat([column.styles for column in columns])
        write_styles(styles, edited, model, images.origins if known else None)
    if as_json:
        told = {"mapper": {"file": str(path), **mapper_record(about)}}
        made = {"images": applied_records(images.names, columns)}
        click.echo(json.dumps({"output": str(output), **told, **made}, indent=2))
        return
    texts = [f'"{text}"' for text in (about.record.neutral, about.record.target) if text]
    counts = f"{len(images.names)} x {len(columns)} images"
    click.echo(f"{output}: {counts}, {' -> '.join(texts) or path.name}")


def _trained_with(generator: ModelIdentity | None) -> str:
    """The name of a mapper's generator, where that is enough to load it."""
    if generator is None:
        raise OptionError("generator: the mapper does not tell its own; name it by --generator")
    if generator.name != EMBEDDED.name:
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
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@json_option
def mapper_list(folder: Path | None, as_json: bool) -> None:
    """Which mappers lie in FOLDER, or in the library folder.

    What each says of itself; files of other programs say little. The library is the folder that
    the environment names in STYLEATLAS_MAPPERS, or else the user's own.
    """
    from .engine.fallbacks.mapper import library_folder, list_mappers
    from .engine.jobs.mapper import mappers_text

    place = library_folder() if folder is None else folder
    # Before the first training there is none of the user's own.
    records = list_mappers(place) if folder is not None or place.is_dir() else []
    click.echo(json.dumps(records, indent=2) if as_json else mappers_text(str(place), records))


@main.group()
def prompts() -> None:
    """Care for an atlas's prompt bank."""


@prompts.command(
    "add",
    epilog="""
    styleatlas prompts add ffhq.h5 pirates.txt --clip ViT-B-32.pt
    styleatlas prompts add avatars more.txt -o my.h5
    """,
)
@click.argument("atlas")
@click.argument("file")
@click.option("--clip", metavar="CLIP", help="The atlas's CLIP; known for `avatars`.")
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="The atlas file to write; ATLAS itself if not given.",
)
@device_option
@json_option
def prompts_add(
    atlas: str, file: str, clip: str | None, output: Path | None, device: str | None, as_json: bool
) -> None:
    """Add the phrases of FILE to an atlas's prompt bank.

    FILE is text in UTF-8 with a phrase a line; empty lines and lines that begin with # are passed
    over, and - is standard input. Phrases of the bank are skipped. The others are embedded by
    CLIP in the atlas's own templates; all else in the atlas stays as it is.
    """
    from .engine.steering.texts import TextEmbedder, encode_with
    from .prompts.embed import extended
    from .prompts.sets import read_phrases, unknown
    from .store.output import require_writable

    target = Path(EMBEDDED.atlas if atlas == EMBEDDED.name else atlas) if output is None else output
    if target.resolve() == Path(EMBEDDED.atlas).resolve():
        raise OutputError(f"{target}: ships with StyleAtlas and stays as it is; add -o OUT.h5")
    require_writable(target)
    phrases = read_phrases(file)
    opened = open_atlas(atlas)
    added = unknown(phrases, opened.prompts)
    bank = opened.prompts
    if added:
        texts = TextEmbedder(opened, encoder_loader(opened, clip, device))
        encode = encode_with(texts.encoder)
        hidden = not sys.stderr.isatty()
        with click.progressbar(length=len(added), file=sys.stderr, hidden=hidden) as bar:
            bank = extended(bank, added, texts.templates, encode, bar.update)
    if added or output is not None:
        replace(opened, prompts=bank).write(target)
    skipped = len(phrases) - len(added)
    if as_json:
        answer = {"added": len(added), "skipped": skipped, "prompts": len(bank)}
        click.echo(json.dumps({"output": str(target), **answer}, indent=2))
    else:
        click.echo(
            f"{target}: {len(added)} prompts added, {skipped} skipped as known; {len(bank)} in all"
        )


@main.command(
    epilog="""
    styleatlas info avatars
    styleatlas info ffhq.pkl
    """
)
@click.argument("file", metavar="ATLAS|CHECKPOINT")
@json_option
def info(file: str, as_json: bool) -> None:
    """What an atlas or a generator's checkpoint is, and what it holds.

    A checkpoint is read, but no network is built and nothing in it is run.
    """
    from .store.describe import atlas_record
    from .store.file import is_other_file
    from .store.records import text_table

    if file != EMBEDDED.name and is_other_file(file):
        from .engine.checkpoints.describe import checkpoint_record
        from .engine.checkpoints.read import read_checkpoint

        record = checkpoint_record(Path(file), read_checkpoint(Path(file)))
    else:
        record = atlas_record(open_atlas(file))
    if as_json:
        click.echo(json.dumps(record, indent=2))
        return
    layers = record.pop("layers")
    for key, value in record.items():
        text = json.dumps(value) if isinstance(value, dict) else value
        click.echo(f"{key:<16}{text}")
    click.echo("\n" + text_table(layers))


@main.command(
    epilog="""
    styleatlas convert ffhq.pkl ffhq.safetensors
    """
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("output", metavar="OUT.safetensors", type=click.Path(path_type=Path))
def convert(checkpoint: Path, output: Path) -> None:
    """Write the generator of any CHECKPOINT as safetensors, with the numbers that rebuild it.

    Reads NVIDIA's pickles of StyleGAN2 and StyleGAN3, legacy TensorFlow pickles and rosinality's
    files, and runs nothing in them. The weights, and so the atlases drawn with them, stay the same.
    """
    from .engine.checkpoints.native import require_other_file, write_generator
    from .engine.checkpoints.read import read_checkpoint

    require_other_file(checkpoint, output)
    read = read_checkpoint(checkpoint)
    write_generator(output, read)
    config = read.config
    click.echo(f"{output}: {read.family}, {config.resolution} px, {len(read.tensors)} tensors")


@main.command(
    epilog="""
    styleatlas verify avatars
    """
)
@click.argument("atlas")
@json_option
def verify(atlas: str, as_json: bool) -> None:
    """Prove every checksum of an atlas; exit 1 if one fails."""
    from .store.file import verify as prove

    checks = prove(EMBEDDED.atlas if atlas == EMBEDDED.name else atlas)
    if as_json:
        click.echo(json.dumps([vars(check) for check in checks], indent=2))
    else:
        for check in checks:
            click.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}  {check.detail}")
    failed = [check for check in checks if not check.ok]
    if failed:
        raise AtlasCorruptError(f"{atlas}: {failed[0].detail}")


@main.command(
    epilog="""
    styleatlas demo --out demo
    """
)
@click.option(
    "--out",
    default="demo",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The folder for the atlas and the pictures.",
)
@device_option
def demo(out: Path, device: str | None) -> None:
    """The whole trip on the embedded models: precompute, edit, query."""
    from .zoo.demo import run

    run(out, device)


if __name__ == "__main__":
    main()
