"""info, convert, import-table and verify: the files themselves."""

from __future__ import annotations

from pathlib import Path

import click

from ..store.errors import AtlasCorruptError, AtlasFormatError, CheckpointError
from ..store.output import ATLAS, CONVERTED
from ..store.records import Record
from ..store.registry import file_of, find_bundle, part_of, told_with
from .base import IMAGES, MODELS, PROMPTS, Command
from .inputs import AnyFile, AtlasFile, Checkpoint, InputFile, OutputFile, Phrases
from .options import (
    clip_option,
    device_option,
    json_option,
    option,
    output_option,
    threads_option,
)
from .sink import answer, note, say
from .sources import load_named_generator, open_atlas


@click.command(
    cls=Command,
    epilog="""
    styleatlas info avatars
    styleatlas info ffhq.pkl
    styleatlas info smiles.png
    """,
)
@click.argument("file", type=AnyFile())
@json_option
def info(file: str, as_json: bool) -> None:
    """What a file is, and what it holds.

    An atlas, a generator's checkpoint, one tuned to photos, an encoder of photos, a CLIP, a mapper,
    a picture that edit made, or an .npz of styles or latents, here or on the Hub. A checkpoint is
    read, but no network is built and nothing in it is run.
    """
    from ..store.describe import atlas_record, record_text
    from ..store.file import is_other_file

    bundle = find_bundle(file)
    if bundle is not None and bundle.atlas is None:
        record = _other_record(bundle.part("generator"))
    elif bundle is None and ((path := file_of(file)).is_dir() or is_other_file(path)):
        record = _other_record(path)
    else:
        record = atlas_record(open_atlas(file))
    answer(record, record_text(record), as_json)


def _other_record(path: Path) -> Record:
    """Of a file that is no atlas, or of a folder that holds a generator."""
    if path.is_file() and _begins(path, b"\x89PNG\r\n\x1a\n"):
        from ..engine.pictures.recipe import read_recipe

        return read_recipe(path).record()
    if path.suffix.lower() == ".npz":
        from ..engine.models.latents import latents_record

        return latents_record(path)
    from ..engine.checkpoints.describe import (
        checkpoint_record,
        own_encoder_record,
        photo_encoder_record,
        tuned_record,
    )
    from ..engine.checkpoints.own_encoder_file import holds_own_encoder
    from ..engine.checkpoints.photo_encoder_file import holds_photo_encoder, read_photo_encoder
    from ..engine.checkpoints.read import read_checkpoint
    from ..engine.fallbacks.mapper import mapper_record, summarise_mapper

    if tuned := tuned_record(path):
        return tuned
    if holds_own_encoder(path):
        return own_encoder_record(path)
    if holds_photo_encoder(path):
        return photo_encoder_record(path, read_photo_encoder(path))
    try:
        return checkpoint_record(path, read_checkpoint(path))
    except CheckpointError:
        try:
            mapper = mapper_record(summarise_mapper(path))
        except CheckpointError:
            mapper = {}
        if mapper:
            return {"kind": "mapper", "path": str(path), **mapper}
        from ..engine.checkpoints.clip_describe import clip_file_record

        if clip := clip_file_record(path):
            return clip
        raise


def _begins(path: Path, head: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(head)) == head


@click.command(
    cls=Command,
    epilog="""
    styleatlas convert ffhq.pkl ffhq.safetensors
    """,
)
@click.argument("checkpoint", type=Checkpoint())
@click.argument("output", metavar="OUT.safetensors", type=OutputFile(CONVERTED))
def convert(checkpoint: str, output: Path) -> None:
    """Write the generator of any CHECKPOINT as safetensors, with the numbers that rebuild it.

    Reads NVIDIA's pickles, modules and state dicts of StyleGAN2 and StyleGAN3, legacy TensorFlow
    pickles, rosinality's files and MobileStyleGANs, and the generator in the file of an encoder of
    photos, and runs nothing in them. The weights, and so the atlases drawn with them, stay the
    same.
    """
    from ..engine.checkpoints.native import write_generator
    from ..engine.checkpoints.read import read_checkpoint

    path = part_of(checkpoint, "generator")
    read = read_checkpoint(path)
    for text in read.notes:
        note(f"note: {path}: {text}")
    write_generator(output, read)
    config = read.config
    height, width = config.image_size
    size = f"{width} px" if height == width else f"{height} px high, {width} px wide"
    say(f"{output}: {read.family}, {size}, {len(read.tensors)} tensors")


