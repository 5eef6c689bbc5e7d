"""info, convert and verify: the files themselves."""

from __future__ import annotations

from pathlib import Path

import click

from ..store.errors import AtlasCorruptError, AtlasFormatError, CheckpointError
from ..store.output import CONVERTED
from ..store.records import Record
from ..store.registry import find_bundle
from .base import Command
from .inputs import AnyFile, AtlasFile, Checkpoint, OutputFile
from .options import json_option
from .sink import answer, note, say
from .sources import open_atlas


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

    An atlas, a generator's checkpoint, a CLIP, a mapper, a picture that edit made, or an .npz of
    styles or latents. A checkpoint is read, but no network is built and nothing in it is run.
    """
    from ..store.describe import atlas_record, record_text
    from ..store.file import is_other_file

    if find_bundle(file) is None and is_other_file(file):
        record = _other_record(Path(file))
    else:
        record = atlas_record(open_atlas(file))
    answer(record, record_text(record), as_json)


def _other_record(path: Path) -> Record:
    """Of a file that is no atlas."""
    with path.open("rb") as file:
        picture = file.read(8) == b"\x89PNG\r\n\x1a\n"
    if picture:
        from ..engine.pictures.recipe import read_recipe

        return read_recipe(path).record()
    if path.suffix.lower() == ".npz":
        from ..engine.models.latents import latents_record

        return latents_record(path)
    from ..engine.checkpoints.describe import checkpoint_record
    from ..engine.checkpoints.read import read_checkpoint
    from ..engine.fallbacks.mapper import mapper_record, summarise_mapper

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
    pickles and rosinality's files, and runs nothing in them. The weights, and so the atlases drawn
    with them, stay the same.
    """
    from ..engine.checkpoints.native import write_generator
    from ..engine.checkpoints.read import read_checkpoint

    bundle = find_bundle(checkpoint)
    path = Path(checkpoint) if bundle is None else bundle.generator
    read = read_checkpoint(path)
    for text in read.notes:
        note(f"note: {path}: {text}")
    write_generator(output, read)
    config = read.config
    height, width = config.image_size
    size = f"{width} px" if height == width else f"{height} px high, {width} px wide"
    say(f"{output}: {read.family}, {size}, {len(read.tensors)} tensors")


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
