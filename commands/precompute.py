"""precompute: an atlas of a generator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..store.output import ATLAS
from ..store.registry import told_with
from .base import HOW, IMAGES, MODELS, PROMPTS, RESULTS, Command
from .inputs import Checkpoint, OutputFile, Phrases
from .options import (
    class_option,
    clip_option,
    device_option,
    is_given,
    json_option,
    option,
    output_option,
    precision_option,
    seed_option,
    threads_asked,
    threads_option,
    truncation_option,
)
from .progress import counting, progress_shown
from .sink import answer, note
from .sources import load_named_generator

if TYPE_CHECKING:
    from ..engine.models.precision import Precision
    from ..precompute.methods import TableName
    from ..precompute.scheduler import RunProgress


_SETTINGS = {
    *("table", "images", "probes", "strength", "refit", "truncation", "statistics"),
    *("samples", "seed", "label"),
}
_TABLES = ["screened", "sweep", "jacobian", "none"]
_BUILDERS: dict[str, TableName] = {
    "tensorflow": "reference-tensorflow",
    "torch": "reference-torch",
}


class Builder(click.Choice):  # type: ignore[type-arg] # generic only in newer clicks
    """One of StyleCLIP's public builders; the empty name where the option stands alone, as it did
    when there was one."""

    def __init__(self) -> None:
        super().__init__(list(_BUILDERS))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert(value, param, ctx) if value else ""


def usage(ctx: click.Context) -> None:
    """What options say together, before any of them is looked at."""
    given = {name for name in ctx.params if is_given(ctx, name)}
    if {"table", "method"} <= given:
        raise click.UsageError("--method is what --table was called; give --table alone")
    if ctx.params["reference_compat"] is not None and given & {"table", "method"}:
        raise click.UsageError("--reference-compat is a table of its own; leave out --table")
    if ctx.params["reference_compat"] is not None and ctx.params["draft"]:
        raise click.UsageError("--reference-compat sees whole images; leave out --draft")
    rows = [f"--{name}" for name in ("images", "probes", "refit", "strength") if name in given]
    if ctx.params["features"] and ctx.params["samples"] == 0:
        raise click.UsageError("--features reads samples, of which there are none; give --samples")
    if "none" in (ctx.params["table"], ctx.params["method"]) and rows:
        raise click.UsageError(f"--table none measures no channel; leave out {', '.join(rows)}")


@click.command(
    cls=Command,
    usage=usage,
    epilog="""
    styleatlas precompute avatars --clip avatars -o my.h5 --images 16
    styleatlas precompute ffhq.pkl --clip ViT-B-32.pt -o ffhq.h5 --dry-run
    """,
)
@click.argument("generator", type=Checkpoint())
@clip_option(f"A file, a folder or a name, such as {told_with('clip')}; see above.", required=True)
@output_option("ATLAS", "The atlas file to write.", OutputFile(ATLAS))
@option(
    "--samples",
    default=4_000,
    show_default=True,
    group=IMAGES,
    help="Unedited images to keep; 0 for none, see above.",
)
@option(
    "--images",
    default=100,
    show_default=True,
    group=IMAGES,
    help="Images a channel is measured on.",
)
@option(
    "--draft",
    is_flag=True,
    group=IMAGES,
    help="Render no larger than CLIP needs; see above.",
)
@option(
    "--features",
    type=click.Choice(["faces"]),
    group=IMAGES,
    help="Keep what is read of the samples' faces; see above.",
)
@option(
    "--table",
    type=click.Choice(_TABLES),
    default="screened",
    show_default=True,
    metavar="HOW",
    group=HOW,
    help="screened, sweep, jacobian or none; see above.",
)
@option("--method", type=click.Choice(_TABLES), hidden=True)  # what --table was called
@option(
    "--probes",
    type=int,
    group=HOW,
    metavar="K",
    help="Slopes along K directions of CLIP's space; 32 for screened, all for jacobian.",
)
@option(
    "--reference-compat",
    type=Builder(),
    is_flag=False,
    flag_value="",
    metavar="BUILDER",
    group=HOW,
    help="The table of StyleCLIP's tensorflow or torch builder, with its faults.",
)
@option(
    "--refit",
    type=int,
    group=HOW,
    metavar="N",
    help="Refit the rows from N composite directions at 8 renders each; see above.",
)
@option(
    "--strength",
    default=5.0,
    show_default=True,
    group=HOW,
    help="Step to each side, in sigma.",
)
@truncation_option("images")
@option(
    "--statistics",
    default=10_000,
    show_default=True,
    group=IMAGES,
    help="Latents behind the statistics.",
)
@seed_option("the latents")
@class_option
@option(
    "--prompts",
    "prompts_file",
    type=Phrases(),
    metavar="FILE",
    group=PROMPTS,
    help="Add its phrases, one a line, to the bank.",
)
@device_option
@precision_option("the models", "float16")
@option(
    "--workers",
    type=int,
    default=1,
    show_default=True,
    group=MODELS,
    help="Processes, each with a device; those on the CPU share its cores.",
)
@threads_option
@option(
    "--ray",
    metavar="ADDRESS",
    group=MODELS,
    help="Work on a Ray cluster: auto, HOST:6379, local.",
)
@option(
    "--dry-run",
    is_flag=True,
    group=RESULTS,
    help="Tell what it would take, and draw nothing.",
)
@json_option
def precompute(
    generator: str,
    clip: str,
    output: Path,
    samples: int,
    images: int,
    draft: bool,
    features: str | None,
    table: TableName,
    method: TableName | None,
    probes: int | None,
    reference_compat: str | None,
    refit: int | None,
    strength: float,
    truncation: float,
    statistics: int,
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
    """Draw an atlas: what a generator shows, and what its channels do, as CLIP sees it.

    Once per generator and CLIP. A run that was interrupted or killed goes on where it stopped when
    the same command is started again.

    --table says how channels are measured. sweep moves every convolution and toRGB channel to both
    sides of its mean on each of the images, renders and encodes: the reference, and the slowest.
    jacobian takes slopes at the images, all channels at once: the fastest, and weak where a channel
    moves much. screened takes slopes, sweeps the tenth of the channels that moves most, and audits
    the rest.

    --samples keeps so many unedited images as CLIP sees them, in a fraction of the time; they come
    first, and --table none is an atlas of them alone. Where an atlas of the same models is there,
    it keeps its table and its prompts and gets the samples it lacks; one of samples alone gets a
    table where --table asks for one.

    --features faces keeps what networks read of each sample, too: identity, expression, age, gender
    and five landmarks, for generators of aligned faces; `styleatlas models fetch faces` fetches
    their weights. Samples that are there without are rendered again.

    --draft lets CLIP see the smallest image that is at least as large as its input: of StyleGAN2
    with skip connections a lower block's, fitted to some whole images, of MobileStyleGAN the low
    band of its wavelets. First some samples are seen both ways, and a draft that shows other things
    than whole images is refused. Channels of layers that do not reach it are not measured.

    --reference-compat draws the table as StyleCLIP's own builders do, to compare with theirs:
    tensorflow (global_directions) or torch (global_torch). Their latents are those of --seed 5
    --statistics 100000.

    --refit, on top of any table, then moves tens of channels together, as edits do, and fits the
    rows to what that shows; 1550 is a good number.

    GENERATOR is a registered name or a checkpoint: NVIDIA's .pkl, rosinality's .pt, or what
    `convert` wrote. CLIP is a registered name, OpenAI's .pt, a folder or file of open_clip's or of
    Hugging Face's transformers, a name such as ViT-B-32/openai, or ViT-B-32/openai=FILE for a
    fine-tune of that one. Either may lie on the Hub: hf://OWNER/REPO/FILE.
    """
    from ..engine.models.draft import Draft
    from ..engine.models.features import load_features
    from ..engine.models.load import load_encoder, pick_device
    from ..engine.models.precision import pick_precision
    from ..precompute.build import open_work
    from ..precompute.build import precompute as build
    from ..precompute.estimate import estimate
    from ..precompute.executors import open_executor
    from ..precompute.existing import (
        estimate_extension,
        extend,
        extension_of,
        open_extension,
        untabled_of,
    )
    from ..precompute.reports import (
        atlas_text,
        bank_progress,
        estimate_text,
        run_progress,
        summary,
    )
    from ..precompute.settings import PrecomputeSettings
    from ..precompute.worker import Sources
    from ..prompts.sets import prompt_set, read_phrases

    if method is not None:
        note("--method is called --table now, and means the same")
        table = method
    if reference_compat is not None:
        if not reference_compat:
            note("--reference-compat names a builder now, tensorflow or torch; tensorflow is taken")
        table = _BUILDERS[reference_compat or "tensorflow"]
    settings = PrecomputeSettings(
        images=images,
        table=table,
        probes=probes,
        strength=strength,
        truncation=truncation,
        statistics=statistics,
        samples=samples,
        seed=seed,
        label=label,
        refit=refit,
    )
    precision = pick_precision(precision, pick_device(device))
    phrases = read_phrases(prompts_file) if prompts_file else ()
    model = load_named_generator(generator, device, precision)
    encoder = load_encoder(clip, device, precision)
    shrunk = None
    if draft:
        model = smaller = Draft.for_clip(model, encoder)
        shrunk = smaller.side, smaller.fitted
        note(f"draft: images of {smaller.side} px in place of {max(smaller.whole.image_size)} px")
    readers = None if features is None else load_features(features, model)
    prompts = prompt_set(encoder.identity.name, clip).with_phrases(phrases)
    asked = output, model, encoder, settings, _given(), phrases, readers
    extension, untabled = None, untabled_of(*asked)
    if untabled:
        settings, prompts = untabled.settings, untabled.prompts
    else:
        extension = extension_of(*asked)
    if dry_run:
        if extension:
            record = estimate_extension(model, encoder, extension, workers)
        else:
            record = estimate(model, encoder, prompts, settings, workers, features=readers)
        answer(record, estimate_text(record), as_json)
        return
    if extension and not extension.plan.blocks:
        note(f"{output}: has all of this already")
        record = summary(extension.atlas)
        answer({"output": str(output), **record}, atlas_text(str(output), record), as_json)
        return
    with (
        open_extension(output, model, encoder, extension)
        if extension
        else open_work(output, model, encoder, prompts, settings, readers) as work,
        open_executor(workers, ray, device, threads_asked()) as executor,
    ):
        for complaint in work.complaints:
            note(complaint)
        if work.done:
            note(f"resuming: {len(work.done)} of {work.total} blocks are done")
        sources = Sources(generator, clip, precision, shrunk, features)
        with progress_shown() as shown:
            embedded = counting(shown, lambda done: bank_progress(done, len(prompts.phrases)))

            def report(progress: RunProgress) -> None:
                shown(run_progress(progress, model.layout))

            how = report, work, executor, sources
            try:
                if extension:
                    drawn = extend(model, encoder, extension, *how)
                else:
                    drawn = build(model, encoder, prompts, settings, *how, embedded, readers)
                if untabled:
                    drawn = untabled.joined(drawn)
                drawn.write(output)
            except KeyboardInterrupt:
                if work.done:
                    shown.tell(f"interrupted: {work.kept}")
                raise
        work.finish()
    record = summary(drawn)
    answer({"output": str(output), **record}, atlas_text(str(output), record), as_json)


def _given() -> set[str]:
    """Which settings the command line names."""
    ctx = click.get_current_context()
    given = {name for name in ctx.params if is_given(ctx, name)}
    if given & {"method", "reference_compat"}:
        given.add("table")
    return given & _SETTINGS