@click.command(
    "import-table",
    cls=Command,
    epilog="""
    styleatlas import-table fs3.npy --stats S_mean_std --generator g.pkl --clip clip.pt -o table.h5
    styleatlas import-table delta_i_c.npy --stats s_stats --generator t.pkl --clip clip.pt -o t.h5
    """,
)
@click.argument("table", type=InputFile())
@option(
    "--stats",
    "statistics",
    type=InputFile(),
    multiple=True,
    metavar="F",
    group=IMAGES,
    help="S_mean_std or s_stats; or twice, the means, then the deviations. The generator's own at "
    "psi 0.7 if not given.",
)
@option(
    "--generator",
    required=True,
    type=Checkpoint(),
    metavar="G",
    group=MODELS,
    help=f"That the table was drawn with: a file, or {told_with('generator')}.",
)
@clip_option("That the table was drawn with.", required=True)
@option(
    "--templates",
    type=Phrases(),
    metavar="FILE",
    group=PROMPTS,
    help="The sentences that prompts are put into, one a line with {} in it, such as "
    "imagenet_templates.txt; StyleAtlas's own if not given.",
)
@output_option("ATLAS", "The atlas file to write.", OutputFile(ATLAS))
@device_option
@threads_option
@json_option
def import_table(
    table: Path,
    statistics: tuple[Path, ...],
    generator: str,
    clip: str,
    templates: str | None,
    output: Path,
    device: str | None,
    as_json: bool,
) -> None:
    """Make an atlas of a table of StyleCLIP's or stylegan3-editing's.

    TABLE is fs3.npy, of the convolutions or of the first of them, or delta_i_c.npy, of all
    channels. Edits by the atlas with --rule paper and a --beta are those of StyleCLIP's formula.

    Nothing in the files is run. They do not say what they were drawn with: the statistics must fit
    the generator, and a few channels are measured anew, so that the answer tells how near the
    table's rows come to them. What nobody knows, such as the images and how consistent a channel
    is, `info` calls unknown. The bank is empty: `prompts add` fills it, and `precompute --samples`
    adds samples.
    """
    # Here, so that the quick commands of this module import none of it.
    from ..engine.models.load import load_encoder
    from ..precompute.imported import Table, imported_atlas
    from ..precompute.reports import check_progress, imported_doubt, imported_text
    from ..prompts.sets import prompt_set, read_templates
    from .progress import progress_shown

    sentences = read_templates(templates) if templates else ()
    files = Table(table, statistics)
    files.read()  # refuses before anything is loaded
    model = load_named_generator(generator, device)
    encoder = load_encoder(clip, device)
    known = sentences or prompt_set(encoder.identity.name, clip).templates
    with progress_shown() as shown:
        atlas = imported_atlas(
            files, model, encoder, known, lambda done: shown(check_progress(done))
        )
    atlas.write(output)
    record = atlas.fingerprint.settings
    told = {"output": str(output), "channels": len(atlas.channels), "settings": record}
    answer(told, imported_text(str(output), atlas), as_json)
    if doubt := imported_doubt(atlas):
        note(doubt)


@click.command(
    cls=Command,
    epilog="""
    styleatlas verify avatars
    """,
)
@click.argument("atlas", type=AtlasFile())
@json_option
def verify(atlas: str, as_json: bool) -> None:
    """Prove every checksum of an atlas; exit 1 if one fails."""
    from ..store.atlas import atlas_path
    from ..store.file import verify as prove

    checks = prove(atlas_path(atlas))
    failed = [check for check in checks if not check.ok]
    if failed and failed[0].name == "file":  # nothing in it can be checked
        raise AtlasFormatError(f"{atlas}: {failed[0].detail}")
    lines = [f"{'ok  ' if check.ok else 'FAIL'}  {check.name}  {check.detail}" for check in checks]
    answer([vars(check) for check in checks], "\n".join(lines), as_json)
    if failed:
        raise AtlasCorruptError(
            f"{atlas}: {len(failed)} of {len(checks)} checks failed, first {failed[0].name}; copy "
            "the file again or draw it with `styleatlas precompute`"
        )
